#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Build the C tests against OUT/libparrot.a with the same flags, and run those named (default: all):
#
#     CC=clang sh tests/native/build.sh OUT -g -O1 && CC=clang sh tests/native/test.sh OUT "-g -O1" threads
set -eu
out=$1
flags=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck disable=SC2086 # a list of flags is words
${CC:-cc} -std=c11 -D_GNU_SOURCE -ffp-contract=off -Wall -Wextra -Wshadow -Werror $flags \
    -I"$here/../../native/include" -I"$here/../../native/src" "$here"/test_*.c \
    "$out/libparrot.a" -lpthread -lm -o "$out/test_native"
${RUN:-} "$out/test_native" "$here/corpus" "$@"
