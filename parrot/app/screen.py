# SPDX-License-Identifier: Apache-2.0
"""What every screen has: a desk of things to work with, a key to answer, a frame to draw.

Screens lie on a stack; the topmost gets the keys. A key that it does not use goes to the app: A
goes back, C opens the menu.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from parrot.app.catalogue import Words
from parrot.app.conversation import Conversation
from parrot.faces import icon
from parrot.faces.face import Mood
from parrot.faces.font import Font
from parrot.faces.framebuffer import Framebuffer
from parrot.faces.framebuffer import Words as Picture
from parrot.faces.view import Item, ListView
from parrot.faces.widget import BODY, draw_dialog, draw_status_bar
from parrot.senses.composer import Composer
from parrot.senses.key import KeyPress

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
        """Return what the owner must know on every screen: a talk that is not being kept."""
        return [icon.WARNING] if self.talk.me.trouble else []


def is_tap(press: KeyPress, keys: str) -> bool:
    """Say whether a key of `keys` went down, or repeats while it is held."""
    return press.key in keys and press.kind in ("press", "repeat")


class Menu:
    """A titled list; D does what the selected row says. `rows` is asked anew for every frame."""

    def __init__(
        self, desk: Desk, title: str, rows: Callable[[], list[tuple[Item, Callable[[], None]]]]
    ) -> None:
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

    def _refresh(self) -> list[tuple[Item, Callable[[], None]]]:
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
