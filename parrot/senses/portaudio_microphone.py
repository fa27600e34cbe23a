# SPDX-License-Identifier: Apache-2.0
"""A microphone through PortAudio (the package sounddevice)."""

from __future__ import annotations

import time

import numpy as np

from parrot.base.audio import EAR_HZ, Samples
from parrot.base.errors import DeviceError
from parrot.base.portaudio import PortAudioStream
from parrot.senses.microphone import BLOCK, RETRY_S


class PortAudioMicrophone:
    """A Microphone. The device is opened at the first `read`, and again after it was away."""

    def __init__(self, name: str = "") -> None:
        self._name = name
        self._stream: PortAudioStream | None = None
        self._is_closed = False
        self._retry_s = 0.0

    def read(self) -> Samples:
        if self._is_closed:
            return np.zeros(0, np.float32)
        if self._stream is None:
            time.sleep(max(0.0, self._retry_s - time.monotonic()))
            self._retry_s = time.monotonic() + RETRY_S
            self._stream = PortAudioStream("Input", self._name, EAR_HZ)
        try:
            return np.frombuffer(self._stream.read(BLOCK), np.float32)
        except DeviceError:
            self._drop()
            raise

    def close(self) -> None:
        self._is_closed = True
        self._drop()

    def _drop(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
