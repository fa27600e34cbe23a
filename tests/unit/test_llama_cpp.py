# SPDX-License-Identifier: Apache-2.0
"""The files parrot writes run in llama.cpp and mean the same there.

Needs `pip install llama-cpp-python`, which compiles for half an hour, so it is no test extra.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parrot.model.codec import TensorType
from parrot.model.convert import checkpoint_source
from parrot.model.random_model import made_up_vocabulary, random_checkpoint, write_random_model
from parrot.model.reference import Reference
from parrot.model.shape import Shape
from parrot.model.tokenizer import tokenizer_of
from parrot.model.weights import open_model, write_model

llama_cpp = pytest.importorskip(
    "llama_cpp", reason="llama-cpp-python is not installed", exc_type=ImportError
)

SHAPE = Shape.standard(n_layer=3, n_embd=128)
# llama.cpp's wkv kernel reads past heads that are smaller than its vectors: 32 floats with AVX2, 64
# with AVX-512 (release 0.3.36), so heads are not smaller here.
UNEVEN = Shape(
    n_layer=2, n_embd=384, head_size=128, n_ffn=160, n_vocab=300,
    rank_w=32, rank_a=64, rank_v=32, rank_g=96,
)  # fmt: skip
TOKENS = np.random.default_rng(5).integers(0, 256, 48).tolist()

# Worst |Δlogit| against float64 on the same file, measured on 2026-11-22 on x86-64, times four.
# llama.cpp rounds activations to f16 before F16 matrices, and to Q8_0 before Q8_0 ones.
TOLERANCE = {TensorType.F32: 1e-4, TensorType.F16: 0.02, TensorType.Q8_0: 0.35}


def load(path: Path) -> Any:
    return llama_cpp.Llama(
        str(path), n_ctx=256, logits_all=True, verbose=False, n_threads=1, n_threads_batch=1
    )


def llama_logits(path: Path) -> np.ndarray:
    peer = load(path)
    peer.eval(TOKENS)
    return np.array(peer.scores[: len(TOKENS)], np.float64)


def reference_logits(path: Path) -> np.ndarray:
    model = open_model(path)
    reference = Reference(model.shape, model.weights())
    return reference.forward(TOKENS, reference.new_state())


@pytest.mark.parametrize("shape", [SHAPE, UNEVEN], ids=["standard", "uneven"])
@pytest.mark.parametrize("matrix", list(TensorType), ids=lambda kind: kind.name)
def test_logits_agree_with_the_reference(
    shape: Shape, matrix: TensorType, tmp_path: Path, record_property: Any
) -> None:
    path = tmp_path / "model.gguf"
    write_random_model(path, shape, seed=7, matrix=matrix)
    expected, seen = reference_logits(path), llama_logits(path)
    worst = np.abs(seen - expected).max()
    print(f"{matrix.name}: worst |Δlogit| {worst:.2e}, spread of logits {expected.std():.2f}")
    assert worst < TOLERANCE[matrix]


def test_quantized_lora_runs_too(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write_random_model(path, SHAPE, matrix=TensorType.Q8_0, lora=TensorType.Q8_0)
    assert np.abs(llama_logits(path) - reference_logits(path)).max() < TOLERANCE[TensorType.Q8_0]


@pytest.mark.parametrize("n_vocab", [256, 300])
def test_tokens_agree_with_our_tokenizer(n_vocab: int, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    vocabulary = made_up_vocabulary(n_vocab)
    shape = Shape.standard(n_layer=1, n_embd=64, n_vocab=n_vocab)
    write_model(path, checkpoint_source(random_checkpoint(shape), vocabulary), TensorType.F32)
    peer, text = load(path), 'tab\t"nul" \x01\x7f \\x 你好 0123 0110 é\n'.encode()
    tokens = tokenizer_of(vocabulary).encode(text)
    assert peer.tokenize(text, add_bos=False, special=False) == tokens
    assert peer.detokenize(tokens) == text
