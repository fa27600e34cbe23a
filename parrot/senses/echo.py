# SPDX-License-Identifier: Apache-2.0
"""Is that the owner, or the parrot's own voice coming back through the microphone?

While the parrot speaks, what the microphone hears of it is its own level times a gain that depends
on the room. The guard learns that gain, and takes for the owner only what is clearly louder.
"""

from __future__ import annotations

_LOUDER = 2.0  # 6 dB
_QUIET = 1e-3  # below this nobody speaks
_LEARN_BLOCKS = 8  # the first quarter of a second of a talk: only learn
_RATE = 0.2
_WRONG_BLOCKS = 60  # two seconds of "owner" without a pause: the volume was turned up


class EchoGuard:
    """Feed it levels, one block at a time."""

    def __init__(self) -> None:
        self._gain = 0.0
        self._n_learned = self._n_owner = 0

    def feed(self, heard: float, played: float) -> bool:
        """Return whether a block of level `heard` can be the owner's voice.

        `played` is the level of the parrot's own voice just before, 0 when it is silent.
        """
        if played < _QUIET:
            self._n_owner = 0
            return heard > _QUIET
        ratio = heard / played
        if self._n_learned < _LEARN_BLOCKS:
            self._n_learned += 1
            self._gain = max(self._gain, ratio)
            return False
        if heard > _QUIET and ratio > _LOUDER * self._gain:
            self._n_owner += 1
            if self._n_owner > _WRONG_BLOCKS:
                self._gain, self._n_owner = ratio, 0
            return True
        self._n_owner = 0
        self._gain += _RATE * (ratio - self._gain) if ratio > self._gain else 0
        self._gain *= 0.999  # and slowly down: the echo of one loud moment is not for ever
        return False
