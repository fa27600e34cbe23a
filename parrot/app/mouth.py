# SPDX-License-Identifier: Apache-2.0
"""The mouth: text as it is written goes in, clauses are made into sound and played, in order.

Two threads: one makes the sound of the next clause while the other plays this one. Both queues are
bounded, so a reply is never written far ahead of what is said. `hush` empties everything: each
piece of work carries the number of the reply it belongs to, and what belongs to an older reply is
dropped wherever it is. While the sound card is away nothing waits for it: the oldest clauses are
given up, so that the text goes on.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TypeVar

import numpy as np

from parrot.base.audio import Sound, level
from parrot.base.errors import DeviceError
from parrot.faces.clause import ClauseSplitter
from parrot.faces.speaker import Speaker
from parrot.faces.voice import Voice

T = TypeVar("T")
_CLAUSES_MAX = 4
_SOUNDS_MAX = 2
_ECHO_S = 0.4  # how long a sound may hang between the speaker and the microphone


class Mouth:
    """Speaks replies. Threads: `feed` and `finish` in one, `hush` and the properties in any."""

    def __init__(self, voice: Voice, speaker: Speaker) -> None:
        self.voice, self._speaker = voice, speaker
        self._splitter = ClauseSplitter()
        self._clauses: deque[tuple[int, str]] = deque()
        self._sounds: deque[tuple[int, Sound]] = deque()
        self._lock = threading.Condition()
        self._reply = 0  # number of the present reply
        self._n_busy = 0  # clauses and sounds in the hands of the threads
        self._is_closed = self._is_away = False
        self.volume = 1.0
        self._played_until_s = 0.0
        self._loudest = 0.0
        self.first_sound_s: float | None = None  # when the present reply was first heard
        self.trouble: str | None = None
        self._threads = [
            threading.Thread(target=work, name=work.__name__.strip("_"), daemon=True)
            for work in (self._synthesize, self._play)
        ]
        for thread in self._threads:
            thread.start()

    # ---- the reply

    def begin(self) -> int:
        """Begin a reply; what an earlier one still had to say is dropped. Return its number."""
        self.hush()
        with self._lock:
            self._speaker.resume()
            self.first_sound_s = None
            return self._reply

    def feed(self, text: str, reply: int) -> None:
        """Say `text`, a piece of reply number `reply`; wait while too much is yet to be said."""
        with self._lock:
            clauses = list(self._splitter.feed(text)) if reply == self._reply else []
        for clause in clauses:
            self._put(clause, reply)

    def finish(self, reply: int) -> None:
        """The reply is whole: say what is left of it."""
        with self._lock:
            clauses = list(self._splitter.flush()) if reply == self._reply else []
        for clause in clauses:
            self._put(clause, reply)

    def hush(self) -> None:
        """Be silent now; nothing of the present reply is spoken any more."""
        with self._lock:
            self._reply += 1
            self._clauses.clear()
            self._sounds.clear()
            self._splitter = ClauseSplitter()
            self._lock.notify_all()
        self._speaker.stop()

    # ---- what it is doing

    @property
    def is_speaking(self) -> bool:
        """Whether anything is being said, or is yet to be."""
        return bool(self._clauses or self._sounds or self._n_busy)

    def loudness(self) -> float:
        """Return the level of what was played in the last moments, 0 for silence."""
        now_s = time.monotonic()
        return self._loudest if now_s < self._played_until_s + _ECHO_S else 0.0

    def wait(self) -> None:
        """Wait until everything is said."""
        with self._lock:
            while self.is_speaking and not self._is_closed:
                self._lock.wait(0.1)

    def close(self) -> None:
        self.hush()
        with self._lock:
            self._is_closed = True
            self._lock.notify_all()
        for thread in self._threads:
            thread.join()
        self._speaker.close()

    # ---- inside

    def _put(self, clause: str, reply: int) -> None:
        with self._lock:
            while len(self._clauses) >= _CLAUSES_MAX and reply == self._reply:
                if self._is_away:
                    self._clauses.popleft()
                else:
                    self._lock.wait(0.1)
            if reply == self._reply and not self._is_closed:
                self._clauses.append((reply, clause))
                self._lock.notify_all()

    def _synthesize(self) -> None:
        while (work := self._take(self._clauses)) is not None:
            reply, clause = work
            sounds = self.voice.synthesize(clause) if reply == self._reply else []
            self.trouble = self.voice.trouble or self.trouble
            with self._lock:
                for sound in sounds:
                    while len(self._sounds) >= _SOUNDS_MAX and reply == self._reply:
                        self._lock.wait(0.1)
                    if reply == self._reply:
                        self._sounds.append((reply, sound))
                self._done()

    def _play(self) -> None:
        while (work := self._take(self._sounds)) is not None:
            reply, sound = work
            if reply == self._reply:
                self._play_one(sound)
            with self._lock:
                self._done()

    def _play_one(self, sound: Sound) -> None:
        now_s = time.monotonic()
        if self.first_sound_s is None:
            self.first_sound_s = now_s
        sound = Sound(sound.samples * np.float32(self.volume), sound.rate_hz)
        self._loudest = level(sound.samples)
        self._played_until_s = now_s + sound.seconds
        try:
            self._speaker.play(sound)
            self._is_away = False
        except DeviceError as exc:
            self.trouble = str(exc)  # the text goes on; the next clause tries the card again
            self._is_away = True
        self._played_until_s = time.monotonic()

    def _take(self, queue: deque[tuple[int, T]]) -> tuple[int, T] | None:
        with self._lock:
            while not queue and not self._is_closed:
                self._lock.wait()
            if self._is_closed:
                return None
            self._n_busy += 1
            self._lock.notify_all()
            return queue.popleft()

    def _done(self) -> None:
        self._n_busy -= 1
        self._lock.notify_all()
