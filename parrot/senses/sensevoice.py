# SPDX-License-Identifier: Apache-2.0
"""SenseVoice-Small, from files the owner brings: Mandarin, English, Cantonese, Japanese, Korean.

Two exports are known, told apart by the names of their inputs:

    sherpa-onnx   model(.int8).onnx, tokens.txt; x, x_length, language, text_norm -> logits;
                  mean and variance in the model's metadata
    FunASR        model(_quant).onnx, am.mvn, *.bpe.model; speech, speech_lengths, language,
                  textnorm -> ctc_logits; sentencepiece names the tokens

Its licence is FunASR's model licence. Source: the two projects' export and run-time scripts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from parrot.base.audio import Samples
from parrot.base.errors import EngineError, FileError, FormatError
from parrot.base.files import read_file
from parrot.base.onnx import Session, open_session, run_session
from parrot.senses.fbank import filter_banks, read_mvn, stacked
from parrot.senses.recognizer import check_length

_LANGUAGES = {"auto": 0, "zh": 3, "en": 4, "yue": 7, "ja": 11, "ko": 12}
_WITH_PUNCTUATION = 14
_BLANK = 0
_TAG = re.compile(r"<\|[^|]*\|>")


class SenseVoice:
    """The recognizer in `folder`, whichever export it is. `language` "auto" lets it decide."""

    def __init__(self, folder: Path, language: str = "auto", n_threads: int = 1) -> None:
        self._session = open_session(_model_in(folder), n_threads)
        names = {i.name for i in self._session.get_inputs()}
        self._language = np.array([_LANGUAGES[language]], np.int32)
        self.languages: tuple[str, ...] = ("zh", "en") if language == "auto" else (language,)
        if {"x", "x_length", "language", "text_norm"} <= names:
            self._names = ("x", "x_length", "language", "text_norm", "logits")
            self._shift, self._scale = _metadata_mvn(self._session, folder)
            self._pieces = _read_tokens(folder / "tokens.txt")
        elif {"speech", "speech_lengths", "language", "textnorm"} <= names:
            self._names = ("speech", "speech_lengths", "language", "textnorm", "ctc_logits")
            self._shift, self._scale = read_mvn(folder / "am.mvn")
            self._pieces = _sentencepieces(folder)
        else:
            raise FormatError(
                f"{folder}: inputs {', '.join(sorted(names))}, expected those of SenseVoice as "
                "sherpa-onnx or FunASR export it; bring one of these.",
                path=folder,
            )

    def recognize(self, samples: Samples, is_aborted: Callable[[], bool] | None = None) -> str:
        check_length(samples)
        features = stacked(filter_banks(samples))
        if not len(features):
            return ""
        normal = ((features + self._shift) * self._scale).astype(np.float32)
        x, length, language, norm, logits = self._names
        feeds = {
            x: normal[None],
            length: np.array([len(normal)], np.int32),
            language: self._language,
            norm: np.array([_WITH_PUNCTUATION], np.int32),
        }
        best = run_session(self._session, feeds, [logits])[0][0].argmax(axis=-1).tolist()
        return self._text(best)

    def _text(self, best: list[int]) -> str:
        """Join the tokens of a path: runs count once, blanks not at all, tags are dropped."""
        kept = [new for old, new in zip([-1, *best], best, strict=False)
                if new != old and new != _BLANK and new < len(self._pieces)]  # fmt: skip
        joined = "".join(self._pieces[token] for token in kept).replace("\u2581", " ")
        return _TAG.sub("", joined).strip()


def _model_in(folder: Path) -> Path:
    names = ("model.int8.onnx", "model_quant.onnx", "model.onnx")
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise FileError(
        f"{folder}: holds none of {', '.join(names)}; put the files of SenseVoice-Small there.",
        path=folder,
    )


def _metadata_mvn(session: Session, folder: Path) -> tuple[Samples, Samples]:
    about = session.get_modelmeta().custom_metadata_map
    try:
        shift, scale = (
            np.array([float(x) for x in about[name].split(",")], np.float32)
            for name in ("neg_mean", "inv_stddev")
        )
    except (KeyError, ValueError) as exc:
        raise FormatError(
            f"{folder}: the model's metadata lacks neg_mean or inv_stddev ({exc}); bring the "
            "export of sherpa-onnx.",
            path=folder,
        ) from exc
    return shift, scale


def _read_tokens(path: Path) -> list[str]:
    """Return the tokens of lines such as "▁hello 25", by number."""
    pieces: dict[int, str] = {}
    for line in read_file(path, 8 << 20).decode(errors="replace").splitlines():
        piece, _, number = line.rpartition(" ")
        if number.isdigit():
            pieces[int(number)] = piece
    if not pieces or max(pieces) != len(pieces) - 1:
        raise FormatError(
            f"{path}: {len(pieces):,} tokens that are not numbered without a gap; bring the "
            "tokens.txt of this model.",
            path=path,
        )
    return [pieces[i] for i in range(len(pieces))]


def _sentencepieces(folder: Path) -> list[str]:
    try:
        import sentencepiece
    except ImportError as exc:
        raise EngineError(
            "sentencepiece: not installed, expected for the FunASR export; run: "
            "pip install 'parrot-companion[speech]'."
        ) from exc
    models = sorted(folder.glob("*.bpe.model"))
    if not models:
        raise FileError(
            f"{folder}: no *.bpe.model; put chn_jpn_yue_eng_ko_spectok.bpe.model there.",
            path=folder,
        )
    try:
        table = sentencepiece.SentencePieceProcessor(model_file=str(models[0]))
    except (RuntimeError, OSError) as exc:
        raise FormatError(f"{models[0]}: no sentencepiece model; copy it again.",
                          path=models[0]) from exc  # fmt: skip
    return [str(table.id_to_piece(i)) for i in range(table.get_piece_size())]
