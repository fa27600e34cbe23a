# SPDX-License-Identifier: Apache-2.0
"""Compare parrot's speed with its peers': `python -m tools.bench_peers`.

Builds llama.cpp in a scratch folder (`tools/peers/build.py`), writes the same random RWKV-7 models
for everyone, and times our engine, llama.cpp and the memory's read bandwidth in turn, round after
round (`tools/peers/rounds.py`). What counts are medians of ratios (`tools/peers/verdict.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from parrot.base.errors import ConfigError, ParrotError
from parrot.base.files import replace_file
from parrot.model.random_model import SHAPES
from tools.peers.build import CPU_FLAGS, LLAMA_VERSION, PeerError, PeerFolder, prepare
from tools.peers.plot import plot
from tools.peers.rounds import Plan, run_rounds, write_models
from tools.peers.verdict import Round, Row, rows_of, table

ENGINES = ("ours", "llama", "rwkv")


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse(arguments)
    try:
        peers = PeerFolder(args.peers.expanduser(), args.cpu)
        plan = Plan(peers, args.engines, args.shapes, args.threads, args.rounds, args.seconds)
        check(plan)
        prepare(peers, args.jobs)
        if args.build_only:
            return 0
        report, rows = compare(plan, args.realtime)
        if args.out:
            replace_file(args.out, (json.dumps(report, indent=1) + "\n").encode())
        if args.plot:
            plot(rows, args.plot)
    except ParrotError as exc:
        print(exc, file=sys.stderr)
        return 1
    print(json.dumps(report) if args.json else report["table"])
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.bench_peers", description=__doc__)
    add = parser.add_argument
    add("--peers", type=Path, default=Path("~/.cache/parrot/peers"), help="scratch folder")
    add("--cpu", choices=list(CPU_FLAGS), default="native", help="CPU class to build for")
    add("--engines", type=words, default=["ours", "llama"], help="of ours,llama,rwkv")
    add("--shapes", type=words, default=list(SHAPES), help="of S,M,L,XL,XL64k")
    add("--threads", type=numbers, default=[1, 2], help="numbers of threads, such as 1,2")
    add("--rounds", type=int, default=7)
    add("--seconds", type=float, default=0.4, help="time for each measurement")
    add("--realtime", action="store_true", help="interrupt all others while measuring (root)")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="compiler processes")
    add("--build-only", action="store_true", help="build the peers and stop")
    add("--out", type=Path, help="write every round and the verdict to this JSON file")
    add("--plot", type=Path, help="draw the verdict into this PNG file")
    add("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args(arguments)


def words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def numbers(text: str) -> list[int]:
    return [int(word) for word in words(text)]


def check(plan: Plan) -> None:
    """Raise ConfigError for what can be seen to be impossible before anything is built."""
    for option, seen, known in (
        ("--engines", plan.engines, ENGINES),
        ("--shapes", plan.shapes, tuple(SHAPES)),
    ):
        unknown = [word for word in seen if word not in known]
        if unknown or not seen:
            raise ConfigError(
                f"{option}: {', '.join(unknown) or 'nothing'}, expected some of "
                f"{', '.join(known)}.",
                key=option,
            )
    n_cores = os.cpu_count() or 1
    if not plan.threads or not all(1 <= n <= n_cores for n in plan.threads):
        raise ConfigError(
            f"--threads: {plan.threads}, expected 1 to {n_cores}, the cores of this machine.",
            key="--threads",
        )
    if plan.n_rounds < 1 or not 0.01 <= plan.seconds <= 60:
        raise ConfigError(
            f"--rounds {plan.n_rounds} --seconds {plan.seconds:g}: expected at least 1 round of "
            "0.01 to 60 seconds."
        )


def compare(plan: Plan, is_realtime: bool) -> tuple[dict[str, object], list[Row]]:
    """Run all rounds; return the report (machine, settings, rounds, table) and its rows."""
    try:
        from tqdm import tqdm
    except ImportError as exc:
        raise PeerError("bench_peers: tqdm is missing; run: pip install tqdm.") from exc
    started = time.strftime("%Y-%m-%d %H:%M")
    weights = {shape: write_models(plan, shape) for shape in plan.shapes}
    if is_realtime:
        schedule_realtime()
    n_cells = plan.n_rounds * len(plan.shapes) * len(plan.threads)
    rounds: list[Round] = []
    with tqdm(total=n_cells, unit="round", file=sys.stderr) as bar:
        for one in run_rounds(plan, weights):
            rounds.append(one)
            bar.set_postfix_str(f"{one.shape}, {one.n_threads} threads")
            bar.update()
    rows = rows_of(rounds)
    report: dict[str, object] = {
        "started": started,
        "machine": machine(),
        "settings": {
            "cpu": plan.peers.cpu,
            "rounds": plan.n_rounds,
            "seconds": plan.seconds,
            "realtime": is_realtime,
            "llama-cpp-python": LLAMA_VERSION,
        },
        "dram_gb_s": dram_by_threads(rounds),
        "bytes_per_token": weights,
        "rounds": [asdict(one) for one in rounds],
        "rows": [asdict(row) for row in rows],
        "table": table(rows),
    }
    return report, rows


def schedule_realtime() -> None:
    """Let nobody interrupt the measuring processes, which inherit this class.

    On a machine that others keep busy two threads seldom run at once, and engines that wait for
    each other at barriers then measure the scheduler. Niceness does not help: Linux weighs it
    inside a session only. Each burst lasts about a second, in which the others wait.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError as exc:
        raise ConfigError(
            "--realtime: not permitted, expected root; leave it out.", key="--realtime"
        ) from exc


def dram_by_threads(rounds: Sequence[Round]) -> dict[int, float]:
    """Return the median read bandwidth of DRAM for each number of threads."""
    return {
        n: statistics.median(one.dram_gb_s for one in rounds if one.n_threads == n)
        for n in sorted({one.n_threads for one in rounds})
    }


def machine() -> dict[str, object]:
    """Return what a reader needs to know of the machine to place the figures."""
    fields = dict(
        line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line
    )
    names = {key.strip(): value.strip() for key, value in fields.items()}
    return {
        "cpu": names.get("model name", platform.machine()),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


if __name__ == "__main__":
    sys.exit(main())
