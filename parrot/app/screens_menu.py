# SPDX-License-Identifier: Apache-2.0
"""The menu and what lies behind it. Nothing that destroys happens without a question."""

from __future__ import annotations

from collections.abc import Callable

from parrot.app.screen import (
    CONTRAST_STEPS,
    Desk,
    Menu,
    Row,
    Slider,
    SlidersScreen,
    TextScreen,
    ask,
    is_tap,
)
from parrot.app.screens_life import diary, memory_menu, persona_menu, persona_name, sleep_now
from parrot.app.screens_voice import voice_menu
from parrot.faces.framebuffer import Framebuffer
from parrot.faces.view import Item
from parrot.faces.widget import BODY, Meter, draw_hints, draw_meters, draw_status_bar
from parrot.mind.hormones import HORMONES
from parrot.senses.key import KeyPress

LANGUAGE_NAMES = {"en": "English", "zh": "中文"}
N_STATES_MAX = 99
_MOOD_NAMES = {"reward": "Reward", "stress": "Stress", "bond": "Bond", "tiredness": "Tiredness"}


def main_menu(desk: Desk) -> Menu:
    say, talk = desk.say, desk.talk

    def rows() -> list[Row]:
        temperature = f"{talk.me.sampling.temperature:.2f}"
        voice = say("on") if desk.voice.manner.is_on else say("off")
        tired = say("tired") if talk.is_tired else ""
        return [
            (Item(say("Say it again")), lambda: _then_home(desk, talk.again)),
            (Item(say("Take back")), lambda: ask_undo(desk)),
            (Item(say("Diary"), str(len(talk.me.turns))), lambda: desk.push(diary(desk))),
            (Item(say("Mood")), lambda: desk.push(MoodScreen(desk))),
            (Item(say("Voice"), voice), lambda: desk.push(voice_menu(desk))),
            (Item(say("Sleep"), tired), lambda: sleep_now(desk)),
            (Item(say("Persona"), persona_name(desk)), lambda: desk.push(persona_menu(desk))),
            (Item(say("Memory")), lambda: desk.push(memory_menu(desk))),
            (Item(say("States"), talk.me.line), lambda: desk.push(states_menu(desk))),
            (Item(say("Sampling"), temperature), lambda: desk.push(sampling_screen(desk))),
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


# ---- pages


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


def sampling_screen(desk: Desk) -> SlidersScreen:
    """Temperature and top-p; what is set counts from the next reply on."""
    say, talk = desk.say, desk.talk

    def slider(label: str, name: str, low: float, high: float) -> Slider:
        def put(value: float) -> None:
            talk.set_sampling(talk.me.sampling.with_(**{name: value}))

        return Slider(label, lambda: float(getattr(talk.me.sampling, name)), put, 0.05, (low, high))

    sliders = [slider(say("Warmth"), "temperature", 0.0, 1.5), slider("Top-p", "top_p", 0.05, 1.0)]
    return SlidersScreen(desk, "Sampling", sliders)


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
