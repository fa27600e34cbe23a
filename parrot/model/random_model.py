# SPDX-License-Identifier: Apache-2.0
"""Random models for tests and benchmarks: any shape, no training, the same weights for one seed.

The statistics are those of a trained network. Nothing is zero, so a path that an engine forgets
shows in the logits; activations keep the size they have in a real model, so tolerances and the
share of squared-ReLU zeros mean something.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from parrot.model.codec import F32Array, TensorType
from parrot.model.convert import checkpoint_source
from parrot.model.shape import Shape
from parrot.model.tokenizer import BYTE_VOCABULARY, Vocabulary
from parrot.model.weights import write_model

SHAPES = {
    "S": Shape.standard(6, 256),
    "M": Shape.standard(8, 384),
    "L": Shape.standard(12, 512),
    "XL": Shape.standard(12, 768),
    "XL64k": Shape.standard(12, 768, n_vocab=65_536),
}


def random_checkpoint(shape: Shape, seed: int = 1) -> dict[str, F32Array]:
    """Return weights under the official names of a training checkpoint (`blocks.3.att.x_r`)."""
    draw = _Draw(seed)
    C, F, V = shape.n_embd, shape.n_ffn, shape.n_vocab
    z = {"emb.weight": draw.normal(V, C, sd=0.5), "head.weight": draw.normal(V, C, sd=C**-0.5)}
    for name in ("blocks.0.ln0", "ln_out"):
        z |= draw.norm(name, C)
    for layer in range(shape.n_layer):
        blk, ffn = f"blocks.{layer}", f"blocks.{layer}.ffn"
        for name in (f"{blk}.ln1", f"{blk}.ln2", f"{blk}.att.ln_x"):
            z |= draw.norm(name, C)
        z |= _random_time_mix(draw, shape, f"{blk}.att.", is_first=layer == 0)
        z[f"{ffn}.x_k"] = draw.uniform(1, 1, C, low=0, high=1)
        z[f"{ffn}.key.weight"] = draw.normal(F, C, sd=0.7 * C**-0.5)
        z[f"{ffn}.value.weight"] = draw.normal(C, F, sd=0.7 * F**-0.5)
    return z


def write_random_model(
    path: Path,
    shape: Shape,
    seed: int = 1,
    matrix: TensorType = TensorType.F32,
    lora: TensorType | None = None,
) -> None:
    """Write a random model file. Vocabularies above 256 get made-up tokens for the further ids."""
    source = checkpoint_source(random_checkpoint(shape, seed), made_up_vocabulary(shape.n_vocab))
    write_model(path, source, matrix, lora)


def made_up_vocabulary(n_vocab: int) -> Vocabulary:
    """Return the bytes, then distinct tokens of four bytes, `n_vocab` in all."""
    return [*BYTE_VOCABULARY[:n_vocab], *(b"%04x" % i for i in range(256, n_vocab))]


def _random_time_mix(draw: _Draw, shape: Shape, att: str, is_first: bool) -> Mapping[str, F32Array]:
    C = shape.n_embd
    z = {f"{att}x_{c}": draw.uniform(1, 1, C, low=0, high=1) for c in "rwkvag"}
    z[att + "w0"] = draw.uniform(1, 1, C, low=-6, high=1)
    z[att + "a0"] = draw.normal(1, 1, C, sd=0.7)
    z[att + "k_k"] = draw.uniform(1, 1, C, low=0.6, high=0.9)
    z[att + "k_a"] = draw.uniform(1, 1, C, low=0.8, high=1.1)
    z[att + "r_k"] = draw.normal(shape.n_head, shape.head_size, sd=0.1)
    ranks = {"w": shape.rank_w, "a": shape.rank_a, "v": shape.rank_v, "g": shape.rank_g}
    if is_first:
        del ranks["v"]
    else:
        z[att + "v0"] = draw.normal(1, 1, C, sd=0.5)
    for c, rank in ranks.items():
        sd_in, sd_out = (1.0, 1.5) if c == "g" else (0.5, 0.5)
        z[f"{att}{c}1"] = draw.normal(C, rank, sd=sd_in * C**-0.5)
        z[f"{att}{c}2"] = draw.normal(rank, C, sd=sd_out * rank**-0.5)
    for name in ("receptance", "key", "value", "output"):
        z[f"{att}{name}.weight"] = draw.normal(C, C, sd=0.7 * C**-0.5)
    return z


class _Draw:
    """Seeded float32 arrays."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def normal(self, *dims: int, sd: float) -> F32Array:
        return self._rng.standard_normal(dims, np.float32) * np.float32(sd)

    def uniform(self, *dims: int, low: float, high: float) -> F32Array:
        unit = self._rng.random(dims, np.float32)
        return unit * np.float32(high - low) + np.float32(low)

    def norm(self, name: str, width: int) -> dict[str, F32Array]:
        scale = self.uniform(width, low=0.5, high=1.5)
        return {f"{name}.weight": scale, f"{name}.bias": self.normal(width, sd=0.1)}
