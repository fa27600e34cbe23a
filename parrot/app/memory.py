# SPDX-License-Identifier: Apache-2.0
"""What the parrot remembers: crystals, kept when told "remember ..." or surprised.

examples:
  parrot memory search "my sister's name"
  parrot memory add "The key is under the blue pot."
  parrot memory forget 12
  parrot memory export memory.jsonl
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from parrot.app.options import add_soul_option, soul_path
from parrot.base.files import replace_file
from parrot.base.text import clean_text
from parrot.mind.memory import Crystal, strength_at
from parrot.mind.soul import Soul


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listed = commands.add_parser("list", help="all crystals, oldest first")
    search = commands.add_parser("search", help="what resonates with TEXT, best first")
    search.add_argument("text", metavar="TEXT")
    search.add_argument("-n", type=int, default=5, metavar="N", help="at most so many (default: 5)")
    add = commands.add_parser("add", help="keep TEXT")
    add.add_argument("text", metavar="TEXT")
    forget = commands.add_parser("forget", help="forget one crystal for good")
    forget.add_argument("id", type=int, metavar="ID")
    export = commands.add_parser("export", help="write all as JSON lines")
    export.add_argument("file", metavar="FILE", help="- is standard output")
    for command in (listed, search):
        command.add_argument("--json", action="store_true", help="print one JSON object")
    for command in commands.choices.values():
        add_soul_option(command)


def _show(crystals: list[Crystal], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"crystals": [asdict(crystal) for crystal in crystals]}))
        return
    now_s = time.time()
    for crystal in crystals:
        day = time.strftime("%Y-%m-%d", time.localtime(crystal.wall_s))
        text = " ".join(crystal.text.split())
        print(f"{crystal.id:>6}  {day}  {strength_at(crystal, now_s):.2f}  {text}")


def _export(crystals: list[Crystal], file: str) -> None:
    lines = "".join(json.dumps(asdict(crystal), ensure_ascii=False) + "\n" for crystal in crystals)
    if file == "-":
        sys.stdout.write(lines)
    else:
        replace_file(Path(file), lines.encode())


def run(args: argparse.Namespace) -> int:
    is_change = args.action in ("add", "forget")
    path = soul_path(args)
    with Soul.open(path) if is_change else Soul.in_memory(path) as soul:
        if args.action == "list":
            _show(soul.crystals(), args.json)
        elif args.action == "search":
            _show(soul.recall(args.text, time.time(), args.n, with_cold=True), args.json)
        elif args.action == "add":
            soul.remember(clean_text(args.text), time.time())
        elif args.action == "forget":
            soul.forget(args.id)
        else:
            _export(soul.crystals(), args.file)
    return 0
