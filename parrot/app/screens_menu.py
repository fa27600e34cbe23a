# SPDX-License-Identifier: Apache-2.0
"""The menu and what lies behind it. Nothing that destroys happens without a question."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from parrot.app.screen import CONTRAST_STEPS, Desk, Menu, Question, is_tap
from parrot.app.screens import ReplyText
from parrot.faces.framebuffer import SCREEN, Box, Framebuffer
from parrot.faces.view import Item
from parrot.faces.widget import (
    BODY,
    LABEL_MAX_PX,
    ROW_PX,
    Meter,
    draw_hints,
    draw_meters,
    draw_status_bar,
)
from parrot.mind.hormones import HORMONES
from parrot.senses.key import KeyPress

Row = tuple[Item, Callable[[], None]]
LANGUAGE_NAMES = {"en": "English", "zh": "中文"}
N_STATES_MAX = 99
_MOOD_NAMES = {"reward": "Reward", "stress": "Stress", "bond": "Bond", "tiredness": "Tiredness"}


def main_menu(desk: Desk) -> Menu:
    say, talk = desk.say, desk.talk

    def rows() -> list[Row]:
        temperature = f"{talk.me.sampling.temperature:.2f}"
        return [
            (Item(say("Say it again")), lambda: _then_home(desk, talk.again)),
            (Item(say("Take back")), lambda: ask_undo(desk)),
            (Item(say("Diary"), str(len(talk.me.turns))), lambda: desk.push(diary(desk))),
            (Item(say("Mood")), lambda: desk.push(MoodScreen(desk))),
            (Item(say("States"), talk.me.line), lambda: desk.push(states_menu(desk))),
            (Item(say("Sampling"), temperature), lambda: desk.push(SamplingScreen(desk))),
            (Item(say("Brightness")), lambda: desk.push(BrightnessScreen(desk))),
            (Item(say("Language"), LANGUAGE_NAMES[desk.language]), lambda: _next_language(desk)),
            (Item(say("Doctor")), lambda: desk.push(TextScreen(desk, "Doctor", doctor_text))),
            (Item(say("About")), lambda: desk.push(TextScreen(desk, "About", about_text))),
            (Item(say("Power off")), lambda: ask_power_off(desk)),
        ]

    return Menu(desk, "Menu", rows)


def _then_home(desk: Desk, do: Callable[[], None]) -> None:
    desk.home()
    do()


def _next_language(desk: Desk) -> None:
    names = list(LANGUAGE_NAMES)
    chosen = names[(names.index(desk.language) + 1) % len(names)]
    desk.set_language(chosen)
    desk.home()
    desk.push(main_menu(desk))


def ask(desk: Desk, text: str, yes: str, do: Callable[[], None]) -> None:
    """Ask before `do`; the harmless choice is selected."""
    choices = [(desk.say("No"), lambda: None), (yes, do)]
    desk.push(Question(desk, desk.top(), text, choices))


def ask_undo(desk: Desk) -> None:
    say, talk = desk.say, desk.talk
    if talk.me.turns:
        text, do = say("Take the last turn back?"), lambda: _then_home(desk, talk.undo)
        ask(desk, text, say("Take back"), do)
    else:
        talk.notice = say("Nothing said yet.")


def ask_power_off(desk: Desk) -> None:
    ask(desk, desk.say("Power off now?"), desk.say("Power off"), desk.power_off)


# ---- states


def states_menu(desk: Desk) -> Menu:
    say, talk = desk.say, desk.talk

    def rows() -> list[Row]:
        made: list[Row] = [
            (Item(say("Save this moment")), lambda: talk.save(_free_name(desk, "save"))),
            (Item(say("New branch from here")), lambda: talk.branch(_free_name(desk, "branch"))),
        ]
        for name in talk.me.names:
            mark = "●" if name.is_current else ("" if name.is_line else "○")
            go = _loader(desk, name.name)
            made.append((Item(name.name, mark), go))
        return made

    return Menu(desk, "States", rows)


def _free_name(desk: Desk, stem: str) -> str:
    taken = {name.name for name in desk.talk.me.names}
    numbers = range(1, N_STATES_MAX + len(taken) + 1)
    return next(name for n in numbers if (name := f"{stem}-{n}") not in taken)


def _loader(desk: Desk, name: str) -> Callable[[], None]:
    def load() -> None:
        text = desk.say("Go to {name}?").format(name=name)
        ask(desk, text, desk.say("Go"), lambda: _then_home(desk, lambda: desk.talk.load(name)))

    return load


# ---- diary


def diary(desk: Desk) -> Menu:
    """The past turns, newest first; one opens as a page."""

    def rows() -> list[Row]:
        made: list[Row] = []
        for turn in reversed(desk.talk.me.turns):
            heard = turn.heard.decode(errors="replace").strip()
            said = turn.said.decode(errors="replace").strip()
            when = time.strftime("%H:%M", time.localtime(turn.wall_s))
            date = time.strftime("%Y-%m-%d %H:%M", time.localtime(turn.wall_s))
            page = f"{date}\n▸{heard}\n{said}"
            made.append((Item(heard, when), _opener(desk, page)))
        return made or [(Item(desk.say("Nothing said yet.")), desk.back)]

    return Menu(desk, "Diary", rows)


def _opener(desk: Desk, page: str) -> Callable[[], None]:
    return lambda: desk.push(TextScreen(desk, "", lambda _: page))


# ---- pages


class TextScreen:
    """A page of text that scrolls. `text_of` is asked when the page opens."""

    def __init__(self, desk: Desk, title: str, text_of: Callable[[Desk], str]) -> None:
        self._desk, self._title = desk, title
        self._text = ReplyText(desk, BODY if title else SCREEN)
        self._text.show(text_of(desk))
        self._text.view.scroll(-self._text.view.n_lines)

    def key(self, press: KeyPress) -> bool:
        if is_tap(press, "*#"):
            self._text.view.scroll(-1 if press.key == "*" else 1)
            return True
        return press.key not in "AC"

    def draw(self, frame: Framebuffer, now_ms: int) -> None:
        if self._title:
            draw_status_bar(frame, self._desk.font, self._desk.say(self._title))
        self._text.view.draw(frame)


def about_text(desk: Desk) -> str:
    me, say = desk.talk.me, desk.say
    lived = say("{n} bytes lived").format(n=f"{me.position:,}")
    kept = say("Every turn is kept.") if me.is_kept else say("This talk is not kept.")
    return f"{say('parrot, an offline companion')}\n{lived}\n{me.model}\n{kept}\nApache-2.0"


def doctor_text(desk: Desk) -> str:
    lines = [
        f"{'✔' if is_well else '✘'} {organ}: {says}" for organ, is_well, says in desk.examine()
    ]
    return "\n".join(lines)


class MoodScreen:
    """The hormones as they are, a notch where each comes to rest; 1 praises, 2 scolds."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def key(self, press: KeyPress) -> bool:
        if press.kind == "press" and press.key in "12":
            self._desk.talk.feel("good" if press.key == "1" else "bad")
            return True
        return press.key not in "AC"

    def draw(self, frame: Framebuffer, now_ms: int) -> None:
        say, font = self._desk.say, self._desk.font
        draw_status_bar(frame, font, say("Mood"), (), "1👍 2👎")
        levels = self._desk.talk.me.mood
        meters = [
            Meter(say(_MOOD_NAMES[name]), levels.get(name, hormone.baseline), hormone.baseline)
            for name, hormone in HORMONES.items()
        ]
        draw_meters(frame, font, BODY, meters)


