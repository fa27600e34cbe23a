# SPDX-License-Identifier: Apache-2.0
"""The parrot's half of a turn: tokens chosen one by one, and how sure it was of each.

`Model.generate` is for callers who want text; the soul wants the very tokens, and the mind what was
expected. Both forecasts are plain: the entropy of the distribution over the next token is the
cross-entropy that the model expects; minus the log of the chosen one's share is what it found.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from parrot.base.errors import EngineError
from parrot.engine.generate import Abort, Sampler
from parrot.engine.model import Model
from parrot.engine.state import State
from parrot.mind.turn import stop_of

F32 = NDArray[np.float32]


@dataclass
class Measure:
    """Sums over tokens, in nats; per byte when asked."""

    expected: float = 0.0
    surprise: float = 0.0
    n_bytes: int = 0

    def add(self, logits: F32, tokens: NDArray[np.int64], n_bytes: int) -> None:
        """Count rows of logits (n, vocab) and the token that followed each (n,)."""
        shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        self.expected -= float((np.exp(log_p) * log_p).sum())
        self.surprise -= float(log_p[np.arange(len(tokens)), tokens].sum())
        self.n_bytes += n_bytes

    def per_byte(self) -> tuple[float, float] | tuple[None, None]:
        """Return (expected, surprise) in nats a byte, or Nones when nothing was counted."""
        if not self.n_bytes:
            return None, None
        return self.expected / self.n_bytes, self.surprise / self.n_bytes


@dataclass
class Speech:
    """What one reply consists of, filled while it is spoken."""

    tokens: list[int] = field(default_factory=list)
    whole: bytes = b""  # the bytes of `tokens`, the end of the turn included once it is there
    measure: Measure = field(default_factory=Measure)


class Utterance:
    """A reply under way: the choice of each token, kept in its Speech.

    `feed` takes the logits after the last token; between the two the caller lives it.
    """

    def __init__(self, model: Model, logits: F32, sampler: Sampler, max_bytes: int) -> None:
        self._model, self._stop = model, stop_of(model)
        self._logits, self._sampler, self._max_bytes = logits.copy(), sampler, max_bytes
        self.speech = Speech()

    @property
    def is_closed(self) -> bool:
        """True once the end of the turn has been chosen."""
        return self.speech.whole.endswith(self._stop)

    @property
    def is_over(self) -> bool:
        return self.is_closed or len(self.speech.whole) >= self._max_bytes

    @property
    def is_whole(self) -> bool:
        """True between two characters: a place where a reply may end."""
        return not self._sampler.utf8_need()

    def choose(self) -> int:
        speech, logits = self.speech, self._logits
        before = logits.copy()
        token = self._sampler.choose(logits, self._max_bytes - len(speech.whole))
        self._sampler.feed(token)
        piece = self._model.tokenizer.decode([token])
        speech.measure.add(before[None], np.array([token]), len(piece))
        speech.tokens.append(token)
        speech.whole += piece
        return token

    def feed(self, logits: F32) -> None:
        np.copyto(self._logits, logits)

    def sayable(self) -> int:
        """Return how many bytes are certain to be text, not the beginning of the end."""
        whole = self.speech.whole
        return len(whole) - _held(whole, self._stop)

    def close(self, state: State) -> None:
        """Live the end of the turn, if it was not chosen."""
        if not self.is_closed:
            ending = self._model.tokenizer.encode(self._stop)
            self._model.forward(ending, state)
            self.speech.tokens += ending
            self.speech.whole += self._stop


def utter(model: Model, state: State, sampler: Sampler, max_bytes: int) -> Utterance:
    """Return the beginning of a reply after `state`. Raises: EngineError when it has no logits."""
    if state.logits is None:
        raise EngineError("state: no logits to speak from; live a prompt of at least one byte.")
    return Utterance(model, state.logits, sampler, max_bytes)


def speak(
    model: Model, state: State, utterance: Utterance, abort: Abort | None = None
) -> Generator[bytes, None, None]:
    """Choose and live tokens until the reply is over or `abort`; yield what is sayable.

    What was chosen before is yielded first. However it ends, also when the caller leaves early, the
    end of the turn has been lived.
    """
    speech, n_yielded = utterance.speech, 0
    try:
        while True:
            end = utterance.sayable()
            if end > n_yielded and utterance.is_whole:
                yield speech.whole[n_yielded:end]
                n_yielded = end
            is_stopped = abort is not None and abort.is_set() and utterance.is_whole
            if utterance.is_over or is_stopped:
                break
            utterance.feed(model.forward([utterance.choose()], state))
        if not utterance.is_closed and len(speech.whole) > n_yielded:
            yield speech.whole[n_yielded:]
    finally:
        utterance.close(state)


def _held(whole: bytes, stop: bytes) -> int:
    """Return how many bytes at the end of `whole` are the stop, or could grow into it."""
    return max(n for n in range(len(stop) + 1) if whole.endswith(stop[:n]))
