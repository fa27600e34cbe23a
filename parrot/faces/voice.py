# SPDX-License-Identifier: Apache-2.0
"""The voice: clauses in, sound out, each run of words by the synthesizer of its language."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from parrot.base.audio import Sound
from parrot.base.errors import ParrotError
from parrot.base.onnx import give_back
from parrot.faces.clause import runs_of
from parrot.faces.spoken_text import spoken
from parrot.faces.synthesizer import Synthesizer

_AFTER_S = 0.15  # of silence, so that clauses do not run together


class Voice:
    """Speaks clauses. `open_voices` says for each language how its synthesizer is opened.

    A language whose synthesizer cannot be opened, or fails, is skipped; `trouble` then holds the
    sentence for the owner.
    """

    def __init__(self, open_voices: Mapping[str, Callable[[], Synthesizer]]) -> None:
        self._openers = dict(open_voices)
        self._voices: dict[str, Synthesizer] = {}
        self.trouble: str | None = None
        self.speed = 1.0

    def warm(self, language: str) -> None:
        """Open the synthesizer of a language before it is needed."""
        self._voice_of(language)

    def synthesize(self, clause: str) -> list[Sound]:
        """Return the sounds of one clause, one a run of one language; [] when nothing is said."""
        sounds = []
        for language, words in runs_of(spoken(clause)):
            voice = self._voice_of(language)
            if voice is None:
                continue
            try:
                sound = voice.synthesize(words, language, self.speed)
            except ParrotError as exc:
                self.trouble = str(exc)
                continue
            if len(sound.samples):
                sounds.append(sound)
        give_back()
        if sounds:
            silence = np.zeros(int(_AFTER_S * sounds[-1].rate_hz), np.float32)
            last = np.concatenate([sounds[-1].samples, silence])
            sounds[-1] = Sound(last, sounds[-1].rate_hz)
        return sounds

    def _voice_of(self, language: str) -> Synthesizer | None:
        if language in self._voices:
            return self._voices[language]
        if language not in self._openers:
            return None
        try:
            self._voices[language] = self._openers[language]()
        except ParrotError as exc:
            self.trouble = str(exc)
            del self._openers[language]  # told once; not tried again in this talk
            return None
        return self._voices[language]
