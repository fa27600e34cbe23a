# SPDX-License-Identifier: Apache-2.0
"""What a training run computes on, and how it is asked to stop."""

from __future__ import annotations

import ctypes
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from parrot.base.errors import EngineError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt


@dataclass(frozen=True)
class Machine:
    """Where and how to compute."""

    device: str
    bf16: bool
    compile: bool = False  # on a GPU; a CPU has kernels of ours (tools.fused)

    def autocast(self) -> torch.autocast:
        kind = self.device.partition(":")[0]
        return torch.autocast(kind, torch.bfloat16, enabled=self.bf16)


def pick_machine(device: str, precision: str, compile_blocks: bool) -> Machine:
    """Where to compute. `auto` takes bf16 where the processor multiplies it in hardware."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise EngineError("--device cuda: PyTorch sees no GPU; install its driver, or use cpu.")
    cpu = torch.cpu
    fast = device != "cpu" or cpu._is_amx_tile_supported() or cpu._is_avx512_bf16_supported()
    if compile_blocks and device == "cpu":
        raise EngineError("--compile: the device is cpu, which has its own kernels; leave it away.")
    return Machine(device, precision == "bf16" or (precision == "auto" and fast), compile_blocks)


@contextmanager
def long_run() -> Iterator[None]:
    """Settle this process for hours of the same step.

    The C library (glibc; others cannot be told) keeps freed memory: each step asks for the same
    blocks again, and fetching them from the kernel anew costs a tenth of the time. Numbers too
    small for their exponent count as zero while this lasts: a fading state is full of them, and a
    processor takes a hundred times longer for each.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 1 << 30)
        mallopt(M_TRIM_THRESHOLD, 1 << 30)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set while this lasts."""
    stop, numbers = threading.Event(), (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: stop.set()) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
