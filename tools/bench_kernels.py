# SPDX-License-Identifier: Apache-2.0
"""What the training kernels of a CPU cost: nanoseconds of processor time a byte and head.

    python -m tools.bench_kernels [--rows 8] [--length 512] [--width 192]

bf16 between the products, one thread, medians of nine runs. Processor time leaves out what other
programs took, but not what they did to the caches: compare within one minute only.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from tools.fused import TimeMixCore, TokenMix
from tools.machine import long_run
from tools.wkv import HEAD

MIXES, STREAMS = 6, 8  # of a time-mix


def median_ns(work: Callable[[], object], n: int) -> float:
    times = []
    for _ in range(9):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return statistics.median(times) * 1e9 / n


def measure(B: int, T: int, C: int) -> dict[str, float]:
    """Forward and backward of both kernels, for (B, T, C)."""
    torch.manual_seed(0)
    H, bf16 = C // HEAD, torch.bfloat16
    n = B * T * H
    streams = [torch.randn(B, T, C).to(bf16).requires_grad_() for _ in range(STREAMS)]
    state, gates = torch.randn(B, H, HEAD, HEAD) * 0.1, torch.randn(8, C, requires_grad=True)
    x, delta = torch.randn(B, T, C, requires_grad=True), streams[0]
    shift, mixes = torch.randn(B, C), torch.randn(MIXES + 2, C, requires_grad=True)
    out, _ = TimeMixCore.apply(state, gates, *streams)
    total, _, *mixed = TokenMix.apply(x, delta, shift, mixes, bf16)
    back = [torch.randn(B, T, C), *(torch.randn(B, T, C).to(bf16) for _ in mixed)]

    def grad(outputs: list, inputs: list, given: list) -> Callable[[], object]:
        return lambda: torch.autograd.grad(outputs, inputs, given, retain_graph=True)

    return {
        "gates and WKV, forward": median_ns(lambda: TimeMixCore.apply(state, gates, *streams), n),
        "gates and WKV, backward": median_ns(grad([out], [gates, *streams], back[1:2]), n),
        "norms and mixes, forward": median_ns(
            lambda: TokenMix.apply(x, delta, shift, mixes, bf16), n
        ),
        "norms and mixes, backward": median_ns(grad([total, *mixed], [x, delta, mixes], back), n),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--width", type=int, default=192)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with long_run():
        for name, ns in measure(args.rows, args.length, args.width).items():
            print(f"{name:28} {ns:7.0f} ns")


if __name__ == "__main__":
    main()
