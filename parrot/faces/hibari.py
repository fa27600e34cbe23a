# SPDX-License-Identifier: Apache-2.0
"""English by hibari's voice "heart": a network draws a spectrum, this file makes it sound.

The network gives five pictures (601 bins, one frame each 12.5 ms) and a pitch curve. The sound is
the sum of three parts, turned into samples by one inverse Fourier transform with overlap:

    exp(lh) · e^(iπ tanh θ) · STFT(pulses at the pitch)   the voice
    exp(ln) · complex noise                                breath and hiss
    exp(lr) · e^(iφ)                                       what has a phase of its own

Source: the package hibari-tts 0.2.1 (Apache-2.0), whose signal path this restates.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from parrot.base.audio import Samples, Sound
from parrot.base.files import read_file
from parrot.base.onnx import open_session, run_session
from parrot.faces.english_phonemes import EnglishPhonemes

RATE_HZ = 24_000
_FFT, _HOP = 1_200, 300
_OVERLAP = _FFT // _HOP
_VOICED_HZ, _HIGHEST_HZ = 40.0, 11_000.0
_PHONEMES_MAX = 400
Complex = npt.NDArray[np.complex64]
_WINDOW = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FFT) / _FFT)).astype(np.float32)


class Hibari:
    """The English voice in `folder`. The same text sounds the same."""

    languages: tuple[str, ...] = ("en",)

    def __init__(self, folder: Path, n_threads: int = 1) -> None:
        self._session = open_session(folder / "hibari.onnx", n_threads)
        self._ids: dict[str, int] = json.loads(read_file(folder / "vocab.json", 1 << 20))
        self._phonemes = EnglishPhonemes(folder)

    def synthesize(self, text: str, language: str = "en", speed: float = 1.0) -> Sound:
        said = self._phonemes(text)
        ids = [self._ids[char] for char in said if char in self._ids][:_PHONEMES_MAX]
        if not any(char.isalpha() for char in said):
            return Sound(np.zeros(0, np.float32), RATE_HZ)
        feeds = {"ids": np.array([[0, *ids, 0]]), "speed": np.array([speed], np.float32)}
        names = ["lh", "theta", "ln", "lr", "phi", "f0"]
        parts = [part[0] for part in run_session(self._session, feeds, names)]
        return Sound(np.clip(_sound_of(*parts), -1, 1), RATE_HZ)


def _sound_of(
    lh: Samples, theta: Samples, ln: Samples, lr: Samples, phi: Samples, pitch: Samples
) -> Samples:
    """Return samples from the network's pictures (601, F) and pitch (F,)."""
    n_frames = lh.shape[1]
    spectrum = _spectrum(_pulses(pitch), n_frames)
    spectrum *= _rotation(np.float32(np.pi) * np.tanh(theta)) * _exp(lh)
    chance = np.random.default_rng(0)
    noise = chance.standard_normal((*ln.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
    spectrum += noise * _exp(ln)
    spectrum += _rotation(phi) * _exp(lr)
    return _inverse(spectrum)


def _exp(log: Samples) -> Samples:
    magnitude: Samples = np.exp(np.minimum(log, 7), dtype=np.float32)
    return magnitude


def _rotation(angle: Samples) -> Complex:
    rotation = np.empty(angle.shape, np.complex64)
    rotation.real, rotation.imag = np.cos(angle), np.sin(angle)
    return rotation


def _pulses(pitch: Samples) -> Samples:
    """Return a train of pulses that follows `pitch` (F,) Hz, with every harmonic below 11 kHz.

    Σ cos(h·t) for h = 1 … H is sin((H+½)t) / (2 sin(t/2)) − ½; frames under 40 Hz are silent.
    """
    centres = np.arange(len(pitch)) * _HOP + _HOP / 2 - 0.5
    hertz = np.interp(np.arange(len(pitch) * _HOP), centres, pitch).astype(np.float32)
    is_voiced = hertz > _VOICED_HZ
    hertz = np.maximum(hertz, _VOICED_HZ)
    turns = np.cumsum(hertz, dtype=np.float64) / RATE_HZ
    t = (2 * np.pi * (turns % 1)).astype(np.float32)
    highest = np.floor(_HIGHEST_HZ / hertz) + np.float32(0.5)
    below = 2 * np.sin(t / 2)
    is_limit = np.abs(below) <= 2e-3
    train = np.where(is_limit, highest, np.sin(highest * t) / np.where(is_limit, 1, below)) - 0.5
    train[~is_voiced] = 0
    pulses: Samples = train.astype(np.float32)
    return pulses


def _spectrum(samples: Samples, n_frames: int) -> Complex:
    """Return the short-time transform (601, F); a unit cosine has magnitude one in it."""
    padded = np.pad(samples, _FFT // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::_HOP][:n_frames]
    return np.fft.rfft(frames * (_WINDOW / (_FFT / 4))).T.astype(np.complex64)


def _inverse(spectrum: Complex) -> Samples:
    """Return the samples whose windowed frames come closest to `spectrum`: overlap and add."""
    n_frames = spectrum.shape[1]
    frames = (np.fft.irfft(spectrum.T, _FFT) * _WINDOW).reshape(n_frames, _OVERLAP, _HOP)
    squared = (_WINDOW**2).reshape(_OVERLAP, _HOP)
    total = np.zeros((n_frames + _OVERLAP - 1, _HOP))
    weight = np.zeros_like(total)
    for k in range(_OVERLAP):
        total[k : k + n_frames] += frames[:, k]
        weight[k : k + n_frames] += squared[k]
    samples = (total / np.maximum(weight, 1e-11)).reshape(-1)
    cut: Samples = samples[_FFT // 2 : _FFT // 2 + n_frames * _HOP].astype(np.float32)
    return cut
