# SPDX-License-Identifier: Apache-2.0
"""The one loop: keys in, screens, frames out. It waits for nothing but the panel's bus.

`Hand.tick` does one round at the clock's time, so that a test or a script turns the hands itself;
`run` calls it in real time until the owner powers off. A panel or a keypad that is away changes
nothing for the other organs: `faults` says what is wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from parrot.app.catalogue import LANGUAGES, words_in
from parrot.app.engine_thread import Engine
from parrot.app.hand_voice import SETTING as VOICE_SETTING
from parrot.app.hand_voice import HandVoice
from parrot.app.learned import SETTING as WORDS_SETTING
from parrot.app.learned import LearnedWords
from parrot.app.screen import Desk, Question, Screen, TextScreen
from parrot.app.screens import ChatScreen, HomeScreen
from parrot.app.screens_compose import ComposeScreen
from parrot.app.screens_life import SleepScreen
from parrot.app.screens_menu import main_menu
from parrot.app.screens_voice import ListenScreen
from parrot.base.clock import Clock
from parrot.base.errors import DeviceError, FormatError
from parrot.faces.font import Font
from parrot.faces.framebuffer import Framebuffer
from parrot.faces.idle import IdlePolicy
from parrot.faces.panel import Light, Look, Panel
from parrot.senses.composer import Composer
from parrot.senses.key import KeyPress, KeySource

TICK_MS = 5  # between two polls of the keys
FRAME_MS = 50  # between two frames when no key came
DEPTH_MAX = 8  # screens on the stack
NOTICE_MAX = 48  # characters; what is longer gets a page


class Hand:
    """The handheld. Borrows panel, keypad and engine; `close` is their owner's.

    Units: one tick costs less than 10 ms beside the bytes it sends.
    """

    def __init__(
        self, clock: Clock, panel: Panel, keypad: KeySource, voice: HandVoice, language: str
    ) -> None:
        self._clock, self._panel, self._keypad = clock, panel, keypad
        self.voice, self.talk = voice, voice.talk
        voice.on_heard = self._heard
        self.frame = Framebuffer()
        self.is_off = False
        self.panel_fault: DeviceError | None = None
        self.n_events = self.n_frames = 0
        self._idle = IdlePolicy(clock.now_ms())
        self._frame_due_ms = clock.now_ms()
        self._is_light_key = False  # the press that only woke the glass goes no further
        self._has_settings = False
        self._learned: LearnedWords | None = None
        self.desk = Desk(
            Font(), words_in(language), self.talk, voice, None, self._push, self._back, self._home,
            lambda: self.screen, self._set_language, self._power_off, self.examine, language,
        )  # fmt: skip
        self._screens: list[Screen] = [HomeScreen(self.desk)]

    @property
    def screen(self) -> Screen:
        return self._screens[-1]

    @property
    def engine(self) -> Engine:
        return self.talk.engine

    def use_composer(self, composer: Composer, learned: LearnedWords) -> None:
        self.desk.composer, self._learned = composer, learned

    # ---- one round

    def tick(self) -> bool:
        """Do what is due; say whether a frame was drawn."""
        now_ms = self._clock.now_ms()
        events = self._keypad.poll(now_ms)
        for press in events:
            self._feed(press)
        self.voice.deliver()
        self._listen()
        if self.engine.deliver():
            self._take_settings()
        if self.talk.is_answering or self.voice.is_hearing or self.voice.is_speaking:
            self._idle.touch(now_ms)
        elif self._idle.light(now_ms) is Light.OFF:
            self.talk.rest()
        if self.talk.notice:
            self._show_notice()
        if not events and now_ms < self._frame_due_ms:
            return False
        self._frame_due_ms = now_ms + FRAME_MS
        self.draw(now_ms)
        return True

    def draw(self, now_ms: int) -> None:
        light = self._idle.light(now_ms)
        self._panel.look = Look(contrast=self.desk.contrast, light=light)
        if light is not Light.OFF:
            self.frame.clear()
            self.screen.draw(self.frame, now_ms)
            self.n_frames += 1
        try:
            if self._panel.show(self.frame, now_ms):
                self.panel_fault = None
        except DeviceError as exc:
            self.panel_fault = exc

    def darken(self) -> None:
        """Switch the glass off, as far as it still answers."""
        self._panel.look = Look(light=Light.OFF)
        try:
            self._panel.show(self.frame, self._clock.now_ms())
        except DeviceError as exc:
            self.panel_fault = exc

    def _feed(self, press: KeyPress) -> None:
        self.n_events += 1
        if press.kind == "press" and not isinstance(self.screen, SleepScreen):
            self.talk.wake()
        if self._idle.touch(press.at_ms):
            self._is_light_key = True
        if self._is_light_key:
            self._is_light_key = press.kind != "release"
            return
        if self.screen.key(press) or press.kind != "press":
            return
        if press.key == "A":
            self._back()
        elif press.key == "C":
            self._push(main_menu(self.desk))

    # ---- what the owner says

    def _listen(self) -> None:
        """Show that the owner is heard, for as long as they are."""
        is_shown = isinstance(self.screen, ListenScreen)
        if is_shown and not self.voice.is_hearing:
            self._back()
        elif self.voice.is_hearing and isinstance(self.screen, HomeScreen | ChatScreen):
            self._push(ListenScreen(self.desk, None))

    def _heard(self, text: str) -> None:
        """Answer the owner, or let them see first what was understood."""
        if isinstance(self.screen, ListenScreen):
            self._home()
        if not text:
            self.talk.notice = self.desk.say("I heard no words.")
        elif self.voice.manner.is_edited and self.desk.composer is not None:
            self.desk.composer.put(text)
            if not isinstance(self.screen, ComposeScreen):
                self._push(ComposeScreen(self.desk))
        else:
            self.talk.say(text)

    # ---- what screens may ask for

    def _push(self, screen: Screen) -> None:
        if len(self._screens) == DEPTH_MAX:
            self._screens = self._screens[:1]
        self._screens.append(screen)

    def _back(self) -> None:
        if len(self._screens) > 1:
            self._screens.pop()

    def _home(self) -> None:
        del self._screens[1:]

    def _power_off(self) -> None:
        self.talk.stop()
        self.is_off = True

    def _set_language(self, language: str) -> None:
        self._speak(language)
        self.talk.set_setting("hand.language", language)

    def _speak(self, language: str) -> None:
        self.desk.language, self.desk.say = language, words_in(language)

    def examine(self) -> Sequence[tuple[str, bool, str]]:
        """Return one line an organ: what it is, whether it is well, what it says."""
        say, me, well = self.desk.say, self.talk.me, self.desk.say("well")
        keys: DeviceError | None = getattr(self._keypad, "fault", None)
        return [
            (say("model"), self.talk.is_awake, me.model or say("not awake")),
            (say("soul"), me.is_kept, well if me.is_kept else me.trouble or say("not kept")),
            (say("panel"), self.panel_fault is None, str(self.panel_fault or well)),
            (say("keys"), keys is None, str(keys or well)),
            (say("table"), self.desk.composer is not None,
             well if self.desk.composer else say("absent")),
            (say("voice"), self.voice.trouble is None, self.voice.trouble or
             (well if self.voice.manner.is_on else say("off"))),
        ]  # fmt: skip

    def _show_notice(self) -> None:
        notice, self.talk.notice = self.talk.notice or "", None
        if isinstance(self.screen, Question):
            self._back()
        if len(notice) > NOTICE_MAX:
            self._push(TextScreen(self.desk, "Notice", lambda _: notice))
        else:
            self._push(Question(self.desk, self.screen, notice, ()))

    def _take_settings(self) -> None:
        """Take over, once, what the owner chose in an earlier life of this program."""
        if self._has_settings or not self.talk.me.model:
            return
        self._has_settings = True
        settings = self.talk.me.settings
        contrast, language = settings.get("hand.contrast"), settings.get("hand.language")
        if isinstance(contrast, int) and 0 <= contrast <= 255:
            self.desk.contrast = contrast
        if language in LANGUAGES:
            self._speak(str(language))
        try:
            self.voice.recall(settings.get(VOICE_SETTING))
            if self._learned:
                self._learned.recall(settings.get(WORDS_SETTING))
        except FormatError as exc:
            self.talk.notice = str(exc)

    def close(self) -> None:
        """Fall silent, let go of the soul, and darken the glass."""
        self.voice.close()
        self.engine.close()
        self.darken()


def run(hand: Hand, watch: Callable[[], None]) -> None:
    """Turn the loop in real time until power off; `watch` is called after every round."""
    try:
        while not hand.is_off:
            hand.tick()
            watch()
            time.sleep(TICK_MS / 1000)
    finally:
        hand.close()
