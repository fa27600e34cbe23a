# SPDX-License-Identifier: Apache-2.0
"""What is being composed, as small unchanging steps, and what of it is drawn."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the composition that the owner has picked."""

    text: str
    n_digits: int
    pinyin: tuple[str, ...]
    lm_id: int


@dataclass(frozen=True, slots=True)
class Step:
    """A composition at one moment. `fixed` are (digit position, pinyin) after the pieces."""

    digits: str = ""
    pieces: tuple[Piece, ...] = ()
    fixed: tuple[tuple[int, str], ...] = ()
    case: int = 0  # English: as in the table, Capital, UPPER

    @property
    def n_picked(self) -> int:
        return sum(piece.n_digits for piece in self.pieces)

    @property
    def open_digits(self) -> str:
        return self.digits[self.n_picked :]


@dataclass(frozen=True, slots=True)
class View:
    """What to draw. `syllables` are shown in place of the candidates while one is chosen."""

    mode: str
    line: str
    picked: str
    spelling: str
    candidates: tuple[str, ...]
    learned: tuple[bool, ...]
    page: int
    has_more: bool
    syllables: tuple[str, ...]
    is_composing: bool


def n_common(a: str, b: str) -> int:
    """Return how many characters two strings begin with alike."""
    n = min(len(a), len(b))
    return next((i for i in range(n) if a[i] != b[i]), n)
