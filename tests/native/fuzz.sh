#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Fuzz the two readers for SECONDS in all, under AddressSanitizer and UndefinedBehaviorSanitizer:
#
#     sh tests/native/fuzz.sh 60
#
# Needs clang with its compiler-rt (Debian: clang, libclang-rt-14-dev). What the fuzzers learn is kept in
# build/fuzz and is where the next run begins; a finding is left there as well, and is an error.
set -eu
seconds=${1:-60}
root=$(cd "$(dirname "$0")/../.." && pwd)
out=$root/build/fuzz
if ! command -v clang >/dev/null; then
    echo "fuzz: clang is not there; apt install clang libclang-rt-14-dev." >&2
    exit 1
fi
sanitize="-g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined,float-cast-overflow
  -fno-sanitize-recover=all"
# shellcheck disable=SC2086 # lists of flags are words
CC=clang sh "$root/tests/native/build.sh" "$out" $sanitize -fsanitize=fuzzer-no-link
export PARROT_FUZZ_MODEL="$root/tests/native/corpus/gguf/f32"
for target in gguf state; do
    mkdir -p "$out/$target"
    # shellcheck disable=SC2086
    clang -std=c11 $sanitize -fsanitize=fuzzer -I"$root/native/include" -I"$root/native/src" \
        "$root/tests/native/fuzz_$target.c" "$out/libparrot.a" -lm -lpthread -o "$out/fuzz_$target"
    echo "fuzz: $target for $((seconds / 2)) s"
    "$out/fuzz_$target" -max_total_time=$((seconds / 2)) -max_len=65536 -timeout=10 -rss_limit_mb=2048 \
        -dict="$root/tests/native/fuzz.dict" -artifact_prefix="$out/found-$target-" -verbosity=0 \
        -print_final_stats=1 "$out/$target" "$root/tests/native/corpus/$target"
done
