# SPDX-License-Identifier: Apache-2.0
"""What every screen has: a desk of things to work with, a key to answer, a frame to draw; and the
screens that others are made of: a menu, a question, a page of text, sliders.

Screens lie on a stack; the topmost gets the keys. A key that it does not use goes to the app: A
goes back, C opens the menu.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from parrot.app.catalogue import Words
from parrot.app.conversation import Conversation
from parrot.app.hand_voice import HandVoice
from parrot.faces import icon
from parrot.faces.face import Mood
from parrot.faces.font import Font
from parrot.faces.framebuffer import SCREEN, Box, Framebuffer
from parrot.faces.framebuffer import Words as Picture
from parrot.faces.view import Item, ListView, TextView
from parrot.faces.widget import (
    BODY,
    LABEL_MAX_PX,
    ROW_PX,
    Meter,
    draw_dialog,
    draw_hints,
    draw_meters,
    draw_status_bar,
)
from parrot.senses.composer import Composer
from parrot.senses.key import KeyPress

Row = tuple[Item, Callable[[], None]]
CONTRAST_STEPS = (0x08, 0x40, 0x80, 0xCF, 0xFF)


class Screen(Protocol):
    """One picture and what the keys do to it. `key` says whether it used the event."""

    def key(self, press: KeyPress) -> bool: ...

    def draw(self, frame: Framebuffer, now_ms: int) -> None: ...


@dataclass
class Desk:
    """What screens share. `say` translates; `push`, `back` and `home` move
    on the stack of screens, `top` is the one that is seen."""

    font: Font
    say: Words
    talk: Conversation
    voice: HandVoice
    composer: Composer | None
    push: Callable[[Screen], None]
    back: Callable[[], None]
    home: Callable[[], None]
    top: Callable[[], Screen]
    set_language: Callable[[str], None]
    power_off: Callable[[], None]
    examine: Callable[[], Sequence[tuple[str, bool, str]]]  # organ, is well, what it says
    language: str = "en"
    contrast: int = 0xCF

    def mood(self) -> Mood:
        """Return the mood as the face takes it: hormones rest low, the face's scale in between."""
        levels, sure = self.talk.me.mood, self.talk.me.sureness
        return Mood(
            reward=min(0.2 + levels.get("reward", 0.3), 1.0),
            stress=levels.get("stress", 0.1),
            bond=min(0.3 + levels.get("bond", 0.1), 1.0),
            tiredness=levels.get("tiredness", 0.0),
            confidence=Mood.confidence if sure is None else sure,
        )

    def status_icons(self) -> list[Picture]:
        """Return what the owner must know on every screen: a talk that is not being kept, a
        microphone that is open."""
        icons = [icon.WARNING] if self.talk.me.trouble else []
        listens = self.voice.manner.is_on and self.voice.manner.is_hands_free
        return [*icons, icon.MICROPHONE] if listens else icons


def is_tap(press: KeyPress, keys: str) -> bool:
    """Say whether a key of `keys` went down, or repeats while it is held."""
    return press.key in keys and press.kind in ("press", "repeat")


class ReplyText:
    """A TextView that follows the reply as it grows."""

    def __init__(self, desk: Desk, box: Box) -> None:
        self.view = TextView(desk.font, box)
        self._fed = ""

    def show(self, text: str) -> None:
        top = None if self.view.is_at_end else self.view.top
        is_other = not text.startswith(self._fed)
        if is_other:
            self.view.clear()
            self._fed = ""
        self.view.feed(text[len(self._fed) :])
        self._fed = text
        if is_other and top is not None:  # who reads further up stays there
            self.view.scroll(top - self.view.top)


