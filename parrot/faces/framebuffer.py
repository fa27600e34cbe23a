# SPDX-License-Identifier: Apache-2.0
"""A picture of 128×64 bits in the order the panel's controller keeps it.

The controller stores eight pages of eight rows; a byte is one column of one page, bit 0 on top.
Here a whole column is one little-endian 64-bit word, so that byte `p` of word `x` *is* page `p`,
column `x` of the controller, and every drawing operation is a shift and a mask on a slice of
words. All drawing passes through one function, `_apply`, which is where clipping happens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WIDTH = 128
HEIGHT = 64
N_PAGES = 8
FRAME_SIZE = WIDTH * N_PAGES
_ALL = (1 << HEIGHT) - 1

Words = NDArray[np.uint64]


class Ink(IntEnum):
    """What drawing does to a pixel."""

    OFF = 0
    ON = 1
    FLIP = 2


class Box(NamedTuple):
    """A rectangle in pixels, origin top left."""

    x: int
    y: int
    width: int
    height: int

    def inset(self, px: int) -> Box:
        """Return the box `px` smaller on every side."""
        return Box(self.x + px, self.y + px, self.width - 2 * px, self.height - 2 * px)


SCREEN = Box(0, 0, WIDTH, HEIGHT)


class Framebuffer:
    """128×64 one-bit pixels; coordinates may lie outside, what does not fit is clipped.

    Invariant: `pages()` is always FRAME_SIZE bytes. Raises: nothing.
    """

    def __init__(self) -> None:
        self.columns: Words = np.zeros(WIDTH, dtype="<u8")
        self._clip = SCREEN

    # Whole pictures

    def clear(self) -> None:
        """Turn every pixel off."""
        self.columns[:] = 0

    def copy_from(self, other: Framebuffer) -> None:
        """Become equal to `other`."""
        self.columns[:] = other.columns

    def pages(self) -> NDArray[np.uint8]:
        """Return the (8, 128) bytes as the controller holds them: a view, page first."""
        return self.columns.view(np.uint8).reshape(WIDTH, N_PAGES).T

    def to_bytes(self) -> bytes:
        """Return the 1024 bytes of a frame, page after page."""
        return self.pages().tobytes()

    def pixels(self) -> NDArray[np.bool_]:
        """Return a (64, 128) copy, row first."""
        bits = np.unpackbits(self.columns.view(np.uint8), bitorder="little")
        return bits.reshape(WIDTH, HEIGHT).T.astype(np.bool_)

    # Primitives

    def pixel(self, x: int, y: int, ink: Ink = Ink.ON) -> None:
        self.fill(Box(x, y, 1, 1), ink)

    def hline(self, x: int, y: int, length: int, ink: Ink = Ink.ON) -> None:
        self.fill(Box(x, y, length, 1), ink)

    def vline(self, x: int, y: int, length: int, ink: Ink = Ink.ON) -> None:
        self.fill(Box(x, y, 1, length), ink)

    def fill(self, box: Box, ink: Ink = Ink.ON) -> None:
        """Give every pixel of `box` the same ink."""
        rows = _row_mask(box.y, box.height)
        if rows and box.width > 0:
            x = max(box.x, 0)
            width = min(box.x + box.width, WIDTH) - x
            if width > 0:
                self._apply(x, np.full(width, rows, dtype="<u8"), ink)

    def rect(self, box: Box, ink: Ink = Ink.ON) -> None:
        """Draw the outline of `box`, one pixel thick; each pixel once, so FLIP works."""
        if box.width <= 0 or box.height <= 0:
            return
        self.hline(box.x, box.y, box.width, ink)
        if box.height > 1:
            self.hline(box.x, box.y + box.height - 1, box.width, ink)
        self.vline(box.x, box.y + 1, box.height - 2, ink)
        if box.width > 1:
            self.vline(box.x + box.width - 1, box.y + 1, box.height - 2, ink)

    def invert(self, box: Box = SCREEN) -> None:
        """Exchange on and off inside `box`."""
        self.fill(box, Ink.FLIP)

    def blit(self, columns: Words, x: int, y: int, ink: Ink = Ink.ON) -> None:
        """Give the pixels set in `columns` (bit 0 at row `y`) the ink; leave the others alone."""
        if -HEIGHT < y < HEIGHT:
            shift = np.uint64(abs(y))
            self._apply(x, columns << shift if y >= 0 else columns >> shift, ink)

    @contextmanager
    def clip(self, box: Box) -> Iterator[None]:
        """Confine drawing to `box` (and to any box around it) while the block runs."""
        outer = self._clip
        x, y = max(box.x, outer.x), max(box.y, outer.y)
        right = min(box.x + box.width, outer.x + outer.width)
        bottom = min(box.y + box.height, outer.y + outer.height)
        self._clip = Box(x, y, max(right - x, 0), max(bottom - y, 0))
        try:
            yield
        finally:
            self._clip = outer

    def _apply(self, x: int, words: Words, ink: Ink) -> None:
        clip = self._clip
        first, end = max(x, clip.x), min(x + len(words), clip.x + clip.width)
        if first >= end:
            return
        words = words[first - x : end - x]
        if clip.y > 0 or clip.height < HEIGHT:
            words = words & np.uint64(_row_mask(clip.y, clip.height))
        target = self.columns[first:end]
        if ink == Ink.ON:
            target |= words
        elif ink == Ink.OFF:
            target &= ~words
        else:
            target ^= words


def bitmap(rows: str) -> Words:
    """Return the columns of a picture written as lines of `#` (on) and any other character (off).

    For blit. At most 64 lines; leading and trailing blank lines are ignored.
    """
    lines = rows.strip("\n").splitlines()
    width = max(len(line) for line in lines)
    words = [
        sum(1 << y for y, line in enumerate(lines) if line[x : x + 1] == "#") for x in range(width)
    ]
    return np.array(words, dtype="<u8")


def words_from_mask(mask: NDArray[np.bool_]) -> Words:
    """Return the columns of a (rows ≤ 64, width) picture, row first: the inverse of `pixels`."""
    tall = np.zeros((mask.shape[1], HEIGHT), dtype=np.bool_)
    tall[:, : mask.shape[0]] = mask.T
    packed: Words = np.packbits(tall, axis=1, bitorder="little").view("<u8").ravel()
    return packed


def _row_mask(y: int, height: int) -> int:
    """Return a word whose bits y … y + height - 1, as far as they exist, are set."""
    top, bottom = max(y, 0), min(y + height, HEIGHT)
    return ((1 << (bottom - top)) - 1) << top if bottom > top else 0
