# SPDX-License-Identifier: Apache-2.0
"""Measure decode and prefill speed, first-byte time and memory on this machine.

`bandwidth_share` is the part of this machine's read bandwidth (on a GPU, of a copy there), measured
in the same minute, that decoding uses: every weight is read once a byte, so for a model larger than
the caches 100 % is the limit of physics. Figures are medians over --rounds; the spread is the
quartiles.

examples:
  parrot bench
  parrot bench --threads 1,2 --batch 1,8 --context 128,100000
  parrot bench --device cuda:0 --batch 1,8,32,256
  parrot bench --json > before.json;  parrot bench --compare before.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from parrot.app.options import add_model_options
from parrot.base.errors import ConfigError, FormatError
from parrot.base.files import read_file
from parrot.engine.model import Model
from parrot.engine.state import State

PREFILL_LEN = 512
PROBE_SIZE = 128 << 20  # bytes a thread reads in the bandwidth probe: many times the caches
_TEXT = ("The parrot sits on the box and listens. 鹦鹉坐在盒子上听着。\n" * 16).encode()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_options(parser)
    for action in parser._actions:
        if action.dest == "threads":
            action.type, action.metavar = _counts, "N,N"
    parser.add_argument("--batch", type=_counts, default=[1], metavar="N,N", help="states at once")
    parser.add_argument(
        "--context", type=_counts, default=[], metavar="N,N", help="bytes lived before decoding"
    )
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="default: 7")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="an earlier --json output")


def _counts(text: str) -> list[int]:
    counts = [int(part) for part in text.split(",")]
    if not counts or min(counts) < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected counts of at least 1, as 1,2,4")
    return counts


class Progress:
    """One line on a terminal that says what is being measured, and how far it is."""

    def __init__(self, total: int) -> None:
        self._total, self._done, self._is_shown = total, 0, sys.stderr.isatty()

    def step(self, doing: str) -> None:
        self._done += 1
        if self._is_shown:
            filled = 24 * self._done // self._total
            bar = "#" * filled + "." * (24 - filled)
            sys.stderr.write(f"\r\x1b[K[{bar}] {doing}")
            sys.stderr.flush()

    def end(self) -> None:
        if self._is_shown:
            sys.stderr.write("\r\x1b[K")


def _spread(values: list[float]) -> dict[str, float]:
    if len(values) < 2:
        return {"median": values[0], "low": values[0], "high": values[0]}
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": median, "low": low, "high": high}


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _decode(model: Model, states: list[State], seconds_min: float = 0.2) -> float:
    """Bytes per second of all `states` together, over at least `seconds_min`."""
    tokens, n_steps = list(_TEXT[: len(states)]), 0
    begun = time.perf_counter()
    while (passed := time.perf_counter() - begun) < seconds_min or n_steps < 8:
        model.forward_batch(tokens, states)
        n_steps += 1
    return n_steps * len(states) / passed


def _round(model: Model, n_threads: int, results: dict[str, list[float]]) -> None:
    """Interleave probe, decode and prefill, so that all meet the same neighbours."""
    state = model.new_state()
    results["bandwidth"].append(model.bandwidth(n_threads, PROBE_SIZE))
    results["decode"].append(_decode(model, [state]))
    prompt = _TEXT[:PREFILL_LEN]
    results["prefill"].append(PREFILL_LEN / _seconds(lambda: model.forward(prompt, state)))


def _first_byte_ms(args: argparse.Namespace, n_threads: int) -> float:
    """From nothing to the logits after the first byte: open, repack, one step."""

    def first() -> None:
        model = Model.open(args.model, device=args.device, threads=n_threads)
        model.forward(b"\x00", model.new_state())

    return 1e3 * _seconds(first)


def _measure_threads(args: argparse.Namespace, n_threads: int, bar: Progress) -> dict[str, Any]:
    model = Model.open(args.model, device=args.device, threads=n_threads)
    about = model.describe()
    raw: dict[str, list[float]] = {"bandwidth": [], "decode": [], "prefill": []}
    for number in range(args.rounds):
        bar.step(f"{n_threads} threads, round {number + 1} of {args.rounds}")
        _round(model, n_threads, raw)
    pairs = zip(raw["decode"], raw["bandwidth"], strict=True)
    shares = [rate * about["bytes_per_token"] / width for rate, width in pairs if width]
    first = sorted(_first_byte_ms(args, n_threads) for _ in range(args.rounds))
    row: dict[str, Any] = {
        "threads": n_threads,
        "decode": {
            "bytes_per_s": statistics.median(raw["decode"]),
            "spread": _spread(raw["decode"]),
            "bandwidth_share": statistics.median(shares) if shares else None,
        },
        "prefill": {
            "bytes_per_s": statistics.median(raw["prefill"]),
            "spread": _spread(raw["prefill"]),
            "length": PREFILL_LEN,
        },
        "first_byte_ms": {
            "p50": statistics.median(first),
            "p95": first[min(len(first) - 1, int(0.95 * len(first)))],
        },
        "bandwidth_gb_per_s": statistics.median(raw["bandwidth"]) / 1e9,
        "batch": _measure_batches(model, args.batch, bar),
        "context": _measure_contexts(model, args.context, args.rounds, bar),
    }
    return row


def _measure_batches(model: Model, sizes: list[int], bar: Progress) -> list[dict[str, float]]:
    rows = []
    for size in sizes:
        bar.step(f"batch of {size}")
        states = [model.new_state() for _ in range(size)]
        rates = [_decode(model, states) for _ in range(3)]
        rows.append({"states": size, "bytes_per_s": statistics.median(rates)})
    return rows


def _measure_contexts(
    model: Model, lengths: list[int], rounds: int, bar: Progress
) -> list[dict[str, float]]:
    """Live all the lengths, then decode after each in turn, round after round."""
    lengths, state, memory = sorted(lengths), model.new_state(), []
    lives = [model.new_state() for _ in lengths]
    trial = model.new_state()
    for length, life in zip(lengths, lives, strict=True):
        bar.step(f"living {length:,} bytes")
        while (missing := length - state.position) > 0:
            model.forward(_TEXT[: min(missing, len(_TEXT))], state)
        life.assign(state)
        memory.append(_rss_mb())
    rates: list[list[float]] = [[] for _ in lengths]
    for number in range(rounds * len(lengths)):
        which = (number + number // len(lengths)) % len(lengths)  # another one begins each round
        trial.assign(lives[which])
        rates[which].append(_decode(model, [trial]))
    return [
        {"bytes": length, "bytes_per_s": statistics.median(row), "rss_mb": rss}
        for length, row, rss in zip(lengths, rates, memory, strict=True)
    ]


def _rss_mb() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


def _machine() -> dict[str, Any]:
    name = platform.processor()
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.lower().startswith(("model name", "hardware")):
                name = line.split(":", 1)[1].strip()
                break
    return {"cpu": name, "cores": len(os.sched_getaffinity(0)), "arch": platform.machine()}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Return everything, as the JSON contract of DESIGN section 5 has it."""
    counts = args.threads or [len(os.sched_getaffinity(0)) if args.device == "cpu" else 1]
    bar = Progress(len(counts) * (args.rounds + len(args.batch) + len(args.context)))
    rows = [_measure_threads(args, n, bar) for n in counts]
    bar.end()
    about = Model.open(args.model, device=args.device, threads=1).describe()
    model = {k: v for k, v in about.items() if k not in ("id", "threads")}
    return {
        **{name: rows[-1][name] for name in ("decode", "prefill", "first_byte_ms")},
        "rss_mb": _rss_mb(),
        "machine": _machine(),
        "model": model | {"id": about["id"].hex()},
        "runs": rows,
    }


