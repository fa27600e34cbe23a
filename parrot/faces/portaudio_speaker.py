# SPDX-License-Identifier: Apache-2.0
"""A speaker through PortAudio (the package sounddevice)."""

from __future__ import annotations

from parrot.base.audio import Sound
from parrot.base.portaudio import PortAudioStream
from parrot.faces.speaker import insist

_PIECE_S = 0.02


class PortAudioSpeaker:
    """A Speaker. Each sound has a stream of its own rate; stopping drops what was not yet heard."""

    def __init__(self, name: str = "") -> None:
        self._name = name
        self._is_stopped = False
        self._at = 0  # sample of the present sound, kept when the card goes away

    def play(self, sound: Sound) -> bool:
        self._at = 0
        return insist(lambda: self._feed(sound), lambda: self._is_stopped)

    def stop(self) -> None:
        self._is_stopped = True

    def resume(self) -> None:
        self._is_stopped = False

    def close(self) -> None:
        self.stop()

    def _feed(self, sound: Sound) -> None:
        """Play what is left of `sound`. Raises: DeviceError, with `_at` where the card got to."""
        stream = PortAudioStream("Output", self._name, sound.rate_hz)
        size = int(sound.rate_hz * _PIECE_S)
        try:
            while self._at < len(sound.samples) and not self._is_stopped:
                stream.write(sound.samples[self._at : self._at + size].tobytes())
                self._at += size
            if not self._is_stopped:
                stream.finish()
        finally:
            stream.close()
