# SPDX-License-Identifier: Apache-2.0
"""Time our own engine through its public API: `python -m tools.peers.ours decode MODEL 1 0.4`.

The arguments and the JSON printed are those of `llama_bench.c`. A process per measurement, as for
the peers, so that no engine profits from another's warm caches or idle threads.
"""

from __future__ import annotations

import argparse
import json
import time

import parrot
from tools.peers.calls import time_calls


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.peers.ours", description=__doc__)
    parser.add_argument("work", choices=("decode", "prefill"))
    parser.add_argument("model")
    parser.add_argument("threads", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("n_tokens", type=int, nargs="?", default=1)
    args = parser.parse_args()
    start_s = time.perf_counter()
    model = parrot.Model.open(args.model, threads=args.threads)
    state = model.new_state()
    open_s = time.perf_counter() - start_s

    def renew() -> None:
        nonlocal state
        state = model.new_state()

    def keep() -> None:
        pass

    calls_us = time_calls(
        lambda tokens: model.forward(tokens, state),
        args.n_tokens,
        args.seconds,
        renew if args.work == "prefill" else keep,
    )
    print(
        json.dumps({"tokens_per_call": args.n_tokens, "open_ms": 1e3 * open_s, "call_us": calls_us})
    )


if __name__ == "__main__":
    main()
