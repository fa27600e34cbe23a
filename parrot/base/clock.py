# SPDX-License-Identifier: Apache-2.0
"""Time as an argument.

Two kinds that are never subtracted from each other: `now_ms` is monotonic and orders events,
`wall_s` is the calendar and dates them. What needs time takes a `Clock`; tests turn the hands.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What time it is. Units: now_ms monotonic milliseconds, wall_s Unix seconds."""

    def now_ms(self) -> int: ...

    def wall_s(self) -> float: ...


class SystemClock:
    """The clock of this machine."""

    def now_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    def wall_s(self) -> float:
        return time.time()


class ManualClock:
    """A clock that moves when told: simulation and tests run in virtual time."""

    def __init__(self, now_ms: int = 0, wall_s: float = 0.0) -> None:
        self._now_ms, self._wall_s = now_ms, wall_s

    def now_ms(self) -> int:
        return self._now_ms

    def wall_s(self) -> float:
        return self._wall_s

    def advance_ms(self, ms: int) -> None:
        """Move both hands forward by `ms` ≥ 0 milliseconds."""
        if ms < 0:
            raise ValueError(f"a monotonic clock cannot go back by {-ms} ms")
        self._now_ms += ms
        self._wall_s += ms / 1000
