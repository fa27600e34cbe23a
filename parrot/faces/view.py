# SPDX-License-Identifier: Apache-2.0
"""Widgets that remember where they are: text that scrolls, a list, a line being written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from parrot.faces.font import Font
from parrot.faces.framebuffer import SCREEN, Box, Framebuffer, Ink, Words
from parrot.faces.text import Line, TextLayout, cells, draw_text, fitted
from parrot.faces.widget import ROW_PX, draw_scroll_bar

SCROLL_BAR_PX = 2
MARQUEE_WAIT_MS = 900
MARQUEE_PX_PER_S = 24


class TextView:
    """Text that grows at its end and can be scrolled back; it follows the end until then.

    On the whole screen: five lines of ten hanzi, and a scroll bar at the right edge.
    """

    def __init__(self, font: Font, box: Box = SCREEN) -> None:
        self._font, self._box = font, box
        self.n_rows = box.height // ROW_PX
        self.clear()

    def clear(self) -> None:
        """Forget the text."""
        width_px = self._box.width - SCROLL_BAR_PX - 6  # 6: where a full stop may hang
        self._layout = TextLayout(self._font, width_px, hang_px=5)
        self._top: int | None = None  # None: follow the end

    def feed(self, text: str) -> None:
        """Append `text`. Cost: the new text, however long the old one is."""
        self._layout.feed(text)

    @property
    def n_lines(self) -> int:
        return len(self._layout.lines)

    @property
    def top(self) -> int:
        """The number of the first line on the glass."""
        end = max(self.n_lines - self.n_rows, 0)
        return end if self._top is None else min(self._top, end)

    @property
    def is_at_end(self) -> bool:
        return self._top is None

    def scroll(self, n_lines: int) -> None:
        """Move down by `n_lines` (up if negative); reaching the end follows it again."""
        end = max(self.n_lines - self.n_rows, 0)
        top = max(self.top + n_lines, 0)
        self._top = top if top < end else None

    def draw(self, frame: Framebuffer) -> None:
        box, top = self._box, self.top
        y = box.y + (box.height - self.n_rows * ROW_PX + 1) // 2
        with frame.clip(box):
            for line in self._layout.lines[top : top + self.n_rows]:
                draw_text(frame, self._font, box.x + 1, y, line.shown)
                y += ROW_PX
        bar = Box(box.x + box.width - SCROLL_BAR_PX, box.y, SCROLL_BAR_PX, box.height)
        draw_scroll_bar(frame, bar, top, self.n_rows, self.n_lines)


@dataclass(frozen=True)
class Item:
    """A row of a list: a name, perhaps an icon before it and a value at the right."""

    label: str
    value: str = ""
    icon: Words | None = None


class ListView:
    """Rows of which one is selected; a name too long for its row walks when selected.

    The selection's bar begins one pixel above its row, for which the box leaves room.
    """

    def __init__(self, font: Font, box: Box, items: Sequence[Item], selected: int = 0) -> None:
        self._font, self._box = font, box
        self.n_rows = box.height // ROW_PX
        self._since_ms: int | None = None
        self._top = 0
        self.selected = selected
        self.set_items(items)

    def set_items(self, items: Sequence[Item]) -> None:
        """Replace the rows; keep the selection where that is possible."""
        self.items = tuple(items)
        self.selected = min(max(self.selected, 0), max(len(self.items) - 1, 0))
        self._since_ms = None

    def move(self, n: int) -> None:
        """Select the row `n` further down; past an end, go on at the other one."""
        if self.items:
            self.selected = (self.selected + n) % len(self.items)
            self._since_ms = None

    def draw(self, frame: Framebuffer, now_ms: int) -> None:
        if self._since_ms is None:
            self._since_ms = now_ms
        first = min(max(self._top, self.selected - self.n_rows + 1), self.selected)
        self._top = max(min(first, len(self.items) - self.n_rows), 0)
        box = self._box
        is_long = len(self.items) > self.n_rows
        width = box.width - (SCROLL_BAR_PX + 2 if is_long else 0)
        for row, item in enumerate(self.items[self._top : self._top + self.n_rows]):
            place = Box(box.x, box.y + row * ROW_PX, width, ROW_PX)
            is_selected = self._top + row == self.selected
            self._draw_item(frame, place, item, now_ms - self._since_ms if is_selected else None)
            if is_selected:
                frame.invert(Box(place.x, place.y - 1, width, ROW_PX + 1))
        bar = Box(box.x + box.width - SCROLL_BAR_PX, box.y, SCROLL_BAR_PX, self.n_rows * ROW_PX)
        draw_scroll_bar(frame, bar, self._top, self.n_rows, len(self.items))

    def _draw_item(
        self, frame: Framebuffer, place: Box, item: Item, selected_for_ms: int | None
    ) -> None:
        font, x, right = self._font, place.x + 2, place.x + place.width - 2
        if item.icon is not None:
            frame.blit(item.icon, x, place.y + 1)
            x += len(item.icon) + 3
        if item.value:
            value = fitted(font, item.value, (right - x) // 2)
            right -= font.width_px(value)
            draw_text(frame, font, right, place.y, value)
            right -= 4
        room = Box(x, place.y, right - x, place.height)
        walked_px = 0
        label = item.label
        if selected_for_ms is None:
            label = fitted(font, label, room.width)
        else:
            walked_px = _walked_px(font.width_px(label) - room.width, selected_for_ms)
        with frame.clip(room):
            draw_text(frame, font, x - walked_px, place.y, label)


def _walked_px(excess_px: int, for_ms: int) -> int:
    """Return how far a name that is `excess_px` too long has walked: there, rest, and again."""
    if excess_px <= 0:
        return 0
    walk_ms = excess_px * 1000 // MARQUEE_PX_PER_S
    into_ms = for_ms % (walk_ms + 2 * MARQUEE_WAIT_MS) - MARQUEE_WAIT_MS
    return min(max(into_ms, 0) * MARQUEE_PX_PER_S // 1000, excess_px)


class ComposerView:
    """The text being written: a cursor, and an underlined composition in front of it.

    It shows as many rows as its box holds and keeps the cursor among them.
    """

    def __init__(self, font: Font, box: Box) -> None:
        self._font, self._box = font, box
        self.n_rows = box.height // ROW_PX
        self._top = 0

    def draw(
        self, frame: Framebuffer, text: str, cursor: int, composition: str, is_cursor_on: bool
    ) -> None:
        """Draw `text` with `composition` inserted before position `cursor` (0…len(text))."""
        box = self._box
        whole = text[:cursor] + composition + text[cursor:]
        layout = TextLayout(self._font, box.width - 4)
        layout.feed(whole)
        lines = layout.lines
        here = cursor + len(composition)
        at = max(i for i, line in enumerate(lines) if line.start <= here)
        self._top = min(max(self._top, at - self.n_rows + 1), at)
        self._top = max(min(self._top, len(lines) - self.n_rows), 0)
        for row, line in enumerate(lines[self._top : self._top + self.n_rows]):
            y = box.y + row * ROW_PX
            draw_text(frame, self._font, box.x + 2, y, line.shown)
            start, end = max(cursor, line.start), min(here, line.end)
            if start < end:
                x = self._x_of(whole, line, start)
                frame.hline(box.x + 2 + x, y + ROW_PX - 1, self._x_of(whole, line, end) - x - 1)
        if is_cursor_on:
            gap_px = 2 if here == len(whole) else 1  # at the end it stays clear of the last letter
            x = box.x + gap_px + self._x_of(whole, lines[at], here)
            frame.vline(x, box.y + (at - self._top) * ROW_PX, ROW_PX - 1, Ink.FLIP)

    def _x_of(self, whole: str, line: Line, position: int) -> int:
        """Return how many pixels of `line` lie before a position of the whole text."""
        before = whole[line.start - 1 : line.start] if line.start else ""
        return sum(
            self._font.glyph(char).advance_px
            for char, _, end in cells(whole[line.start : line.end], before)
            if line.start + end <= position
        )
