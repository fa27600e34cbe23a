# SPDX-License-Identifier: Apache-2.0
"""From text to lines of glyphs that fit a width.

Chinese breaks between any two characters except where punctuation forbids it (a line does not
begin with 。 or ）, nor end with （); Latin words stay whole unless longer than a line. A full stop
or comma that finds the line full may hang into the margin, so ten hanzi stay ten to a line.
Lines are filled greedily, and the character that overflowed a line may still change its width with
the one after it, hence text that arrives later can change only the last two lines: that makes
`TextLayout.feed` cost the new text and little more. Right-to-left scripts are not reordered.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from parrot.faces.font import Font
from parrot.faces.framebuffer import Framebuffer, Ink

NO_LINE_START = frozenset(
    "。，、；：？！）」』】〉》〕〗〙〛”’…～·ー々％‰℃℉°′″\u3000!),.:;?]}%»›"
    "ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ"
)
NO_LINE_END = frozenset("（「『【〈《〔〖〘〚“‘￥＄＃([{«‹")
UNSPLIT_PAIRS = frozenset("…—─")  # …… and —— are one sign each
HANGING = frozenset("。，、；：！？")
HANGING_PX = 6  # their ink lies in the left half of the cell
BREAK_AFTER = frozenset("-/–—")
NARROW_QUOTES = {"“": '"', "”": '"', "‘": "'", "’": "'"}  # beside Latin letters
_ZERO_WIDTH = (range(0x200B, 0x2010), range(0x202A, 0x202F), range(0x2060, 0x2065),
               range(0xFE00, 0xFE10), range(0x1F3FB, 0x1F400), range(0xE0000, 0xE01F0))  # fmt: skip
_ZERO_WIDTH_ONES = frozenset("\u00ad\ufeff\r")


@dataclass(frozen=True, slots=True)
class Line:
    """One laid-out line: `shown` has one character per glyph; it came from text[start:end]."""

    shown: str
    start: int
    end: int
    width_px: int
    ends_paragraph: bool


def is_zero_width(char: str) -> bool:
    """Say whether `char` steers other characters and has no picture of its own."""
    if char < "\u00ad":
        return char == "\r"
    return char in _ZERO_WIDTH_ONES or any(ord(char) in block for block in _ZERO_WIDTH)


def cells(text: str, before: str = "") -> Iterator[tuple[str, int, int]]:
    """Yield (shown character, start, end) for each glyph of `text`.

    A letter and its combining marks become one character where Unicode has one; quotation marks
    take the width of their neighbours; characters without a picture vanish. `before` is the
    character in front of `text`, if any.
    """
    i, n = 0, len(text)
    while i < n:
        char, start = text[i], i
        i += 1
        while i < n and unicodedata.combining(text[i]):
            composed = unicodedata.normalize("NFC", char + text[i])
            if len(composed) > 1:
                break
            char, i = composed, i + 1
        if char in NARROW_QUOTES:
            char = _quote(char, text[start - 1] if start else before, text[i : i + 1])
        if not is_zero_width(char):
            yield " " if char == "\t" else char, start, i


def _quote(char: str, before: str, after: str) -> str:
    """Return a quotation mark as wide as its neighbours: wide beside hanzi, narrow beside Latin."""
    has_latin = any(" " < each < "\u2000" for each in (before, after))
    has_wide = any(each >= "\u2e80" for each in (before, after))
    return NARROW_QUOTES[char] if has_latin and not has_wide else char


def may_break(before: str, after: str) -> bool:
    """Say whether a line may end between two characters."""
    if after in NO_LINE_START or after == " " or before in NO_LINE_END:
        return False
    if before == after and after in UNSPLIT_PAIRS:
        return False
    if before == " " or _is_wide(before) or _is_wide(after):
        return True
    return before in BREAK_AFTER and not after.isdigit()


def _is_wide(char: str) -> bool:
    return char >= "\u2e80" or (char >= "\u1100" and unicodedata.east_asian_width(char) in "WF")


class TextLayout:
    """Text broken into `lines` of at most `width_px`, plus `hang_px` for a hanging full stop.

    There is always at least one line. Feeding a text in pieces gives the same lines as feeding it
    whole.
    Cost: O(new text + two lines).
    """

    def __init__(self, font: Font, width_px: int, hang_px: int = 0) -> None:
        self._font, self._width_px, self._hang_px = font, width_px, hang_px
        self._open, self._open_start, self._before = "", 0, ""
        self._n_open = 1  # lines that later text may still change
        self.lines = [Line("", 0, 0, 0, False)]

    def feed(self, text: str) -> None:
        """Append `text`."""
        del self.lines[-self._n_open :]
        *paragraphs, tail = (self._open + text).split("\n")
        for paragraph in paragraphs:
            self._lay(paragraph, ends_paragraph=True)
            self._open_start += len(paragraph) + 1
            self._before = ""
        n_closed = len(self.lines)
        self._lay(tail, ends_paragraph=False)
        self._n_open = min(len(self.lines) - n_closed, 2)
        kept = self.lines[-self._n_open].start - self._open_start
        if kept:
            self._before = tail[kept - 1]
        self._open, self._open_start = tail[kept:], self._open_start + kept

    def _lay(self, paragraph: str, ends_paragraph: bool) -> None:
        """Append the lines of `paragraph`, whose first character is number `_open_start`."""
        row = list(cells(paragraph, self._before))
        first = start = 0
        while True:
            end = self._fill(row, first)
            is_last = end == len(row)
            stop = len(paragraph) if is_last else row[end][1]
            shown = "".join(cell[0] for cell in row[first:end])
            if not is_last or ends_paragraph:
                shown = shown.rstrip(" ")
            line = Line(
                shown,
                self._open_start + start,
                self._open_start + stop,
                self._font.width_px(shown),
                is_last and ends_paragraph,
            )
            self.lines.append(line)
            if is_last:
                return
            first, start = end, stop

    def _fill(self, row: list[tuple[str, int, int]], first: int) -> int:
        """Return the index after the last cell of the line that begins at `first`."""
        pen_px, break_at, before = 0, 0, ""
        for i in range(first, len(row)):
            char = row[i][0]
            if i > first and may_break(before, char):
                break_at = i
            advance_px = self._font.glyph(char).advance_px
            is_over = pen_px + advance_px > self._width_px and char != " "
            if is_over and i > first and not self._may_hang(char, pen_px):
                return break_at or self._forced_break(row, first, i)
            pen_px, before = pen_px + advance_px, char
        return len(row)

    def _forced_break(self, row: list[tuple[str, int, int]], first: int, i: int) -> int:
        """Split a word longer than a line at `i`, or earlier if punctuation would begin a line."""
        at = i
        while at > first + 1 and row[at][0] in NO_LINE_START:
            at -= 1
        return i if row[at][0] in NO_LINE_START else at

    def _may_hang(self, char: str, pen_px: int) -> bool:
        return char in HANGING and pen_px + HANGING_PX <= self._width_px + self._hang_px


def draw_text(frame: Framebuffer, font: Font, x: int, y: int, shown: str, ink: Ink = Ink.ON) -> int:
    """Draw characters from left to right without layout; return the x after the last one."""
    for char in shown:
        glyph = font.glyph(char)
        frame.blit(glyph.columns, x, y, ink)
        x += glyph.advance_px
    return x


def fitted(font: Font, text: str, width_px: int) -> str:
    """Return `text` as one line of at most `width_px`, cut with an ellipsis if need be."""
    shown = "".join(cell[0] for cell in cells(text.replace("\n", " ")))
    if font.width_px(shown) <= width_px:
        return shown
    room_px = width_px - font.width_px("…")
    while shown and font.width_px(shown) > room_px:
        shown = shown[:-1]
    return shown + "…"
