# SPDX-License-Identifier: Apache-2.0
"""WAV files: every common shape is read, every broken one is refused in words."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pytest

from parrot.base.audio import Sound, level, parse_wav, pcm16, read_wav, resampled, write_wav
from parrot.base.errors import CorruptError, FileError, FormatError

HERE = Path("speech.wav")


def wav(body: bytes, kind: int = 1, channels: int = 1, rate: int = 16_000, bits: int = 16) -> bytes:
    form = struct.pack(
        "<HHIIHH", kind, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits
    )
    chunks = b"fmt " + struct.pack("<I", len(form)) + form
    chunks += b"LIST" + struct.pack("<I", 3) + b"abc\x00"  # an odd chunk, padded
    chunks += b"data" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    samples = np.sin(np.arange(1000) / 10).astype(np.float32)
    write_wav(tmp_path / "a.wav", Sound(samples, 24_000))
    sound = read_wav(tmp_path / "a.wav")
    assert sound.rate_hz == 24_000
    assert np.abs(sound.samples - samples).max() < 2 / 32768


@pytest.mark.parametrize(
    ("kind", "bits", "half"),
    [
        (1, 8, b"\xc0"),
        (1, 16, struct.pack("<h", 1 << 14)),
        (1, 24, b"\x00\x00\x40"),
        (1, 32, struct.pack("<i", 1 << 30)),
        (3, 32, struct.pack("<f", 0.5)),
        (3, 64, struct.pack("<d", 0.5)),
    ],
)
def test_every_width_reads_a_half_as_a_half(kind: int, bits: int, half: bytes) -> None:
    assert parse_wav(wav(half * 4, kind, bits=bits), HERE).samples.tolist() == [0.5] * 4


def test_channels_are_mixed() -> None:
    body = np.array([[0.5, -0.25], [1.0, 0.0]], "<f4").tobytes()
    assert parse_wav(wav(body, 3, 2, bits=32), HERE).samples.tolist() == [0.125, 0.5]


def test_no_sound_is_a_sound_of_no_length() -> None:
    assert len(parse_wav(wav(b""), HERE).samples) == 0


@pytest.mark.parametrize(
    ("blob", "error", "says"),
    [
        (b"PK\x03\x04 and so on, a zip", FormatError, "begins with 50 4b 03 04"),
        (b"", FormatError, "begins with nothing"),
        (wav(bytes(100))[:-1], CorruptError, "cut short"),
        (wav(bytes(8), kind=85), FormatError, "kind 85"),
        (wav(bytes(8), bits=12), FormatError, "12 bits"),
        (wav(bytes(8), rate=1), FormatError, "1 Hz"),
        (wav(bytes(8), channels=9), FormatError, "9 channels"),
        (wav(struct.pack("<f", float("nan")), 3, bits=32), CorruptError, "not finite"),
        (wav(b"")[:36], CorruptError, "no chunk of sound"),
    ],
)
def test_a_broken_file_is_refused_in_words(blob: bytes, error: type, says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        parse_wav(blob, HERE)
    assert str(caught.value).startswith("speech.wav: ")


def test_ten_thousand_malformed_files_are_read_or_refused() -> None:
    chance = random.Random(7)
    whole = wav(bytes(range(256)), bits=24), wav(bytes(64), 3, 2, bits=32), wav(bytes(90), bits=8)
    n_refused = 0
    for _ in range(10_000):
        blob = bytearray(chance.choice(whole))
        for _ in range(chance.randint(1, 6)):
            blob[chance.randrange(len(blob))] = chance.choice(
                (0, 1, 127, 128, 255, chance.randrange(256))
            )
        if chance.random() < 0.3:
            del blob[chance.randrange(len(blob)) :]
        try:
            sound = parse_wav(bytes(blob), HERE)
        except FileError as exc:
            n_refused += 1
            assert str(exc).startswith("speech.wav: ") and str(exc).endswith(".")
        else:
            assert np.abs(sound.samples).max(initial=0) <= 1
    assert 2_000 < n_refused < 9_000


def test_pcm_is_clipped_and_not_wrapped() -> None:
    assert np.frombuffer(pcm16(np.array([2, -2], np.float32)), "<i2").tolist() == [32767, -32767]


def test_resampling_keeps_a_tone() -> None:
    pytest.importorskip("soxr", reason="the extra speech is not installed")
    tone = np.sin(2 * np.pi * 440 * np.arange(24_000) / 24_000).astype(np.float32)
    out = resampled(Sound(tone, 24_000), 16_000)
    assert abs(len(out) - 16_000) <= 1
    assert int(np.abs(np.fft.rfft(out, 16_000)).argmax()) == 440


def test_level_of_nothing_is_zero() -> None:
    assert level(np.zeros(0, np.float32)) == 0
    assert level(np.full(10, 0.5, np.float32)) == 0.5
