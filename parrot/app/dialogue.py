# SPDX-License-Identifier: Apache-2.0
"""Turn-taking: whose turn it is to speak, and what happens when both do.

    listening ──utterance──► answering ──all said──► listening
        ▲                        │
        └── the owner's voice ───┘   barge-in: silence at once, the reply is ended

Hands-free, the voice detector opens and closes the owner's turns. Push to talk, a key does: `press`
begins to record, `send` reads what was recorded, `cancel` forgets it. Who writes the reply is not
known here: what was heard goes to the watcher, and `is_replying` says whether an answer is being
written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from parrot.app.ears import Ears, Heard
from parrot.app.mouth import Mouth
from parrot.base.audio import Samples, level
from parrot.senses.echo import EchoGuard
from parrot.senses.microphone import BLOCK
from parrot.senses.vad import BLOCK_S

_BARGE_S = 0.09  # of speech before the parrot falls silent
_RECORDING_BLOCKS_MAX = int(20 / BLOCK_S)
_SILENCE = np.zeros(BLOCK, np.float32)


@dataclass(frozen=True)
class Watcher:
    """Who hears of the talk, on the thread that feeds the dialogue: partial transcripts, what was
    heard at last ("" when a recording held no words), and that the owner interrupts the reply."""

    partial: Callable[[str], None]
    heard: Callable[[str], None]
    interrupted: Callable[[], None]


class Dialogue:
    """One talk by voice. Everything runs on the thread that feeds it, but for the mouth's own."""

    def __init__(
        self,
        ears: Ears,
        mouth: Mouth,
        watcher: Watcher,
        is_replying: Callable[[], bool],
        *,
        is_hands_free: bool,
    ) -> None:
        self.ears, self.mouth, self._watcher = ears, mouth, watcher
        self._is_replying, self.is_hands_free = is_replying, is_hands_free
        self._guard = EchoGuard()
        self._n_recorded: int | None = None  # blocks, push to talk
        self.level = 0.0  # of the newest block

    # ---- state

    @property
    def is_answering(self) -> bool:
        """Whether a reply is being written or spoken."""
        return self._is_replying() or self.mouth.is_speaking

    @property
    def is_recording(self) -> bool:
        """Whether a key holds the turn open."""
        return self._n_recorded is not None

    @property
    def is_listening(self) -> bool:
        """Whether it wants blocks of sound."""
        return self.is_recording or self.is_hands_free

    # ---- events

    def feed(self, block: Samples) -> None:
        """Take the next 32 ms from the microphone."""
        self.level = level(block)
        if self._n_recorded is not None:
            self._n_recorded += 1
            self._tell(self.ears.hold(block))
            if self._n_recorded >= _RECORDING_BLOCKS_MAX:
                self.send()
        elif self.is_hands_free:
            self._listen(block)

    def press(self) -> None:
        """The push-to-talk key: record. Who presses it has ended the reply."""
        self.ears.begin()
        self._n_recorded = 0

    def send(self) -> None:
        """Read what was recorded, and answer it."""
        if self._n_recorded is not None:
            self._n_recorded = None
            self._watcher.heard(self.ears.release())

    def cancel(self) -> None:
        """Forget what was recorded."""
        if self._n_recorded is not None:
            self._n_recorded = None
            self.ears.begin()

    def end(self) -> None:
        """There will be no more sound: answer what was said last."""
        if self._n_recorded is not None:
            self.send()
        elif heard := self.ears.flush():
            self._tell(heard)

    # ---- inside

    def _listen(self, block: Samples) -> None:
        """Hear the owner, and not the parrot itself."""
        played = self.mouth.loudness()
        may_be_owner = self._guard.feed(self.level, played)
        heard = self.ears.feed(block if may_be_owner or played == 0 else _SILENCE)
        if self.is_answering and (
            self.ears.endpointer.speech_s >= _BARGE_S or self.ears.is_speaking
        ):
            self.mouth.hush()
            self._watcher.interrupted()
        self._tell(heard)

    def _tell(self, heard: Heard | None) -> None:
        if heard is None or not heard.text.strip():
            return
        (self._watcher.heard if heard.is_final else self._watcher.partial)(heard.text)
