# SPDX-License-Identifier: Apache-2.0
"""PortAudio through the package sounddevice: sound where there is no ALSA.

Its errors become ours. A device is chosen by a part of its name.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from parrot.base.errors import DeviceMissing

LATENCY_S = 0.1


class PortAudioStream:
    """A started stream of one f32 channel. `kind` is "Input" or "Output", `name` "" the default.

    Raises: DeviceMissing without the package, its library or the device, and when it goes away.
    """

    def __init__(self, kind: str, name: str, rate_hz: int) -> None:
        self._organ = "microphone" if kind == "Input" else "speaker"
        try:
            sounddevice = import_module("sounddevice")
        except (ImportError, OSError) as exc:  # OSError: the package without PortAudio itself
            raise self._missing(
                f"{exc}, expected for the {self._organ}; run: pip install "
                "'parrot-companion[sound]' (Linux also: apt install libportaudio2)."
            ) from exc
        self._error: type[Exception] = sounddevice.PortAudioError
        try:
            self._stream: Any = getattr(sounddevice, f"Raw{kind}Stream")(
                samplerate=rate_hz, channels=1, dtype="float32", device=name or None,
                latency=LATENCY_S,
            )  # fmt: skip
            self._stream.start()
        except (self._error, ValueError) as exc:  # ValueError: no device of that name
            raise self._missing(
                f"the {self._organ} does not answer ({_said(exc)}); plug it in, or choose another "
                "from: python -m sounddevice."
            ) from exc

    def read(self, n_samples: int) -> bytes:
        try:
            return bytes(self._stream.read(n_samples)[0])
        except self._error as exc:
            raise self._gone(exc) from exc

    def write(self, raw: bytes) -> None:
        try:
            self._stream.write(raw)
        except self._error as exc:
            raise self._gone(exc) from exc

    def finish(self) -> None:
        """Wait until what was written has been heard."""
        try:
            self._stream.stop()
        except self._error as exc:
            raise self._gone(exc) from exc

    def close(self) -> None:
        """End it; what was not yet heard is dropped."""
        self._stream.close(ignore_errors=True)

    def _gone(self, exc: Exception) -> DeviceMissing:
        return self._missing(f"the {self._organ} stopped ({_said(exc)}); plug it in again.")

    def _missing(self, what: str) -> DeviceMissing:
        return DeviceMissing(f"sounddevice: {what}", device=self._organ)


def _said(exc: Exception) -> str:
    return " ".join(str(exc).split())[:200]
