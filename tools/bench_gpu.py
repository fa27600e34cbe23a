# SPDX-License-Identifier: Apache-2.0
"""Measure the CUDA path on the GPU at hand: tools/bench_gpu.sh runs it.

Random Q8_0 models of every shape. Decoding is timed by the device's events, twice: over one model,
whose weights may stay in the L2 cache as they do in use, and over copies in turn, twice the cache
in all. Batches, prefill and replies are timed by the host's clock, copies of tokens and logits
included. The floor is the copy bandwidth of the same run; the peer is PyTorch replaying a CUDA
graph of the step. Writes one JSON line a shape, prints a table last.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from ctypes import c_void_p
from pathlib import Path
from typing import Any

import numpy as np

from parrot.base.errors import ParrotError
from parrot.engine.cuda import CudaModel
from parrot.engine.model import Model
from parrot.model.codec import F32Array, TensorType
from parrot.model.convert import lazy_source
from parrot.model.random_model import SHAPES, made_up_vocabulary, random_checkpoint
from parrot.model.shape import Shape
from parrot.model.weights import write_model

ALL = {**SHAPES, "1.5B": Shape.standard(24, 2048, n_vocab=65_536)}
BATCHES = (8, 32, 256)
PREFILL_LEN = 1024
COPIES_MAX = 24
COPY_SIZE = 1 << 30
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


def decode_us(cudas: list[CudaModel], n: int) -> float:
    """Microseconds of a step by the device's clock, the models in turn; the median of five runs."""
    lives = [cuda.new_life() for cuda in cudas]
    handles = (c_void_p * len(cudas))(*(cuda.handle.value for cuda in cudas))
    states = (c_void_p * len(cudas))(*(life.handle.value for life in lives))
    steps_us = cudas[0].library.parrot_cuda_steps_us
    return statistics.median(steps_us(handles, states, len(cudas), n) for _ in range(5))


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
    life, payload = state.board(), np.zeros(model.describe()["state_len"], np.float32)
    return (
        1e3 * seconds(lambda: life.upload(payload), 0.2),
        1e3 * seconds(lambda: life.download(payload), 0.2),
    )


def measure_peer(path: Path, row: dict[str, Any]) -> None:
    import torch

    from tools.peers.rwkv_graph import step_us

    row["peer_us"] = step_us(path)
    row["times_peer"] = row["peer_us"] / row["decode_hot_us"]
    row["torch"] = torch.__version__
    torch.cuda.empty_cache()


def measure_wide(model: Model, row: dict[str, Any]) -> None:
    tokens = [i % 256 for i in range(PREFILL_LEN)]
    for n in BATCHES:
        states = [model.new_state() for _ in range(n)]
        step = seconds(lambda n=n, states=states: model.forward_batch(tokens[:n], states), 0.5)
        row[f"batch_{n}_per_s"] = n / step
    state = model.new_state()
    row["prefill_per_s"] = PREFILL_LEN / seconds(lambda: model.forward(tokens, state), 0.5)


def measure(name: str, path: Path, has_peer: bool) -> dict[str, Any]:
    model = Model.open(path, device="cuda:0")
    cuda = model.cuda
    assert cuda is not None
    about, read = cuda.describe(), model.describe()["bytes_per_token"]
    row: dict[str, Any] = {"shape": name, "gpu": about, "bytes_per_token": read}
    row["copy_per_s"] = cuda.copy_bandwidth(COPY_SIZE)
    row["decode_hot_us"] = decode_us([cuda], 200)
    row["decode_hot_per_s"] = 1e6 / row["decode_hot_us"]
    n_copies = min(COPIES_MAX, max(1, -(-2 * about["l2_mb"] * 1_000_000 // read)))
    others = [CudaModel(path, "cuda:0") for _ in range(n_copies - 1)]
    row["decode_cold_us"], row["copies"] = decode_us([cuda, *others], 200), n_copies
    del others
    row["copy_share"] = read / (row["decode_cold_us"] * 1e-6) / row["copy_per_s"]
    row["reply_per_s"] = reply_per_s(model, 1000)
    measure_wide(model, row)
    row["up_ms"], row["down_ms"] = state_ms(model)
    row["state_ms_inverse"] = 1 / max(row["up_ms"], row["down_ms"])
    del model, cuda
    if has_peer:
        measure_peer(path, row)
    return row


def table(rows: list[dict[str, Any]]) -> list[str]:
    gpu = rows[0]["gpu"]
    lines = [
        f"{gpu['name']}, compute capability {gpu['capability']}, {gpu['processors']} "
        f"multiprocessors, L2 {gpu['l2_mb']} MB, driver for CUDA {gpu['driver']}, copy "
        f"{rows[0]['copy_per_s'] / 1e9:,.0f} GB/s",
        "",
        "| shape | MB a token | decode, us hot / cold | of the copy bound | reply/s | peer, us | "
        "ours is faster | batch 8 | 32 | 256, tokens/s | prefill 1,024 | state up / down, ms |",
        "|---|" + "---:|" * 11,
    ]
    for row in rows:
        peer = f"{row['peer_us']:,.0f} | {row['times_peer']:.1f} x" if "peer_us" in row else "- | -"
        batches = " | ".join(f"{row[f'batch_{n}_per_s']:,.0f}" for n in BATCHES)
        lines.append(
            f"| {row['shape']} | {row['bytes_per_token'] / 1e6:.1f} | {row['decode_hot_us']:.0f} / "
            f"{row['decode_cold_us']:.0f} | {row['copy_share']:.0%} | {row['reply_per_s']:,.0f} | "
            f"{peer} | {batches} | {row['prefill_per_s']:,.0f} | "
            f"{row['up_ms']:.2f} / {row['down_ms']:.2f} |"
        )
    by_shape = {row["shape"]: row for row in rows}
    for shape, key, least in WANTED:
        if key in by_shape.get(shape, {}):
            seen = by_shape[shape][key]
            verdict = "reached" if seen >= least else "MISSED"
            lines.append(f"{verdict}: {shape} {key} {seen:,.2f}, wanted {least:,.2f}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.bench_gpu", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--shapes", default=",".join(ALL), metavar="S,M,...")
    parser.add_argument("--no-peer", action="store_true", help="without PyTorch")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in args.shapes.split(","):
        path = args.out / f"{name}.gguf"
        print(f"{name}: writing, then measuring", file=sys.stderr, flush=True)
        try:
            if not path.exists():
                write_repeating_model(path, ALL[name], TensorType.Q8_0)
            rows.append(measure(name, path, not args.no_peer))
        except ParrotError as exc:
            print(f"{name}: {exc}", file=sys.stderr)
            continue
        with open(args.out / "bench_gpu.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(rows[-1]) + "\n")
    print("\n".join(table(rows)) if rows else "nothing could be measured")
    return 0 if len(rows) == len(args.shapes.split(",")) else 1


if __name__ == "__main__":
    sys.exit(main())