# ---- sliders


class SamplingScreen:
    """Temperature and top-p; what is set counts from the next reply on."""

    STEPS = (("temperature", 0.05, 0.0, 1.5), ("top_p", 0.05, 0.05, 1.0))

    def __init__(self, desk: Desk) -> None:
        self._desk, self._row = desk, 0

    def key(self, press: KeyPress) -> bool:
        if is_tap(press, "*#"):
            self._row = (self._row + 1) % len(self.STEPS)
        elif is_tap(press, "46"):
            self._change(-1 if press.key == "4" else 1)
        else:
            return press.key not in "AC"
        return True

    def draw(self, frame: Framebuffer, now_ms: int) -> None:
        say, font, now = self._desk.say, self._desk.font, self._desk.talk.me.sampling
        draw_status_bar(frame, font, say("Sampling"))
        values = [("Warmth", now.temperature, 1.5), ("Top-p", now.top_p, 1.0)]
        meters = [Meter(say(name), value / top) for name, value, top in values]
        draw_meters(frame, font, BODY, meters)
        label_px = min(max(font.width_px(meter.label) for meter in meters), LABEL_MAX_PX)
        frame.invert(Box(0, BODY.y - 1 + ROW_PX * self._row, label_px + 2, ROW_PX))
        value = f"{(now.temperature, now.top_p)[self._row]:.2f}"
        draw_hints(frame, font, 50, [("4", "−"), (value, ""), ("6", "+")])

    def _change(self, by: int) -> None:
        name, step, low, high = self.STEPS[self._row]
        now = self._desk.talk.me.sampling
        value = min(max(getattr(now, name) + by * step, low), high)
        self._desk.talk.set_sampling(replace(now, **{name: round(value, 2)}))


class BrightnessScreen:
    """Five steps, shown at once and kept."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def key(self, press: KeyPress) -> bool:
        if is_tap(press, "46*#"):
            at = _nearest(self._desk.contrast) + (-1 if press.key in "4*" else 1)
            chosen = CONTRAST_STEPS[min(max(at, 0), len(CONTRAST_STEPS) - 1)]
            if chosen != self._desk.contrast:
                self._desk.contrast = chosen
                self._desk.talk.set_setting("hand.contrast", chosen)
            return True
        return press.key not in "AC"

    def draw(self, frame: Framebuffer, now_ms: int) -> None:
        font, say = self._desk.font, self._desk.say
        draw_status_bar(frame, font, say("Brightness"))
        share = (_nearest(self._desk.contrast) + 1) / len(CONTRAST_STEPS)
        draw_meters(frame, font, BODY, [Meter(say("Light"), share)])
        draw_hints(frame, font, 50, [("4", say("darker")), ("6", say("lighter"))])


def _nearest(contrast: int) -> int:
    gaps = [abs(step - contrast) for step in CONTRAST_STEPS]
    return gaps.index(min(gaps))
