# SPDX-License-Identifier: Apache-2.0
"""How sure the parrot is: what it expects to find, corrected by what it found lately.

The entropy of the model's distribution is the cross-entropy that it expects, if it is calibrated;
on text unlike its training it is too sure of itself. The last turns say by how much:

    found ≈ offset + slope · expected,   least squares over turns, drawn towards 0 and 1

Nothing is trained and nothing is stored: the journal has both numbers of every turn, so another
model, or another companion, corrects itself within some turns. A trained head was no better
(docs/mind.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from parrot.mind.soul import Soul
from parrot.mind.turn import Turn

RECENT_TURNS = 100
_PRIOR_TURNS = 5.0  # weight of "the model is calibrated", in turns
_PRIOR_SPREAD = 2.0  # and of "it is so at every level", in squared nats


@dataclass(frozen=True)
class Calibration:
    """Units: offset nats a byte."""

    offset: float = 0.0
    slope: float = 1.0

    def forecast(self, expected: float) -> float:
        """Return the cross-entropy to reckon with, in nats a byte, from the entropy."""
        return max(0.0, self.offset + self.slope * expected)


def calibrate(turns: Iterable[tuple[float, float]]) -> Calibration:
    """Return what (expected, found) of past turns, in nats a byte, say about the next.

    Ridge regression of the error found - expected on expected, about its mean.
    """
    pairs = list(turns)
    if not pairs:
        return Calibration()
    n = len(pairs)
    mean = sum(expected for expected, _ in pairs) / n
    error = sum(found - expected for expected, found in pairs) / (n + _PRIOR_TURNS)
    spread = sum((expected - mean) ** 2 for expected, _ in pairs)
    slant = sum((expected - mean) * (found - expected - error) for expected, found in pairs)
    slope = slant / (spread + _PRIOR_SPREAD)
    return Calibration(offset=error - slope * mean, slope=1.0 + slope)


def recent_turns(soul: Soul) -> list[Turn]:
    """Return the last turns of talk, newest first."""
    talk = (turn for turn in soul.path_to(soul.tip) if turn.has_words)
    return list(islice(talk, RECENT_TURNS))


def foreseen(turns: Iterable[Turn], half: str) -> list[tuple[float, float]]:
    """Return (expected, found) of what was `heard` or `said`, where it was measured."""
    names = f"{half}_expected", f"{half}_surprise"
    pairs = ((getattr(turn, names[0]), getattr(turn, names[1])) for turn in turns)
    return [(expected, found) for expected, found in pairs if expected is not None]


def sureness(turns: list[Turn]) -> float | None:
    """Return how sure the parrot is of its newest reply, 0 … 1, or None before there is one.

    The share that it gave each byte, as a geometric mean, by the corrected forecast. The correction
    is that of what was heard: of its own words it finds what it likes, so they correct nothing.
    """
    if not turns or turns[0].said_expected is None:
        return None
    known = calibrate(foreseen(turns[1:], "heard"))
    return math.exp(-known.forecast(turns[0].said_expected))
