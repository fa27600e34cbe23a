# SPDX-License-Identifier: Apache-2.0
"""Mandarin, and English, by Whisper base with 8-bit weights.

Whisper was trained on windows of thirty seconds; filled with silence they cost a second of work for
a second of speech. Eight seconds of silence after the speech cost a third of that, and are read
better than six; under five it begins to loop. Tokens are capped by the length of the sound, and a
phrase that repeats ends the reading. Source: Radford et al., arXiv:2212.04356; its log-mel front
end is restated here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from parrot.base.audio import EAR_HZ, Samples
from parrot.base.errors import CorruptError, FileError
from parrot.base.files import read_file
from parrot.base.onnx import Tensor, open_session, run_session
from parrot.senses.recognizer import check_length, is_looping

PAD_S = 8.0
_TOKENS_PER_S, _TOKENS_MORE = 8, 8
_FFT, _HOP, _MELS = 400, 160, 80
_WINDOW_S = 30
_PROMPT = ("<|startoftranscript|>", "<|{}|>", "<|transcribe|>", "<|notimestamps|>")
_END = "<|endoftext|>"


def _mel_filters() -> Samples:
    """Return 80 triangles over 201 bins on Slaney's mel scale, each of unit area; (80, 201)."""
    steps = np.log(6.4) / 27

    def mel(hz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.where(hz >= 1000, 15 + np.log(np.maximum(hz, 1) / 1000) / steps, 3 * hz / 200)

    def hertz(mels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.where(mels >= 15, 1000 * np.exp(steps * (mels - 15)), 200 * mels / 3)

    ends = mel(np.array([0.0, EAR_HZ / 2]))
    centres = hertz(np.linspace(ends[0], ends[1], _MELS + 2))
    bins = np.linspace(0, EAR_HZ / 2, _FFT // 2 + 1)
    widths, distance = np.diff(centres), centres[:, None] - bins[None]
    rising, falling = -distance[:-2] / widths[:-1, None], distance[2:] / widths[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return (triangles * (2 / (centres[2:] - centres[:-2]))[:, None]).astype(np.float32)


class LogMel:
    """Whisper's picture of sound: (80, T), a frame each 10 ms."""

    def __init__(self) -> None:
        self._filters = _mel_filters()
        self._window = np.hanning(_FFT + 1)[:-1].astype(np.float32)

    def __call__(self, samples: Samples) -> Samples:
        padded = np.pad(samples, _FFT // 2, mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::_HOP] * self._window
        power = np.abs(np.fft.rfft(frames)[:-1]).astype(np.float32) ** 2
        log = np.log10(np.maximum(self._filters @ power.T, 1e-10))
        log = np.maximum(log, log.max() - 8)
        picture: Samples = ((log + 4) / 4).astype(np.float32)
        return picture


def _byte_of_char() -> dict[str, int]:
    """Return the bytes that the characters of GPT-2's vocabulary stand for."""
    printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printed]
    chars = {chr(byte): byte for byte in printed}
    return chars | {chr(256 + i): byte for i, byte in enumerate(others)}


class Whisper:
    """The recognizer in `folder`: encoder.onnx, decoder.onnx, embedding.npy, vocabulary.json."""

    def __init__(self, folder: Path, language: str = "zh", n_threads: int = 1) -> None:
        self.languages: tuple[str, ...] = ("zh", "en") if language == "auto" else (language,)
        self._encoder = open_session(folder / "encoder.onnx", n_threads)
        self._decoder = open_session(folder / "decoder.onnx", n_threads)
        self._embedding = _read_embedding(folder / "embedding.npy")
        self._pieces: list[str] = json.loads(read_file(folder / "vocabulary.json", 8 << 20))
        if len(self._pieces) != len(self._embedding):
            raise CorruptError(
                f"{folder}: {len(self._pieces):,} tokens but {len(self._embedding):,} rows of the "
                "embedding; run: parrot speech install zh."
            )
        ids = {piece: i for i, piece in enumerate(self._pieces)}
        self._end = ids[_END]
        self._tags = [ids[f"<|{name}|>"] for name in self.languages]
        begin, _, *rest = (ids.get(piece, 0) for piece in _PROMPT)
        self._begin, self._rest = begin, rest
        self._bytes = _byte_of_char()
        self._log_mel = LogMel()
        shape = next(i.shape for i in self._decoder.get_inputs() if i.name == "keys")
        self._no_cache = np.zeros([n if isinstance(n, int) else 0 for n in shape], np.float32)

    def recognize(self, samples: Samples, is_aborted: Callable[[], bool] | None = None) -> str:
        check_length(samples)
        if len(samples) < _FFT:
            return ""
        silence = np.zeros(int(PAD_S * EAR_HZ), np.float32)
        padded = np.concatenate([samples, silence])[: _WINDOW_S * EAR_HZ]
        mel = self._log_mel(padded)
        mel = mel[:, : mel.shape[1] // 2 * 2]
        crossed = run_session(self._encoder, {"mel": mel[None]}, ["cross_keys", "cross_values"])
        n_max = int(len(samples) / EAR_HZ * _TOKENS_PER_S) + _TOKENS_MORE
        tokens = self._decode(crossed[0], crossed[1], n_max, is_aborted)
        chars = "".join(self._pieces[token] for token in tokens)
        return bytes(self._bytes[char] for char in chars).decode(errors="ignore").strip()

    def _decode(
        self,
        cross_keys: Samples,
        cross_values: Samples,
        n_max: int,
        is_aborted: Callable[[], bool] | None,
    ) -> list[int]:
        keys = values = self._no_cache
        n_past, new, tokens = 0, [self._begin, self._tags[0], *self._rest], list[int]()
        if len(self._tags) > 1:  # first the tag alone: which language follows it?
            new = [self._begin]
        while len(tokens) < n_max and not (is_aborted is not None and is_aborted()):
            n = len(new)
            mask = np.zeros((n, n_past + n), np.float32)
            mask[:, n_past:] = np.triu(np.full((n, n), -1e9, np.float32), 1)
            feeds: dict[str, Tensor] = {
                "embedded": self._embedding[new].astype(np.float32)[None],
                "position": np.arange(n_past, n_past + n),
                "mask": mask,
                "keys": keys,
                "values": values,
                "cross_keys": cross_keys,
                "cross_values": cross_values,
            }
            names = ["logits", "keys_out", "values_out"]
            logits, keys, values = run_session(self._decoder, feeds, names)
            n_past += n
            if new == [self._begin]:
                tag = max(self._tags, key=lambda token: float(logits[0, 0, token]))
                new = [tag, *self._rest]
                continue
            token = int(logits[0, 0, : self._end + (len(tokens) > 0)].argmax())
            if token == self._end:
                break
            tokens.append(token)
            new = [token]
            if n_repeated := is_looping(tokens):
                return tokens[:-n_repeated]
        return tokens


def _read_embedding(path: Path) -> npt.NDArray[np.float16]:
    """Map the token embedding; only the rows that are used come into memory."""
    try:
        rows: npt.NDArray[np.float16] = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as exc:
        raise FileError(
            f"{path}: no such file; fetch the weights with: parrot speech install zh.", path=path
        ) from exc
    except (OSError, ValueError) as exc:
        raise CorruptError(
            f"{path}: not a whole array ({exc}); run: parrot speech install zh.", path=path
        ) from exc
    return rows
