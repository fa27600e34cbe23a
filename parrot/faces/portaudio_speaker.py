# SPDX-License-Identifier: Apache-2.0
"""A speaker through PortAudio (the package sounddevice)."""

from __future__ import annotations

import time

from parrot.base.audio import Sound
from parrot.base.errors import DeviceError
from parrot.base.portaudio import PortAudioStream
from parrot.faces.speaker import RETRY_S, TRIES

_PIECE_S = 0.02


class PortAudioSpeaker:
    """A Speaker. Each sound has a stream of its own rate; stopping drops what was not yet heard."""

    def __init__(self, name: str = "") -> None:
        self._name = name
        self._is_stopped = False

    def play(self, sound: Sound) -> bool:
        at, tries = 0, 0
        while not self._is_stopped:
            try:
                at = self._feed(sound, at)
                return not self._is_stopped
            except DeviceError:
                tries += 1
                if tries == TRIES or self._is_stopped:
                    raise
                time.sleep(RETRY_S)
        return False

    def stop(self) -> None:
        self._is_stopped = True

    def resume(self) -> None:
        self._is_stopped = False

    def close(self) -> None:
        self.stop()

    def _feed(self, sound: Sound, at: int) -> int:
        """Play `sound` from sample `at`; return how far it came. Raises: DeviceError."""
        stream = PortAudioStream("Output", self._name, sound.rate_hz)
        size = int(sound.rate_hz * _PIECE_S)
        try:
            while at < len(sound.samples) and not self._is_stopped:
                stream.write(sound.samples[at : at + size].tobytes())
                at += size
            if not self._is_stopped:
                stream.finish()
        finally:
            stream.close()
        return at
