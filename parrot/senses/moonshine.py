# SPDX-License-Identifier: Apache-2.0
"""English by Moonshine tiny: raw samples into an encoder, then one token at a time.

Its cost grows with the length of the utterance, not with a window of thirty seconds, which is what
makes it the ear of small boards. Source: Jeffries et al., Moonshine, arXiv:2410.15608.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from parrot.base.audio import EAR_HZ, Samples
from parrot.base.errors import CorruptError
from parrot.base.files import read_file
from parrot.base.onnx import Tensor, open_session, run_session
from parrot.senses.recognizer import check_length, is_looping

_BEGIN, _END = 1, 2
_LAYERS, _HEADS, _HEAD_SIZE = 6, 8, 36
_TOKENS_PER_S = 6.5  # the fastest speech it was trained on
_SAMPLES_MIN = EAR_HZ // 10
_SAMPLES_PER_FRAME = 384


class Moonshine:
    """The English recognizer in `folder`: encoder.ort, decoder.ort, tokenizer.bin."""

    languages: tuple[str, ...] = ("en",)

    def __init__(self, folder: Path, n_threads: int = 1) -> None:
        self._encoder = open_session(folder / "encoder.ort", n_threads)
        self._decoder = open_session(folder / "decoder.ort", n_threads)
        self._pieces = _read_pieces(folder / "tokenizer.bin")
        self._caches = [
            f"past_key_values.{layer}.{side}.{kind}"
            for layer in range(_LAYERS)
            for side in ("decoder", "encoder")
            for kind in ("key", "value")
        ]
        self._outputs = [output.name for output in self._decoder.get_outputs()]

    def recognize(self, samples: Samples, is_aborted: Callable[[], bool] | None = None) -> str:
        check_length(samples)
        if len(samples) < _SAMPLES_MIN:
            return ""
        sound = samples[None].astype(np.float32)
        attention = np.ones(sound.shape, np.int64)
        heard = run_session(self._encoder, {"input_values": sound, "attention_mask": attention})[0]
        tokens = self._decode(heard, int(len(samples) / EAR_HZ * _TOKENS_PER_S) + 6, is_aborted)
        text = b"".join(self._pieces[token] for token in tokens if token < len(self._pieces))
        return text.decode(errors="ignore").replace("\u2581", " ").strip()

    def _decode(
        self, heard: Samples, n_max: int, is_aborted: Callable[[], bool] | None
    ) -> list[int]:
        empty = np.zeros((1, _HEADS, 0, _HEAD_SIZE), np.float32)
        cache = dict.fromkeys(self._caches, empty)
        # the graph takes every 384th entry of a mask over samples
        attention = np.ones((1, heard.shape[1] * _SAMPLES_PER_FRAME), np.int64)
        tokens = [_BEGIN]
        for step in range(n_max):
            feeds: dict[str, Tensor] = {
                "input_ids": np.array([[tokens[-1]]], np.int64),
                "encoder_hidden_states": heard,
                "encoder_attention_mask": attention,
                "use_cache_branch": np.array([step > 0]),
            }
            results = run_session(self._decoder, {**feeds, **cache})
            made = dict(zip(self._outputs, results, strict=True))
            token = int(made["logits"][0, -1].argmax())
            if token == _END or (is_aborted is not None and is_aborted()):
                break
            tokens.append(token)
            if n := is_looping(tokens):
                del tokens[-n:]
                break
            for name in self._caches:
                # the encoder's keys are made once, at step 0; later ones are empty
                if step == 0 or ".decoder." in name:
                    cache[name] = made[name.replace("past_key_values", "present")]
        return tokens[1:]


def _read_pieces(path: Path) -> list[bytes]:
    """Return the bytes of each token: a length (one byte, or two above 127), then the bytes."""
    blob, at, pieces = read_file(path, 8 << 20), 0, list[bytes]()
    while at < len(blob):
        n, at = blob[at], at + 1
        if n >= 128 and at < len(blob):
            n, at = blob[at] * 128 + n - 128, at + 1
        if at + n > len(blob):
            raise CorruptError(
                f"{path}: token {len(pieces):,} ends past the file; run: parrot speech install en.",
                path=path,
                offset=at,
            )
        pieces.append(blob[at : at + n])
        at += n
    return pieces
