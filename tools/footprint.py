# SPDX-License-Identifier: Apache-2.0
"""How much memory a parrot takes: a talk in text, and the hand, each in a process of its own.

What is measured is the largest resident set, libraries and mapped files included, of a life of
TURNS turns, on one thread. --launcher measures an installed release, with the Python it finds.

examples:
  python -m tools.footprint
  python -m tools.footprint --launcher /opt/parrot/current/bin/parrot --turns 200 --json
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from parrot.base.errors import ParrotError

WORDS = ("Hello!", "你好，你叫什么名字？", "Tell me about the sea.", "I like the rain.", "再见。")
KEYS = ("94664", "64426", "9426", "26", "4663")  # nine keys; any candidates do


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse(arguments)
    command = [str(args.launcher)] if args.launcher else [sys.executable, "-m", "parrot"]
    try:
        with tempfile.TemporaryDirectory() as name:
            figures = {
                "turns": args.turns,
                "text_rss_mb": text(command, Path(name), args.turns),
                "hand_rss_mb": hand(command, Path(name), args.turns),
            }
    except ParrotError as exc:
        print(exc, file=sys.stderr)
        return 1
    words = "{turns} turns: text {text_rss_mb:.1f} MB, hand {hand_rss_mb:.1f} MB".format(**figures)
    print(json.dumps(figures) if args.json else words)
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.footprint",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--launcher", type=Path, metavar="FILE", help="default: this source tree")
    parser.add_argument("--turns", type=int, default=50, metavar="N")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args(arguments)


def text(command: Sequence[str], folder: Path, n_turns: int) -> float:
    said = "".join(f"{WORDS[i % len(WORDS)]}\n" for i in range(n_turns))
    words = ["chat", "--soul", str(folder / "text.db"), "--threads", "1", "--seed", "1"]
    return rss_mb([*command, *words], folder, said)


def hand(command: Sequence[str], folder: Path, n_turns: int) -> float:
    lines = ["wait 1000"]
    for i in range(n_turns):
        lines += [f"tap {KEYS[i % len(KEYS)]}", "tap D", "wait 200", "tap D", "wait 1500"]
    keys = folder / "keys.txt"
    keys.write_text("\n".join(lines) + "\n")
    words = ["sim", "--script", str(keys), "--frames", str(folder / "frames")]
    words += ["--soul", str(folder / "hand.db"), "--threads", "1"]
    return rss_mb([*command, *words], folder, "")


def rss_mb(command: Sequence[str], folder: Path, said: str) -> float:
    """Return the largest resident set of `command`. Raises: ParrotError when it ends badly."""
    log = folder / "said.txt"
    (folder / "heard.txt").write_text(said)
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "HOME": str(folder)}
    with open(log, "wb") as file, open(folder / "heard.txt", "rb") as heard:
        process = subprocess.Popen(command, stdin=heard, stdout=file, stderr=file, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = log.read_text(errors="replace")[-500:]
        raise ParrotError(f"{' '.join(command)}: exit code {process.returncode}; it said:\n{tail}")
    return usage.ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
