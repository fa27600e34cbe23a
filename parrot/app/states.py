# SPDX-License-Identifier: Apache-2.0
"""The state of the soul: what the parrot is made of.

examples:
  parrot state show --json
  parrot state save before-the-trip.state
  parrot state load before-the-trip.state
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from parrot.app.options import add_model_options, open_model, soul_path
from parrot.base.errors import FileError
from parrot.base.files import file_error
from parrot.engine.model import Model
from parrot.engine.state import State


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = commands.add_parser("show", help="how long it has lived, and of which model it is")
    save = commands.add_parser("save", help="copy the state to FILE")
    load = commands.add_parser("load", help="become what FILE holds")
    for command in (save, load):
        command.add_argument("file", type=Path, metavar="FILE")
    show.add_argument("--json", action="store_true", help="print one JSON object")
    for command in (show, save, load):
        command.add_argument("--soul", metavar="FILE", help="where its state is kept")
        add_model_options(command)


def _show(model: Model, state: State, soul: Path, as_json: bool) -> None:
    about = model.describe()
    facts = {
        "position": state.position,
        "model": model.id,
        "soul": str(soul),
        "size_bytes": state.payload.nbytes,
        "n_layer": about["n_layer"],
        "n_embd": about["n_embd"],
        "rms": float(np.sqrt(np.mean(np.square(state.payload, dtype=np.float64)))),
    }
    if as_json:
        print(json.dumps(facts))
        return
    for name, value in facts.items():
        print(f"{name:>10}  {value:,}" if isinstance(value, int) else f"{name:>10}  {value}")


def run(args: argparse.Namespace) -> int:
    model = open_model(args)
    soul = soul_path(args, model)
    if args.action == "load":
        state = model.load_state(args.file)
        try:
            soul.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise file_error(soul.parent, exc, "made") from exc
        state.save(soul)
        print(f"{soul}: now holds {args.file}, {state.position:,} bytes lived.")
        return 0
    if not soul.exists() and args.soul:
        raise FileError(f"{soul}: not there; talk first with parrot chat, or pass another --soul.")
    state = model.load_state(soul) if soul.exists() else model.new_state()
    if args.action == "show":
        _show(model, state, soul, args.json)
    else:
        state.save(args.file)
        print(f"{args.file}: saved, {state.position:,} bytes lived.")
    return 0
