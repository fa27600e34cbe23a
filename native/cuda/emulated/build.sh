#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Build libparrot_cuda.so for the emulated GPU (cuda_runtime.h beside this), with a C++ compiler alone:
#
#     CXX=g++ sh native/cuda/emulated/build.sh OUT [-g -fsanitize=address ...]
#
# leaves OUT/libparrot_cuda.so. The flags of CMakeLists.txt that concern meaning are the same here.
set -eu
out=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
cxx=${CXX:-c++}
cc=${CC:-cc}
mkdir -p "$out"
include="-I$root/native/include -DPARROT_BUILD"
objects=
CC=$cc sh "$root/tests/native/build.sh" "$out" -O0 "$@"
$cc -std=c11 -fPIC -O1 -Wall -Wextra -Werror $include -I"$root/native/src" "$@" \
    -c "$here/../source.c" -o "$out/source.o"
for unit in "$here"/../*.cu "$here/emulated.cpp"; do
    object=$out/cuda_$(basename "$unit").o
    $cxx -std=c++17 -x c++ -fPIC -O1 -Wall -Wextra -Werror -Wno-unknown-pragmas -U_FORTIFY_SOURCE \
        $include -I"$here" -I"$here/.." "$@" -c "$unit" -o "$object"
    objects="$objects $object"
done
# shellcheck disable=SC2086 # a list of files is words
$cxx -shared "$@" $objects "$out/source.o" "$out/libparrot.a" -Wl,--exclude-libs,ALL -lpthread -lm -o "$out/libparrot_cuda.so"
