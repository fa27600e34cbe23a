# SPDX-License-Identifier: Apache-2.0
"""Is somebody speaking? A small network for each block, and a rule that makes turns of its answers.

The network (Silero) gives a probability for 32 ms. `Endpointer` opens an utterance after enough
speech, so that a click opens none, and closes it after enough silence, so that a breath closes
none; a little sound before the opening is kept, for the first consonant. Blocks that are as quiet
as the room has lately been are not shown to the network: that is what makes waiting cheap.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from parrot.base.audio import EAR_HZ, Samples, level
from parrot.base.onnx import open_session, run_session
from parrot.senses.microphone import BLOCK

BLOCK_S = BLOCK / EAR_HZ
_CONTEXT = 64  # samples of the block before, which the network wants too


class VoiceActivity(Protocol):
    """Judges blocks of 512 samples, in order."""

    def feed(self, block: Samples) -> float:
        """Return how likely somebody speaks in this block, 0 … 1."""

    def reset(self) -> None:
        """Forget what was heard."""


class Silero:
    """The network of Silero (MIT)."""

    def __init__(self, path: Path) -> None:
        self._session = open_session(path)
        self._rate = np.array(EAR_HZ, np.int64)
        self._state = np.zeros((2, 1, 128), np.float32)
        self._context = np.zeros(_CONTEXT, np.float32)

    def feed(self, block: Samples) -> float:
        feeds = {
            "input": np.concatenate([self._context, block])[None],
            "state": self._state,
            "sr": self._rate,
        }
        probability, self._state = run_session(self._session, feeds, ["output", "stateN"])
        self._context = block[-_CONTEXT:]
        return float(probability[0, 0])

    def reset(self) -> None:
        self._state = np.zeros((2, 1, 128), np.float32)
        self._context = np.zeros(_CONTEXT, np.float32)


class Hush:
    """Spares the network while the room is as quiet as it has lately been.

    A block is quiet when its level is under twice the floor, which follows the room: down at once,
    up slowly. After a louder block the network listens for a second.
    """

    _FLOOR_MIN = 1e-4
    _RISE = 1.005  # a block: doubles in 4.5 s
    _AWAKE_BLOCKS = int(1.0 / BLOCK_S)

    def __init__(self, inner: VoiceActivity) -> None:
        self._inner = inner
        self._floor, self._awake = self._FLOOR_MIN, 0

    def feed(self, block: Samples) -> float:
        loudness = level(block)
        if loudness > 2 * self._floor:
            self._awake = self._AWAKE_BLOCKS
        self._floor = max(self._FLOOR_MIN, min(self._floor * self._RISE, max(loudness, 1e-9)))
        if self._awake == 0:
            return 0.0
        self._awake -= 1
        if self._awake == 0:
            self._inner.reset()
            return 0.0
        return self._inner.feed(block)

    def reset(self) -> None:
        self._floor, self._awake = self._FLOOR_MIN, 0
        self._inner.reset()


@dataclass(frozen=True)
class Patience:
    """How long speech must last to begin, and silence to end. Units: seconds."""

    begin_s: float = 0.20
    end_s: float = 0.60
    before_s: float = 0.30
    longest_s: float = 20.0
    threshold: float = 0.5


class Endpointer:
    """Feed it blocks; it returns an utterance when one has ended.

    `is_speaking` tells that one is under way; `silence_s` how long it has been quiet in it.
    """

    def __init__(self, activity: VoiceActivity, patience: Patience | None = None) -> None:
        self._activity, self._patience = activity, patience or Patience()
        self._before: deque[Samples] = deque()
        self._blocks: list[Samples] = []
        self._n_speech = self._n_silent = 0
        self.is_speaking = False

    @property
    def silence_s(self) -> float:
        return self._n_silent * BLOCK_S if self.is_speaking else 0.0

    @property
    def speech_s(self) -> float:
        """How long somebody has been speaking without it being an utterance yet."""
        return self._n_speech * BLOCK_S

    @property
    def blocks(self) -> list[Samples]:
        """The utterance under way, so far."""
        return self._blocks

    def feed(self, block: Samples) -> Samples | None:
        """Take one block; return the utterance that it ended, if any."""
        patience = self._patience
        probability = self._activity.feed(block)
        if not self.is_speaking:
            self._wait(block, probability)
            return None
        self._blocks.append(block)
        # speech goes on at a lower probability than it begins with
        is_speech = probability > patience.threshold - 0.15
        self._n_silent = 0 if is_speech else self._n_silent + 1
        is_over = self._n_silent * BLOCK_S >= patience.end_s
        if is_over or len(self._blocks) * BLOCK_S >= patience.longest_s:
            return self._ended()
        return None

    def flush(self) -> Samples | None:
        """The sound is over: return the utterance under way, if any."""
        return self._ended() if self.is_speaking else None

    def reset(self) -> None:
        self._activity.reset()
        self._before.clear()
        self._blocks, self._n_speech, self._n_silent = [], 0, 0
        self.is_speaking = False

    def _wait(self, block: Samples, probability: float) -> None:
        patience = self._patience
        self._before.append(block)
        is_speech = probability > patience.threshold
        # one doubtful block does not undo the beginning, two do
        self._n_speech = self._n_speech + 1 if is_speech else max(0, self._n_speech - 2)
        n_kept = int((patience.before_s + patience.begin_s) / BLOCK_S) + 1
        while len(self._before) > n_kept:
            self._before.popleft()
        if self._n_speech * BLOCK_S >= patience.begin_s:
            self.is_speaking, self._n_silent = True, 0
            self._blocks = list(self._before)

    def _ended(self) -> Samples:
        utterance = np.concatenate(self._blocks)
        self._before.clear()
        self._blocks, self._n_speech, self._n_silent = [], 0, 0
        self.is_speaking = False
        return utterance
