# SPDX-License-Identifier: Apache-2.0
"""Its life on the glass: the diary, the night, the personas it can be, what it remembers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from parrot.app import persona
from parrot.app.screen import Desk, Menu, Row, TextScreen, ask
from parrot.faces.face import Expression, Face
from parrot.faces.framebuffer import WIDTH, Box, Framebuffer, Ink
from parrot.faces.view import Item
from parrot.faces.widget import draw_hints, draw_progress
from parrot.mind.memory import Crystal
from parrot.mind.soul import MAIN_LINE
from parrot.senses.key import KeyPress

NAP_MS = 1_500  # a night is shown at least so long
_FACE = Box(32, -2, 64, 64)
_BAR = Box(14, 56, 100, 7)

# ---- diary


def diary(desk: Desk) -> Menu:
    """Turns and nights, newest first; one opens as a page."""

    def rows() -> list[Row]:
        me = desk.talk.me
        pages = [(turn.wall_s, *_turn_page(turn.heard, turn.said)) for turn in me.turns]
        pages += [
            (wall_s, f"☾ {desk.say('Night')}", night_text(desk, figures))
            for wall_s, figures in me.nights
        ]
        made = [_row(desk, *page) for page in sorted(pages, key=lambda page: -page[0])]
        return made or [(Item(desk.say("Nothing said yet.")), desk.back)]

    return Menu(desk, "Diary", rows)


def _turn_page(heard: bytes, said: bytes) -> tuple[str, str]:
    question, answer = (words.decode(errors="replace").strip() for words in (heard, said))
    return question, f"▸{question}\n{answer}"


def _row(desk: Desk, wall_s: float, label: str, text: str) -> Row:
    when = time.strftime("%H:%M", time.localtime(wall_s))
    date = time.strftime("%Y-%m-%d %H:%M", time.localtime(wall_s))
    page = f"{date}\n{text}"
    return Item(label, when), lambda: desk.push(TextScreen(desk, "", lambda _: page))


def night_text(desk: Desk, figures: Mapping[str, object]) -> str:
    """Say what a night did, from the figures that the soul kept of it."""
    say = desk.say
    lines = {
        "day_turns": say("Turns of the day: {n}."),
        "crystals_new": say("Kept as memories: {n}."),
        "crystals_merged": say("Twin memories merged: {n}."),
        "packed_turns": say("Old turns packed: {n}."),
        "dreamt_turns": say("Turns lived again: {n}."),
    }
    said = [line.format(n=figures[name]) for name, line in lines.items() if figures.get(name)]
    return "\n".join(said) or say("Nothing to put in order.")


# ---- sleep


def sleep_now(desk: Desk) -> None:
    desk.talk.sleep()
    desk.push(SleepScreen(desk))


class SleepScreen:
    """The night under way; any key wakes the parrot. Then what the night did, until a key."""

    def __init__(self, desk: Desk) -> None:
        self._desk, self._face = desk, Face(Expression.ASLEEP)
        self._n_nights = len(desk.talk.me.nights)
        self._newest = desk.talk.me.nights[-1:]
        self._since_ms: int | None = None
        self._page: TextScreen | None = None
        self._was_woken = False

    def key(self, press: KeyPress) -> bool:
        if press.kind != "press":
            return True
        if self._page is None:
            self._was_woken = True
            self._desk.talk.wake()
        elif not self._page.key(press):
            self._desk.back()
        return True

    def draw(self, frame: Framebuffer, now_ms: int) -> None:
        talk = self._desk.talk
        if self._since_ms is None:
            self._since_ms = now_ms
        is_over = not talk.is_asleep and (self._was_woken or now_ms - self._since_ms >= NAP_MS)
        if is_over and self._page is None:
            self._page = TextScreen(self._desk, "Night", self._story)
        if self._page is not None:
            self._page.draw(frame, now_ms)
            return
        self._face.draw(frame, _FACE, self._desk.mood(), now_ms)
        share = talk.slept_share if talk.is_asleep else 1.0
        shown = min(share, (now_ms - self._since_ms) / NAP_MS)
        frame.fill(_BAR.inset(-2), Ink.OFF)
        draw_progress(frame, self._desk.font, _BAR, shown, now_ms)

    def _story(self, desk: Desk) -> str:
        if desk.talk.me.nights[-1:] == self._newest:
            return desk.say("Woken early. The next sleep goes on from here.")
        return night_text(desk, desk.talk.me.nights[-1][1])


# ---- personas


def persona_name(desk: Desk) -> str:
    """Return who it is now, "" on a line that is no persona's."""
    by_line = {MAIN_LINE: "", **{persona.line_of(name): name for name in persona.names()}}
    name = by_line.get(desk.talk.me.line)
    return "" if name is None else _name(desk, name)


def _name(desk: Desk, name: str) -> str:
    say = desk.say
    return {"": say("itself"), "calm": say("calm"), "cheerful": say("cheerful")}.get(name, name)


def persona_menu(desk: Desk) -> Menu:
    """Who it can be. Each has a life of its own, which goes on when it is chosen again."""

    def rows() -> list[Row]:
        now = persona_name(desk)
        made: list[Row] = []
        for name in ("", *persona.names()):
            label = _name(desk, name)
            made.append((Item(label, "●" if label == now else ""), _changer(desk, name, label)))
        return made

    return Menu(desk, "Persona", rows)


def _changer(desk: Desk, name: str, label: str) -> Callable[[], None]:
    def become() -> None:
        desk.home()
        desk.talk.become(name)

    def change() -> None:
        if label == persona_name(desk):
            desk.back()
            return
        text = desk.say("Be {name}? This life will wait for you.").format(name=label)
        ask(desk, text, desk.say("Yes"), become)

    return change


# ---- memory


def memory_menu(desk: Desk) -> Menu:
    """What it remembers, newest first."""
    desk.talk.look_back()

    def rows() -> list[Row]:
        crystals = reversed(desk.talk.memories)
        made: list[Row] = [
            (Item(" ".join(each.text.split()), "●" if each.is_pinned else ""),
             _crystal_opener(desk, each))
            for each in crystals
        ]  # fmt: skip
        return made or [(Item(desk.say("No memories yet.")), desk.back)]

    return Menu(desk, "Memory", rows)


def _crystal_opener(desk: Desk, crystal: Crystal) -> Callable[[], None]:
    return lambda: desk.push(CrystalScreen(desk, crystal))


class CrystalScreen:
    """One memory: 1 keeps it from fading or lets it fade, 3 forgets it after a question."""

    def __init__(self, desk: Desk, crystal: Crystal) -> None:
        self._desk, self._crystal = desk, crystal
        self._page = TextScreen(desk, "", lambda _: crystal.text)

    def key(self, press: KeyPress) -> bool:
        desk, crystal = self._desk, self._crystal
        if press.kind == "press" and press.key == "1":
            desk.talk.pin(crystal.id, not crystal.is_pinned)
            desk.back()
        elif press.kind == "press" and press.key == "3":
            ask(desk, desk.say("Forget this for good?"), desk.say("Forget"), self._forget)
        else:
            return self._page.key(press)
        return True

    def draw(self, frame: Framebuffer, now_ms: int) -> None:
        say = self._desk.say
        self._page.draw(frame, now_ms)
        frame.fill(Box(0, 48, WIDTH, 16), Ink.OFF)
        keep = say("let fade") if self._crystal.is_pinned else say("keep")
        draw_hints(frame, self._desk.font, 50, [("1", keep), ("3", say("forget"))])

    def _forget(self) -> None:
        self._desk.back()
        self._desk.talk.forget(self._crystal.id)