class Menu:
    """A titled list; D does what the selected row says. `rows` is asked anew for every frame."""

    def __init__(self, desk: Desk, title: str, rows: Callable[[], list[Row]]) -> None:
        self._desk, self._title, self._rows = desk, title, rows
        self._list = ListView(desk.font, BODY, [])
        self._shown: list[Item] = []

    def key(self, press: KeyPress) -> bool:
        rows = self._refresh()
        if is_tap(press, "*#"):
            self._list.move(-1 if press.key == "*" else 1)
        elif press.kind == "press" and press.key == "D" and rows:
            rows[self._list.selected][1]()
        elif press.kind == "press" and press.key.isdigit() and 0 < int(press.key) <= len(rows):
            self._list.selected = int(press.key) - 1
        else:
            return press.key not in "AC"
        return True

    def draw(self, frame: Framebuffer, now_ms: int) -> None:
        self._refresh()
        say = self._desk.say
        draw_status_bar(frame, self._desk.font, say(self._title), self._desk.status_icons())
        self._list.draw(frame, now_ms)

    def _refresh(self) -> list[Row]:
        rows = self._rows()
        items = [item for item, _ in rows]
        if items != self._shown:
            self._shown = items
            self._list.set_items(items)
        return rows


class Question:
    """A dialog over another screen. The harmless choice stands first and is selected."""

    def __init__(
        self,
        desk: Desk,
        below: Screen,
        text: str,
        choices: Sequence[tuple[str, Callable[[], None]]],
    ) -> None:
        self._desk, self._below, self._text = desk, below, text
        self._choices = list(choices)
        self._selected = 0

    def key(self, press: KeyPress) -> bool:
        if is_tap(press, "*#46"):
            step = -1 if press.key in "*4" else 1
            self._selected = (self._selected + step) % max(len(self._choices), 1)
        elif press.kind == "press" and press.key == "D":
            self._desk.back()
            if self._choices:
                self._choices[self._selected][1]()
        elif press.kind == "press" and press.key == "A":
            self._desk.back()
        return True

    def draw(self, frame: Framebuffer, now_ms: int) -> None:
        self._below.draw(frame, now_ms)
        names = [name for name, _ in self._choices]
        draw_dialog(frame, self._desk.font, self._text, names, self._selected)


def ask(desk: Desk, text: str, yes: str, do: Callable[[], None]) -> None:
    """Ask before `do`; the harmless choice is selected."""
    choices = [(desk.say("No"), lambda: None), (yes, do)]
    desk.push(Question(desk, desk.top(), text, choices))


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


@dataclass(frozen=True)
class Slider:
    """A number that the owner moves in steps between two ends."""

    label: str
    get: Callable[[], float]
    put: Callable[[float], None]
    step: float
    ends: tuple[float, float]


class SlidersScreen:
    """Sliders one under another: * and # choose, 4 and 6 move, D tries how it is, where it can."""

    def __init__(
        self,
        desk: Desk,
        title: str,
        sliders: Sequence[Slider],
        attempt: Callable[[], None] | None = None,
    ) -> None:
        self._desk, self._title, self._sliders, self._row = desk, title, sliders, 0
        self._attempt = attempt

    def key(self, press: KeyPress) -> bool:
        if is_tap(press, "*#"):
            self._row = (self._row + (1 if press.key == "#" else -1)) % len(self._sliders)
        elif is_tap(press, "46"):
            slider = self._sliders[self._row]
            value = slider.get() + slider.step * (-1 if press.key == "4" else 1)
            slider.put(round(min(max(value, slider.ends[0]), slider.ends[1]), 2))
        elif press.key == "D" and press.kind == "press" and self._attempt:
            self._attempt()
        else:
            return press.key not in "AC"
        return True

    def draw(self, frame: Framebuffer, now_ms: int) -> None:
        font = self._desk.font
        draw_status_bar(frame, font, self._desk.say(self._title))
        meters = [
            Meter(slider.label, slider.get() / slider.ends[1], percent=round(100 * slider.get()))
            for slider in self._sliders
        ]
        draw_meters(frame, font, BODY, meters)
        label_px = min(max(font.width_px(meter.label) for meter in meters), LABEL_MAX_PX)
        frame.invert(Box(0, BODY.y - 1 + ROW_PX * self._row, label_px + 2, ROW_PX))
        value = f"{self._sliders[self._row].get():.2f}"
        hints = [("4", "−"), (value, ""), ("6", "+")]
        if self._attempt:
            hints.append(("D", self._desk.say("try")))
        draw_hints(frame, font, 50, hints)
