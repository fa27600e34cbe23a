# SPDX-License-Identifier: Apache-2.0
"""The states of the soul: where the parrot is in its life, and how to go elsewhere.

Nothing here deletes: `parrot state load before` leads back from the last undo, load or import.

examples:
  parrot state show --json
  parrot state save before-the-trip      a name that stays
  parrot state branch what-if            go on from here along a new line
  parrot state load main                 and back to the first one
  parrot state undo 3                    take the last three turns back
  parrot state export parrot.state       for another machine with the same model
  parrot state relive --last 100000      form the state anew from the last of its words
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parrot.app.options import (
    add_model_options,
    add_soul_option,
    open_model,
    say_progress,
    soul_path,
)
from parrot.base.clock import SystemClock
from parrot.engine.state import State
from parrot.mind.companion import Companion
from parrot.mind.soul import Soul

F32 = NDArray[np.float32]

_LOOKS = ("show", "list", "diff", "export")  # these read a copy, also while the parrot talks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = commands.add_parser("show", help="how long it has lived, and of which model it is")
    listed = commands.add_parser("list", help="the names in its life")
    diff = commands.add_parser("diff", help="how far apart the states of two names are")
    diff.add_argument("first", metavar="NAME")
    diff.add_argument("second", metavar="NAME")
    for command in (show, listed, diff):
        command.add_argument("--json", action="store_true", help="print one JSON object")
    named = {
        "save": "give the present a name that stays",
        "load": "go to a name: continue a line, or move this line to a saved state",
        "branch": "go on from here along a new line",
    }
    for action, about in named.items():
        commands.add_parser(action, help=about).add_argument("name", metavar="NAME")
    undo = commands.add_parser("undo", help="take the last turns back")
    undo.add_argument("turns", type=int, nargs="?", default=1, metavar="N", help="default: 1")
    for action, about in (("export", "copy the state to FILE"), ("import", "become FILE's state")):
        commands.add_parser(action, help=about).add_argument("file", type=Path, metavar="FILE")
    relive = commands.add_parser("relive", help="live the journal again, with the model of today")
    relive.add_argument("--last", type=int, metavar="BYTES", help="only the last of it")
    for command in commands.choices.values():
        add_soul_option(command)
        add_model_options(command)


def _facts(companion: Companion) -> dict[str, object]:
    about = companion.model.describe()
    state = companion.state
    return {
        "position": state.position,
        "model": companion.model.id,
        "soul": str(companion.soul.path),
        "line": companion.soul.line,
        "turns": sum(int(str(day["turns"])) for day in companion.soul.days()),
        "size_bytes": state.payload.nbytes,
        "n_layer": about["n_layer"],
        "n_embd": about["n_embd"],
        "rms": _rms(state.payload),
    }


def _rms(values: F32) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def _names(companion: Companion) -> list[dict[str, object]]:
    return [
        {
            "name": name.name,
            "kind": "line" if name.is_line else "saved",
            "is_current": name.is_current,
            "position": turn.position if (turn := companion.soul.turn(name.turn)) else 0,
            "wall_s": name.wall_s,
        }
        for name in companion.names()
    ]


def _difference(companion: Companion, first: str, second: str) -> dict[str, object]:
    a, b = companion.state_of(first), companion.state_of(second)
    n_layer = companion.model.describe()["n_layer"]
    apart = (a.payload - b.payload).reshape(n_layer, -1)
    size = _rms(a.payload)
    return {
        "positions": [a.position, b.position],
        "rms": _rms(apart),
        "share": _rms(apart) / size if size else 0.0,
        "layers_rms": [_rms(layer) for layer in apart],
    }


def _print_names(rows: list[dict[str, object]]) -> None:
    for row in rows:
        mark = "*" if row["is_current"] else " "
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(float(str(row["wall_s"]))))
        print(f"{mark} {row['name']:<24} {row['kind']:<6} {row['position']:>12,} bytes  {when}")


def _print_facts(facts: dict[str, object]) -> None:
    for name, value in facts.items():
        print(f"{name:>10}  {value:,}" if isinstance(value, int) else f"{name:>10}  {value}")


def _look(companion: Companion, args: argparse.Namespace) -> None:
    if args.action == "export":
        companion.state.save(args.file)
        print(f"{args.file}: saved, {companion.position:,} bytes lived.")
    elif args.action == "list":
        rows = _names(companion)
        print(json.dumps({"states": rows})) if args.json else _print_names(rows)
    else:
        facts = _facts(companion)
        if args.action == "diff":
            facts = _difference(companion, args.first, args.second)
        print(json.dumps(facts)) if args.json else _print_facts(facts)


def _change(companion: Companion, args: argparse.Namespace) -> None:
    if args.action == "save":
        companion.save(args.name)
    elif args.action == "branch":
        companion.branch(args.name)
    elif args.action == "load":
        companion.load(args.name)
    elif args.action == "undo":
        companion.undo(args.turns)
    elif args.action == "import":
        state: State = companion.model.load_state(args.file)
        companion.import_state(state, str(args.file))
    else:
        companion.relive(args.last, say_progress)
    soul = companion.soul
    print(f"{soul.path}: on line {soul.line}, {companion.position:,} bytes lived.")


def run(args: argparse.Namespace) -> int:
    path = soul_path(args)
    is_look = args.action in _LOOKS
    model = open_model(args)
    with Soul.in_memory(path) if is_look else Soul.open(path) as soul:
        companion = Companion(model, soul, SystemClock(), progress=say_progress)
        (_look if is_look else _change)(companion, args)
    return 0
