# SPDX-License-Identifier: Apache-2.0
"""Four levels that remember how the talk went, and how they bend the next reply.

    level(t) = baseline + (level(t0) - baseline) · 2^(-(t - t0) / half_life)
    a dose d ≥ 0 moves a level to  level + d · (1 - level),  d < 0 to  level + d · level

so no dose and no clock takes a level out of 0 … 1. Time is the calendar: a parrot that was switched
off for a night has rested. A clock that went back counts as no time at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from parrot.engine.generate import Sampling
from parrot.mind.feedback import VALUES


@dataclass(frozen=True)
class Hormone:
    """Units: baseline 0 … 1; half_life_s seconds."""

    baseline: float
    half_life_s: float


HORMONES = {
    "reward": Hormone(0.3, 1_800),
    "stress": Hormone(0.1, 3_600),
    "bond": Hormone(0.1, 30 * 86_400),
    "tiredness": Hormone(0.0, 4 * 3_600),
}
TIRING_BYTES = 60_000  # lived without rest, they take tiredness to 1 - 1/e
TEMPERATURE_BENDS = (0.75, 1.2)  # the most that moods may do to the temperature
LENGTH_BEND_MIN = 0.6  # and to the longest reply

Levels = dict[str, tuple[float, float]]  # name -> level, and the wall_s at which it had it


def level_at(name: str, levels: Mapping[str, tuple[float, float]], wall_s: float) -> float:
    """Return a hormone's level at `wall_s`; its baseline when it never had a dose."""
    hormone = HORMONES[name]
    if name not in levels:
        return hormone.baseline
    level, since_s = levels[name]
    fallen = math.exp2(-max(0.0, wall_s - since_s) / hormone.half_life_s)
    return hormone.baseline + (level - hormone.baseline) * fallen


def dose(level: float, amount: float) -> float:
    """Return `level` after a dose of -1 … 1."""
    return level + amount * (1.0 - level if amount >= 0 else level)


def doses_of(signals: tuple[str, ...], n_bytes: int) -> dict[str, float]:
    """Return what signals and `n_bytes` lived do to each hormone."""
    value = sum(VALUES[signal] for signal in signals)
    good, bad = max(value, 0.0), max(-value, 0.0)
    return {
        "reward": (1 - math.exp2(-good / 2)) if value >= 0 else -(1 - math.exp2(-bad / 2)),
        "stress": (1 - math.exp2(-bad)) if value < 0 else -(1 - math.exp2(-good / 2)),
        "bond": 0.02 * max(-1.0, min(value, 2.0)),
        "tiredness": 1 - math.exp(-n_bytes / TIRING_BYTES),
    }


def after(
    levels: Mapping[str, tuple[float, float]],
    signals: tuple[str, ...],
    n_bytes: int,
    wall_s: float,
) -> Levels:
    """Return all levels once `signals` have been felt and `n_bytes` lived at `wall_s`."""
    doses = doses_of(signals, n_bytes)
    return {name: (dose(level_at(name, levels, wall_s), doses[name]), wall_s) for name in HORMONES}


def bend(
    sampling: Sampling, max_bytes: int, levels: Mapping[str, tuple[float, float]], wall_s: float
) -> tuple[Sampling, int]:
    """Return how moods change the way of speaking: livelier when glad, careful under stress.

    Temperature is scaled within TEMPERATURE_BENDS, rounded to thousandths so that a journal entry
    says exactly what was used; a tired parrot's replies end sooner.
    """
    at = {name: level_at(name, levels, wall_s) for name in HORMONES}
    gladness = at["reward"] - HORMONES["reward"].baseline
    strain = at["stress"] - HORMONES["stress"].baseline
    low, high = TEMPERATURE_BENDS
    scale = min(max(1 + 0.2 * gladness - 0.3 * strain, low), high)
    length = max(1 - 0.4 * at["tiredness"], LENGTH_BEND_MIN)
    bent = sampling.with_(temperature=round(sampling.temperature * scale, 3))
    return bent, max(1, round(max_bytes * length))
