#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Build the library for other CPUs, as CMakeLists.txt does it there, and run the C tests under qemu-user:
#
#     sh tests/native/qemu.sh [TARGET]...      (default: every target that has a compiler here)
#
# aarch64 runs as a Cortex-A53 (plain NEON), a Cortex-A76 (dot products) and all that qemu knows; the
# others run the scalar kernels. Each prints the hash of a life with every model of the corpus, which
# must be the one that this machine's own CPU prints.
# Debian: apt install cmake qemu-user gcc-aarch64-linux-gnu gcc-arm-linux-gnueabihf gcc-riscv64-linux-gnu
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
here=$root/tests/native
out=$root/build/qemu
all="aarch64-linux-gnu arm-linux-gnueabihf riscv64-linux-gnu"
for tool in cmake qemu-aarch64; do
    command -v $tool >/dev/null ||
        { echo "qemu: no $tool here; apt install cmake qemu-user." >&2; exit 1; }
done
if [ $# -eq 0 ]; then
    for target in $all; do
        command -v $target-gcc >/dev/null && set -- "$@" $target || echo "qemu: no $target-gcc, skipped"
    done
fi
[ $# -gt 0 ] || { echo "qemu: no cross compiler here; see the head of this file." >&2; exit 1; }
mkdir -p "$out"

sh "$here/build.sh" "$out/here" -O2
sh "$here/test.sh" "$out/here" -O2 forward | grep life >"$out/lives"
cat "$out/lives"

run() {  # TARGET QEMU CPU: all tests, and the lives of this machine
    echo "qemu: $1 on $3"
    # Not "threads": two spinning threads under emulation take minutes and prove nothing new.
    "$2" -cpu "$3" "$out/$1/test_native" "$here/corpus" kernels files sampler forward >"$out/$1/said"
    cat "$out/$1/said"
    grep life "$out/$1/said" | cmp - "$out/lives" ||
        { echo "qemu: $1 on $3 lives another life" >&2; exit 1; }
}

for target in "$@"; do
    dir=$out/$target
    arch=${target%%-*}
    processor=$arch
    [ "$arch" != arm ] || processor=armv7l
    cmake -S "$root" -B "$dir" -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=$processor \
        -DCMAKE_C_COMPILER=$target-gcc -DPARROT_WERROR=ON >"$dir.log"
    cmake --build "$dir" >>"$dir.log" || { cat "$dir.log" >&2; exit 1; }
    cp "$dir/libparrot_core.a" "$dir/libparrot.a"
    CC=$target-gcc RUN=: sh "$here/test.sh" "$dir" "-O2 -static"
    case $arch in
    aarch64) for cpu in cortex-a53 cortex-a76 max; do run $target qemu-aarch64 $cpu; done ;;
    arm) run $target qemu-arm cortex-a7 ;;
    riscv64) run $target qemu-riscv64 rv64 ;;
    *) echo "qemu: $target has no runner" >&2; exit 1 ;;
    esac
done
echo "qemu: the same lives on every CPU"
