#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Compile the C library with nothing but a C compiler, for tests:
#
#     CC=clang sh tests/native/build.sh OUT -O1 -fsanitize=address
#
# leaves OUT/libparrot.a. The flags for CPU and floats are those of CMakeLists.txt, which builds what is
# shipped.
set -eu
out=$1
shift
root=$(cd "$(dirname "$0")/../.." && pwd)
cc=${CC:-cc}
mkdir -p "$out"
always="-std=c11 -fPIC -ffp-contract=off -fno-math-errno -fno-trapping-math -DPARROT_BUILD
  -I$root/native/include -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wmissing-prototypes -Wvla"
avx512="-mavx2 -mf16c -mavx512f -mavx512bw -mavx512vl -mavx512vnni -mprefer-vector-width=512"
case $($cc "$@" -E -dM -x c /dev/null) in
*__x86_64__*) cpus="avx2 avx512" ;;
*__aarch64__*) cpus="neon dotprod i8mm" ;;
*) cpus="" ;;
esac
objects=
compile() {  # NAME CPU-FLAG...
    name=$1
    shift
    # shellcheck disable=SC2086 # lists of flags are words
    $cc $always $flags "$@" -c "$root/native/src/$name.c" -o "$out/$name.o"
    objects="$objects $out/$name.o"
}
flags=$*
for name in bandwidth cores gguf hash state sample threads forward model kernels_scalar; do
    compile $name
done
for cpu in $cpus; do
    case $cpu in
    avx2) compile kernels_avx2 -mavx2 -mf16c ;;
    avx512) compile kernels_avx512 $avx512 ;;
    dotprod) compile kernels_dotprod -march=armv8.2-a+dotprod ;;
    i8mm) compile kernels_i8mm -march=armv8.2-a+i8mm ;;
    *) compile kernels_$cpu ;;
    esac
done
rm -f "$out/libparrot.a"
ar rcs "$out/libparrot.a" $objects
