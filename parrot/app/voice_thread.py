# SPDX-License-Identifier: Apache-2.0
"""Ears, mouth and the turn-taking between them on a thread of their own, so that no key waits.

The loop gives orders (`press`, `send`, `cancel`, …), which return at once, and every tick asks
`deliver` for what happened. The microphone is open only while somebody is listened to. What cannot
be opened is told in one sentence; the other half works without it, and the next press tries again.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from parrot.app.dialogue import Dialogue, Watcher
from parrot.app.ears import Ears
from parrot.app.mouth import Mouth
from parrot.base.errors import DeviceError, ParrotError
from parrot.faces.speaker import Speaker
from parrot.faces.voice import Voice
from parrot.senses.microphone import Microphone


@dataclass(frozen=True)
class Organs:
    """How the parts are opened. Ears of a language and the microphone may raise a ParrotError;
    voice and speaker open what they need when they need it. `open_microphone` gets what says
    whether the parrot is answering: a file waits for that."""

    open_ears: Callable[[str], Ears]
    open_microphone: Callable[[Callable[[], bool]], Microphone]
    open_voice: Callable[[], Voice]
    open_speaker: Callable[[], Speaker]


@dataclass(frozen=True)
class Listener:
    """Who hears of it, on the loop's thread: partial transcripts; what was heard, with the number
    of the press that it answers, 0 hands-free; that the owner interrupts; what is wrong with which
    organ, in one sentence; and that the microphone has come to its end (a file has one)."""

    partial: Callable[[str], None]
    heard: Callable[[str, int], None]
    interrupted: Callable[[], None]
    trouble: Callable[[str, str], None]
    ended: Callable[[], None]


class VoiceThread:
    """One talk by voice. `mouth` may be fed from any thread; all else is the loop's to call."""

    def __init__(
        self,
        organs: Organs,
        listener: Listener,
        is_replying: Callable[[], bool],
        language: str = "auto",
    ) -> None:
        self._organs, self._listener, self._is_replying = organs, listener, is_replying
        self.mouth = Mouth(organs.open_voice(), organs.open_speaker())
        self._language, self._is_hands_free = language, False
        self._dialogue: Dialogue | None = None
        self._microphone: Microphone | None = None
        self._number = 0  # of the recording under way
        self._orders: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._news: deque[Callable[[], None]] = deque()  # the oldest stays until it was acted on
        self._told: dict[str, str | None] = {}  # by organ: what is wrong, told once
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="voice", daemon=True)
        self._thread.start()

    # ---- the loop's side

    @property
    def level(self) -> float:
        """The level of what the microphone hears now."""
        return self._dialogue.level if self._dialogue and self._microphone else 0.0

    @property
    def is_hearing(self) -> bool:
        """Whether the owner is speaking, hands-free."""
        return self._is_hands_free and self._dialogue is not None and (
            self._dialogue.ears.is_speaking
        )  # fmt: skip

    @property
    def is_busy(self) -> bool:
        """Whether something was heard and is not yet answered, or a reply is being said."""
        is_saying = self.mouth.is_speaking or self.mouth.loudness() > 0
        return bool(self._news) or self._is_replying() or is_saying

    def press(self, number: int) -> None:
        """Begin the recording `number`, not 0."""
        self._orders.put(lambda: self._press(number))

    def send(self) -> None:
        self._orders.put(lambda: self._dialogue.send() if self._dialogue else None)

    def cancel(self) -> None:
        """Forget the recording; if it is being read already, its words still come."""
        self._orders.put(lambda: self._dialogue.cancel() if self._dialogue else None)

    def listen(self, language: str, is_hands_free: bool) -> None:
        """Hear `language` from now on, all the time or only when a key is pressed."""
        self._orders.put(lambda: self._set(language, is_hands_free))

    def deliver(self) -> bool:
        """Call the listener for all that happened since; say whether anything did."""
        self._tell("mouth", self.mouth.trouble)
        has_news = bool(self._news)
        while self._news:
            self._news[0]()
            self._news.popleft()
        return has_news

    def close(self) -> None:
        """Be silent now and end soon; `join` waits for it."""
        self._is_closed = True
        self.mouth.hush()
        self._orders.put(lambda: None)

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def join(self) -> None:
        self._thread.join()

    # ---- the thread's side

    def _run(self) -> None:
        self._obey(self._open_ears)
        self.mouth.voice.warm("zh" if self._language == "zh" else "en")
        while not self._is_closed:
            if self._dialogue is not None and self._dialogue.is_listening:
                self._hear(self._dialogue)
            else:
                self._close_microphone()
                self._obey(self._orders.get())
            while not self._orders.empty() and not self._is_closed:
                self._obey(self._orders.get())
        self._close_microphone()
        self.mouth.close()

    def _obey(self, order: Callable[[], None]) -> None:
        try:
            order()
        except ParrotError as exc:
            self._tell("ears", str(exc))

    def _hear(self, dialogue: Dialogue) -> None:
        """Listen to 32 ms. Hands-free, a device that is away is waited for."""
        try:
            if self._microphone is None:
                self._microphone = self._organs.open_microphone(lambda: self.is_busy)
            block = self._microphone.read()
            if len(block):
                dialogue.feed(block)
                self._told["ears"] = None
                return
            dialogue.end()
            self._news.append(self._listener.ended)
        except ParrotError as exc:
            self._tell("ears", str(exc))
            if isinstance(exc, DeviceError) and not dialogue.is_recording:
                return
        dialogue.cancel()
        dialogue.is_hands_free = False

    def _press(self, number: int) -> None:
        self._told.clear()  # who asks again is told again
        if self._dialogue is None:
            self._open_ears()
        if self._dialogue is not None:
            self._number = number
            self._dialogue.press()

    def _set(self, language: str, is_hands_free: bool) -> None:
        self._is_hands_free = is_hands_free
        self._told.pop("ears", None)
        if language != self._language:
            self._language, self._dialogue = language, None
        if self._dialogue is None:
            self._open_ears()
        else:
            self._dialogue.cancel()
            self._dialogue.is_hands_free = is_hands_free

    def _open_ears(self) -> None:
        """Raises: ParrotError; the press of a key tries again."""
        ears = self._organs.open_ears(self._language)
        ears.is_aborted = lambda: not self._orders.empty()
        watcher = Watcher(
            partial=lambda text: self._news.append(lambda: self._listener.partial(text)),
            heard=self._heard,
            interrupted=lambda: self._news.append(self._listener.interrupted),
        )
        self._dialogue = Dialogue(
            ears, self.mouth, watcher, self._is_replying, is_hands_free=self._is_hands_free
        )

    def _heard(self, text: str) -> None:
        number, self._number = self._number, 0
        self._news.append(lambda: self._listener.heard(text, number))

    def _close_microphone(self) -> None:
        if self._microphone is not None:
            self._microphone.close()
            self._microphone = None

    def _tell(self, organ: str, trouble: str | None) -> None:
        """Tell what is wrong with an organ, once until it is something else."""
        if trouble and trouble != self._told.get(organ):
            self._told[organ] = trouble
            self._news.append(lambda: self._listener.trouble(organ, trouble))
