# SPDX-License-Identifier: Apache-2.0
"""Turn rounds of measurements into medians of ratios, and those into a table.

On a machine that others use, speed moves by half within minutes, so a rate alone means little.
Every round times all engines of one shape within seconds of each other, beside a bandwidth probe;
ratios are formed inside a round, and only then is the median taken over the rounds.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

OURS, LLAMA_Q8, LLAMA_F16, RWKV = "ours", "llama.cpp Q8_0", "llama.cpp F16", "rwkv F32"
LLAMA_Q8_ALL = "llama.cpp, our Q8_0"  # its LoRA matrices too, as tools/export.py writes them
# Whom our rate is divided by: llama.cpp with whichever file it is fastest.
RIVALS = {"decode": (LLAMA_Q8, LLAMA_Q8_ALL), "prefill": (LLAMA_Q8, LLAMA_Q8_ALL, LLAMA_F16)}


@dataclass(frozen=True)
class Round:
    """What one shape with one number of threads did in the same few seconds.

    Units: `rates` in bytes (tokens) per second by work and engine; `bandwidth_gb_s` of a buffer
           as large as what a token reads, `dram_gb_s` of one that no cache holds.
    """

    shape: str
    n_threads: int
    bytes_per_token: int
    bandwidth_gb_s: float
    dram_gb_s: float
    rates: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Spread:
    """The median of some figures, their quartiles, and how many there were."""

    median: float
    q1: float
    q3: float
    n: int


@dataclass(frozen=True)
class Row:
    """All rounds of one shape, number of threads and kind of work.

    `shares` says which part of the measured bandwidth an engine used; of decode only, because
    prefill reads the weights once for many tokens and is bound by arithmetic.
    """

    shape: str
    n_threads: int
    work: str
    rates: Mapping[str, Spread]
    ratio: Spread | None
    shares: Mapping[str, Spread] = field(default_factory=dict)


def spread(values: Sequence[float]) -> Spread:
    """Return median and quartiles; of one value, that value."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0], 1)
    q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, q1, q3, len(values))


def rate_per_s(report: Mapping[str, object]) -> float:
    """Return the rate of a driver's report, from the first decile of its calls' times.

    A call as long as a scheduler's slice is preempted more often than not where others use the
    machine, so its median time tells of the others; on a quiet machine the two agree.
    """
    calls_us, n_tokens = report["call_us"], report["tokens_per_call"]
    assert isinstance(calls_us, list) and isinstance(n_tokens, int)
    decile_us = float(sorted(calls_us)[len(calls_us) // 10])
    return 1e6 * n_tokens / decile_us


def ratio_of(one: Round, work: str) -> float | None:
    """Return our rate over the fastest rival's in this round, or None if either is missing."""
    rates = one.rates.get(work, {})
    rivals = [rates[name] for name in RIVALS[work] if name in rates]
    return rates[OURS] / max(rivals) if OURS in rates and rivals else None


def rows_of(rounds: Sequence[Round]) -> list[Row]:
    """Return a row for every work, shape and number of threads, the latter as they were met."""
    cells: dict[tuple[str, str, int], list[Round]] = {}
    for work in RIVALS:
        for one in rounds:
            if work in one.rates:
                cells.setdefault((one.shape, work, one.n_threads), []).append(one)
    return [_row(*cell, group) for cell, group in cells.items()]


def _row(shape: str, work: str, n_threads: int, rounds: Sequence[Round]) -> Row:
    def over_rounds(figure: Callable[[Round, str], float]) -> dict[str, Spread]:
        names = dict.fromkeys(name for one in rounds for name in one.rates[work])
        return {
            name: spread([figure(one, name) for one in rounds if name in one.rates[work]])
            for name in names
        }

    def rate(one: Round, name: str) -> float:
        return one.rates[work][name]

    def share(one: Round, name: str) -> float:
        return rate(one, name) * one.bytes_per_token / (one.bandwidth_gb_s * 1e9)

    # The others read other files: what they read is not `bytes_per_token`.
    shares = over_rounds(share) if work == "decode" else {}
    shares = {name: shares[name] for name in (OURS, LLAMA_Q8_ALL) if name in shares}
    found = [ratio_of(one, work) for one in rounds]
    ratios = [ratio for ratio in found if ratio is not None]
    verdict = spread(ratios) if ratios else None
    return Row(shape, n_threads, work, over_rounds(rate), verdict, shares)


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table: rates as medians, ratios with their quartiles."""
    engines = list(dict.fromkeys(name for row in rows for name in row.rates))
    head = ["work", "shape", "threads", *engines, "ours ÷ llama.cpp (quartiles)", "of bandwidth"]
    lines = [head, ["---"] * 3 + ["---:"] * (len(head) - 3)]
    for row in rows:
        rates = [_number(row.rates.get(name)) for name in engines]
        shares = [f"{share.median:.0%}" for share in row.shares.values()]
        cells = [row.work, row.shape, str(row.n_threads), *rates, _ratio(row.ratio)]
        lines.append([*cells, " / ".join(shares) or "–"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(rate: Spread | None) -> str:
    return "–" if rate is None else f"{rate.median:,.0f}"


def _ratio(ratio: Spread | None) -> str:
    return "–" if ratio is None else f"**{ratio.median:.2f}** ({ratio.q1:.2f}–{ratio.q3:.2f})"
