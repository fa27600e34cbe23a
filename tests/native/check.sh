#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The part of `make check` that is about C: warnings as errors, the C tests under AddressSanitizer and
# UndefinedBehaviorSanitizer, the threads under ThreadSanitizer, then a minute of fuzzing.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
out=$root/build/check
here=$root/tests/native
cmake=$(command -v cmake || true)
for cc in gcc clang; do
    command -v $cc >/dev/null || { echo "check: no $cc here, skipped its warnings"; continue; }
    if [ -n "$cmake" ]; then
        echo "check: warnings of $cc"
        cmake -S "$root" -B "$out/$cc" -DPARROT_WERROR=ON -DCMAKE_C_COMPILER=$cc >/dev/null
        cmake --build "$out/$cc" >"$out/$cc.log" || { cat "$out/$cc.log" >&2; exit 1; }
    else
        echo "check: no cmake here, warnings of $cc without it"
        CC=$cc sh "$here/build.sh" "$out/$cc" -O3 -Werror
    fi
done

cc=cc
command -v clang >/dev/null && cc=clang
sanitized() {  # NAME FLAGS TEST...
    echo "check: $1 with $cc"
    flags="-g -O1 -fno-omit-frame-pointer $2"
    # shellcheck disable=SC2086 # a list of flags is words
    CC=$cc sh "$here/build.sh" "$out/$1" $flags
    dir=$out/$1
    shift 2
    CC=$cc sh "$here/test.sh" "$dir" "$flags" "$@"
}
sanitized address "-fsanitize=address,undefined -fno-sanitize-recover=all"
sanitized thread "-fsanitize=thread" threads

if command -v clang >/dev/null; then
    sh "$here/fuzz.sh" "${SECONDS_TO_FUZZ:-60}"
else
    echo "check: fuzzing skipped, it needs clang; apt install clang libclang-rt-14-dev"
fi
