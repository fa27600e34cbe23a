# SPDX-License-Identifier: Apache-2.0
"""Listening, and how the voice is set.

D held: listens, and sends when it is let go. D tapped: listens until D is pressed again. A forgets
what was said.
"""

from __future__ import annotations

from parrot.app.hand_voice import LANGUAGES, SPEEDS, VOLUMES
from parrot.app.screen import Desk, Menu, Row, Slider, SlidersScreen
from parrot.faces.face import Expression, Face
from parrot.faces.framebuffer import Box, Framebuffer
from parrot.faces.view import Item, TextView
from parrot.faces.widget import draw_dots, draw_frame, draw_hints
from parrot.senses.key import LONG_PRESS_MS, KeyPress

_TEXT = Box(48, 2, 80, 36)
_METER = Box(50, 40, 76, 7)
_CORNER = Box(0, 0, 48, 48)
_HINTS_Y = 49
_FALL = 0.8  # of the meter, a frame


class ListenScreen:
    """What the parrot hears now. The app closes it when the listening is over."""

    def __init__(self, desk: Desk, pressed_ms: int | None) -> None:
        self._desk, self._pressed_ms = desk, pressed_ms
        self._face = Face(Expression.LISTENING)
        self._text = TextView(desk.font, _TEXT)
        self._shown = ""
        self._level = 0.0

    def key(self, press: KeyPress) -> bool:
        voice = self._desk.voice
        if press.key == "D" and press.kind == "release" and self._pressed_ms is not None:
            if press.at_ms - self._pressed_ms >= LONG_PRESS_MS:
                voice.send()
            self._pressed_ms = None
        elif press.key == "D" and press.kind == "press":
            voice.send()
        elif press.key == "A" and press.kind == "press":
            voice.cancel()
            self._desk.back()
        return True

    def draw(self, frame: Framebuffer, now_ms: int) -> None:
        voice, say, font = self._desk.voice, self._desk.say, self._desk.font
        is_reading = voice.is_reading
        self._face.turn_to(Expression.THINKING if is_reading else Expression.LISTENING, now_ms)
        self._face.draw(frame, _CORNER, self._desk.mood(), now_ms)
        text = voice.partial or (say("reading") if is_reading else say("listening"))
        if text != self._shown:
            self._text.clear()
            self._text.feed(text)
            self._shown = text
        self._text.draw(frame)
        if is_reading:
            draw_dots(frame, _METER.x + 1, _METER.y + 2, now_ms)
        else:
            self._level = max(voice.level, self._level * _FALL)
            draw_frame(frame, _METER)
            inner = _METER.inset(2)
            frame.fill(Box(inner.x, inner.y, round(inner.width * self._level), inner.height))
        if voice.is_recording:
            draw_hints(frame, font, _HINTS_Y, [("A", say("forget")), ("D", say("send"))])


def voice_menu(desk: Desk) -> Menu:
    say, voice = desk.say, desk.voice
    names = {"auto": say("both"), "en": "English", "zh": "中文"}

    def turn(name: str) -> None:
        voice.change(**{name: not getattr(voice.manner, name)})

    def next_language() -> None:
        at = LANGUAGES.index(voice.manner.language)
        voice.change(language=LANGUAGES[(at + 1) % len(LANGUAGES)])

    def rows() -> list[Row]:
        now = voice.manner
        on = {True: say("on"), False: say("off")}
        return [
            (Item(say("Hear and speak"), on[now.is_on]), lambda: turn("is_on")),
            (Item(say("Hands-free"), on[now.is_hands_free]), lambda: turn("is_hands_free")),
            (Item(say("Edit first"), on[now.is_edited]), lambda: turn("is_edited")),
            (Item(say("It hears"), names[now.language]), next_language),
            (Item(say("Speed, volume")), lambda: desk.push(sound_screen(desk))),
        ]

    return Menu(desk, "Voice", rows)


def sound_screen(desk: Desk) -> SlidersScreen:
    """Speed and volume; D speaks a sample."""
    voice, say = desk.voice, desk.say
    sliders = [
        Slider(say("Speed"), lambda: voice.manner.speed, lambda value: voice.change(speed=value),
               0.1, SPEEDS),
        Slider(say("Volume"), lambda: voice.manner.volume, lambda value: voice.change(volume=value),
               0.1, VOLUMES),
    ]  # fmt: skip
    sample = say("This is how I sound.")
    return SlidersScreen(desk, "Voice", sliders, lambda: voice.say(sample))
