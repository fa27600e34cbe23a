# SPDX-License-Identifier: Apache-2.0
"""Writing the school: batches made by several processes, shards and their manifest."""

from __future__ import annotations

import hashlib
import json
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from multiprocessing import get_context
from pathlib import Path

from tools.school.document import Document
from tools.school.families import make
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
        return
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        for start in count(0, WINDOW * jobs):
            tasks = [(seed, n, heldout) for n in range(start, start + WINDOW * jobs)]
            yield from pool.map(batch, tasks)


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
