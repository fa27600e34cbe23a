#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Build the library for other CPUs, as CMakeLists.txt does it there, and run the C tests under qemu-user:
#
#     sh tests/native/qemu.sh [TARGET]...      (default: every target that has a compiler here)
#
# glibc by Debian's cross compilers, musl by zig, as tools.wheels builds what is shipped; all static.
# aarch64 runs as a Cortex-A53 (plain NEON), a Cortex-A76 (dot products) and all that qemu knows;
# armv7 and riscv64 run the scalar kernels; x86-64 with musl runs on this CPU. Each prints the hash of a life with every model of the corpus, which
# must be the one that this machine's own CPU prints; and the bundled model, in F32 and as it is
# shipped, must say the same bytes.
# Debian: apt install cmake qemu-user gcc-aarch64-linux-gnu gcc-arm-linux-gnueabihf gcc-riscv64-linux-gnu
# PYTHON (default: .venv's, else python3) needs numpy, and ziglang for musl: pip install ziglang
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
here=$root/tests/native
out=$root/build/qemu
all="aarch64-linux-gnu arm-linux-gnueabihf riscv64-linux-gnu"
musl="x86_64-linux-musl aarch64-linux-musl armv7-linux-musl riscv64-linux-musl"
n_bytes=128
[ -n "${PYTHON:-}" ] || PYTHON=$root/.venv/bin/python
[ -x "$PYTHON" ] || command -v "$PYTHON" >/dev/null || PYTHON=python3
for tool in cmake qemu-aarch64; do
    command -v $tool >/dev/null ||
        { echo "qemu: no $tool here; apt install cmake qemu-user." >&2; exit 1; }
done
if [ $# -eq 0 ]; then
    for target in $all; do
        command -v $target-gcc >/dev/null && set -- "$@" $target || echo "qemu: no $target-gcc, skipped"
    done
    if "$PYTHON" -c "import ziglang" 2>/dev/null; then
        # shellcheck disable=SC2086 # a list of targets is words
        set -- "$@" $musl
    else
        echo "qemu: no ziglang, musl skipped"
    fi
fi
[ $# -gt 0 ] || { echo "qemu: no cross compiler here; see the head of this file." >&2; exit 1; }
mkdir -p "$out"
cd "$root"

greedy() {  # CC OUT FLAGS: the program that says the likeliest bytes
    # shellcheck disable=SC2086 # a list of flags is words
    $1 -std=c11 -D_GNU_SOURCE -ffp-contract=off -Wall -Wextra -Werror $3 -I"$root/native/include" \
        "$here/greedy.c" "$2/libparrot.a" -lpthread -lm -o "$2/greedy"
}
say() {  # OUT COMMAND...: what each model says, in $out/$OUT.MODEL
    dir=$1
    shift
    for model in f32 q8; do
        "$@" "$dir/greedy" "$out/$model.gguf" "Hello! 你好" $n_bytes >"$dir/$model.said" 2>"$dir/kernels"
        cat "$dir/kernels"
    done
}

"$PYTHON" - "$root/parrot/assets/parrot.gguf" "$out/f32.gguf" <<'END'
import sys
from pathlib import Path
from parrot.model.codec import TensorType
from parrot.model.weights import ModelSource, open_model, write_model
model = open_model(Path(sys.argv[1]))
source = ModelSource(model.shape, model.vocabulary, model.array, model.gguf.metadata)
write_model(Path(sys.argv[2]), source, TensorType.F32, TensorType.F32)
END
cp "$root/parrot/assets/parrot.gguf" "$out/q8.gguf"
sh "$here/build.sh" "$out/here" -O2
sh "$here/test.sh" "$out/here" -O2 forward | grep life >"$out/lives"
cat "$out/lives"
greedy cc "$out/here" -O2
say "$out/here" env
[ "$(wc -c <"$out/here/f32.said")" -eq $n_bytes ]
echo "qemu: here it says: $(tr '\001-\011\013-\037' ' ' <"$out/here/f32.said" | head -c 60) ..."

run() {  # CPU KERNELS COMMAND...: all tests of $target, the lives of this machine, and its words
    cpu=$1 kernels=$2
    shift 2
    echo "qemu: $target on $cpu"
    # Not "threads": two spinning threads under emulation take minutes and prove nothing new.
    "$@" "$dir/test_native" "$here/corpus" kernels files sampler forward >"$dir/said"
    cat "$dir/said"
    grep life "$dir/said" | cmp - "$out/lives" ||
        { echo "qemu: $target on $cpu lives another life" >&2; exit 1; }
    say "$dir" "$@"
    grep -q "greedy: $kernels kernels" "$dir/kernels" ||
        { echo "qemu: $target on $cpu chose other kernels than $kernels" >&2; exit 1; }
    for model in f32 q8; do
        cmp "$dir/$model.said" "$out/here/$model.said" ||
            { echo "qemu: $target on $cpu says other bytes in $model" >&2; exit 1; }
    done
    echo "qemu: $target on $cpu says the same $n_bytes bytes, in F32 and in Q8_0"
}

for target in "$@"; do
    dir=$out/$target
    arch=${target%%-*}
    processor=$arch
    [ "$arch" != arm ] || processor=armv7l
    case $target in
    *-musl)
        defines=$("$PYTHON" -m tools.cross "$target" "$dir.zig")
        cc=$dir.zig/cc
        ;;
    *)
        defines="-DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=$processor
            -DCMAKE_C_COMPILER=$target-gcc -DPARROT_WERROR=ON"
        cc=$target-gcc
        ;;
    esac
    # shellcheck disable=SC2086 # a list of options is words
    cmake -S "$root" -B "$dir" $defines >"$dir.log"
    cmake --build "$dir" >>"$dir.log" || { cat "$dir.log" >&2; exit 1; }
    cp "$dir/libparrot_core.a" "$dir/libparrot.a"
    CC=$cc RUN=: sh "$here/test.sh" "$dir" "-O2 -static"
    greedy "$cc" "$dir" "-O2 -static"
    case $arch in
    aarch64)
        run cortex-a53 neon qemu-aarch64 -cpu cortex-a53
        run cortex-a76 dotprod qemu-aarch64 -cpu cortex-a76
        run max i8mm qemu-aarch64 -cpu max
        ;;
    arm | armv7) run cortex-a7 scalar qemu-arm -cpu cortex-a7 ;;
    riscv64) run rv64 scalar qemu-riscv64 -cpu rv64 ;;
    x86_64) run "this CPU" "$(sed -n 's/greedy: \(.*\) kernels.*/\1/p' "$out/here/kernels")" env ;;
    *) echo "qemu: $target has no runner" >&2; exit 1 ;;
    esac
done
echo "qemu: the same lives and the same words on every CPU"
