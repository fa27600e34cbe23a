# SPDX-License-Identifier: Apache-2.0
"""`python -m tools.school --out DIR --mb 40 --seed 1 --jobs 2 [--heldout]`: write the school."""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import count
from multiprocessing import get_context
from pathlib import Path

from tools.school.document import Document
from tools.school.families import make
from tools.school.families_recall import recall_item
from tools.school.grammar import SkipScript
from tools.school.measure import Report

BATCH_BYTES = 250_000  # text made by one task; the unit of work is fixed, so jobs change nothing
SHARD_BYTES = 5_000_000
WINDOW = 4  # batches in flight for each job


def batch(task: tuple[int, int, bool]) -> list[Document]:
    """The documents of batch `number`: the same whoever makes it."""
    seed, number, heldout = task
    rng = random.Random(f"school {seed} {number} {heldout}")
    documents: list[Document] = []
    made = {"en": 0, "zh": 0}
    while sum(made.values()) < BATCH_BYTES:
        lang = "en" if made["en"] <= made["zh"] else "zh"
        try:
            document = make(lang, rng, heldout)
        except SkipScript:
            continue
        documents.append(document)
        made[lang] += len(document.text().encode())
    rng.shuffle(documents)
    return documents


def batches(seed: int, heldout: bool, jobs: int) -> Iterator[list[Document]]:
    """Batches in order, for ever, made by `jobs` processes."""
    if jobs == 1:
        yield from (batch((seed, number, heldout)) for number in count())
    with get_context("spawn").Pool(jobs) as pool:
        for start in count(0, WINDOW * jobs):
            tasks = [(seed, n, heldout) for n in range(start, start + WINDOW * jobs)]
            yield from pool.imap(batch, tasks)


def write(out: Path, size: int, seed: int, jobs: int, heldout: bool) -> Report:
    """Write shards of distinct documents until `size` bytes of text, then the manifest."""
    out.mkdir(parents=True, exist_ok=True)
    stem = "heldout" if heldout else "school"
    report, seen = Report(), set[bytes]()
    shards: list[dict[str, object]] = []
    lines: list[bytes] = []
    held, start = 0, time.monotonic()
    for documents in batches(seed, heldout, jobs):
        for document in documents:
            text = document.text()
            key = hashlib.blake2b(text.encode(), digest_size=8).digest()
            if key in seen:
                continue
            seen.add(key)
            report.add(document)
            lines.append(document.to_json().encode() + b"\n")
            held += len(text.encode())
            if held >= SHARD_BYTES or report.total >= size:
                shards.append(flush(out / f"{stem}-{len(shards):03d}.jsonl", lines))
                lines, held = [], 0
            if report.total >= size:
                break
        progress(report.total, size, start)
        if report.total >= size:
            break
    manifest = {
        "seed": seed,
        "heldout": heldout,
        "bytes": report.total,
        "documents": report.documents,
        "shards": shards,
    }
    (out / f"{stem}.manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    return report


def flush(path: Path, lines: list[bytes]) -> dict[str, object]:
    """Write one shard; its entry in the manifest."""
    data = b"".join(lines)
    path.write_bytes(data)
    return {
        "file": path.name,
        "bytes": len(data),
        "documents": len(lines),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def progress(done: int, size: int, start: float) -> None:
    """One line on stderr that grows to the right."""
    if not sys.stderr.isatty():
        return
    share = min(1.0, done / size)
    spent = time.monotonic() - start
    bar = ("#" * round(30 * share)).ljust(30)
    left = spent / share - spent if share else 0.0
    sys.stderr.write(f"\r[{bar}] {done / 1e6:.1f}/{size / 1e6:.0f} MB {left:.0f} s left ")
    sys.stderr.write("\n" if share == 1.0 else "")
    sys.stderr.flush()


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
