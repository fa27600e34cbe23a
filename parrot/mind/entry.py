# SPDX-License-Identifier: Apache-2.0
"""What goes into the soul with one turn, and what comes out as the names in its tree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from parrot.mind.memory import Crystal
from parrot.mind.turn import Turn


@dataclass(frozen=True)
class Name:
    """A name in the tree of turns. `is_line`: it moves with the talk."""

    name: str
    turn: int
    is_line: bool
    wall_s: float
    is_current: bool


@dataclass(frozen=True)
class Entry:
    """What one turn adds to the soul, committed together or not at all."""

    turn: Turn
    signals: tuple[str, ...] = ()
    levels: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # level, wall_s
    crystal: tuple[str, float] | None = None  # text and strength
    recalled: tuple[Crystal, ...] = ()
    drafts: tuple[tuple[bytes, float], ...] = ()  # what was not said, and the score it had
