# SPDX-License-Identifier: Apache-2.0
"""The handheld app on this board: glass, keys, and the parrot behind them.

examples:
  parrot run                       on the board that this machine is
  parrot run --board raspberrypi
  parrot run --board my.toml       your own wiring; see board/README.md
"""

from __future__ import annotations

import argparse
import sys
import time

from parrot.app import board, loop
from parrot.app.options import add_model_options, add_soul_option
from parrot.app.persona import add_persona_option
from parrot.app.release import Proof
from parrot.app.speech_installed import add_device_options, add_threads_option
from parrot.base.errors import FileError
from parrot.base.service import Service


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--board", metavar="NAME", help=f"{', '.join(board.names())}, or a .toml")
    parser.add_argument("--fresh", action="store_true", help="start from nothing and keep nothing")
    parser.set_defaults(wav=None)
    add_device_options(parser, ears=True, mouth=True)
    add_threads_option(parser)
    add_soul_option(parser)
    add_persona_option(parser)
    add_model_options(parser)


class Faults:
    """Says on the terminal, once each, what is wrong and what came back."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def tell(self, organ: str, fault: Exception | str | None) -> None:
        text = str(fault) if fault else ""
        if self._said.get(organ, "") != text:
            self._said[organ] = text
            print(f"parrot: {text or f'{organ}: well again.'}", file=sys.stderr, flush=True)


def run(args: argparse.Namespace) -> int:
    profile = board.load(args.board or board.detected())
    if profile.panel.bus is None:
        from parrot.app.sim import run_terminal

        args.language = None
        return run_terminal(args)
    from parrot.app.assemble import board_hand

    hand, keypads = board_hand(args, profile)
    faults, proof, service = Faults(), Proof(time.monotonic()), Service()

    def watch() -> None:
        faults.tell("panel", hand.panel_fault)
        faults.tell("keys", keypads.fault)
        faults.tell("soul", hand.talk.trouble)
        service.turn(time.monotonic())
        try:
            proof.feed(time.monotonic())
        except FileError as exc:
            faults.tell("release", exc)

    try:
        loop.run(hand, watch)
    finally:
        keypads.close()
    return 0
