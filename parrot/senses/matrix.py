# SPDX-License-Identifier: Apache-2.0
"""Sixteen contacts in four rows and four columns, read by any chip that can drive and sense.

A pad without diodes lies: with three corners of a rectangle closed, current finds a way round and
the fourth corner reads closed too. `reject_ghosts` lets nothing new happen on such a rectangle
until it is clear again; keys already down stay down, so no press is invented and none is lost.

       c0  c1        2 and 5 held, 1 pressed:  4 reads closed as well.
    r0  1 - 2        Which of 1 and 4 is real cannot be known: both wait.
    r1  4 - 5
"""

from __future__ import annotations

from typing import Protocol

from parrot.senses.key import HOLD_MS, PAD_4X4, Debounce, KeyPress, KeyTimer

N_ROWS = N_COLUMNS = 4


class MatrixPort(Protocol):
    """Whatever drives the rows and senses the columns."""

    def scan(self) -> int:
        """Return the closed contacts, bit 4 * row + column. Raises: DeviceError."""

    def close(self) -> None: ...


def reject_ghosts(closed: int, agreed: int) -> int:
    """Return `closed` with every ambiguous contact put back to what `agreed` says.

    Shapes: both are masks of 16 contacts, bit 4 * row + column.
    """
    rows = [closed >> N_COLUMNS * row & 0xF for row in range(N_ROWS)]
    ambiguous = 0
    for i in range(N_ROWS):
        for j in range(i + 1, N_ROWS):
            shared = rows[i] & rows[j]
            if shared & (shared - 1):  # two rows meet in two columns: a rectangle
                ambiguous |= shared << N_COLUMNS * i | shared << N_COLUMNS * j
    return closed & ~ambiguous | agreed & ambiguous


class MatrixKeypad:
    """A 4x4 pad behind a `MatrixPort` it owns.

    Units: `layout` names the keys row by row; hold_ms is the debounce time.
    """

    def __init__(self, port: MatrixPort, layout: str = PAD_4X4, hold_ms: int = HOLD_MS) -> None:
        if len(layout) != N_ROWS * N_COLUMNS:
            raise ValueError(f"layout {layout!r} has {len(layout)} keys, a 4x4 pad has 16")
        self._port, self._layout, self._hold_ms = port, layout, hold_ms
        self._debounce: list[Debounce] = []
        self._agreed = 0
        self._timer = KeyTimer()

    def poll(self, now_ms: int) -> list[KeyPress]:
        if not self._debounce:
            self._debounce = [Debounce(now_ms, self._hold_ms) for _ in self._layout]
        closed = reject_ghosts(self._port.scan(), self._agreed)
        events = self._timer.tick(now_ms)
        for i, key in enumerate(self._layout):
            edge = self._debounce[i].feed(bool(closed >> i & 1), now_ms)
            if edge is not None:
                self._agreed ^= 1 << i
                events += self._timer.feed(key, edge, now_ms)
        return events

    def release_all(self, now_ms: int) -> list[KeyPress]:
        self._debounce, self._agreed = [], 0
        return self._timer.release_all(now_ms)

    def close(self) -> None:
        self._port.close()
