# SPDX-License-Identifier: Apache-2.0
"""Runs in the guest: prints every turn as soon as another program can read it from the soul.

One line of JSON a turn, after "turn: ". What SQLite shows to a second reader has been committed,
and what has been committed has been flushed. "cpu: " tells the seconds computed so far.
"""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path

SOUL = Path("/var/lib/parrot/soul.db")
PAUSE_S = 0.3


def turns_after(last: int) -> list[tuple[int, bytes, bytes]]:
    soul = sqlite3.connect(f"file:{SOUL}?mode=ro", uri=True, timeout=5)
    try:
        wanted = "SELECT id, heard, said FROM turn WHERE id > ? ORDER BY id"
        return soul.execute(wanted, (last,)).fetchall()
    finally:
        soul.close()


def cpu_s() -> float:
    """Return what all processors have computed since the kernel began."""
    user, nice, system, _, _, irq, softirq, *_ = map(
        int, Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    )
    return (user + nice + system + irq + softirq) / 100


def main() -> None:
    last = -1
    print(f"cpu: {cpu_s()}", flush=True)
    while True:
        try:
            found = turns_after(last)
        except sqlite3.Error as exc:  # not born yet, or its tables are just being made
            if "unable to open" not in str(exc) and "no such table" not in str(exc):
                print(f"observer: {exc}", flush=True)
            found = []
        for last, heard, said in found:
            line = {"id": last, "heard": heard.decode(), "said": said.decode(errors="replace")}
            print(f"turn: {json.dumps(line)}", flush=True)
        time.sleep(PAUSE_S)


main()
