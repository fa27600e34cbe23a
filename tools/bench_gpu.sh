#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prove and measure the CUDA path on a machine with a GPU and no network:
#
#   tools/bench_gpu.sh              all of it, within LIMIT seconds (default 570)
#   tools/bench_gpu.sh STEP...      build, test, bench, sanitize
#
# A step that breaks, hangs or finds no time left is named, and the others run all the same; a table comes
# last. Needs there: nvcc 13.0 or newer, a C and C++ compiler, cmake, and a Python (PYTHON, default
# python3) with its headers, numpy and pytest; torch for the peer, compute-sanitizer for its step. OUT
# (default build/gpu) receives seven small files: a log a step, bench_gpu.jsonl and summary.txt, which is
# written anew after every step. What was built stays in build/gpu: a later call goes on with it.
# SHAPES=L,XL chooses what is benched, ARCH=90 for which GPU is built (default: the one that is here).
set -u
cd "$(dirname "$0")/.." || exit 1
PYTHON=${PYTHON:-python3}
work=$PWD/build/gpu
out=${OUT:-$work}
begun=$(date +%s)
limit=${LIMIT:-570}
PATH=$PATH:/usr/local/cuda/bin:/usr/local/cuda/compute-sanitizer
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 PATH
export PARROT_CUDA="$work/libparrot_cuda.so" PARROT_TEST_GPU=1
mkdir -p "$work/bench" "$out" || exit 1

# ---- the steps; each is a shell of its own, in which any command that fails ends it

# The extension by hand: pip would want its build tools from the network.
build_extension() {
    if "$PYTHON" -c 'import parrot._native' 2>/dev/null; then return; fi
    include=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
    CC=${CC:-cc} sh tests/native/build.sh "$work/native" -O3
    ${CC:-cc} -shared -fPIC -O2 -fvisibility=hidden -I"$include" -Inative/include \
        native/python/_native.c "$work/native/libparrot.a" -Wl,--exclude-libs,ALL -lpthread -lm \
        -o parrot/_native.abi3.so
}

build() {
    rm -f "$PARROT_CUDA" # a step after a build that broke must not judge an older one
    nvidia-smi || echo "no nvidia-smi"
    nvcc --version
    found=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | sed -n '1s/\.//p')
    build_extension
    cmake -S . -B "$work/cmake" -DPARROT_CUDA=ON -DCMAKE_BUILD_TYPE=Release \
        -DCMAKE_CUDA_ARCHITECTURES="${ARCH:-${found:-native}}" -DCMAKE_CUDA_FLAGS="-Xptxas -v"
    cmake --build "$work/cmake" --target parrot_cuda -j "$(nproc)"
    cp "$work/cmake/libparrot_cuda.so" "$PARROT_CUDA"
    "$PYTHON" -c 'from parrot.engine.cuda_library import load_library; print(load_library())'
}

run_tests() {
    "$PYTHON" -m pytest -q -ra -W default tests/unit/test_cuda.py tests/unit/test_cuda_lives.py \
        tests/unit/test_cuda_gpu.py --durations=10
}

# Every kernel over small lives of odd sizes, and few models opened: opening is what takes long here.
under_sanitizer() { # TOOL OPTIONS...
    tool=$1
    shift
    compute-sanitizer --tool "$tool" --target-processes all --error-exitcode 9 --print-limit 50 "$@" \
        "$PYTHON" -m pytest -q -W default tests/unit/test_cuda_gpu.py -k every_kernel
    echo "$tool: no reports"
}

# The summary needs only what is in the file of lines: a bench that is cut off has a table all the same.
bench() {
    # shellcheck disable=SC2086 # an option and its value
    "$PYTHON" -m tools.bench_gpu --out "$work/bench" --seconds "${STEP_LIMIT:-3600}" \
        ${SHAPES:+--shapes $SHAPES}
}

if [ "${1:-}" = --inside ]; then
    set -e
    case $2 in
    build) build ;;
    test) run_tests ;;
    bench) bench ;;
    memcheck) under_sanitizer memcheck ;;
    racecheck) under_sanitizer racecheck --racecheck-report all ;;
    esac
    exit 0
fi

# ---- running them

failed=0
: >"$work/steps.txt"

trim() { # FILE: its beginning and end, where it is large
    size=$(wc -c <"$1")
    if [ "$size" -gt 2000000 ]; then
        { head -c 500000 "$1"; printf '\n... cut ...\n'; tail -c 1000000 "$1"; } >"$1.cut"
        mv "$1.cut" "$1"
    fi
}

# What was found so far, to summary.txt.
summarise() {
    {
        if [ -s "$work/bench/bench_gpu.jsonl" ]; then
            cp "$work/bench/bench_gpu.jsonl" "$out/bench_gpu.jsonl"
            # shellcheck disable=SC2086 # an option and its value
            "$PYTHON" -m tools.bench_gpu --out "$work/bench" --table ${SHAPES:+--shapes $SHAPES} 2>&1
        fi
        cat "$work/steps.txt"
    } >"$out/summary.txt"
}

step() { # NAME SECONDS: run it, within what is left
    name=$1
    left=$((limit - ($(date +%s) - begun) - 10)) # ten seconds for the summary
    most=$2
    if [ "$most" -gt "$left" ]; then most=$left; fi
    log=$out/$name.log
    if [ "$most" -lt 5 ]; then
        said="NOT RUN, no time was left; run: tools/bench_gpu.sh $3"
        failed=1
    elif [ "$name" != build ] && [ ! -e "$PARROT_CUDA" ]; then
        said="NOT RUN, the library is not built; run: tools/bench_gpu.sh build"
        failed=1
    else
        started=$(date +%s)
        status=0
        STEP_LIMIT=$((most - 5)) timeout -k 5 "$most" sh "$PWD/tools/bench_gpu.sh" --inside "$name" \
            >"$log" 2>&1 || status=$?
        took=$(($(date +%s) - started))
        trim "$log"
        case $status in
        0) said="passed in $took s: $(tail -n 1 "$log" | cut -c 1-200)" ;;
        124 | 137) said="CUT OFF after $took s; see $name.log" ;;
        *) said="FAILED with exit code $status after $took s; see $name.log" ;;
        esac
        if [ $status -ne 0 ]; then
            failed=1
            echo "---- the end of $name.log"
            tail -n 40 "$log"
        fi
    fi
    echo "$name: $said" >>"$work/steps.txt"
    summarise
}

[ $# -gt 0 ] || set -- build test bench sanitize
for wanted in "$@"; do
    case $wanted in
    build | test | bench | sanitize) ;;
    *)
        echo "usage: bench_gpu.sh [build|test|bench|sanitize]..." >&2
        exit 2
        ;;
    esac
done
for wanted in "$@"; do
    case $wanted in
    build) step build 150 build ;;
    test) step test 150 test ;;
    bench) step bench 220 bench ;;
    sanitize)
        step memcheck 100 sanitize
        step racecheck 100 sanitize
        ;;
    esac
done
echo "---- summary"
cat "$out/summary.txt"
exit $failed
