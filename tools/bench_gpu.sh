#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prove and measure the CUDA path on a machine with a GPU and no network:
#
#   tools/bench_gpu.sh              all of it
#   tools/bench_gpu.sh STEP...      build, test, sanitize, bench: each ends within ten minutes
#
# Needs there: nvcc 13.0 or newer, a C and C++ compiler, cmake, and a Python (PYTHON, default python3) with
# numpy and pytest; torch for the peer, compute-sanitizer for its step. OUT (default build/gpu) receives
# logs and figures; what was built stays in build/gpu. SHAPES chooses what is benched.
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
work=$PWD/build/gpu
out=${OUT:-$work}
mkdir -p "$work" "$out"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
export PARROT_CUDA="$work/libparrot_cuda.so" PARROT_TEST_GPU=1

# One line a step for the table at the end; the first step that fails ends the run. Each is a shell of
# its own, in which any command that fails ends it.
said=
step() {
    name=$1
    begun=$(date +%s)
    status=0
    sh "$PWD/tools/bench_gpu.sh" --inside "$name" >"$out/$name.log" 2>&1 || status=$?
    took=$(($(date +%s) - begun))
    if [ $status -ne 0 ]; then
        tail -n 100 "$out/$name.log"
        echo "$name: FAILED with exit code $status after $took s; the whole log is $out/$name.log"
        exit 1
    fi
    said="$said$name: passed in $took s: $(tail -n 1 "$out/$name.log")
"
}

# The extension by hand: pip would want its build tools from the network.
build_extension() {
    if $PYTHON -c 'import parrot._native' 2>/dev/null; then return; fi
    include=$($PYTHON -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
    CC=${CC:-cc} sh tests/native/build.sh "$work/native" -O3
    ${CC:-cc} -shared -fPIC -O2 -fvisibility=hidden -I"$include" -Inative/include \
        native/python/_native.c "$work/native/libparrot.a" -Wl,--exclude-libs,ALL -lpthread -lm \
        -o parrot/_native.abi3.so
}

build() {
    nvidia-smi
    nvcc --version
    build_extension
    cmake -S . -B "$work/cmake" -DPARROT_CUDA=ON -DCMAKE_BUILD_TYPE=Release \
        -DCMAKE_CUDA_ARCHITECTURES="${ARCH:-native}" \
        -DCMAKE_CUDA_FLAGS="-Xptxas -v"
    cmake --build "$work/cmake" --target parrot_cuda -j "$(nproc)"
    cp "$work/cmake/libparrot_cuda.so" "$PARROT_CUDA"
    $PYTHON -c 'from parrot.engine.cuda_library import load_library; print(load_library())'
}

run_tests() {
    $PYTHON -m pytest -q -ra -W default tests/unit/test_cuda.py --durations=10
}

# Small lives, all kernels: one row, many rows, batches, choices; odd sizes included.
under_sanitizer() {  # TOOL OPTIONS...
    tool=$1
    shift
    compute-sanitizer --tool "$tool" --target-processes all --error-exitcode 9 "$@" \
        $PYTHON -m pytest -q -W default tests/unit/test_cuda.py \
        -k 'f32_logits or quantised or order or bits or different_lengths or choices or batch_of_any'
    echo "$tool: no reports"
}

bench() {
    # shellcheck disable=SC2086 # an option and its value
    $PYTHON -m tools.bench_gpu --out "$work/bench" ${SHAPES:+--shapes $SHAPES}
}

if [ "${1:-}" = --inside ]; then
    case $2 in
    build) build ;;
    test) run_tests ;;
    memcheck) under_sanitizer memcheck ;;
    racecheck) under_sanitizer racecheck --racecheck-report all ;;
    bench) bench ;;
    esac
    exit 0
fi

[ $# -gt 0 ] || set -- build test sanitize bench
for wanted in "$@"; do
    case $wanted in
    build | test | bench) step "$wanted" ;;
    sanitize)
        step memcheck
        step racecheck
        ;;
    *)
        echo "usage: bench_gpu.sh [build|test|sanitize|bench]..." >&2
        exit 2
        ;;
    esac
done
printf '%s' "$said"
if [ -e "$out/bench.log" ]; then
    if [ "$out" != "$work" ]; then cp "$work/bench/bench_gpu.jsonl" "$out/"; fi
    sed -n '/compute capability/,$p' "$out/bench.log"
fi
