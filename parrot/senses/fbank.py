# SPDX-License-Identifier: Apache-2.0
"""The front end of SenseVoice: Kaldi's filter banks, stacked and normalised.

kaldi-native-fbank makes 80 log energies each 10 ms; seven neighbours are stacked (560 numbers) and
every sixth stack is kept; then mean and variance are taken out with the numbers of the export.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from parrot.base.audio import EAR_HZ, Samples
from parrot.base.errors import EngineError, FormatError
from parrot.base.files import read_file

_BINS = 80
WINDOW, SHIFT = 7, 6  # of the stacking, in frames


def filter_banks(samples: Samples) -> Samples:
    """Return (n, 80) log energies of samples (16 kHz, -1 … 1).

    Raises: EngineError without kaldi-native-fbank.
    """
    try:
        import kaldi_native_fbank as knf
    except ImportError as exc:
        raise EngineError(
            "kaldi-native-fbank: not installed, expected for SenseVoice; run: "
            "pip install 'parrot-companion[speech]'."
        ) from exc
    options = knf.FbankOptions()
    options.frame_opts.samp_freq = EAR_HZ
    options.frame_opts.dither = 0
    options.frame_opts.window_type = "hamming"
    options.frame_opts.snip_edges = True
    options.energy_floor = 0.0
    options.mel_opts.num_bins = _BINS
    bank = knf.OnlineFbank(options)
    bank.accept_waveform(EAR_HZ, (samples * 32768).tolist())
    bank.input_finished()
    frames = [bank.get_frame(i) for i in range(bank.num_frames_ready)]
    return np.array(frames, np.float32).reshape(-1, _BINS)


def stacked(frames: Samples) -> Samples:
    """Return (⌈n/6⌉, 560): the first frame stands three times before, the last fills the end."""
    if not len(frames):
        return np.zeros((0, frames.shape[1] * WINDOW), np.float32)
    n = -(-len(frames) // SHIFT)
    left = (WINDOW - 1) // 2
    right = max(0, (n - 1) * SHIFT + WINDOW - len(frames) - left)
    padded = np.pad(frames, ((left, right), (0, 0)), mode="edge")
    rows = [padded[i * SHIFT : i * SHIFT + WINDOW].reshape(-1) for i in range(n)]
    return np.stack(rows)


def read_mvn(path: Path) -> tuple[Samples, Samples]:
    """Return (shift, scale) of a Kaldi am.mvn text file. Raises: FormatError."""
    text = read_file(path, 1 << 20).decode(errors="replace")
    found = []
    for name in ("AddShift", "Rescale"):
        match = re.search(rf"<{name}>.*?\[([^\]]*)\]", text, re.DOTALL)
        try:
            found.append(np.array(match[1].split() if match else [], np.float32))
        except ValueError as exc:
            raise FormatError(f"{path}: {name} is not all numbers.", path=path) from exc
    if len(found[0]) != len(found[1]) or len(found[0]) != _BINS * WINDOW:
        raise FormatError(
            f"{path}: {len(found[0])} shifts and {len(found[1])} scales, expected "
            f"{_BINS * WINDOW} each; this is not the am.mvn of SenseVoice.",
            path=path,
        )
    return found[0], found[1]
