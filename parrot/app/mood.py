# SPDX-License-Identifier: Apache-2.0
"""How the parrot feels, and how well it foresees the talk.

examples:
  parrot mood
  parrot mood --json
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from parrot.app.options import add_soul_option, soul_path
from parrot.mind.hormones import HORMONES, level_at
from parrot.mind.soul import Soul

_RECENT = 100  # turns that the forecast is judged by


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_soul_option(parser)


def _foresight(soul: Soul) -> dict[str, Any]:
    """Return mean expected and found cross-entropy of the last turns, in nats a byte."""
    sums: dict[str, list[float]] = {}
    for i, turn in enumerate(soul.path_to(soul.tip)):
        if i == _RECENT:
            break
        for half in ("heard", "said"):
            expected = getattr(turn, f"{half}_expected")
            if expected is not None:
                sums.setdefault(f"{half}_expected", []).append(expected)
                sums.setdefault(f"{half}_surprise", []).append(getattr(turn, f"{half}_surprise"))
    return {name: sum(values) / len(values) for name, values in sums.items()}


def run(args: argparse.Namespace) -> int:
    with Soul.in_memory(soul_path(args)) as soul:
        levels, now_s = soul.levels(), time.time()
        mood = {name: level_at(name, levels, now_s) for name in HORMONES}
        foresight = _foresight(soul)
    if args.json:
        print(json.dumps({"hormones": mood, "nats_per_byte": foresight}))
        return 0
    for name, level in mood.items():
        print(f"{name:>10}  {'█' * round(level * 20):<20}  {level:.2f}")
    for half in ("heard", "said"):
        if f"{half}_expected" in foresight:
            expected, found = foresight[f"{half}_expected"], foresight[f"{half}_surprise"]
            print(f"{half:>10}  expected {expected:.2f}, found {found:.2f} nats a byte")
    return 0
