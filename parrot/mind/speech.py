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


def speak(
    model: Model,
    state: State,
    sampler: Sampler,
    speech: Speech,
    max_bytes: int,
    abort: Abort | None = None,
) -> Generator[bytes, None, None]:
    """Choose and live tokens until the turn ends, `max_bytes` or `abort`; yield what is sayable.

    However it ends, also when the caller leaves early, the end of the turn has been lived. Bytes
    that may be the beginning of the end (a newline, for World models) are held back until known.
    """
    stop = stop_of(model)
    if state.logits is None:
        raise EngineError("state: no logits to speak from; live a prompt of at least one byte.")
    logits = state.logits.copy()
    n_yielded, is_over = 0, False
    try:
        while len(speech.whole) < max_bytes and not is_over:
            if abort is not None and abort.is_set() and not sampler.utf8_need():
                break
            before = logits.copy()
            token = sampler.choose(logits, max_bytes - len(speech.whole))
            sampler.feed(token)
            piece = model.tokenizer.decode([token])
            speech.measure.add(before[None], np.array([token]), len(piece))
            speech.tokens.append(token)
            speech.whole += piece
            np.copyto(logits, model.forward([token], state))
            is_over = speech.whole.endswith(stop)
            end = len(speech.whole) - _held(speech.whole, stop)
            if end > n_yielded and not sampler.utf8_need():
                yield speech.whole[n_yielded:end]
                n_yielded = end
        if not is_over and len(speech.whole) > n_yielded:
            yield speech.whole[n_yielded:]
    finally:
        if not is_over:
            ending = model.tokenizer.encode(stop)
            model.forward(ending, state)
            speech.tokens += ending
            speech.whole += stop


def _held(whole: bytes, stop: bytes) -> int:
    """Return how many bytes at the end of `whole` are the stop, or could grow into it."""
    return max(n for n in range(len(stop) + 1) if whole.endswith(stop[:n]))
