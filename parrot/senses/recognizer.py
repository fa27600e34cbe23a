# SPDX-License-Identifier: Apache-2.0
"""Recognizers: one utterance in, its words out; and what guards them against running away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from parrot.base.audio import EAR_HZ, Samples
from parrot.base.errors import ConfigError

UTTERANCE_S_MAX = 24.0


class Recognizer(Protocol):
    """Turns one utterance into text. Threads: one at a time."""

    @property
    def languages(self) -> tuple[str, ...]: ...

    def recognize(self, samples: Samples, is_aborted: Callable[[], bool] | None = None) -> str:
        """Return what was said in `samples` (16 kHz), "" when nothing was.

        `is_aborted` is asked between tokens; once it says yes, what was decoded so far is returned.
        Raises: ConfigError for what is too long.
        """


def check_length(samples: Samples) -> None:
    """Raises: ConfigError for an utterance no recognizer here takes at once."""
    seconds = len(samples) / EAR_HZ
    if seconds > UTTERANCE_S_MAX:
        raise ConfigError(
            f"utterance: {seconds:.0f} s, expected at most {UTTERANCE_S_MAX:.0f}; cut it at its "
            "pauses (parrot hear does)."
        )


def is_looping(tokens: Sequence[int], n_repeats: int = 3) -> int:
    """Return how many tokens at the end are repetition, 0 for none.

    Decoders of padded or noisy sound say the same few words for ever; a phrase of up to eight
    tokens, heard `n_repeats` times in a row (a single token: twice as often), is such a loop. One
    copy of the phrase is kept.
    """
    for width in range(1, 9):
        n = n_repeats * 2 if width == 1 else n_repeats
        tail = list(tokens[-width:])
        if len(tokens) >= width * n and list(tokens[-width * n :]) == tail * n:
            return width * (n - 1)
    return 0
