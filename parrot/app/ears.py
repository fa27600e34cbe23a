# SPDX-License-Identifier: Apache-2.0
"""The ears: blocks of sound in, what was said out.

The transcript is made while the owner's closing silence is still being waited for: after an eighth
of a second without speech the utterance is read, and when the silence lasts, the words are there at
once. If the owner goes on, that reading was a partial transcript, which is shown. The same serves a
recording that a key holds open: it is read at each pause, and every two seconds without one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from parrot.base.audio import Samples
from parrot.base.onnx import give_back
from parrot.faces.clause import language_of
from parrot.senses.recognizer import Recognizer
from parrot.senses.transcript import written
from parrot.senses.vad import BLOCK_S, Endpointer

_READ_AFTER_S = 0.13
_READ_EVERY_S = 2.0  # of speech without a pause, while a key is held


@dataclass(frozen=True)
class Heard:
    """Words that were said; `is_final` once the owner has stopped."""

    text: str
    is_final: bool


class Ears:
    """Feed it blocks of 32 ms, in order."""

    def __init__(self, endpointer: Endpointer, recognizer: Recognizer) -> None:
        self.endpointer, self._recognizer = endpointer, recognizer
        self._read: str | None = None
        self._held: list[Samples] = []  # a recording, and how much of its speech was never read
        self._unread_s = 0.0
        self.is_aborted: Callable[[], bool] | None = None  # ends the reading of a recording's part

    @property
    def is_speaking(self) -> bool:
        """Whether the owner is speaking."""
        return self.endpointer.is_speaking

    def feed(self, block: Samples) -> Heard | None:
        """Take one block; return a transcript when there is a new one."""
        utterance = self.endpointer.feed(block)
        if utterance is not None:
            text, self._read = self._read, None
            return Heard(self.read(utterance) if text is None else text, True)
        silence_s = self.endpointer.silence_s
        if silence_s == 0:
            self._read = None
        elif silence_s >= _READ_AFTER_S and self._read is None:
            self._read = self.read(np.concatenate(self.endpointer.blocks))
            return Heard(self._read, False)
        return None

    def flush(self) -> Heard | None:
        """The sound is over: return what was said last, if anything."""
        utterance = self.endpointer.flush()
        text, self._read = self._read, None
        if utterance is None:
            return None
        return Heard(self.read(utterance) if text is None else text, True)

    # ---- a recording that a key holds open

    def begin(self) -> None:
        """Begin a recording; what was heard before is forgotten."""
        self.endpointer.reset()
        self._held, self._read, self._unread_s = [], None, 0.0

    def hold(self, block: Samples) -> Heard | None:
        """Take one block of the recording; return a partial transcript when there is a new one."""
        self._held.append(block)
        self.endpointer.feed(block)
        if self._is_new_speech():
            self._read = None
            self._unread_s += BLOCK_S
            if self._unread_s < _READ_EVERY_S:
                return None
            self._unread_s = 0.0
            return Heard(self._read_held(self.is_aborted), False)
        if self.endpointer.silence_s < _READ_AFTER_S or self._read is not None:
            return None
        text, self._unread_s = self._read_held(self.is_aborted), 0.0
        if self.is_aborted is None or not self.is_aborted():
            self._read = text
        return Heard(text, False)

    def release(self) -> str:
        """Return the words of the whole recording, "" when nothing was said."""
        text = self._read_held() if self._read is None and self._held else self._read
        self.begin()
        return text or ""

    def _is_new_speech(self) -> bool:
        endpointer = self.endpointer
        return endpointer.silence_s == 0 if endpointer.is_speaking else endpointer.speech_s > 0

    def _read_held(self, is_aborted: Callable[[], bool] | None = None) -> str:
        return self.read(np.concatenate(self._held), is_aborted)

    # ---- inside both

    def read(self, utterance: Samples, is_aborted: Callable[[], bool] | None = None) -> str:
        """Return the words of an utterance, as they would be written."""
        text = self._recognizer.recognize(utterance, is_aborted)
        give_back()
        return written(text, language_of(text))
