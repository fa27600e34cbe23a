# SPDX-License-Identifier: Apache-2.0
"""Microphones: blocks of 32 ms at 16 kHz, from a sound card, a file or an array.

`Arecord` is the ear of boards: one `arecord` program behind a pipe. It needs no binding, and when
the card goes away the program ends; the next `read` after a second starts another.
"""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np

from parrot.base.audio import EAR_HZ, Samples, Sound, resampled
from parrot.base.program import Program

BLOCK = 512  # samples: what the voice detector takes at once, 32 ms
RETRY_S = 1.0
_PATIENCE_S = 0.005
_PIPE_BYTES = 1 << 20  # half a minute, for whoever reads late; the kernel's default holds 2 s


class Microphone(Protocol):
    """A source of blocks of `BLOCK` samples at 16 kHz."""

    def read(self) -> Samples:
        """Return the next block, or an empty array when there will be no more.

        Raises: DeviceError while there is no device. Reading again tries again.
        """

    def close(self) -> None: ...


class SoundMicrophone:
    """A microphone that hears a sound once: files, and tests."""

    def __init__(self, sound: Sound) -> None:
        self._samples = resampled(sound, EAR_HZ)
        self._at = 0

    def read(self) -> Samples:
        block = self._samples[self._at : self._at + BLOCK]
        self._at += BLOCK
        if 0 < len(block) < BLOCK:
            return np.pad(block, (0, BLOCK - len(block)))
        return block

    def close(self) -> None:
        self._at = len(self._samples)


class PatientMicrophone:
    """Hears a sound as somebody would say it: it waits while `is_busy` says that the other speaks,
    and with `is_paced` it takes its time."""

    def __init__(self, sound: Sound, is_busy: Callable[[], bool], *, is_paced: bool) -> None:
        self._inner, self._is_busy, self._is_paced = SoundMicrophone(sound), is_busy, is_paced
        self._is_closed = False

    def read(self) -> Samples:
        while self._is_busy() and not self._is_closed:
            time.sleep(_PATIENCE_S)
        if self._is_paced:
            time.sleep(BLOCK / EAR_HZ)
        return self._inner.read()

    def close(self) -> None:
        self._is_closed = True
        self._inner.close()


class Arecord:
    """A sound card, through `arecord`. Threads: read in one, close in any."""

    def __init__(self, device: str = "default") -> None:
        self._argv = ["arecord", "-q", "-D", device, "-t", "raw", "-f", "S16_LE"]
        self._argv += ["-r", str(EAR_HZ), "-c", "1", "--buffer-time=100000"]
        self._program: Program | None = None
        self._retry_s = 0.0
        self._is_closed = False
        self._reading = threading.Lock()

    def read(self) -> Samples:
        with self._reading:
            return np.zeros(0, np.float32) if self._is_closed else self._read()

    def close(self) -> None:
        self._is_closed = True
        if self._program is not None:
            self._program.kill()  # whoever reads finds the end of the pipe
        with self._reading:
            if self._program is not None:
                self._program.close()
                self._program = None

    def _read(self) -> Samples:
        if self._program is None:
            time.sleep(max(0.0, self._retry_s - time.monotonic()))
            self._retry_s = time.monotonic() + RETRY_S
            self._program = Program(self._argv, "microphone", "alsa-utils")
            fcntl.fcntl(self._program.stdout, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        raw = _read_whole(self._program, BLOCK * 2)
        if len(raw) < BLOCK * 2:
            return self._gone(self._program)
        return np.frombuffer(raw, "<i2").astype(np.float32) / np.float32(32768)

    def _gone(self, program: Program) -> Samples:
        program.wait()
        error = program.complaint()
        program.close()
        self._program = None
        if self._is_closed:
            return np.zeros(0, np.float32)
        raise error


def _read_whole(program: Program, n_bytes: int) -> bytes:
    raw = b""
    while len(raw) < n_bytes:
        part = program.stdout.read(n_bytes - len(raw))
        if not part:
            break
        raw += part
    return raw
