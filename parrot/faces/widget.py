# SPDX-License-Identifier: Apache-2.0
"""Widgets without a past: everything they show comes in with the call.

Text rows are ROW_PX high. A hanzi's ink fills the first eleven rows and columns of its cell, so a
widget starts text at least one pixel inside its border.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from parrot.faces.font import HEIGHT_PX, Font
from parrot.faces.framebuffer import WIDTH, Box, Framebuffer, Ink, Words, bitmap
from parrot.faces.icon import DIGIT_WIDTH_PX, draw_digits
from parrot.faces.text import TextLayout, draw_text, fitted

ROW_PX = HEIGHT_PX
STATUS_PX = 14  # a row and the line under it
CHIP_PX = 14
LABEL_MAX_PX = 54  # what a meter's name may take from its bar
BODY = Box(0, 15, WIDTH, 49)  # below a status bar: four rows

ARROW_PX = 6  # room for an arrow on either side of the candidates
LEFT_ARROW = bitmap("""
...#
..##
.###
####
.###
..##
...#
""")
RIGHT_ARROW = LEFT_ARROW[::-1].copy()


def draw_frame(frame: Framebuffer, box: Box) -> None:
    """Draw an outline with its corners rounded off."""
    frame.hline(box.x + 1, box.y, box.width - 2)
    frame.hline(box.x + 1, box.y + box.height - 1, box.width - 2)
    frame.vline(box.x, box.y + 1, box.height - 2)
    frame.vline(box.x + box.width - 1, box.y + 1, box.height - 2)


def draw_chip(frame: Framebuffer, font: Font, x: int, y: int, text: str, is_lit: bool) -> int:
    """Draw `text` in a rounded box, filled if lit; return the x after it."""
    width_px = font.width_px(text) + 5
    if is_lit:
        frame.fill(Box(x, y + 1, width_px, CHIP_PX - 2))
        frame.fill(Box(x + 1, y, width_px - 2, CHIP_PX))
    else:
        draw_frame(frame, Box(x, y, width_px, CHIP_PX))
    draw_text(frame, font, x + 3, y + (CHIP_PX - ROW_PX + 1) // 2, text, Ink.FLIP)
    return x + width_px


def draw_status_bar(
    frame: Framebuffer, font: Font, title: str, icons: Sequence[Words] = (), clock: str = ""
) -> None:
    """Draw the top row: a title on the left; icons, then a clock, on the right; a line below."""
    x = WIDTH - 1
    if clock:
        x -= font.width_px(clock)
        draw_text(frame, font, x, 1, clock)
        x -= 3
    for icon in reversed(icons):
        x -= len(icon)
        frame.blit(icon, x, 2)
        x -= 3
    draw_text(frame, font, 1, 1, fitted(font, title, x - 2))
    frame.hline(0, STATUS_PX - 1, WIDTH)


def draw_scroll_bar(frame: Framebuffer, box: Box, first: int, n_shown: int, n_total: int) -> None:
    """Draw where a window of `n_shown` of `n_total` rows stands; nothing if all are shown."""
    if n_total <= n_shown:
        return
    for y in range(box.y, box.y + box.height, 3):
        frame.pixel(box.x + box.width - 1, y)
    thumb_px = max(box.height * n_shown // n_total, 5)
    y = box.y + (box.height - thumb_px) * first // (n_total - n_shown)
    frame.fill(Box(box.x, y, box.width, thumb_px))


def draw_progress(
    frame: Framebuffer, font: Font, box: Box, share: float | None, now_ms: int = 0
) -> None:
    """Draw a bar filled to `share` (0…1) with its per cent; None: a stripe that wanders."""
    draw_frame(frame, box)
    inner = box.inset(2)
    if share is None:
        length = inner.width // 4
        span = inner.width - length
        at = now_ms // 20 % (2 * span)
        x = at if at < span else 2 * span - at
        frame.fill(Box(inner.x + x, inner.y, length, inner.height))
        return
    share = min(max(share, 0.0), 1.0)
    frame.fill(Box(inner.x, inner.y, round(inner.width * share), inner.height))
    if box.height >= ROW_PX + 2:
        text = f"{int(share * 100)}%"
        x = box.x + (box.width - font.width_px(text)) // 2
        draw_text(frame, font, x, box.y + (box.height - ROW_PX) // 2 + 1, text, Ink.FLIP)


def draw_dots(frame: Framebuffer, x: int, y: int, now_ms: int) -> None:
    """Draw three dots that come one after another: it thinks."""
    for i in range(3):
        if now_ms // 300 % 4 > i:
            frame.fill(Box(x + 8 * i, y, 3, 3))


@dataclass(frozen=True)
class Meter:
    """A level from 0 to 1 with a name; `baseline` is where it returns to, `percent` the number
    beside it, of the level itself if not given."""

    label: str
    level: float
    baseline: float | None = None
    percent: int | None = None


def draw_meter(frame: Framebuffer, font: Font, box: Box, meter: Meter, label_px: int) -> None:
    """Draw one row: name, bar with a notch at the baseline, value of 100."""
    draw_text(frame, font, box.x + 1, box.y, fitted(font, meter.label, label_px))
    level = min(max(meter.level, 0.0), 1.0)
    bar = Box(box.x + label_px + 4, box.y + 2, box.width - label_px - 20, 8)
    draw_frame(frame, bar)
    inner = bar.inset(2)
    frame.fill(Box(inner.x, inner.y, round(inner.width * level), inner.height))
    if meter.baseline is not None:
        x = inner.x + round((inner.width - 1) * min(max(meter.baseline, 0.0), 1.0))
        frame.vline(x, bar.y - 1, 2)
        frame.vline(x, bar.y + bar.height - 1, 2)
    text = str(round(level * 100) if meter.percent is None else meter.percent)
    draw_digits(frame, box.x + box.width - len(text) * (DIGIT_WIDTH_PX + 1), box.y + 3, text)


def draw_meters(frame: Framebuffer, font: Font, box: Box, meters: Sequence[Meter]) -> None:
    """Draw meters one under another, their bars aligned."""
    label_px = min(max(font.width_px(meter.label) for meter in meters), LABEL_MAX_PX)
    for i, meter in enumerate(meters):
        row = Box(box.x, box.y + i * ROW_PX, box.width, ROW_PX)
        draw_meter(frame, font, row, meter, label_px)


def draw_hints(frame: Framebuffer, font: Font, y: int, hints: Sequence[tuple[str, str]]) -> None:
    """Draw what keys do, evenly spread: each key in a lit chip, then its meaning."""
    widths = [font.width_px(key) + font.width_px(text) + 7 for key, text in hints]
    gap_px = max((WIDTH - 2 - sum(widths)) // max(len(hints) - 1, 1), 2)
    x = 1
    for (key, text), width_px in zip(hints, widths, strict=True):
        after = draw_chip(frame, font, x, y, key, is_lit=True)
        draw_text(frame, font, after + 2, y + 2, text)
        x += width_px + gap_px


def draw_dialog(
    frame: Framebuffer, font: Font, text: str, choices: Sequence[str] = (), selected: int = 0
) -> None:
    """Draw a box over the middle of the frame: `text`, up to three lines, and choices below it.

    Without choices it is a notice. For what destroys, put the harmless choice first.
    """
    layout = TextLayout(font, 108, hang_px=6)
    layout.feed(text)
    lines = [line.shown for line in layout.lines]
    if len(lines) > 3:
        lines = [*lines[:2], fitted(font, lines[2] + "……", 108)]
    height = len(lines) * ROW_PX + 9 + (CHIP_PX + 1 if choices else 0)
    box = Box(4, (64 - height) // 2, WIDTH - 8, height)
    frame.fill(Box(box.x - 2, box.y - 2, box.width + 4, box.height + 4), Ink.OFF)
    draw_frame(frame, box)
    frame.hline(box.x + 2, box.y + box.height, box.width - 1)  # its shadow
    frame.vline(box.x + box.width, box.y + 2, box.height - 1)
    for i, line in enumerate(lines):
        x = box.x + (box.width - font.width_px(line)) // 2
        draw_text(frame, font, max(x, box.x + 5), box.y + 5 + i * ROW_PX, line)
    if choices:
        _draw_choices(frame, font, box, choices, selected)


def _draw_choices(
    frame: Framebuffer, font: Font, box: Box, choices: Sequence[str], selected: int
) -> None:
    y = box.y + box.height - CHIP_PX - 3
    widths = [font.width_px(choice) + 5 for choice in choices]
    gap_px = (box.width - sum(widths)) // (len(choices) + 1)
    x = box.x + gap_px
    for i, choice in enumerate(choices):
        draw_chip(frame, font, x, y, choice, is_lit=i == selected)
        x += widths[i] + gap_px


# Candidates


def candidates_that_fit(font: Font, candidates: Sequence[str], width_px: int) -> int:
    """Return how many of `candidates`, from the first, fit one bar; at least one if there is one.

    At most nine, for nine digits pick them.
    """
    x = ARROW_PX
    for i, candidate in enumerate(candidates[:9]):
        x += _candidate_px(font, candidate)
        if x > width_px - ARROW_PX and i > 0:
            return i
    return min(len(candidates), 9)


def _candidate_px(font: Font, candidate: str) -> int:
    return DIGIT_WIDTH_PX + 2 + font.width_px(candidate) + 3


@dataclass(frozen=True)
class CandidatePage:
    """A row of candidates, which one is selected (-1: none), and whether there are other pages."""

    candidates: Sequence[str]
    selected: int = 0
    has_before: bool = False
    has_after: bool = False
    first_number: int = 1


def draw_candidates(frame: Framebuffer, font: Font, box: Box, page: CandidatePage) -> None:
    """Draw a row of candidates with their numbers, the selected one lit. Box: 13 rows high."""
    if page.has_before:
        frame.blit(LEFT_ARROW, box.x, box.y + 3)
    if page.has_after:
        frame.blit(RIGHT_ARROW, box.x + box.width - 4, box.y + 3)
    room = Box(box.x + ARROW_PX, box.y, box.width - 2 * ARROW_PX, box.height)
    x = room.x
    with frame.clip(room):
        for i, candidate in enumerate(page.candidates):
            draw_digits(frame, x + 1, box.y + 1, str(page.first_number + i))
            draw_text(frame, font, x + DIGIT_WIDTH_PX + 2, box.y + 1, candidate)
            width_px = _candidate_px(font, candidate)
            if i == page.selected:
                frame.invert(Box(x, box.y, width_px - 1, box.height))
            x += width_px
