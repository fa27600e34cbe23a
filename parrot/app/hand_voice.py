# SPDX-License-Identifier: Apache-2.0
"""The voice as the screens see it: what is being heard, how it speaks, and what the owner chose.

Everything here runs on the loop's thread and returns at once. What was heard goes to `on_heard`,
which says it to the parrot, or shows it to the owner first. Where the voice is on, every reply is
spoken while it is written, whether the question was spoken or typed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING

from parrot.app.conversation import Conversation
from parrot.base.errors import FormatError

if TYPE_CHECKING:
    from parrot.app.voice_thread import Organs, VoiceThread

SETTING = "hand.voice"
LANGUAGES = ("auto", "en", "zh")
SPEEDS, VOLUMES = (0.6, 1.6), (0.0, 1.0)
LOUD = 0.2  # a level near the microphone, which fills the meter


@dataclass(frozen=True)
class VoiceManner:
    """How it listens and speaks. Units: speed 1 is the voice's own, volume 0 … 1."""

    is_on: bool = False
    is_hands_free: bool = False
    is_edited: bool = False  # a transcript is shown, and may be corrected, before it is sent
    language: str = "auto"
    speed: float = 1.0
    volume: float = 1.0


class HandVoice:
    """Ears and mouth, if the owner wants them: what they need is imported only then, by `organs`.
    Borrows `talk`; `close` ends the thread."""

    def __init__(
        self, talk: Conversation, organs: Callable[[], Organs], manner: VoiceManner
    ) -> None:
        self.talk, self._organs, self.manner = talk, organs, manner
        self._thread: VoiceThread | None = None
        self._ending: list[VoiceThread] = []
        self.on_heard: Callable[[str], None] = talk.say
        self.is_recording = self.is_reading = self.has_ended = False
        self.trouble: str | None = None  # the newest
        self.partial = ""
        self.level = 0.0  # of the owner's voice, 0 … 1
        self._number = 0  # of the newest press; what an older one brings is dropped

    # ---- what is going on

    @property
    def is_hearing(self) -> bool:
        """Whether the owner is being listened to, or what they said is being read."""
        by_itself = self._thread is not None and self._thread.is_hearing
        return self.is_recording or self.is_reading or by_itself

    @property
    def is_speaking(self) -> bool:
        return self._thread is not None and self._thread.mouth.is_speaking

    @property
    def is_busy(self) -> bool:
        """Whether anything is being heard, answered or said."""
        return self.is_hearing or (self._thread is not None and self._thread.is_busy)

    # ---- the key

    def press(self) -> None:
        """Begin to listen: the parrot falls silent."""
        if self._thread is not None:
            self.talk.stop()
            self.is_recording, self.is_reading, self.partial = True, False, ""
            self._number += 1
            self._thread.press(self._number)

    def send(self) -> None:
        if self._thread is not None and self.is_recording:
            self.is_recording, self.is_reading = False, True
            self._thread.send()

    def cancel(self) -> None:
        if self._thread is not None:
            self.is_recording = self.is_reading = False
            self._number += 1
            self._thread.cancel()

    # ---- settings

    def recall(self, kept: object) -> None:
        """Take over what the owner chose; None is nothing. Raises: FormatError."""
        if kept is not None:
            self.manner = manner_from(kept)
        self.apply()

    def change(self, **changes: object) -> None:
        """Take a choice of the owner, and keep it."""
        self.trouble = None
        self.manner = replace(self.manner, **changes)  # type: ignore[arg-type]
        self.talk.set_setting(SETTING, asdict(self.manner))
        self.apply()

    def apply(self) -> None:
        """Open or close what the manner asks for."""
        manner = self.manner
        if not manner.is_on:
            self._close()
            return
        if self._thread is None:
            self._thread = self._open()
            self.talk.mouth = self._thread.mouth
        self._thread.mouth.voice.speed, self._thread.mouth.volume = manner.speed, manner.volume
        self._thread.listen(manner.language, manner.is_hands_free)

    def say(self, text: str) -> None:
        """Speak a sample, so that the owner hears what was set."""
        if self._thread is not None and not self.talk.is_answering:
            reply = self._thread.mouth.begin()
            self._thread.mouth.feed(text, reply)
            self._thread.mouth.finish(reply)

    # ---- the loop

    def deliver(self) -> bool:
        """Act on what happened; say whether anything did."""
        if self._thread is None:
            return False
        self.level = min(self._thread.level / LOUD, 1.0)
        return self._thread.deliver()

    def close(self) -> None:
        """Fall silent, end the thread and wait for it."""
        self._close()
        for thread in self._ending:
            thread.join()
        self._ending.clear()

    # ---- inside

    def _open(self) -> VoiceThread:
        from parrot.app.voice_thread import Listener, VoiceThread

        listener = Listener(self._partial, self._heard, self.talk.stop, self._trouble, self._ended)
        return VoiceThread(
            self._organs(), listener, lambda: self.talk.is_answering, self.manner.language
        )

    def _close(self) -> None:
        if self._thread is not None:
            self._thread.close()
            self._ending = [thread for thread in self._ending if thread.is_alive]
            self._ending.append(self._thread)
            self._thread = self.talk.mouth = None
            self.is_recording = self.is_reading = False

    def _partial(self, text: str) -> None:
        self.partial = text

    def _heard(self, text: str, number: int) -> None:
        if number and number != self._number:
            return
        self.is_recording = self.is_reading = False
        self.partial = ""
        self.on_heard(text.strip())

    def _trouble(self, organ: str, text: str) -> None:
        if organ == "ears":
            self.is_recording = self.is_reading = False
        self.trouble = self.talk.notice = text

    def _ended(self) -> None:
        self.has_ended = True


def manner_from(kept: object) -> VoiceManner:
    """Return the manner that a soul kept. Raises: FormatError when it holds something else."""
    kinds = {field.name: type(field.default) for field in fields(VoiceManner)}
    is_right = isinstance(kept, dict) and all(
        isinstance(value, (kinds[name], int) if kinds.get(name) is float else kinds.get(name, ()))
        for name, value in kept.items()
    )
    manner = VoiceManner(**kept) if is_right else VoiceManner()  # type: ignore[arg-type]
    if (
        not is_right
        or manner.language not in LANGUAGES
        or not SPEEDS[0] <= manner.speed <= SPEEDS[1]
        or not VOLUMES[0] <= manner.volume <= VOLUMES[1]
    ):
        raise FormatError(f"soul, {SETTING}: {kept!r:.60}, expected a manner; it begins anew.")
    return manner
