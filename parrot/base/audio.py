# SPDX-License-Identifier: Apache-2.0
"""Sound as an array: one channel of f32 between -1 and 1, with its rate beside it.

Reads RIFF WAV of any common shape and writes 16-bit WAV. The reader trusts no size in the file:
each chunk is measured against the bytes that are there before it is touched.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from parrot.base.errors import ConfigError, CorruptError, FileError, FormatError
from parrot.base.files import read_file, replace_file

Samples = npt.NDArray[np.float32]

EAR_HZ = 16_000  # what every recognizer here listens at
WAV_SIZE_MAX = 256 << 20  # 10 minutes of stereo at 96 kHz and 24 bits fit
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_RATES = range(4_000, 192_001)
_CHANNELS_MAX = 8
_DTYPES = {(_PCM, 8): "u1", (_PCM, 16): "<i2", (_PCM, 32): "<i4", (_FLOAT, 32): "<f4"}
_DTYPES[_FLOAT, 64] = "<f8"


@dataclass(frozen=True)
class Sound:
    """Some sound. Shapes: samples (n,) f32, -1 … 1. Units: rate_hz samples a second."""

    samples: Samples
    rate_hz: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate_hz


@dataclass(frozen=True)
class _Format:
    kind: int
    n_channels: int
    rate_hz: int
    n_bits: int


def read_wav(path: Path) -> Sound:
    """Return the sound of the WAV file at `path`, its channels mixed into one.

    Raises: FileError that says what is wrong, and where.
    """
    return parse_wav(read_file(path, WAV_SIZE_MAX), path)


def parse_wav(blob: bytes, path: Path) -> Sound:
    """Return the sound in the bytes of a WAV file; `path` is for the message.

    Raises: FormatError, CorruptError.
    """
    if len(blob) < 12 or blob[:4] != b"RIFF" or blob[8:12] != b"WAVE":
        seen = " ".join(f"{byte:02x}" for byte in blob[:4]) or "nothing"
        raise FormatError(
            f"{path}: begins with {seen}, expected 52 49 46 46 (RIFF) of a WAV file; convert it, "
            f"for example: ffmpeg -i FILE -ac 1 -ar {EAR_HZ} speech.wav.",
            path=path,
            offset=0,
        )
    form, at = None, 12
    while at + 8 <= len(blob):
        name, size = struct.unpack_from("<4sI", blob, at)
        body, at = at + 8, at + 8 + size + size % 2
        if body + size > len(blob):
            raise CorruptError(
                f"{path}: chunk {name!r} at byte {body - 8:,} wants {size:,} bytes but "
                f"{len(blob) - body:,} are left; the copy was cut short, copy it again.",
                path=path,
                offset=body - 8,
            )
        if name == b"fmt ":
            form = _format(blob[body : body + size], path)
        elif name == b"data":
            if form is None:
                raise _damaged(path, "sound before its format")
            return Sound(_samples(blob[body : body + size], form, path), form.rate_hz)
    raise _damaged(path, "no chunk of sound")


def _damaged(path: Path, seen: str) -> CorruptError:
    return CorruptError(f"{path}: {seen}, expected a WAV file; record it again.", path=path)


def _format(chunk: bytes, path: Path) -> _Format:
    if len(chunk) < 16:
        raise _damaged(path, f"a format of {len(chunk)} bytes")
    kind, n_channels, rate_hz, _, _, n_bits = struct.unpack_from("<HHIIHH", chunk)
    if kind == _EXTENSIBLE and len(chunk) >= 26:
        (kind,) = struct.unpack_from("<H", chunk, 24)
    if (kind, n_bits) not in _DTYPES and (kind, n_bits) != (_PCM, 24):
        raise FormatError(
            f"{path}: sound of kind {kind} with {n_bits} bits, expected PCM of 8, 16, 24 or 32 "
            "bits or float of 32 or 64; convert it to 16-bit PCM.",
            path=path,
        )
    if not 1 <= n_channels <= _CHANNELS_MAX or rate_hz not in _RATES:
        raise FormatError(
            f"{path}: {n_channels} channels at {rate_hz:,} Hz, expected 1 to {_CHANNELS_MAX} at "
            f"{_RATES[0]:,} to {_RATES[-1]:,}; record it again.",
            path=path,
        )
    return _Format(kind, n_channels, rate_hz, n_bits)


def _samples(raw: bytes, form: _Format, path: Path) -> Samples:
    width = form.n_bits // 8
    raw = raw[: len(raw) // (width * form.n_channels) * width * form.n_channels]
    values: npt.NDArray[Any]
    if form.n_bits == 24:
        parts = np.frombuffer(raw, "u1").reshape(-1, 3)
        values = np.zeros((len(parts), 4), "u1")
        values[:, 1:] = parts  # the three high bytes of an int32
        values = values.view("<i4")[:, 0]
    else:
        values = np.frombuffer(raw, _DTYPES[form.kind, form.n_bits])
    if form.kind == _FLOAT:
        if not np.isfinite(values).all():
            raise _damaged(path, "samples that are not finite")
        values = np.clip(values, -1, 1)
    samples: Samples = values.astype(np.float32)
    if form.kind == _PCM and form.n_bits == 8:
        samples = (samples - np.float32(128)) / np.float32(128)
    elif form.kind == _PCM:
        samples /= np.float32(1 << (31 if form.n_bits == 24 else form.n_bits - 1))
    mixed: Samples = samples.reshape(-1, form.n_channels).mean(axis=1, dtype=np.float32)
    return np.clip(mixed, -1, 1)


def pcm16(samples: Samples) -> bytes:
    """Return samples as little-endian 16-bit integers, what sound devices eat."""
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


def write_wav(path: Path, sound: Sound) -> None:
    """Write a 16-bit WAV file of one channel. Raises: FileError."""
    body = pcm16(sound.samples)
    rate = sound.rate_hz
    head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 36 + len(body), b"WAVE", b"fmt ", 16, _PCM, 1,
                       rate, rate * 2, 2, 16)  # fmt: skip
    if 36 + len(body) >= 1 << 32:
        raise FileError(f"{path}: {len(body):,} bytes are too many for a WAV file; split it.")
    replace_file(path, head + struct.pack("<4sI", b"data", len(body)) + body)


def resampled(sound: Sound, rate_hz: int) -> Samples:
    """Return the samples of `sound` at another rate. Raises: ConfigError without soxr."""
    if sound.rate_hz == rate_hz or not len(sound.samples):
        return sound.samples
    try:
        import soxr
    except ImportError as exc:
        raise ConfigError(
            f"sound: {sound.rate_hz} Hz, expected {rate_hz}; to convert rates run: "
            "pip install 'parrot-companion[speech]'."
        ) from exc
    samples: Samples = soxr.resample(sound.samples, sound.rate_hz, rate_hz).astype(np.float32)
    return samples


def level(samples: Samples) -> float:
    """Return the root mean square of samples, 0 for none."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float32)))) if len(samples) else 0.0
