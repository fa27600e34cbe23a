# SPDX-License-Identifier: Apache-2.0
"""Time the PyPI package `rwkv`: `python -m tools.peers.rwkv_torch decode MODEL.pth 1 0.4`.

It is the reference implementation (PyTorch, float32 weights), for context: what a person gets who
installs the obvious package. The arguments and the JSON printed are those of `llama_bench.c`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from pathlib import Path

import torch

from tools.peers.calls import time_calls


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.peers.rwkv_torch", description=__doc__)
    parser.add_argument("work", choices=("decode", "prefill"))
    parser.add_argument("model", type=Path)
    parser.add_argument("threads", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("n_tokens", type=int, nargs="?", default=1)
    args = parser.parse_args()
    # Read by rwkv.model when it is imported.
    os.environ.update(RWKV_V7_ON="1", RWKV_JIT_ON="1", RWKV_CUDA_ON="0")
    torch.set_num_threads(args.threads)
    torch.set_grad_enabled(False)
    start_s = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):  # it prints a banner and every tensor
        from rwkv.model import RWKV

        model = RWKV(model=str(args.model.with_suffix("")), strategy="cpu fp32")
    open_s = time.perf_counter() - start_s
    state = None

    def feed(tokens: list[int]) -> None:
        nonlocal state
        _, state = model.forward(tokens, state)

    def reset() -> None:
        nonlocal state
        if args.work == "prefill":
            state = None

    for _ in range(8):  # TorchScript compiles during the first calls
        feed([1] * args.n_tokens)
    calls_us = time_calls(feed, args.n_tokens, args.seconds, reset)
    print(
        json.dumps({"tokens_per_call": args.n_tokens, "open_ms": 1e3 * open_s, "call_us": calls_us})
    )


if __name__ == "__main__":
    main()
