# SPDX-License-Identifier: Apache-2.0
"""Home and chat: the face with the reply beside it, and the whole talk to scroll through."""

from __future__ import annotations

from parrot.app.conversation import Conversation
from parrot.app.screen import Desk, ReplyText, is_tap
from parrot.app.screens_compose import ComposeScreen
from parrot.app.screens_voice import ListenScreen
from parrot.faces.face import Expression, Face, resting
from parrot.faces.framebuffer import Box, Framebuffer, Ink
from parrot.faces.text import draw_text
from parrot.faces.widget import draw_dots, draw_hints
from parrot.senses.key import KeyPress

REPLY_BOX = Box(48, 2, 80, 60)
CORNER = Box(0, 16, 48, 48)
MIDDLE = Box(32, 0, 64, 64)
GLAD_MS = 2_500  # how long a finished reply shows in the face
LEAVE_MS = 20_000  # after a reply the face has the glass to itself again


def open_composer(desk: Desk, press: KeyPress | None) -> None:
    """Go to the line; `press` is its first key."""
    if desk.composer is None:
        desk.talk.notice = desk.say("No nine-key table on this machine; run: parrot doctor.")
        return
    screen = ComposeScreen(desk)
    desk.push(screen)
    if press:
        screen.key(press)


def begins_turn(press: KeyPress) -> bool:
    return press.kind == "press" and (press.key.isdigit() or press.key in "BD")


def begin_turn(desk: Desk, press: KeyPress) -> None:
    """Listen to the owner (D, where the voice is on), or go to the line."""
    if press.key == "D" and desk.voice.manner.is_on:
        desk.voice.press()
        desk.push(ListenScreen(desk, press.at_ms))
    else:
        open_composer(desk, press if press.key.isdigit() else None)


class HomeScreen:
    """The face. While it answers, and for a while after, the reply stands beside it."""

    def __init__(self, desk: Desk) -> None:
        self._desk, self._face = desk, Face(Expression.ASLEEP)
        self._reply = ReplyText(desk, REPLY_BOX)
        self._was_answering = False
        self._spoke_ms: int | None = None

    def key(self, press: KeyPress) -> bool:
        talk = self._desk.talk
        if press.kind == "press" and press.key == "A":
            talk.stop()
            self._spoke_ms = None
        elif press.key == "*" and press.kind == "press" and self._spoke_ms is None:
            self._desk.push(ChatScreen(self._desk))
        elif is_tap(press, "*#"):
            self._reply.view.scroll(-1 if press.key == "*" else 1)
        elif press.kind == "long_press" and press.key in "*#":
            self._desk.push(ChatScreen(self._desk))
        elif begins_turn(press):
            begin_turn(self._desk, press)
        else:
            return press.key != "C"
        return True

    def draw(self, frame: Framebuffer, now_ms: int) -> None:
        talk = self._desk.talk
        if talk.is_answering or self._desk.voice.is_speaking:
            self._spoke_ms = now_ms
        elif not reply_of(talk):
            self._spoke_ms = None  # the talk went elsewhere
        is_talking = self._spoke_ms is not None and now_ms - self._spoke_ms < LEAVE_MS
        if not is_talking:
            self._spoke_ms = None
        self._face.turn_to(self._expression(talk, now_ms), now_ms)
        mood = self._desk.mood()
        if not is_talking:
            self._face.draw(frame, MIDDLE, mood, now_ms)
            for row, icon in enumerate(self._desk.status_icons()):
                frame.blit(icon, 1, 1 + 11 * row)
            if not talk.is_awake:
                draw_text(frame, self._desk.font, 1, 51, self._desk.say("waking"))
            return
        self._reply.show(reply_of(talk))
        self._reply.view.draw(frame)
        self._face.draw(frame, CORNER, mood, now_ms)
        if talk.is_thinking:
            draw_dots(frame, 56, 30, now_ms)

    def _expression(self, talk: Conversation, now_ms: int) -> Expression:
        if not talk.is_awake or talk.is_asleep:
            return Expression.ASLEEP
        if talk.is_answering:
            return Expression.SPEAKING if talk.said else Expression.THINKING
        if self._desk.voice.is_speaking:
            return Expression.SPEAKING
        if self._spoke_ms is not None and now_ms - self._spoke_ms < GLAD_MS:
            is_glad = talk.me.mood.get("reward", 0.0) > 0.6
            return Expression.LOVE if is_glad else Expression.HAPPY
        return resting(self._desk.mood())


def reply_of(talk: Conversation) -> str:
    """Return what the parrot says now, or said last."""
    if talk.is_answering or talk.said:
        return talk.said
    return talk.me.turns[-1].said.decode(errors="replace").rstrip() if talk.me.turns else ""


class ChatScreen:
    """The whole talk, oldest first. It scrolls also while the parrot speaks."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._text = ReplyText(desk, Box(0, 2, 128, 60))

    def key(self, press: KeyPress) -> bool:
        talk = self._desk.talk
        if is_tap(press, "*#"):
            self._text.view.scroll(-1 if press.key == "*" else 1)
        elif (
            press.kind == "press"
            and press.key == "A"
            and (talk.is_answering or self._desk.voice.is_speaking)
        ):
            talk.stop()
        elif begins_turn(press):
            begin_turn(self._desk, press)
        else:
            return press.key not in "AC"
        return True

    def draw(self, frame: Framebuffer, now_ms: int) -> None:
        say = self._desk.say
        self._text.show(whole_talk(self._desk.talk))
        if not self._desk.talk.me.turns and not self._desk.talk.heard:
            draw_text(frame, self._desk.font, 4, 10, say("Nothing said yet."))
            draw_hints(frame, self._desk.font, 48, [("A", say("back")), ("D", say("write"))])
            return
        self._text.view.draw(frame)
        if self._desk.talk.is_thinking:
            frame.fill(Box(118, 59, 6, 3), Ink.FLIP if now_ms // 300 % 2 else Ink.OFF)


def whole_talk(talk: Conversation) -> str:
    """Return every turn on this line of life, and the one that is being lived."""
    parts = []
    for turn in talk.me.turns:
        heard = turn.heard.decode(errors="replace").strip()
        said = turn.said.decode(errors="replace").strip()
        parts.append(f"▸{heard}\n{said}\n")
    if talk.heard or talk.said:
        parts.append(f"▸{talk.heard}\n{talk.said}")
    return "".join(parts)
