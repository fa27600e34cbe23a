# SPDX-License-Identifier: Apache-2.0
"""Choosing bytes, one after another, after a state.

The engine steps; this file decides: the settings of sampling, when a reply ends, and that text in a
byte vocabulary is never cut inside a character.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from parrot import _native
from parrot.base.errors import ConfigError

Abort = _native.Abort
Sampler = _native.Sampler

# C0 controls and DEL that no reply may hold: turn marks, all but tab and newline. END_OF_TURN is
# taken out of the ban by a `stop` that contains it. In UTF-8 these bytes are never part of another
# character; C1 controls (C2 80 .. C2 9F) are left to the border (parrot.base.text).
_CONTROLS = frozenset((*range(0x20), 0x7F)) - {0x09, 0x0A}


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Units: temperature 0 (greedy) … 100; top_p (0, 1]; min_p [0, 1]; top_k 0 (all) or a count;
           repetition 0.1 … 10, 1 is off, over the last `window` tokens (0 … 256).
    Raises: ConfigError, naming the setting, what was seen and what is allowed.
    """

    temperature: float = 0.8
    top_p: float = 0.9
    top_k: int = 0
    min_p: float = 0.0
    repetition: float = 1.0
    window: int = 64

    def __post_init__(self) -> None:
        limits = {
            "temperature": (0.0, 100.0),
            "top_p": (1e-6, 1.0),
            "top_k": (0, 1 << 20),
            "min_p": (0.0, 1.0),
            "repetition": (0.1, 10.0),
            "window": (0, 256),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(
                    f"{name}: {value}, expected {low} to {high}; choose a value in that range.",
                    key=name,
                )

    def with_(self, **changes: float) -> Sampling:
        """Return a copy with some settings changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


def banned_of(stop: frozenset[int]) -> list[int]:
    """Return the bytes that no reply may hold, unless its `stop` does."""
    return sorted(_CONTROLS - stop)


def new_sampler(
    sampling: Sampling, seed: int, n_vocab: int, *, is_bytes: bool, stop: frozenset[int]
) -> Sampler:
    """Return a stream of choices. For byte vocabularies it keeps UTF-8 whole and bans controls."""
    banned = banned_of(stop) if is_bytes else []
    return Sampler(
        n_vocab,
        np.array(banned, np.int32),
        seed=seed & (1 << 64) - 1,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        repetition=sampling.repetition,
        window=sampling.window,
        is_utf8=is_bytes,
    )
