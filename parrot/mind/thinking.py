# SPDX-License-Identifier: Apache-2.0
"""Several drafts before one answer: spoken side by side, judged, and the best one said.

All drafts live in one batch, so the weights are read once for all of them. A draft's score is

    mean ln p(byte | the talk) - REPEAT · repetition

and the field is thinned on the way (RACE): most of a draft's worth shows in its beginning, and what
is dropped costs nothing more. Subtracting ln p(byte | nothing), which is to favour what only this
talk makes likely, chose worse replies and costs a second pass; docs/mind.md has the figures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from parrot.engine.generate import Abort, Sampler
from parrot.engine.model import Model
from parrot.engine.state import State
from parrot.mind.speech import Utterance, utter
from parrot.mind.turn import stop_of

RACE = ((16, 2), (48, 1))  # from so many bytes on, at most so many drafts
DRAFTS_MAX = 64
REPEAT = 1.0
_GRAM = 8  # bytes that count as the same again


@dataclass
class Draft:
    """One possible reply, as far as it got."""

    state: State
    utterance: Utterance
    score: float = 0.0

    @property
    def said(self) -> bytes:
        return self.utterance.speech.whole


class Thinker:
    """Runs the race between drafts of one reply."""

    def __init__(
        self, model: Model, state: State, samplers: Sequence[Sampler], max_bytes: int
    ) -> None:
        self._model = model
        twins = [state.copy() for _ in samplers]
        self.field = [
            Draft(twin, utter(model, twin, sampler, max_bytes))
            for sampler, twin in zip(samplers, twins, strict=True)
        ]
        self.dropped: list[Draft] = []

    def run(self, abort: Abort | None = None) -> Draft:
        """Return the best draft once it is alone or all have ended; the others are `dropped`."""
        for n_bytes, n_left in (*RACE, (1 << 60, 1)):
            while not (abort is not None and abort.is_set()) and self._step(n_bytes):
                pass
            self._thin(n_left)
            if len(self.field) == 1:
                break
        return self.field[0]

    def _step(self, n_bytes: int) -> bool:
        """Give every draft that is shorter than `n_bytes` a token; say whether any was."""
        live = [d for d in self.field if not d.utterance.is_over and len(d.said) < n_bytes]
        if live:
            tokens = [draft.utterance.choose() for draft in live]
            logits = self._model.forward_batch(tokens, [draft.state for draft in live])
            for draft, row in zip(live, logits, strict=True):
                draft.utterance.feed(row)
        return bool(live)

    def _thin(self, n_left: int) -> None:
        for draft in self.field:
            draft.score = self._score(draft)
        self.field.sort(key=lambda draft: -draft.score)
        self.dropped += self.field[n_left:]
        del self.field[n_left:]

    def _score(self, draft: Draft) -> float:
        if not draft.said.removesuffix(stop_of(self._model)).strip():
            return -math.inf  # silence is no answer
        ln_p = -draft.utterance.speech.measure.surprise
        return ln_p / len(draft.said) - REPEAT * repetition(draft.said)


def repetition(text: bytes) -> float:
    """Return the share of a text's runs of bytes that it has said before, 0 … 1."""
    grams = [text[i : i + _GRAM] for i in range(len(text) - _GRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0
