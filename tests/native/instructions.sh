#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Instructions a byte costs on each CPU, counted and not timed: x86-64 by valgrind, aarch64 by a plugin of
# qemu-user. What is the same in a life of 2 and of 12 bytes (opening, repacking) cancels out.
#
#     sh tests/native/instructions.sh MODEL
#
# Debian: apt install valgrind qemu-user gcc-aarch64-linux-gnu
set -eu
model=${1:?instructions.sh: name a model file}
root=$(cd "$(dirname "$0")/../.." && pwd)
here=$root/tests/native
out=$root/build/instructions
for tool in valgrind qemu-aarch64 aarch64-linux-gnu-gcc; do
    command -v $tool >/dev/null || { echo "instructions: no $tool here; see the head of this file." >&2; exit 1; }
done
mkdir -p "$out"
cc -O2 -shared -fPIC "$here/count_qemu.c" -o "$out/count.so"

program() {  # COMPILER FLAGS...
    cc=$1; shift
    CC=$cc sh "$here/build.sh" "$out/$cc" -O3
    $cc -std=c11 -O2 -I"$root/native/include" "$@" "$here/count_bytes.c" "$out/$cc/libparrot.a" \
        -o "$out/$cc/count_bytes" -pthread -lm
}

collected() { sed -n 's/.*Collected : //p'; }
on_x86() { valgrind --tool=callgrind --callgrind-out-file=/dev/null "$out/cc/count_bytes" "$model" "$1" "$2" 2>&1 | collected; }
on_arm() { qemu-aarch64 -cpu max -plugin "$out/count.so" "$out/aarch64-linux-gnu-gcc/count_bytes" "$model" "$1" "$2" 2>&1 | collected; }

program cc
program aarch64-linux-gnu-gcc -static
first=0
for set in "x86 avx2" "arm i8mm" "arm dotprod" "arm neon"; do
    machine=${set% *} kernels=${set#* }
    short=$(on_$machine "$kernels" 2) long=$(on_$machine "$kernels" 12)
    [ -n "$short" ] && [ -n "$long" ] || { echo "instructions: $kernels did not run" >&2; exit 1; }
    n=$(((long - short) / 10))
    [ $first -gt 0 ] || first=$n
    awk -v n=$n -v first=$first -v name="$kernels" 'BEGIN { printf "%-8s %10d a byte, %.2f of avx2\n", name, n, n / first }'
done
