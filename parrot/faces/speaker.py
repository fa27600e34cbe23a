# SPDX-License-Identifier: Apache-2.0
"""Speakers: a sound card or an array.

`Aplay` starts one `aplay` program for each sound. That costs 10 ms and makes the rest simple:
stopping is killing it, so nothing waits in a buffer to be heard later; a card that was unplugged
is tried again with what was left of the sound; each sound may have its own rate.
"""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np

from parrot.base.audio import Samples, Sound, pcm16, resampled
from parrot.base.errors import DeviceError
from parrot.base.program import Program

_PIECE_S = 0.02
_PIPE_BYTES = 4096  # the kernel's default of 64 kB is more than a second of speech
_LATENCY_S = 0.1  # of aplay's buffer: what was written but not yet heard
RETRY_S = 0.5
_TRIES = 5  # of one sound, when the card goes away: voice is back within 3 s


def insist(feed: Callable[[], None], is_stopped: Callable[[], bool]) -> bool:
    """Feed a card that may go away and come back; say whether all was heard, not stopped.

    Raises: DeviceError of the last try.
    """
    tries = 0
    while not is_stopped():
        try:
            feed()
            return not is_stopped()
        except DeviceError:
            tries += 1
            if tries == _TRIES or is_stopped():
                raise
            time.sleep(RETRY_S)
    return False


class Speaker(Protocol):
    """Plays one sound at a time."""

    def play(self, sound: Sound) -> bool:
        """Play to the end; return False when `stop` cut it short. Raises: DeviceError."""

    def stop(self) -> None:
        """Be silent at once, and refuse sounds until `resume`. Threads: may be called from any."""

    def resume(self) -> None: ...

    def close(self) -> None: ...


class SoundSpeaker:
    """A speaker that keeps what it plays: WAV files, and tests."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self._parts: list[Samples] = []
        self._is_stopped = False

    def play(self, sound: Sound) -> bool:
        if self._is_stopped:
            return False
        self._parts.append(resampled(sound, self.rate_hz))
        return True

    def stop(self) -> None:
        self._is_stopped = True

    def resume(self) -> None:
        self._is_stopped = False

    def close(self) -> None:
        """Nothing to close."""

    @property
    def sound(self) -> Sound:
        """Everything played so far."""
        return Sound(np.concatenate([np.zeros(0, np.float32), *self._parts]), self.rate_hz)


class Aplay:
    """A sound card, through `aplay`."""

    def __init__(self, device: str = "default") -> None:
        self._device = device
        self._program: Program | None = None
        self._lock = threading.Lock()
        self._is_stopped = False
        self._at = 0  # byte of the present sound, kept over a restart

    def play(self, sound: Sound) -> bool:
        raw = pcm16(sound.samples)
        self._at = 0
        return insist(lambda: self._feed(raw, sound.rate_hz), lambda: self._is_stopped)

    def stop(self) -> None:
        with self._lock:
            self._is_stopped = True
            if self._program is not None:
                self._program.kill()

    def resume(self) -> None:
        self._is_stopped = False

    def close(self) -> None:
        self.stop()

    def _feed(self, raw: bytes, rate_hz: int) -> None:
        """Play what is left of `raw`. Raises: DeviceError, with `_at` where the card got to."""
        with self._lock:
            if self._is_stopped:
                return
            program = self._program = Program(self._argv(rate_hz), "speaker", "alsa-utils")
        fcntl.fcntl(program.stdin, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        size = int(rate_hz * _PIECE_S) * 2
        try:
            while self._at < len(raw):
                self._at += program.stdin.write(raw[self._at : self._at + size]) or 0
            program.stdin.close()
            code = program.wait()
        except BrokenPipeError:
            code = program.wait() or 1
        error = program.complaint() if code else None
        with self._lock:
            self._program = None
        program.close()
        if error and not self._is_stopped:
            unheard = _PIPE_BYTES + int(rate_hz * _LATENCY_S) * 2
            self._at = max(0, self._at - unheard)
            raise error

    def _argv(self, rate_hz: int) -> list[str]:
        return ["aplay", "-q", "-D", self._device, "-t", "raw", "-f", "S16_LE", "-r", str(rate_hz),
                "-c", "1", f"--buffer-time={int(_LATENCY_S * 1e6)}"]  # fmt: skip
