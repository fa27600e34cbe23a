# SPDX-License-Identifier: Apache-2.0
"""A hand in virtual time for tests: keys go in by name, the glass comes out by content."""

from __future__ import annotations

from collections.abc import Callable

from parrot.app.assemble import PINYIN_PATH, Rig, add_composer, no_organs, virtual_rig
from parrot.app.voice_thread import Organs
from parrot.base.clock import ManualClock
from parrot.engine.model import Model
from parrot.senses.live_keypad import LiveKeypad

STEP_MS = 10


class SimHand:
    """Taps keys and lets time pass. `frames` counts the frames that reached the glass."""

    def __init__(
        self,
        model: Model,
        language: str = "en",
        keypad: LiveKeypad | None = None,
        organs: Callable[[], Organs] = no_organs,
    ) -> None:
        self.keypad = keypad or LiveKeypad()
        self.rig: Rig = virtual_rig(model, self.keypad, language, organs=organs)
        self.hand, self.glass, self.bus = self.rig.hand, self.rig.glass, self.rig.bus
        assert isinstance(self.rig.clock, ManualClock)
        self.clock = self.rig.clock
        if PINYIN_PATH.exists():
            add_composer(self.hand)
        self.wait(200)

    def wait(self, ms: int) -> None:
        for _ in range(ms // STEP_MS):
            self.hand.tick()
            self.clock.advance_ms(STEP_MS)

    def tap(self, keys: str) -> None:
        for key in keys:
            self.keypad.tap(key)
            self.wait(120)

    def hold(self, key: str, ms: int) -> None:
        self.keypad.tap(key, ms)
        self.wait(ms + 60)

    def finish_reply(self) -> None:
        for _ in range(6_000):
            if not self.hand.engine.is_busy:
                return
            self.wait(STEP_MS)
        raise AssertionError("the reply did not end within a minute")

    def say(self, text: str) -> None:
        """Let the companion say `text` without the keypad."""
        self.hand.talk.say(text)
        self.finish_reply()
        self.wait(100)

    def close(self) -> None:
        self.hand.close()
