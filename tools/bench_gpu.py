# SPDX-License-Identifier: Apache-2.0
"""Measure the CUDA path on the GPU at hand: tools/bench_gpu.sh runs it.

Random Q8_0 models of every shape. Decoding, batches and prefill are timed by the device's events,
what travels included, twice: over one model, whose weights may stay in the L2 cache as they do in
use (hot), and over copies in turn, twice the cache in all (cold). The same is timed by the host's
clock as Python sees it, and so are replies and states. The floor is the copy bandwidth of the same
run, for prefill PyTorch's rate of f16 products (ours are three of them a weight); the peer is
PyTorch replaying a CUDA graph of the step. Writes one JSON line a shape as soon as
it is measured, prints a table last; what cannot be measured is named and the rest goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from parrot.engine.cuda import CudaModel, CudaState
from parrot.engine.model import Model
from parrot.model.codec import F32Array, TensorType
from parrot.model.convert import lazy_source
from parrot.model.random_model import SHAPES, made_up_vocabulary, random_checkpoint
from parrot.model.shape import Shape
from parrot.model.weights import write_model

# Those that have a number to reach come first: time may run out.
ALL = {
    **{name: SHAPES[name] for name in ("L", "XL")},
    "1.5B": Shape.standard(24, 2048, n_vocab=65_536),
    **{name: SHAPES[name] for name in ("S", "M", "XL64k")},
}
BATCHES = (8, 32, 256)
PREFILL_LEN = 1024
COPIES_MAX = 24
COPY_SIZE = 1 << 30
LINES = "bench_gpu.jsonl"
SHAPE_MAX_S = 150.0
STEPS, BATCH_STEPS, PREFILLS, REPLY_LEN = 200, 20, 10, 1000  # of one timing
# Numbers to reach on an H100: (shape, key, at least).
WANTED = [
    ("L", "decode_hot_per_s", 5_000.0),
    ("L", "times_peer", 5.0),
    ("1.5B", "copy_share", 0.6),
    ("L", "batch_256_per_s", 300_000.0),
    ("XL", "prefill_per_s", 150_000.0),
    ("L", "state_ms_inverse", 0.5),
]


def write_repeating_model(path: Path, shape: Shape, kind: TensorType) -> None:
    """Write a random model whose layers from the second on are alike: as fast to draw as two."""
    drawn = random_checkpoint(Shape(**{**vars(shape), "n_layer": min(2, shape.n_layer)}))
    source: dict[str, str] = {}
    for name in drawn:
        block, number, *rest = name.split(".")
        is_layer = block == "blocks" and number == "1"
        for layer in range(1, shape.n_layer) if is_layer else [0]:
            source[".".join([block, str(layer), *rest]) if is_layer else name] = name

    def load(name: str) -> F32Array:
        return drawn[source[name]]

    dims = {name: tuple(drawn[real].shape) for name, real in source.items()}
    write_model(path, lazy_source(dims, load, made_up_vocabulary(shape.n_vocab)), kind)


def seconds(work: Callable[[], object], seconds_min: float) -> float:
    """Median seconds of a call, warmed up, over at least `seconds_min` and five calls."""
    work()
    times: list[float] = []
    while len(times) < 5 or sum(times) < seconds_min:
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def device_us(cudas: list[CudaModel], n_states: int, n_tokens: int, n: int) -> float:
    """Microseconds of a call by the device's clock, the models in turn; the median of five runs.

    `n_states` lives of each model, `n_tokens` bytes each. Raises: RuntimeError if it cannot run.
    """
    lives = [cuda.new_life() for cuda in cudas for _ in range(n_states)]
    models = np.array([cuda.handle.value for cuda in cudas], np.uintp)
    states = np.array([life.handle.value for life in lives], np.uintp)
    tokens = (np.arange(n_states * n_tokens) % 256).astype(np.int32)
    counts = np.full(n_states, n_tokens, np.int32)

    def run() -> float:
        us = float(
            cudas[0].library.parrot_cuda_forward_us(
                models.ctypes.data, len(models), states.ctypes.data, tokens.ctypes.data,
                counts.ctypes.data, n_states, max(n, len(models)),
            )
        )  # fmt: skip
        if us <= 0:
            raise RuntimeError(f"{n_states} lives of {n_tokens} tokens: the device gave no time")
        return us

    return statistics.median(run() for _ in range(5))


def reply_per_s(model: Model, n: int) -> float:
    """Tokens per second of a streamed reply, all that Python does included."""
    state = model.new_state()
    model.forward([65], state)
    if model.is_bytes:
        return n / seconds(
            lambda: list(model.generate(state, temperature=1.0, stop=b"", max_bytes=n)), 1.0
        )
    return 1 / seconds(lambda: model.forward([65], state), 1.0)


def state_ms(model: Model) -> tuple[float, float]:
    """Milliseconds to take a state there, and to bring it back."""
    state = model.new_state()
    assert isinstance(state, CudaState)
    life, payload = state.board(), np.zeros(model.describe()["state_len"], np.float32)
    return (
        1e3 * seconds(lambda: life.upload(payload), 0.2),
        1e3 * seconds(lambda: life.download(payload), 0.2),
    )


# ---- what is measured of a shape; each part adds to `row`, and may fail alone


def measure_decode(model: Model, others: list[CudaModel], row: dict[str, Any]) -> None:
    cuda = model.cuda
    assert cuda is not None
    row["decode_hot_us"] = device_us([cuda], 1, 1, STEPS)
    row["decode_hot_per_s"] = 1e6 / row["decode_hot_us"]
    row["decode_cold_us"] = device_us([cuda, *others], 1, 1, STEPS)
    read = row["bytes_per_token"] / (row["decode_cold_us"] * 1e-6)
    row["copy_share"] = read / row["copy_per_s"]


def measure_batches(model: Model, others: list[CudaModel], row: dict[str, Any]) -> None:
    cuda, tokens = model.cuda, [i % 256 for i in range(max(BATCHES))]
    assert cuda is not None
    for n in BATCHES:
        row[f"batch_{n}_per_s"] = n / (1e-6 * device_us([cuda], n, 1, BATCH_STEPS))
        moved = row["bytes_per_token"] / n + 8 * model.describe()["state_len"]  # there and back
        row[f"batch_{n}_share"] = moved * row[f"batch_{n}_per_s"] / row["copy_per_s"]
        row[f"batch_{n}_cold_per_s"] = n / (1e-6 * device_us([cuda, *others], n, 1, BATCH_STEPS))
        states = [model.new_state() for _ in range(n)]
        step = seconds(lambda n=n, states=states: model.forward_batch(tokens[:n], states), 0.3)
        row[f"batch_{n}_host_per_s"] = n / step


def measure_prefill(model: Model, others: list[CudaModel], row: dict[str, Any]) -> None:
    cuda, tokens, state = model.cuda, [i % 256 for i in range(PREFILL_LEN)], model.new_state()
    assert cuda is not None
    row["prefill_per_s"] = PREFILL_LEN / (1e-6 * device_us([cuda], 1, PREFILL_LEN, PREFILLS))
    cold = device_us([cuda, *others], 1, PREFILL_LEN, PREFILLS)
    row["prefill_cold_per_s"] = PREFILL_LEN / (1e-6 * cold)
    row["prefill_host_per_s"] = PREFILL_LEN / seconds(lambda: model.forward(tokens, state), 0.3)


def measure_reply(model: Model, others: list[CudaModel], row: dict[str, Any]) -> None:
    row["reply_per_s"] = reply_per_s(model, REPLY_LEN)


def measure_states(model: Model, others: list[CudaModel], row: dict[str, Any]) -> None:
    row["up_ms"], row["down_ms"] = state_ms(model)
    row["state_ms_inverse"] = 1 / max(row["up_ms"], row["down_ms"])


def measure_peer(path: Path, row: dict[str, Any]) -> None:
    import torch

    from tools.peers.rwkv_graph import multiply_per_s, step_us

    row["peer_us"] = step_us(path)
    row["times_peer"] = row["peer_us"] / row["decode_hot_us"]
    row["torch"] = torch.__version__
    row["multiply_per_s"] = multiply_per_s()
    n_weights = row["bytes_per_token"] * 32 / 34  # a block of Q8_0
    row["prefill_share"] = n_weights * row["prefill_per_s"] / row["multiply_per_s"]
    torch.cuda.empty_cache()


def attempt(row: dict[str, Any], what: str, work: Callable[[], None]) -> None:
    """Run one part; what it says on failing is kept in the row."""
    try:
        work()
    except Exception as exc:  # a part that breaks, whatever of, must not take the others along
        row.setdefault("broken", {})[what] = f"{type(exc).__name__}: {exc}"
        print(f"{row['shape']}, {what}: {type(exc).__name__}: {exc}", file=sys.stderr, flush=True)


PARTS: list[Callable[[Model, list[CudaModel], dict[str, Any]], None]] = [
    measure_decode,
    measure_prefill,
    measure_batches,
    measure_reply,
    measure_states,
]


def measure_ours(path: Path, row: dict[str, Any]) -> None:
    model = Model.open(path, device="cuda:0")
    cuda = model.cuda
    assert cuda is not None
    about, read = cuda.describe(), model.describe()["bytes_per_token"]
    row |= {"gpu": about, "bytes_per_token": read, "copy_per_s": cuda.copy_bandwidth(COPY_SIZE)}
    row["copies"] = min(COPIES_MAX, max(1, -(-2 * about["l2_mb"] * 1_000_000 // read)))
    others = [CudaModel(path, "cuda:0") for _ in range(row["copies"] - 1)]
    for part in PARTS:
        attempt(row, part.__name__, lambda part=part: part(model, others, row))


def measure(name: str, folder: Path, has_peer: bool) -> dict[str, Any]:
    path, row = folder / f"{name}.gguf", {"shape": name}
    if not path.exists():
        write_repeating_model(path, ALL[name], TensorType.Q8_0)
    measure_ours(path, row)
    save(row, folder)
    if has_peer:
        attempt(row, "peer", lambda: measure_peer(path, row))
        save(row, folder)  # the later line of a shape counts: a peer that hangs leaves the first
    return row


def save(row: dict[str, Any], folder: Path) -> None:
    with open(folder / LINES, "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def saved(folder: Path) -> list[dict[str, Any]]:
    path = folder / LINES
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return list({row["shape"]: row for row in map(json.loads, lines)}.values())


def measure_apart(name: str, args: argparse.Namespace, limit_s: float) -> None:
    """Measure a shape in a process of its own: one that hangs, or loses its GPU, ends alone."""
    print(f"{name}: writing, then measuring", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "tools.bench_gpu", "--out", str(args.out), "--one", name]
    try:
        subprocess.run([*command, *(["--no-peer"] if args.no_peer else [])], timeout=limit_s)
    except subprocess.TimeoutExpired:
        print(f"{name}: not measured within {limit_s:.0f} s", file=sys.stderr, flush=True)


# ---- what is said of it


def figure(row: dict[str, Any], key: str, form: str) -> str:
    return format(row[key], form) if key in row else "–"


def table_row(row: dict[str, Any]) -> str:
    batches = " | ".join(figure(row, f"batch_{n}_per_s", ",.0f") for n in BATCHES)
    return (
        f"| {row['shape']} | {row['bytes_per_token'] / 1e6:.1f} "
        f"| {figure(row, 'decode_hot_us', '.0f')} / {figure(row, 'decode_cold_us', '.0f')} "
        f"| {figure(row, 'copy_share', '.0%')} | {figure(row, 'reply_per_s', ',.0f')} "
        f"| {figure(row, 'peer_us', ',.0f')} | {figure(row, 'times_peer', '.1f')} "
        f"| {batches} | {figure(row, f'batch_{BATCHES[-1]}_share', '.0%')} "
        f"| {figure(row, f'batch_{BATCHES[-1]}_host_per_s', ',.0f')} "
        f"| {figure(row, 'prefill_per_s', ',.0f')} / "
        f"{figure(row, 'prefill_cold_per_s', ',.0f')} | {figure(row, 'prefill_share', '.0%')} "
        f"| {figure(row, 'prefill_host_per_s', ',.0f')} "
        f"| {figure(row, 'up_ms', '.2f')} / {figure(row, 'down_ms', '.2f')} |"
    )


def verdicts(rows: list[dict[str, Any]]) -> list[str]:
    """One line a number to reach."""
    lines = []
    by_shape = {row["shape"]: row for row in rows}
    for shape, key, least in WANTED:
        seen = by_shape.get(shape, {}).get(key)
        if seen is None:
            lines.append(f"UNMEASURED: {shape} {key}, wanted {least:,.2f}")
        else:
            verdict = "reached" if seen >= least else "MISSED"
            lines.append(f"{verdict}: {shape} {key} {seen:,.2f}, wanted {least:,.2f}")
    return lines


def table(rows: list[dict[str, Any]], left_out: list[str]) -> list[str]:
    gpu = rows[0]["gpu"]
    lines = [
        f"{gpu['name']}, compute capability {gpu['capability']}, {gpu['processors']} "
        f"multiprocessors, L2 {gpu['l2_mb']} MB, driver for CUDA {gpu['driver']}, copy "
        f"{rows[0]['copy_per_s'] / 1e9:,.0f} GB/s",
        "",
        "| shape | MB a token | decode, us hot / cold | of the copy bound | reply/s | peer, us | "
        "ours is faster | batch 8 | 32 | 256, tokens/s | of the copy bound | as Python sees it | "
        "prefill 1,024 hot / cold | of f16 products | as Python sees it | state up / down, ms |",
        "|---|" + "---:|" * 15,
    ]
    lines += [*map(table_row, rows), "", *verdicts(rows)]
    for row in rows:
        lines += [f"BROKEN: {row['shape']} {k}: {v}" for k, v in row.get("broken", {}).items()]
    if left_out:
        lines.append(f"LEFT OUT: {', '.join(left_out)}; run: SHAPES={','.join(left_out)} "
                     "tools/bench_gpu.sh bench")  # fmt: skip
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.bench_gpu", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--shapes", default=",".join(ALL), metavar="S,M,...")
    parser.add_argument("--no-peer", action="store_true", help="without PyTorch")
    parser.add_argument(
        "--seconds", type=float, default=3600.0, metavar="N", help="for all shapes; default: 3600"
    )
    parser.add_argument("--one", metavar="SHAPE", help="measure it in this process, print nothing")
    parser.add_argument("--table", action="store_true", help="print what was measured before")
    args = parser.parse_args()
    ends = time.monotonic() + args.seconds
    if args.one:
        measure(args.one, args.out, not args.no_peer)
        return 0
    args.out.mkdir(parents=True, exist_ok=True)
    names = args.shapes.split(",")
    if not args.table:
        (args.out / LINES).write_text("")
    for name in [] if args.table else names:
        if (left := min(SHAPE_MAX_S, ends - time.monotonic())) > 0:
            measure_apart(name, args, left)
    rows = saved(args.out)
    left_out = [name for name in names if name not in {row["shape"] for row in rows}]
    print("\n".join(table(rows, left_out)) if rows else "nothing could be measured")
    return 1 if left_out or any("broken" in row for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
