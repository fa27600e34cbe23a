# SPDX-License-Identifier: Apache-2.0
"""Run engines and the bandwidth probe in turn, a process each, on the same random models."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from parrot.base.files import file_error
from parrot.model.codec import TensorType
from parrot.model.gguf import read_gguf
from parrot.model.random_model import SHAPES, random_checkpoint, write_random_model
from tools.peers.build import PeerError, PeerFolder, last_line
from tools.peers.verdict import LLAMA_F16, LLAMA_Q8, LLAMA_Q8_ALL, OURS, RWKV, Round, rate_per_s

PREFILL_TOKENS = 512
DRAM_BYTES = 1 << 29  # beyond the last-level cache of any machine parrot runs on
# Types of the matrices and of the thin LoRA ones: llama.cpp's own Q8_0, ours, and half precision.
MODEL_TYPES = {
    "q8_0": (TensorType.Q8_0, TensorType.F16),
    "q8_all": (TensorType.Q8_0, TensorType.Q8_0),
    "f16": (TensorType.F16, TensorType.F16),
}

# The engines that take part, and what each is asked to do.
WORKS = {
    "decode": (OURS, LLAMA_Q8, LLAMA_Q8_ALL, RWKV),
    "prefill": (OURS, LLAMA_Q8, LLAMA_Q8_ALL, LLAMA_F16),
}


@dataclass(frozen=True)
class Plan:
    """What is to be measured. `engines` is a subset of "ours", "llama" and "rwkv"."""

    peers: PeerFolder
    engines: Sequence[str]
    shapes: Sequence[str]
    threads: Sequence[int]
    n_rounds: int
    seconds: float


def write_models(plan: Plan, shape: str) -> int:
    """Write the files of a shape that are missing; return the bytes one token reads of `q8_all`.

    Raises: FileError from the disk.
    """
    for name, (matrix, lora) in MODEL_TYPES.items():
        path = model_path(plan.peers, shape, name)
        if not path.exists():
            write_random_model(path, SHAPES[shape], matrix=matrix, lora=lora)
    checkpoint = plan.peers.models / f"{shape}.pth"
    if "rwkv" in plan.engines and not checkpoint.exists():
        write_checkpoint(checkpoint, shape)
    return bytes_per_token(model_path(plan.peers, shape, "q8_all"))


def write_checkpoint(path: Path, shape: str) -> None:
    """Write the same weights as the model files, as a training checkpoint for `rwkv`."""
    try:
        import torch
    except ImportError as exc:
        raise PeerError("rwkv: PyTorch is missing; run: pip install torch rwkv.") from exc
    weights = random_checkpoint(SHAPES[shape])
    part = path.with_suffix(".part")
    try:
        torch.save({name: torch.from_numpy(array) for name, array in weights.items()}, part)
        os.replace(part, path)
    except OSError as exc:
        raise file_error(path, exc, "written") from exc


def model_path(peers: PeerFolder, shape: str, kind: str) -> Path:
    return peers.models / f"{shape}.{kind}.gguf"


def bytes_per_token(path: Path) -> int:
    """Return how many bytes of a model file decoding one token must read.

    That is every tensor, but of the embedding one row, and nothing of the value residual that
    layer 0 stores for llama.cpp and no engine reads.
    """
    total = 0
    for name, entry in read_gguf(path).tensors.items():
        if name == "token_embd.weight":
            total += entry.size // entry.dims[0]
        elif not name.startswith("blk.0.time_mix_v") or name == "blk.0.time_mix_value.weight":
            total += entry.size
    return total


def commands(plan: Plan, shape: str, n_threads: int) -> list[tuple[str, str, list[str]]]:
    """Return (work, engine, command) for all that one round does with a shape."""
    q8, q8_all, f16 = (str(model_path(plan.peers, shape, kind)) for kind in MODEL_TYPES)
    llama = [str(plan.peers.llama_bench)]
    drivers = {
        OURS: ("ours", [sys.executable, "-m", "tools.peers.ours"], q8_all),
        LLAMA_Q8: ("llama", llama, q8),
        LLAMA_Q8_ALL: ("llama", llama, q8_all),
        LLAMA_F16: ("llama", llama, f16),
        RWKV: (
            "rwkv",
            [sys.executable, "-m", "tools.peers.rwkv_torch"],
            str(plan.peers.models / f"{shape}.pth"),
        ),
    }
    found = []
    for work, engines in WORKS.items():
        for engine in engines:
            family, driver, model = drivers[engine]
            if family in plan.engines:
                command = [*driver, work, model, str(n_threads), str(plan.seconds)]
                count = [str(PREFILL_TOKENS)] if work == "prefill" else []
                found.append((work, engine, command + count))
    return found


def run_rounds(plan: Plan, weights: Mapping[str, int]) -> Iterator[Round]:
    """Yield a Round per shape and number of threads, all of them `n_rounds` times over.

    Every second round runs backwards, so that a machine that slows down favours nobody.
    """
    for n in range(plan.n_rounds):
        for shape in plan.shapes:
            for n_threads in plan.threads:
                turn = commands(plan, shape, n_threads)[:: -1 if n % 2 else 1]
                yield run_round(plan, shape, n_threads, weights[shape], turn)


def run_round(
    plan: Plan,
    shape: str,
    n_threads: int,
    bytes_per_token: int,
    turn: Sequence[tuple[str, str, list[str]]],
) -> Round:
    """Measure the bandwidth and then every engine once."""
    dram, bandwidth = (
        bandwidth_gb_s(plan.peers, size, n_threads) for size in (DRAM_BYTES, bytes_per_token)
    )
    rates: dict[str, dict[str, float]] = {}
    for work, engine, command in turn:
        report = run_driver(command, f"{engine}, {shape}", plan.peers.cpu)
        rates.setdefault(work, {})[engine] = rate_per_s(report)
    return Round(shape, n_threads, bytes_per_token, bandwidth, dram, rates)


def bandwidth_gb_s(peers: PeerFolder, n_bytes: int, n_threads: int) -> float:
    """Return what the probe reads of a buffer of `n_bytes` in a quarter of a second."""
    command = [str(peers.membw), str(n_bytes), str(n_threads), "0.25"]
    report = run_driver(command, "membw", peers.cpu)
    value = report["gb_s"]
    assert isinstance(value, float) and math.isfinite(value)
    return value


def run_driver(command: Sequence[str], name: str, cpu: str) -> Mapping[str, object]:
    """Run a measuring program and return the JSON object it prints.

    Our engine is held to the CPU class that llama.cpp was built for, through PARROT_CPU.
    Raises: PeerError with the program's own last words.
    """
    environment = os.environ | ({"PARROT_CPU": cpu} if cpu != "native" else {})
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise PeerError(
            f"{name}: ended with code {done.returncode} ({last_line(done.stderr)}); "
            f"run it alone to see why: {' '.join(command)}"
        )
    report = json.loads(done.stdout)
    assert isinstance(report, dict)
    return report
