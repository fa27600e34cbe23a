# SPDX-License-Identifier: Apache-2.0
"""What the parrot remembers: crystals, kept when told "remember ..." or surprised.

examples:
  parrot memory search "my sister's name"
  parrot memory add "The key is under the blue pot."
  parrot memory forget 12
  parrot memory pin 12                        it never fades
  parrot memory edit 12 "The key is on the shelf."
  parrot memory export memory.jsonl
  parrot memory import memory.jsonl           all of it, or nothing
  parrot memory pairs pairs.jsonl             which replies you liked better: tools/prefer.py
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from parrot.app.options import add_soul_option, soul_path
from parrot.base.errors import ConfigError
from parrot.base.files import replace_file
from parrot.base.text import clean_text
from parrot.mind.crystal_file import TEXT_BYTES_MAX, read_crystals
from parrot.mind.memory import Crystal, strength_at
from parrot.mind.preferences import pairs_of
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
    for action, about in (("pin", "keep it from fading"), ("unpin", "let it fade again")):
        commands.add_parser(action, help=about).add_argument("id", type=int, metavar="ID")
    edit = commands.add_parser("edit", help="give a crystal other words")
    edit.add_argument("id", type=int, metavar="ID")
    edit.add_argument("text", metavar="TEXT")
    for action, about in (
        ("export", "write all as JSON lines"),
        ("pairs", "write which of two replies was better, as JSON lines"),
    ):
        out = commands.add_parser(action, help=about)
        out.add_argument("file", metavar="FILE", help="- is standard output")
    taken = commands.add_parser(
        "import", help="add crystals from JSON lines, as export writes them"
    )
    taken.add_argument("file", metavar="FILE")
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
        strength = "pinned" if crystal.is_pinned else f"{strength_at(crystal, now_s):.2f}"
        print(f"{crystal.id:>6}  {day}  {strength:>6}  {text}")


def _write(lines: Iterator[dict[str, object]], file: str) -> None:
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    if file == "-":
        sys.stdout.write(text)
    else:
        replace_file(Path(file), text.encode())


def _change(soul: Soul, args: argparse.Namespace) -> None:
    if args.action == "add":
        soul.remember(_said(args.text), time.time())
    elif args.action == "forget":
        soul.forget(args.id)
    elif args.action == "edit":
        soul.edit(args.id, _said(args.text))
    elif args.action == "import":
        n = soul.remember_all(read_crystals(Path(args.file), time.time()))
        print(f"{args.file}: {n:,} new crystal{'s' * (n != 1)}.")
    else:
        soul.pin(args.id, args.action == "pin")


def _said(text: str) -> str:
    cleaned = clean_text(text).strip()
    if not 0 < len(cleaned.encode()) <= TEXT_BYTES_MAX:
        raise ConfigError(
            f"TEXT: {len(cleaned.encode()):,} bytes, expected 1 to {TEXT_BYTES_MAX:,}; choose "
            "other words."
        )
    return cleaned


def run(args: argparse.Namespace) -> int:
    is_change = args.action not in ("list", "search", "export", "pairs")
    path = soul_path(args)
    with Soul.open(path) if is_change else Soul.in_memory(path) as soul:
        if args.action == "list":
            _show(soul.crystals(), args.json)
        elif args.action == "search":
            _show(soul.recall(args.text, time.time(), args.n, with_cold=True), args.json)
        elif args.action == "export":
            _write((asdict(crystal) for crystal in soul.crystals()), args.file)
        elif args.action == "pairs":
            _write((pair.as_json() for pair in pairs_of(soul)), args.file)
        else:
            _change(soul, args)
    return 0
