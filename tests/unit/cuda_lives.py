# SPDX-License-Identifier: Apache-2.0
"""What the tests of the CUDA path share.

Without a GPU the library is built for the emulated one (native/cuda/emulated): the same kernels and
the same host code, each CUDA thread a fiber. With PARROT_TEST_GPU=1 the same tests run on the GPU,
with the library that PARROT_CUDA names, and those that only a GPU can pass in reasonable time.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from parrot.engine.cuda import CudaModel, Life
from parrot.engine.model import Model
from parrot.model.codec import TensorType
from parrot.model.random_model import write_random_model
from parrot.model.shape import Shape

ON_GPU = os.environ.get("PARROT_TEST_GPU") == "1"
TOKENS = np.random.default_rng(3).integers(0, 256, 2100).tolist()

gpu_only = pytest.mark.skipif(not ON_GPU, reason="needs a GPU: PARROT_TEST_GPU=1")
emulated_only = pytest.mark.skipif(ON_GPU, reason="asks for what only the emulated GPU can do")

# Head sizes and widths that fill no group, ranks of one number and more than a chunk.
ODD = Shape(
    n_layer=2, n_embd=51, head_size=17, n_ffn=83, n_vocab=300,
    rank_w=1, rank_a=17, rank_v=33, rank_g=7,
)  # fmt: skip
SMALL = Shape(
    n_layer=2, n_embd=64, head_size=32, n_ffn=128, n_vocab=256,
    rank_w=32, rank_a=32, rank_v=32, rank_g=32,
)  # fmt: skip
TINY = Shape(
    n_layer=2, n_embd=32, head_size=16, n_ffn=64, n_vocab=256,
    rank_w=4, rank_a=4, rank_v=4, rank_g=4,
)  # fmt: skip
# The smallest there is, for long replies.
LEAST = Shape(
    n_layer=1, n_embd=16, head_size=16, n_ffn=16, n_vocab=256,
    rank_w=1, rank_a=1, rank_v=1, rank_g=1,
)  # fmt: skip

_MADE = {
    "odd": (ODD, TensorType.F32),
    "odd-F16": (ODD, TensorType.F16),
    "head128": (Shape.standard(1, 128, head_size=128), TensorType.F32),
    "F32": (SMALL, TensorType.F32),
    "F16": (SMALL, TensorType.F16),
    "Q8_0": (SMALL, TensorType.Q8_0),
    "talk": (TINY, TensorType.F32),
    "least": (LEAST, TensorType.F32),
    # One whole head of 64 and no layer after it, for looking at stages.
    "stages": (Shape.standard(1, 64), TensorType.Q8_0),
}


def write_models(folder: Path) -> dict[str, Path]:
    """Write a model of every kind there."""
    for name, (shape, kind) in _MADE.items():
        write_random_model(folder / name, shape, seed=2, matrix=kind)
    return {name: folder / name for name in _MADE}


def both(path: Path) -> tuple[Model, Model]:
    """Open a model on the CPU and on the GPU."""
    return Model.open(path, threads=1), Model.open(path, device="cuda:0")


def handles(lives: list[Life] | list[CudaModel]) -> np.ndarray:
    """Return lives or models as the library's calls take them."""
    return np.array([life.handle.value for life in lives], np.uintp)


def kl_nats(p_logits: np.ndarray, q_logits: np.ndarray) -> float:
    """Return the largest KL divergence of a row."""

    def log_softmax(x: np.ndarray) -> np.ndarray:
        x = x.astype(np.float64) - x.max(axis=-1, keepdims=True)
        return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))

    p, q = log_softmax(p_logits), log_softmax(q_logits)
    return float((np.exp(p) * (p - q)).sum(axis=-1).max())
