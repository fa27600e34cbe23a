# SPDX-License-Identifier: Apache-2.0
"""The line being written, with its candidates: the composer drawn.

Candidates take one to three rows at the foot, as they need; where five do not fit three rows, the
first keeps a row of its own and the others are shortened, so that no key picks what is unseen.
"""

from __future__ import annotations

from collections.abc import Sequence

from parrot.app.screen import Desk
from parrot.faces.font import Font
from parrot.faces.framebuffer import HEIGHT, WIDTH, Box, Framebuffer
from parrot.faces.icon import DIGIT_WIDTH_PX
from parrot.faces.text import fitted
from parrot.faces.view import ComposerView
from parrot.faces.widget import (
    ARROW_PX,
    ROW_PX,
    STATUS_PX,
    CandidatePage,
    draw_candidates,
    draw_hints,
    draw_status_bar,
)
from parrot.senses.composer import LINE_MAX, Composer
from parrot.senses.composition import View
from parrot.senses.key import KeyPress

N_BARS_MAX = 3
ROOM_PX = WIDTH - 2 * ARROW_PX
_NUMBER_PX = DIGIT_WIDTH_PX + 5  # what a candidate needs beside its text
_BLINK_MS = 500


class ComposeScreen:
    """Feeds the composer; sends with D, leaves with A on an empty line."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        assert desk.composer is not None
        self._composer: Composer = desk.composer
        self._views = {n: ComposerView(desk.font, _text_box(n)) for n in range(N_BARS_MAX + 1)}
        self._asked: object = None

    def key(self, press: KeyPress) -> bool:
        if self._composer.feed(press):
            self._ask_the_model()
            return True
        if press.kind == "press" and press.key == "D":
            self._send()
            return True
        if press.kind == "long_press" and press.key == "D" and not self._composer.line:
            say = self._desk.say  # whoever holds D wants to speak
            self._desk.talk.notice = say("The voice is off. It is switched on under C, Voice.")
            return True
        return press.kind != "press" or press.key in "*#"

    def draw(self, frame: Framebuffer, now_ms: int) -> None:
        view, font = self._composer.view, self._desk.font
        label = {"中": "中", "符": self._desk.say("symbols")}.get(view.mode, view.mode)
        title = f"{label}  {view.spelling}" if view.is_composing else label
        count = f"{len(view.line)}/{LINE_MAX}" if len(view.line) > LINE_MAX - 100 else ""
        draw_status_bar(frame, font, title, self._desk.status_icons(), count)
        bars = packed(font, view.syllables or view.candidates)
        composition = view.picked + (_lead(view) if view.is_composing else "")
        self._views[len(bars)].draw(
            frame, view.line, len(view.line), composition, now_ms // _BLINK_MS % 2 == 0
        )
        self._draw_bars(frame, view, bars)
        if not view.line and not view.is_composing and not bars:
            say = self._desk.say
            draw_hints(
                frame, font, 50, [("A", say("back")), ("B", say("mode")), ("D", say("send"))]
            )

    def _draw_bars(self, frame: Framebuffer, view: View, bars: list[list[str]]) -> None:
        n_before, bar_px = 0, _bar_px(len(bars))
        top = HEIGHT - bar_px * len(bars)
        if bars:
            frame.hline(0, top - 1, WIDTH)
        for row, texts in enumerate(bars):
            is_last = row == len(bars) - 1
            page = CandidatePage(
                texts,
                selected=0 if row == 0 and view.is_composing and not view.syllables else -1,
                has_before=is_last and view.page > 0 and not view.syllables,
                has_after=is_last and view.has_more and not view.syllables,
                first_number=n_before + 1,
            )
            box = Box(0, top + row * bar_px, WIDTH, bar_px)
            draw_candidates(frame, self._desk.font, box, page)
            n_before += len(texts)

    def _send(self) -> None:
        text = self._composer.take_line().strip()
        if text:
            self._desk.home()
            self._desk.talk.say(text)

    def _ask_the_model(self) -> None:
        """Let the language model reorder the sentences; its answer comes when it comes."""
        if self._desk.talk.engine.is_busy:
            return
        asked = self._composer.rescorable()
        if asked is None or asked[0] == self._asked:
            return
        stamp, line, texts = asked
        self._asked = stamp
        self._desk.talk.score(line, texts, lambda scores: self._rescored(stamp, scores))

    def _rescored(self, stamp: object, scores: list[float]) -> None:
        if stamp == self._composer.step:
            self._composer.rescore(self._composer.step, scores)
        else:
            self._ask_the_model()


def _lead(view: View) -> str:
    """Return what the first candidate would add, so that the line reads as it will be."""
    if view.syllables:
        return view.spelling
    return view.candidates[0] if view.candidates and view.page == 0 else view.spelling


def _text_box(n_bars: int) -> Box:
    top = STATUS_PX + 1
    return Box(0, top, WIDTH, HEIGHT - top - _bar_px(n_bars) * n_bars - (1 if n_bars else 0))


def _bar_px(n_bars: int) -> int:
    """Return the height of a bar: three must leave a row to the line above them."""
    return ROW_PX if n_bars == N_BARS_MAX else ROW_PX + 1


def packed(font: Font, candidates: Sequence[str]) -> list[list[str]]:
    """Return the candidates in the fewest rows that hold them, at most N_BARS_MAX."""
    texts = [fitted(font, text, ROOM_PX - _NUMBER_PX) for text in candidates]
    bars = _rows(font, texts)
    if len(bars) > N_BARS_MAX:
        half_px = ROOM_PX // 2 - _NUMBER_PX
        bars = _rows(font, [texts[0], *(fitted(font, text, half_px) for text in texts[1:])])
    return bars


def _rows(font: Font, texts: list[str]) -> list[list[str]]:
    rows: list[list[str]] = []
    room_px = 0
    for text in texts:
        need_px = font.width_px(text) + _NUMBER_PX
        if need_px > room_px:
            rows.append([])
            room_px = ROOM_PX
        rows[-1].append(text)
        room_px -= need_px
    return rows
