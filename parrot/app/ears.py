# SPDX-License-Identifier: Apache-2.0
"""The ears: blocks of sound in, what was said out.

The transcript is made while the owner's closing silence is still being waited for: after an eighth
of a second without speech the utterance is read, and when the silence lasts, the words are there at
once. If the owner goes on, that reading was a partial transcript, which is shown.
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
from parrot.senses.vad import Endpointer

_READ_AFTER_S = 0.13


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
        self.is_aborted: Callable[[], bool] | None = None

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

    def read(self, utterance: Samples) -> str:
        """Return the words of an utterance, as they would be written."""
        text = self._recognizer.recognize(utterance, self.is_aborted)
        give_back()
        return written(text, language_of(text))
