# SPDX-License-Identifier: Apache-2.0
"""Mandarin by FastSpeech 2 and a multi-band MelGAN, trained on the Baker corpus.

Hanzi become pinyin (pypinyin, with the changes of tone that speech makes), pinyin an initial and a
toned final, and those the numbers of the voice's alphabet; `#0` stands between syllables and `sil`
at both ends. The licence of the corpus is in doubt: `parrot speech install` says so and asks.
Source: FastSpeech 2, arXiv:2006.04558; Multi-band MelGAN, arXiv:2005.05106.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np

from parrot.base.audio import Samples, Sound
from parrot.base.errors import EngineError
from parrot.base.files import read_file
from parrot.base.onnx import open_session, run_session

RATE_HZ = 24_000
_HANZI = re.compile("[\u3400-\u9fff]+")
_SYLLABLES_MAX = 40  # at once: beyond that the voice swallows words


class Baker:
    """The Mandarin voice in `folder`."""

    languages: tuple[str, ...] = ("zh",)

    def __init__(self, folder: Path, n_threads: int = 1) -> None:
        try:
            import pypinyin
        except ImportError as exc:
            raise EngineError(
                "pypinyin: not installed, expected for the Mandarin voice; run: "
                "pip install 'parrot-companion[speech]'."
            ) from exc
        self._pinyin = pypinyin
        symbols = json.loads(read_file(folder / "symbols.json", 1 << 20))
        self._ids: dict[str, int] = symbols["symbol_to_id"]
        self._parts: dict[str, list[str]] = symbols["pinyin_dict"]
        self._acoustic = open_session(folder / "fastspeech2.onnx", n_threads)
        self._vocoder = open_session(folder / "melgan.onnx", n_threads)

    def synthesize(self, text: str, language: str = "zh", speed: float = 1.0) -> Sound:
        syllables = self._syllables("".join(_HANZI.findall(text)))
        parts: list[Samples] = [np.zeros(0, np.float32)]
        n_parts = -(-len(syllables) // _SYLLABLES_MAX)
        for part in np.array_split(np.array(syllables, object), n_parts) if n_parts else []:
            parts.append(self._speak(part.tolist(), speed))
        return Sound(np.clip(np.concatenate(parts), -1, 1), RATE_HZ)

    def _syllables(self, hanzi: str) -> list[str]:
        """Return toned pinyin such as "ni3", without what the voice cannot say."""
        style = self._pinyin.Style.TONE3
        said = self._pinyin.lazy_pinyin(
            hanzi, style=style, neutral_tone_with_five=True, tone_sandhi=True, errors="ignore"
        )
        return [s for s in (_known(s) for s in said) if s[:-1] in self._parts]

    def _speak(self, syllables: list[str], speed: float) -> Samples:
        names = ["sil"]
        for syllable in syllables:
            initial, final = self._parts[syllable[:-1]]
            names += [initial, final + syllable[-1], "#0"]
        names[-1:] = ["sil", "eos"]
        one = np.ones(1, np.float32)
        feeds = {
            "input_ids": np.array([[self._ids[name] for name in names]], np.int32),
            "speaker_ids": np.zeros(1, np.int32),
            "speed_ratios": np.array([1 / speed], np.float32),  # it means length
            "f0_ratios": one,
            "energy_ratios": one,
        }
        mels = run_session(self._acoustic, feeds)[0]
        samples = run_session(self._vocoder, {"mels": mels})[0]
        return samples.reshape(-1)


def _known(syllable: str) -> str:
    """Return a syllable in the voice's spelling: ü is v, 嗯 is en."""
    syllable = syllable.replace("ü", "v")
    return {"n": "en", "ng": "en", "m": "mu"}.get(syllable[:-1], syllable[:-1]) + syllable[-1]
