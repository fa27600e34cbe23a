# SPDX-License-Identifier: Apache-2.0
"""MeloTTS (vits-melo-tts-zh_en), from files the owner brings: Mandarin with English words in it.

    model.onnx     x, x_lengths, tones, sid, noise_scale, length_scale, noise_scale_w -> y
    tokens.txt     symbol id
    lexicon.txt    word phone₁ … phoneₙ tone₁ … toneₙ

Text is cut into words (jieba), each looked up, failing that each character; blanks stand between
all symbols. It wants a fast board: real time is beyond a Raspberry Pi 4. Licence: MIT.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from parrot.base.audio import Sound
from parrot.base.errors import EngineError, FormatError
from parrot.base.files import read_file
from parrot.base.onnx import Tensor, open_session, run_session

_PUNCTUATION = {"，": ",", "。": ".", "！": "!", "？": "?", "、": ",", "；": ",", "：": ",",
                "…": "…", "—": "-", ";": ",", ":": ","}  # fmt: skip
_SAID_MARKS = ",.!?…'-"
_WORDS = re.compile(r"[A-Za-z]+(?:'[A-Za-z]+)*|[\u3400-\u9fff]+|\S")
_HANZI = re.compile("[\u3400-\u9fff]")
_NOISE, _NOISE_W = 0.6, 0.8


class Melo:
    """The voice in `folder`."""

    languages: tuple[str, ...] = ("zh", "en")

    def __init__(self, folder: Path, n_threads: int = 1) -> None:
        try:
            import jieba
        except ImportError as exc:
            raise EngineError(
                "jieba: not installed, expected for MeloTTS; run: "
                "pip install 'parrot-companion[speech]'."
            ) from exc
        jieba.setLogLevel("WARNING")
        self._cut = jieba.cut
        self._session = open_session(folder / "model.onnx", n_threads)
        about = self._session.get_modelmeta().custom_metadata_map
        self._rate_hz = int(about.get("sample_rate", 44_100))
        self._speaker = int(about.get("speaker_id", 1))
        self._ids = _read_tokens(folder / "tokens.txt")
        self._lexicon = _read_lexicon(folder / "lexicon.txt", self._ids)

    def synthesize(self, text: str, language: str = "zh", speed: float = 1.0) -> Sound:
        ids, tones = self.symbols(text)
        if not ids:
            return Sound(np.zeros(0, np.float32), self._rate_hz)
        blank = np.zeros(2 * len(ids) + 1, np.int64)
        x, tone = blank.copy(), blank
        x[1::2], tone[1::2] = ids, tones
        feeds: dict[str, Tensor] = {
            "x": x[None],
            "x_lengths": np.array([len(x)], np.int64),
            "tones": tone[None],
            "sid": np.array([self._speaker], np.int64),
            "noise_scale": np.array([_NOISE], np.float32),
            "length_scale": np.array([1 / speed], np.float32),
            "noise_scale_w": np.array([_NOISE_W], np.float32),
        }
        samples = run_session(self._session, feeds, ["y"])[0].reshape(-1)
        return Sound(np.clip(samples, -1, 1).astype(np.float32), self._rate_hz)

    def symbols(self, text: str) -> tuple[list[int], list[int]]:
        """Return the numbers of the phones and tones of `text`, without blanks."""
        ids: list[int] = []
        tones: list[int] = []
        for word in self._words(text):
            phones, of_tones = self._lexicon.get(word, ((), ()))
            ids += phones
            tones += of_tones
            mark = _PUNCTUATION.get(word, word)
            if not phones and mark in _SAID_MARKS and mark in self._ids:
                ids.append(self._ids[mark])
                tones.append(0)
        return ids, tones

    def _words(self, text: str) -> list[str]:
        """Return words the lexicon has; a phrase it lacks falls apart into characters."""
        words: list[str] = []
        for part in _WORDS.findall(text.lower()):
            for word in self._cut(part) if _HANZI.match(part) else [part]:
                words += [word] if word in self._lexicon or not _HANZI.match(word) else word
        return words


def _read_tokens(path: Path) -> dict[str, int]:
    ids = {}
    for line in read_file(path, 1 << 20).decode(errors="replace").splitlines():
        symbol, _, number = line.rpartition(" ")
        if number.isdigit():
            ids[symbol or "_"] = int(number)
    if not ids:
        raise FormatError(f"{path}: no line `symbol number`; bring MeloTTS's own.", path=path)
    return ids


def _read_lexicon(
    path: Path, ids: dict[str, int]
) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    lexicon = {}
    for i, line in enumerate(read_file(path, 64 << 20).decode(errors="replace").splitlines()):
        word, *fields = line.split()
        n = len(fields) // 2
        try:
            phones = tuple(ids[phone] for phone in fields[:n])
            tones = tuple(int(tone) for tone in fields[n:])
        except (KeyError, ValueError) as exc:
            raise FormatError(
                f"{path}: line {i + 1}: {exc} is no phone of tokens.txt or no tone; the two files "
                "do not belong together.",
                path=path,
            ) from exc
        if len(phones) != len(tones):
            raise FormatError(f"{path}: line {i + 1}: {len(phones)} phones but {len(tones)} "
                              "tones; copy it again.", path=path)  # fmt: skip
        lexicon[word] = (phones, tones)
    return lexicon
