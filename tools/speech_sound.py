# SPDX-License-Identifier: Apache-2.0
"""Rooms and noise for the speech benchmark, made with numpy and a seed."""

from __future__ import annotations

import numpy as np

from parrot.base.audio import EAR_HZ, Samples, level

SPEECH_LEVEL = 0.08


def pink(rng: np.random.Generator, n: int) -> Samples:
    """Return `n` samples of noise whose power falls by 3 dB an octave, of level 1."""
    spectrum = np.fft.rfft(rng.standard_normal(n))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 20 * n / EAR_HZ))
    noise = np.fft.irfft(spectrum, n)
    return (noise / noise.std()).astype(np.float32)


def room(rng: np.random.Generator, rt60_s: float = 0.35, direct_db: float = 4.0) -> Samples:
    """Return an impulse response: the direct sound, eight reflections, a tail that dies away.

    Units: rt60_s until the tail is 60 dB down; direct_db how far the direct sound stands above the
    rest together.
    """
    n = int(rt60_s * EAR_HZ)
    tail = rng.standard_normal(n) * 10 ** (-3 * np.arange(n) / n)
    tail[: EAR_HZ // 100] = 0
    for at in rng.integers(EAR_HZ // 400, EAR_HZ // 25, 8):
        tail[at] += rng.choice((-1, 1)) * 3.0
    tail *= 10 ** (-direct_db / 20) / np.sqrt((tail**2).sum())
    tail[0] = 1
    return tail.astype(np.float32)


def spoiled(samples: Samples, rng: np.random.Generator, snr_db: float, has_echo: bool) -> Samples:
    """Return speech in a room with noise around it, at the usual level."""
    if has_echo:
        response = room(rng)
        n = len(samples) + len(response)
        product = np.fft.rfft(samples, n) * np.fft.rfft(response, n)
        samples = np.fft.irfft(product, n)[: len(samples)].astype(np.float32)
    samples = samples * np.float32(SPEECH_LEVEL / max(level(samples), 1e-6))
    noise = pink(rng, len(samples)) * np.float32(SPEECH_LEVEL * 10 ** (-snr_db / 20))
    return np.clip(samples + noise, -1, 1)


def room_noise(rng: np.random.Generator, seconds: int) -> Samples:
    """Return a minute or more of a room nobody speaks in.

    Pink noise whose level wanders between 40 and 60 dB below full scale, mains hum, a fan that
    starts and stops, knocks, clicks, and a chair now and then.
    """
    n = seconds * EAR_HZ
    t = np.arange(n) / EAR_HZ
    wander = np.interp(t, np.arange(0, seconds + 5, 5.0), rng.uniform(-60, -40, seconds // 5 + 1))
    sound = pink(rng, n) * 10 ** (wander / 20)
    sound += 0.001 * np.sin(2 * np.pi * 50 * t) + 0.0005 * np.sin(2 * np.pi * 150 * t)
    fan = np.repeat(rng.random(seconds // 10 + 1) < 0.3, 10 * EAR_HZ)[:n]
    sound += 0.006 * fan * rng.standard_normal(n)
    for at in rng.integers(0, n - EAR_HZ, seconds // 6):
        length = int(rng.uniform(0.003, 0.12) * EAR_HZ)
        decay = np.exp(-5 * np.arange(length) / length)
        pitch = rng.uniform(80, 3000)
        knock = np.sin(2 * np.pi * pitch * np.arange(length) / EAR_HZ) * decay
        sound[at : at + length] += rng.uniform(0.02, 0.4) * knock * rng.standard_normal(length)
    for at in rng.integers(0, n - EAR_HZ, seconds // 40):
        scrape = np.cumsum(rng.standard_normal(EAR_HZ // 2))
        scrape -= np.convolve(scrape, np.ones(200) / 200, "same")
        sound[at : at + EAR_HZ // 2] += 0.1 * scrape / np.abs(scrape).max()
    return np.clip(sound, -1, 1).astype(np.float32)
