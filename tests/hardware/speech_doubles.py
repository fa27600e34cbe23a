# SPDX-License-Identifier: Apache-2.0
"""Ears and a voice that do what a test wants, behind the protocols of the real ones."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from parrot.app.ears import Ears
from parrot.app.voice_thread import Organs
from parrot.base.audio import Samples, Sound
from parrot.base.errors import EngineError
from parrot.faces.speaker import SoundSpeaker
from parrot.faces.voice import Voice
from parrot.senses.microphone import BLOCK, Microphone
from parrot.senses.vad import Endpointer

LOUD = np.full(BLOCK, 0.2, np.float32)
QUIET = np.zeros(BLOCK, np.float32)


class ByLevel:
    """A voice detector that takes whatever is loud for speech."""

    def __init__(self) -> None:
        self.n_asked = 0

    def feed(self, block: Samples) -> float:
        self.n_asked += 1
        return 0.9 if block.max() > 0.1 else 0.1

    def reset(self) -> None:
        self.n_asked += 0


class Counts:
    """A recognizer that says how many tenths of a second were loud."""

    languages = ("en",)

    def recognize(self, samples: Samples, is_aborted: Callable[[], bool] | None = None) -> str:
        n = round((samples > 0.1).sum() / 1600)
        return f"loud {n}" if n else ""


class Beep:
    """A voice that beeps for a tenth of a second a word, and keeps what it was asked to say."""

    languages = ("en",)

    def __init__(self) -> None:
        self.said: list[str] = []

    def synthesize(self, text: str, language: str, speed: float = 1.0) -> Sound:
        self.said.append(text)
        if "fail" in text:
            raise EngineError("beep: told to fail, expected a word; say another.")
        return Sound(np.full(1600 * len(text.split()), 0.3, np.float32), 16_000)


class Room:
    """A microphone in a room: it hears what `sounds` holds, block by block, and then silence."""

    def __init__(self) -> None:
        self.sounds: list[Samples] = []
        self.is_open = False

    def read(self) -> Samples:
        self.is_open = True
        time.sleep(0.001)
        return self.sounds.pop(0) if self.sounds else QUIET

    def close(self) -> None:
        self.is_open = False


class SlowSpeaker(SoundSpeaker):
    """A speaker that takes as long as the sound, until it is stopped."""

    def play(self, sound: Sound) -> bool:
        begun = time.monotonic()
        while time.monotonic() - begun < sound.seconds:
            if self._is_stopped:
                return False
            time.sleep(0.002)
        return super().play(sound)


class Doubles:
    """Organs of all of them; `beep`, `room` and `speaker` are looked at by the test."""

    def __init__(self, speaker: SoundSpeaker | None = None) -> None:
        self.beep, self.room = Beep(), Room()
        self.speaker = speaker or SoundSpeaker(16_000)

    def organs(self) -> Organs:
        return Organs(
            lambda language: Ears(Endpointer(ByLevel()), Counts()),
            self._microphone,
            lambda: Voice({"en": lambda: self.beep}),
            lambda: self.speaker,
        )

    def _microphone(self, is_busy: Callable[[], bool]) -> Microphone:
        return self.room
