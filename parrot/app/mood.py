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
from parrot.mind.confidence import calibrate, foreseen, recent_turns, sureness
from parrot.mind.hormones import HORMONES, level_at
from parrot.mind.soul import Soul


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_soul_option(parser)


def _foresight(soul: Soul) -> dict[str, Any]:
    """Return, for what was heard and said lately, mean entropy, what was found, and the forecast
    for the next turn, in nats a byte; and how sure of itself that makes the parrot, 0 … 1."""
    figures: dict[str, Any] = {}
    turns = recent_turns(soul)
    for half in ("heard", "said"):
        pairs = foreseen(turns, half)
        if pairs:
            expected = sum(e for e, _ in pairs) / len(pairs)
            figures[f"{half}_expected"] = expected
            figures[f"{half}_surprise"] = sum(found for _, found in pairs) / len(pairs)
            if half == "heard":
                figures["forecast"] = calibrate(pairs).forecast(expected)
                figures["confidence"] = sureness(turns)
    return figures


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
    if "confidence" in foresight:
        sure = foresight["confidence"]
        print(f"{'confidence':>10}  {'█' * round(sure * 20):<20}  {sure:.2f}")
    return 0
