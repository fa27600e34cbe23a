# SPDX-License-Identifier: Apache-2.0
"""Measure what a soul costs: bytes written a day, time of a commit, time to be awake again.

A scripted talk of `--turns` turns is lived, by default a talkative day of 1,000; bytes written are
those that the kernel counted for this process (/proc/self/io, write_bytes: what goes to the disk).
The process then ends without closing anything, and another one wakes the parrot.

    python -m tools.bench_soul --folder ~
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

from parrot.base.clock import SystemClock
from parrot.engine.generate import Sampling
from parrot.engine.model import Model
from parrot.mind.companion import Companion, Manner
from parrot.mind.soul import Soul

TEXTS = [
    "Good morning! Did you sleep well?",
    "今天天气真好，我们去公园走走吧。",
    "I had soup for lunch and now I am a little tired.",
    "你记得我昨天说的话吗？",
    "Tell me something about the sea.",
]


def written() -> int:
    """Return the bytes that this process has caused to be written to disks."""
    with open("/proc/self/io", encoding="ascii") as file:
        return int(dict(line.split(": ") for line in file)["write_bytes"])


def talk(model: Model, path: Path, n_turns: int, max_bytes: int) -> dict[str, float]:
    manner = Manner(Sampling(temperature=0.7), max_bytes)
    before, commits = written(), []
    soul = Soul.open(path)
    parrot = Companion(model, soul, SystemClock(), manner)
    add = soul.add

    def timed_add(entry: object) -> None:
        begun = time.perf_counter()
        add(entry)  # type: ignore[arg-type]
        commits.append((time.perf_counter() - begun) * 1e3)

    soul.add = timed_add  # type: ignore[method-assign, assignment]
    for i in range(n_turns):
        for _ in parrot.hear(TEXTS[i % len(TEXTS)]):
            pass
    n_snapshots = len(soul.snapshots(bytes.fromhex(model.id)))
    taken = sum(int(str(day["snapshot_bytes"])) for day in soul.days())
    position = parrot.position
    os._exit(_report(parrot, before, n_turns, commits, n_snapshots, taken, position))


def _report(
    parrot: Companion, before: int, n_turns: int, commits: list[float], n_snapshots: int,
    taken: int, position: int,
) -> int:  # fmt: skip
    figures = {
        "turns": n_turns,
        "bytes_lived": position,
        "mb_written": (written() - before) / 1e6,
        "snapshots_taken": taken // len(parrot.state.to_bytes()),
        "snapshots_kept": n_snapshots,
        "snapshot_bytes": len(parrot.state.to_bytes()),
        "commit_ms_median": statistics.median(commits),
        "commit_ms_p95": sorted(commits)[int(0.95 * len(commits))],
    }
    os.write(1, json.dumps(figures).encode() + b"\n")
    return 0


def wake(model: Model, path: Path) -> dict[str, float]:
    """Wake after the process was cut off (the WAL is still there)."""
    begun = time.perf_counter()
    soul = Soul.open(path)
    opened = time.perf_counter()
    turns = [soul.turn(id) for id in soul.snapshots(bytes.fromhex(model.id))]
    kept = max((turn.position for turn in turns if turn), default=0)
    opened_cpu, reading = time.process_time(), time.perf_counter()
    parrot = Companion(model, soul, SystemClock())
    ready, ready_cpu = time.perf_counter(), time.process_time()
    replayed = parrot.position - kept
    parrot.close()
    return {
        "open_ms": (opened - begun) * 1e3,
        "replay_ms": (ready - reading) * 1e3,
        "replay_cpu_ms": (ready_cpu - opened_cpu) * 1e3,
        "replay_bytes": replayed,
        "file_mb": path.stat().st_size / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--turns", type=int, default=1_000)
    parser.add_argument("--max-bytes", type=int, default=100)
    parser.add_argument("--model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", default=".", help="on the disk to measure")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        path = Path(name) / "soul.db"
        listen, tell = os.pipe()
        if os.fork() == 0:
            os.dup2(tell, 1)
            talk(Model.open(args.model, threads=args.threads), path, args.turns, args.max_bytes)
        os.close(tell)
        with open(listen, encoding="ascii") as ears:
            figures = json.loads(ears.read())
        begun = time.perf_counter()
        model = Model.open(args.model, threads=args.threads)
        figures["model_open_ms"] = (time.perf_counter() - begun) * 1e3
        figures |= wake(model, path)
    figures["machine"] = platform.processor() or platform.machine()
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
