# SPDX-License-Identifier: Apache-2.0
"""Does a long life wear the state out? Bits per byte on a fixed talk, after ever more was lived.

The state lives held-out chatter, never the same twice; at every doubling a copy of it reads the
same fixed talk. The first line, after 4 kB, is the comparison: a state that has lived nothing does
not know yet what it is reading.

    python -m tools.bench_drift --mb 100
"""

from __future__ import annotations

import argparse
import json
import random
import time

import numpy as np

from parrot.engine.model import Model
from parrot.engine.state import State
from parrot.mind.turn import opening
from tools.chatter import chatter

_FIRST = 4_096


def framed(model: Model, n_bytes: int, seed: str) -> list[int]:
    tokens: list[int] = []
    for heard, said in chatter(n_bytes, random.Random(seed)):
        tokens += opening(model, 1, heard.encode(), b"")
        tokens += model.tokenizer.encode(said.encode() + b"\x03")
    return tokens


def bits_per_byte(model: Model, state: State, tokens: list[int]) -> float:
    """Return what the fixed talk costs a copy of `state`."""
    logits = model.forward(tokens, state.copy(), every=True)[:-1].astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    n_bytes = len(model.tokenizer.decode(tokens[1:]))
    return float(-log_p[np.arange(len(log_p)), tokens[1:]].sum() / np.log(2) / n_bytes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mb", type=float, default=1.0, help="to live")
    parser.add_argument("--fixed", type=int, default=8_192, help="bytes of the fixed talk")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model")
    args = parser.parse_args()
    model = Model.open(args.model, threads=args.threads)
    fixed, state = framed(model, args.fixed, "fixed"), model.new_state()
    due, first, part, begun = _FIRST, None, 0, time.monotonic()
    while state.position < args.mb * 1e6:
        model.forward(framed(model, min(due - state.position, 16_384), f"part {part}"), state)
        part += 1
        if state.position >= due or state.position >= args.mb * 1e6:
            bits = bits_per_byte(model, state, fixed)
            first = bits if first is None else first
            figures = {
                "lived": state.position,
                "bits_per_byte": round(bits, 4),
                "more_than_first": round(bits - first, 4),
                "state_norm": round(float(np.linalg.norm(state.payload)), 2),
                "seconds": round(time.monotonic() - begun),
            }
            print(json.dumps(figures), flush=True)
            due *= 2


if __name__ == "__main__":
    main()
