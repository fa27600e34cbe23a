#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A whole training run on a rented machine: no network, ten minutes a command, small files in and out.
#
#   tools/gpu_run.sh pack DATA PACKED              here: shards of tools.corpus -> parts of at most 15 MB
#   tools/gpu_run.sh run PACKED RECIPE WORK OUT    there: call it again until it exits 0
#
# `run` unpacks into WORK, trains for at most PARROT_SECONDS (540) and exits 3 when there is more to do. OUT receives what
# is worth bringing back, each file at most 16 MB: the checkpoint in parts, the network in f16, curves and samples.
# PARROT_TRAIN holds further options of tools.train (default: --device cuda --compile).
set -eu
PYTHON=${PYTHON:-python3}
PART=15000000

pack() {
    data=$1 packed=$2
    mkdir -p "$packed"
    rm -f "$packed"/data.tar.xz.*
    tar -C "$data" -chf - . | xz -T2 -6 | split -b $PART - "$packed/data.tar.xz."
    size=$(cat "$packed"/data.tar.xz.* | wc -c)
    if [ "$size" -gt 60000000 ]; then
        echo "$packed: holds $size bytes, expected at most 60,000,000; take a smaller corpus." >&2
        exit 1
    fi
    echo "$packed: $size bytes"
}

run() {
    packed=$1 recipe=$2 work=$3 out=$4
    mkdir -p "$work/run" "$out"
    if [ ! -e "$work/data/manifest.json" ]; then
        rm -rf "$work/data.part"
        mkdir -p "$work/data.part"
        cat "$packed"/data.tar.xz.* | xz -dc | tar -C "$work/data.part" -xf -
        mv "$work/data.part" "$work/data"
    fi
    if [ ! -e "$work/run/last.safetensors" ] && [ -e "$out/last.safetensors.aa" ]; then
        cat "$out"/last.safetensors.* > "$work/run/last.safetensors"  # a fresh machine goes on
        cp "$out/curve.csv" "$work/run/"
        [ ! -e "$out/heldout.csv" ] || cp "$out/heldout.csv" "$work/run/"
    fi
    status=0
    # shellcheck disable=SC2086 # options are words
    $PYTHON -m tools.train "$recipe" --data "$work/data" --out "$work/run" \
        --stop-after "${PARROT_SECONDS:-540}" ${PARROT_TRAIN:---device cuda --compile} || status=$?
    [ $status -eq 0 ] || [ $status -eq 3 ] || exit $status
    bring "$work/run" "$out"
    exit $status
}

# The checkpoint's parts get their final names only when all are written.
bring() {
    from=$1 out=$2
    rm -f "$out"/part.*
    split -b $PART "$from/last.safetensors" "$out/part."
    rm -f "$out"/last.safetensors.*
    for part in "$out"/part.*; do
        mv "$part" "$out/last.safetensors.${part##*.}"
    done
    cp "$from/curve.csv" "$from/curve.png" "$from/samples.txt" "$out/"
    [ ! -e "$from/heldout.csv" ] || cp "$from/heldout.csv" "$out/"
}

case ${1:-} in
pack) [ $# -eq 3 ] && pack "$2" "$3" ;;
run) [ $# -eq 5 ] && run "$2" "$3" "$4" "$5" ;;
*) false ;;
esac || {
    echo "usage: gpu_run.sh pack DATA PACKED | run PACKED RECIPE WORK OUT" >&2
    exit 2
}
