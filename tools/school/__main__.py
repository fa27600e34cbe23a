# SPDX-License-Identifier: Apache-2.0
"""`python -m tools.school --out DIR --mb 40 --seed 1 --jobs 2 [--heldout]`: write the school."""

from __future__ import annotations

import argparse
import json
import random
import sys
from contextlib import nullcontext
from pathlib import Path

from tools.school.families_recall import recall_item
from tools.school.shards import write


def recall_eval(number: int, distance: int, seed: int, out: Path | None) -> None:
    """Print held-out recall items as JSONL, half in each language."""
    with out.open("w", encoding="utf-8") if out else nullcontext(sys.stdout) as sink:
        for i in range(number):
            rng = random.Random(f"recall {seed} {distance} {i}")
            item = recall_item(("en", "zh")[i % 2], rng, distance)
            sink.write(json.dumps(item, ensure_ascii=False) + "\n")


def positive(text: str) -> float:
    """A number above zero."""
    value = float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text}: expected a number above 0; give one")
    return value


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.school", description=__doc__)
    parser.add_argument("--out", type=Path, help="folder for the shards, or file for recall items")
    parser.add_argument("--mb", type=positive, default=40.0, help="megabytes of text (40)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, choices=range(1, 65), metavar="N")
    parser.add_argument("--heldout", action="store_true", help="make the held-out set")
    parser.add_argument("--recall-eval", type=int, metavar="N", help="make N recall items instead")
    parser.add_argument(
        "--distance",
        type=int,
        default=1024,
        metavar="BYTES",
        help="bytes between telling and asking (1024)",
    )
    args = parser.parse_args(argv)
    if args.recall_eval:
        recall_eval(args.recall_eval, args.distance, args.seed, args.out)
        return 0
    if args.out is None:
        parser.error("--out: missing, expected a folder for the shards; name one")
    report = write(args.out, round(args.mb * 1e6), args.seed, args.jobs, args.heldout)
    print("\n".join(report.lines()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