def _table(report: dict[str, Any]) -> list[str]:
    lines = [
        f"{report['machine']['cpu']}, kernels {report['model']['cpu']}, "
        f"{report['model']['bytes_per_token'] / 1e6:.1f} MB read a byte, "
        f"RSS {report['rss_mb']:.0f} MB",
        f"{'threads':>7} {'decode B/s':>12} {'quartiles':>17} {'of bandwidth':>13} "
        f"{'prefill B/s':>12} {'first byte p50 / p95':>21}",
    ]
    for row in report["runs"]:
        decode, first = row["decode"], row["first_byte_ms"]
        spread = f"{decode['spread']['low']:,.0f}-{decode['spread']['high']:,.0f}"
        share = (
            "unknown" if decode["bandwidth_share"] is None else f"{decode['bandwidth_share']:.0%}"
        )
        lines.append(
            f"{row['threads']:>7} {decode['bytes_per_s']:>12,.0f} {spread:>17} {share:>13} "
            f"{row['prefill']['bytes_per_s']:>12,.0f} "
            f"{first['p50']:>10,.1f} / {first['p95']:,.1f} ms"
        )
        lines += [
            f"{'':>7} {entry['bytes_per_s']:>12,.0f} with {entry['states']} states at once"
            for entry in row["batch"]
            if entry["states"] > 1
        ]
        lines += [
            f"{'':>7} {entry['bytes_per_s']:>12,.0f} after {entry['bytes']:,} bytes lived, "
            f"RSS {entry['rss_mb']:.0f} MB"
            for entry in row["context"]
        ]
    return lines


def _compare(report: dict[str, Any], path: Path) -> list[str]:
    """Lines that set this report beside an earlier one."""
    try:
        before = json.loads(read_file(path, 1 << 24))
        lines = []
        for name in ("decode", "prefill"):
            old, new = before[name]["bytes_per_s"], report[name]["bytes_per_s"]
            lines.append(f"{name}: {old:,.0f} -> {new:,.0f} bytes/s, {new / old:.2f} times")
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as exc:
        raise FormatError(f"{path}: not the output of parrot bench --json; pass one.") from exc
    return lines


def run(args: argparse.Namespace) -> int:
    if args.rounds < 1:
        raise ConfigError(f"--rounds: {args.rounds}, expected 1 or more; choose another.")
    report = measure(args)
    if args.json:
        print(json.dumps(report))
    else:
        print("\n".join(_table(report)))
    if args.compare:
        print("\n".join(_compare(report, args.compare)), file=sys.stderr if args.json else None)
    return 0
