# SPDX-License-Identifier: Apache-2.0
"""Key to glass: `python -m tools.bench_hand [--presses N]`, one JSON line.

From the tick that reads a key to the last byte of its frame: processor time measured here, plus the
time its bytes take on a 400 kHz bus, counted by the model of the panel. A reply is being generated
all the while, in the loop's own thread, whose cost is therefore included.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time

from parrot.engine.model import Model
from tests.hardware.sim_driver import SimHand

KEYS = "23456789C*#AB"


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.bench_hand", description=__doc__)
    parser.add_argument("--presses", type=int, default=300)
    args = parser.parse_args(argv)
    sim, dice = SimHand(Model.open(threads=1)), random.Random(1)
    glass_ms, compute_ms = [], []
    for _ in range(args.presses):
        if not sim.hand.engine.is_busy:
            sim.hand.talk.say("Tell me a story.")
        sim.keypad.tap(dice.choice(KEYS))
        bus_ms, begun = sim.glass.bus_ms(), time.process_time()
        sim.hand.tick()
        compute_ms.append((time.process_time() - begun) * 1e3)
        glass_ms.append(compute_ms[-1] + sim.glass.bus_ms() - bus_ms)
        sim.wait(120)
    sim.close()
    at = int(0.95 * args.presses)
    figures = {
        "presses": args.presses,
        "key_to_glass_ms_p50": round(sorted(glass_ms)[args.presses // 2], 1),
        "key_to_glass_ms_p95": round(sorted(glass_ms)[at], 1),
        "compute_ms_p95": round(sorted(compute_ms)[at], 1),
    }
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
