# SPDX-License-Identifier: Apache-2.0
"""Reading text off the glass: pixels in, characters out.

Knows the font's pictures and where a text view puts its lines, and nothing of what was drawn.
Characters with the same picture (I and Ι) are read as the one with the lowest number: compare with
`as_seen(text)`.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from parrot.faces.font import HEIGHT_PX, Font
from parrot.faces.framebuffer import Box, Framebuffer

CHAT_BOX = Box(0, 2, 128, 60)  # where the chat's five lines stand
_FIRST, _LAST = 0x20, 0xFFFF
_SCROLL_BAR_PX = 3


def _ink(columns: NDArray[np.uint64]) -> bytes:
    """Return the columns of a glyph without the blank ones around it, which nobody can see."""
    inked = np.flatnonzero(columns)
    return columns[inked[0] : inked[-1] + 1].astype("<u8").tobytes() if len(inked) else b""


@cache
def pictures() -> dict[bytes, str]:
    """Return the ink of every glyph -> the first character that looks so."""
    font = Font()
    found: dict[bytes, str] = {}
    for char in map(chr, range(_FIRST, _LAST)):
        if char in font and (ink := _ink(font.glyph(char).columns)):
            found.setdefault(ink, char)
    return found


def as_seen(text: str) -> str:
    """Return `text` without white space, each character as `read_line` would name it."""
    font, known = Font(), pictures()
    inks = (_ink(font.glyph(char).columns) for char in text if not char.isspace())
    return "".join(known.get(ink, "\ufffd") for ink in inks)


def read_lines(frame: Framebuffer, box: Box = CHAT_BOX) -> list[str]:
    """Return the text of each row that a text view in `box` has, top first."""
    n_rows = box.height // HEIGHT_PX
    y = box.y + (box.height - n_rows * HEIGHT_PX + 1) // 2
    end = box.x + box.width - _SCROLL_BAR_PX
    words = frame.columns[box.x + 1 : end]
    mask = np.uint64((1 << HEIGHT_PX) - 1)
    return [read_line(words >> np.uint64(y + HEIGHT_PX * row) & mask) for row in range(n_rows)]


def read_line(columns: NDArray[np.uint64]) -> str:
    """Return the reading with the fewest characters; U+FFFD stands for a column of no glyph."""
    known = pictures()
    best: list[tuple[int, str, int]] = [(0, "", 0)]  # cost, last character, where it begins
    for end in range(1, len(columns) + 1):
        is_blank = columns[end - 1] == 0
        found = (best[end - 1][0] + (0 if is_blank else 100), "" if is_blank else "\ufffd", end - 1)
        for start in range(max(end - HEIGHT_PX, 0), end if not is_blank else 0):
            char = known.get(columns[start:end].astype("<u8").tobytes())
            if char is not None and best[start][0] + 1 < found[0]:
                found = (best[start][0] + 1, char, start)
        best.append(found)
    text, at = "", len(columns)
    while at:
        _, char, start = best[at]
        text, at = char + text, start
    return text
