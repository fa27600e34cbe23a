# SPDX-License-Identifier: Apache-2.0
"""Let the parrot sleep: keep what surprised it today, pack old words, begin the morning rested.

Ctrl-C wakes it; the next sleep goes on from there. Nothing is ever dropped: packed words read as
before, and `--dry-run` only says what a night would do. `--replay` also lives the day again and
keeps that only if recall of the day rises (docs/mind.md says how much it is worth).

examples:
  parrot sleep
  parrot sleep --dry-run --replay
  parrot sleep --diary
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict

from parrot.app.options import (
    add_model_options,
    add_soul_option,
    ctrl_c_sets,
    open_model,
    say_progress,
    soul_path,
)
from parrot.base.clock import SystemClock
from parrot.base.errors import Aborted, ConfigError
from parrot.engine.generate import Abort
from parrot.mind.companion import Companion
from parrot.mind.sleep import Sleeper, sentence_of
from parrot.mind.soul import Soul

_BAR = 30  # columns


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="say what a night would do")
    parser.add_argument("--replay", action="store_true", help="live the day again, too")
    parser.add_argument("--minutes", type=float, metavar="N", help="replay no longer than this")
    parser.add_argument("--diary", action="store_true", help="read what past nights kept")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_soul_option(parser)
    add_model_options(parser)


def _read_diary(args: argparse.Namespace) -> int:
    with Soul.in_memory(soul_path(args)) as soul:
        nights = soul.diary()
    if args.json:
        print(json.dumps({"nights": [{"wall_s": s, **figures} for s, figures in nights]}))
        return 0
    for wall_s, figures in nights:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(wall_s))
        print(f"{when}  {sentence_of(figures)}")
    return 0


def _show(done: int, total: int) -> None:
    if sys.stderr.isatty():
        n = _BAR * done // max(total, 1)
        end = "\n" if done == total else ""
        print(f"\rasleep {'█' * n:·<{_BAR}} {done}/{total}", end=end, file=sys.stderr, flush=True)


def _sleep(sleeper: Sleeper, args: argparse.Namespace) -> bool:
    """Sleep with a progress bar; return whether the night was whole."""
    abort, ms_max = Abort(), None if args.minutes is None else round(args.minutes * 60_000)
    with ctrl_c_sets(abort):
        try:
            for done, total in sleeper.run(args.dry_run, args.replay, ms_max, abort):
                _show(done, total)
        except Aborted:
            return False
        return not abort.is_set()


def run(args: argparse.Namespace) -> int:
    if args.minutes is not None and not 0 < args.minutes <= 100_000:
        raise ConfigError(f"--minutes: {args.minutes}, expected 0 to 100000; choose another.")
    if args.diary:
        return _read_diary(args)
    path, model = soul_path(args), open_model(args)
    with Soul.in_memory(path) if args.dry_run else Soul.open(path) as soul:
        sleeper = Companion(model, soul, SystemClock(), progress=say_progress).sleeper()
        is_whole = _sleep(sleeper, args)
    if args.json:
        print(json.dumps({**asdict(sleeper.night), "is_whole": is_whole}))
    else:
        begin = "A night would do: " if args.dry_run else "" if is_whole else "Woken early: "
        print(f"{begin}{sleeper.night.sentence()}")
    return 0 if is_whole else 130
