# SPDX-License-Identifier: Apache-2.0
"""Turn-taking: whose turn it is to speak, and what happens when both do.

    listening ──utterance──► answering ──all said──► listening
        ▲                        │
        └── the owner's voice ───┘   barge-in: silence at once, the reply is ended

Hands-free, the voice detector opens and closes the owner's turns. Push to talk, a key does: press
to speak, press to send. Either way the reply is spoken clause by clause while it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from parrot.app.ears import Ears
from parrot.app.engine_thread import Engine, Job
from parrot.app.mouth import Mouth
from parrot.base.audio import Samples, level
from parrot.base.errors import ParrotError
from parrot.engine.generate import Abort
from parrot.mind.companion import Companion
from parrot.senses.echo import EchoGuard
from parrot.senses.microphone import BLOCK

_BARGE_S = 0.09  # of speech before the parrot falls silent
_HOLD_BLOCKS_MAX = 20 * 16_000 // BLOCK  # of one push-to-talk recording
_SILENCE = np.zeros(BLOCK, np.float32)


def _nothing(_: str) -> None:
    """Nobody watches."""


@dataclass(frozen=True)
class Watcher:
    """Who hears of the talk: partial transcripts, what was heard, pieces of reply, troubles."""

    partial: Callable[[str], None] = _nothing
    heard: Callable[[str], None] = _nothing
    piece: Callable[[str], None] = _nothing
    said: Callable[[str], None] = _nothing
    trouble: Callable[[str], None] = _nothing


class Dialogue:
    """One talk by voice. Everything runs on the thread that feeds it, but for ears' helpers."""

    def __init__(
        self, ears: Ears, mouth: Mouth, engine: Engine, watcher: Watcher, *, hands_free: bool
    ) -> None:
        self.ears, self.mouth, self.engine, self._watcher = ears, mouth, engine, watcher
        self._hands_free = hands_free
        self._guard = EchoGuard()
        self._held: list[Samples] | None = None  # what is being recorded, push to talk
        self._told: str | None = None
        self.edit: Callable[[str], str] | None = None

    # ---- state

    @property
    def is_answering(self) -> bool:
        """Whether a reply is being written or spoken."""
        return self.engine.is_busy or self.mouth.is_speaking

    @property
    def is_recording(self) -> bool:
        """Whether the owner is speaking, as far as the parrot knows."""
        return self._held is not None or self.ears.is_speaking

    # ---- events

    def feed(self, block: Samples) -> None:
        """Take the next 32 ms from the microphone."""
        self.deliver()
        if self._held is not None:
            self._held.append(block)
            if len(self._held) >= _HOLD_BLOCKS_MAX:
                self.press()
        elif self._hands_free:
            self._listen(block)

    def press(self) -> None:
        """The push-to-talk key: begin to record, or send what was recorded."""
        if self._held is None:
            self.interrupt()
            self.ears.endpointer.reset()
            self._held = []
            return
        recorded, self._held = self._held, None
        if recorded:
            self._hear(lambda: self.ears.read(np.concatenate(recorded)))

    def end(self) -> None:
        """There will be no more sound: answer what was said last."""
        if heard := self.ears.flush():
            self._answer(heard.text)

    def interrupt(self) -> None:
        """Fall silent now; the reply ends at its next character."""
        self.mouth.hush()
        self.engine.abort()

    def deliver(self) -> None:
        """Hand out news of the engine and of the mouth."""
        self.engine.deliver()
        if self.mouth.trouble and self.mouth.trouble != self._told:
            self._told = self.mouth.trouble
            self._watcher.trouble(self._told)

    # ---- inside

    def _listen(self, block: Samples) -> None:
        """Hear the owner, and not the parrot itself."""
        played = self.mouth.loudness()
        may_be_owner = self._guard.feed(level(block), played)
        heard = self.ears.feed(block if may_be_owner or played == 0 else _SILENCE)
        if self.is_answering and (
            self.ears.endpointer.speech_s >= _BARGE_S or self.ears.is_speaking
        ):
            self.interrupt()
        if heard is None:
            return
        if heard.is_final:
            self._answer(heard.text)
        elif heard.text:
            self._watcher.partial(heard.text)

    def _hear(self, read: Callable[[], str]) -> None:
        try:
            text = read()
        except ParrotError as exc:
            self._watcher.trouble(str(exc))
            return
        self._answer(text)

    def _answer(self, text: str) -> None:
        if self.edit is not None and text:
            text = self.edit(text)
        if not text.strip():
            return
        self._watcher.heard(text)
        reply = self.mouth.begin()

        def work(companion: Companion, abort: Abort) -> Iterator[object]:
            for piece in companion.hear(text, abort):
                self.mouth.feed(piece, reply)
                yield piece
            self.mouth.finish(reply)

        def ended(error: ParrotError | None) -> None:
            self._watcher.said("")
            if error:
                self._watcher.trouble(str(error))

        self.engine.submit(Job(work, lambda piece: self._watcher.piece(str(piece)), ended))
