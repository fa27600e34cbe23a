# SPDX-License-Identifier: Apache-2.0
"""The numbers that fix an RWKV-7 network, and the tensors they imply.

A `Shape` is everything that must be known before a single weight is read: with it, the name, size
and kind of every tensor in a model file and the size of the hidden state follow. Axes, here and in
all of `parrot.model`: L layers, C width, H heads, N head size (C = H·N), F feed-forward width,
V vocabulary, and one LoRA rank for each of decay (w), iclr (a), value residual (v) and gate (g).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import Enum

from parrot.base.errors import FormatError

# Inclusive bounds of every field: wide enough for each published RWKV-7, narrow enough that no
# product of them leaves 64 bits.
BOUNDS = {
    "n_layer": (1, 256),
    "n_embd": (16, 16_384),
    "head_size": (16, 128),
    "n_ffn": (16, 65_536),
    "n_vocab": (2, 1_048_576),
    "rank_w": (1, 4_096),
    "rank_a": (1, 4_096),
    "rank_v": (1, 4_096),
    "rank_g": (1, 4_096),
}


class Kind(Enum):
    """What a tensor is for, which decides the number formats it may have."""

    VECTOR = "vector"  # added or multiplied element by element: always F32
    MATRIX = "matrix"  # the seven large ones, which carry nearly all bytes
    LORA = "lora"  # the two thin matrices of w, a, v and g


@dataclass(frozen=True)
class TensorSpec:
    """A tensor that a shape implies; `dims` slowest first, so a matrix is (out, in)."""

    name: str
    dims: tuple[int, ...]
    kind: Kind


@dataclass(frozen=True)
class Shape:
    """The shape of an RWKV-7 network.

    Raises: FormatError when a field is out of `BOUNDS` or heads do not divide the width.
    """

    n_layer: int
    n_embd: int
    head_size: int
    n_ffn: int
    n_vocab: int
    rank_w: int
    rank_a: int
    rank_v: int
    rank_g: int

    def __post_init__(self) -> None:
        for field in fields(self):
            value, (low, high) = getattr(self, field.name), BOUNDS[field.name]
            if not low <= value <= high:
                raise FormatError(
                    f"model shape: {field.name} is {value:,}, expected {low:,} to {high:,}; "
                    "this is no RWKV-7 model that parrot can run."
                )
        if self.n_embd % self.head_size:
            raise FormatError(
                f"model shape: n_embd is {self.n_embd}, expected a multiple of head_size "
                f"{self.head_size}; this is no RWKV-7 model."
            )

    @classmethod
    def standard(cls, n_layer: int, n_embd: int, n_vocab: int = 256, head_size: int = 64) -> Shape:
        """Return the shape that the official training recipe gives this depth and width.

        Source: BlinkDL/RWKV-LM, RWKV-v7/train_temp: ranks are c·√C in steps of 32, F is 4·C.
        """

        def rank(factor: float) -> int:
            return max(32, round(factor * math.sqrt(n_embd) / 32) * 32)

        return cls(
            n_layer, n_embd, head_size, 4 * n_embd, n_vocab,
            rank_w=rank(2.5), rank_a=rank(2.5), rank_v=rank(1.7), rank_g=rank(5.0),
        )  # fmt: skip

    @property
    def n_head(self) -> int:
        return self.n_embd // self.head_size

    @property
    def state_len(self) -> int:
        """Floats of one hidden state: per layer two token shifts (C) and wkv (H, N, N)."""
        return self.n_layer * (2 * self.n_embd + self.n_embd * self.head_size)

    @property
    def n_weights(self) -> int:
        """Weights of the network, without layer 0's value residual, which nothing reads."""
        unread = self.n_embd + 2 * self.n_embd * self.rank_a
        return sum(math.prod(spec.dims) for spec in tensor_specs(self)) - unread


def tensor_specs(shape: Shape) -> Iterator[TensorSpec]:
    """Yield every tensor of a model file, in the order in which parrot writes them.

    Source: the set that llama.cpp loads for the architecture `rwkv7`; `docs/formats.md` lists it.
    """
    C, V = shape.n_embd, shape.n_vocab
    yield TensorSpec("token_embd.weight", (V, C), Kind.MATRIX)
    yield from _norm("token_embd_norm", C)
    for layer in range(shape.n_layer):
        yield from _layer_specs(shape, layer)
    yield from _norm("output_norm", C)
    yield TensorSpec("output.weight", (V, C), Kind.MATRIX)


def _norm(name: str, width: int) -> Iterator[TensorSpec]:
    yield TensorSpec(f"{name}.weight", (width,), Kind.VECTOR)
    yield TensorSpec(f"{name}.bias", (width,), Kind.VECTOR)


def _layer_specs(shape: Shape, layer: int) -> Iterator[TensorSpec]:
    blk, C, F = f"blk.{layer}", shape.n_embd, shape.n_ffn
    mix, ffn = f"{blk}.time_mix", f"{blk}.channel_mix"
    yield from _norm(f"{blk}.attn_norm", C)
    yield TensorSpec(f"{mix}_lerp_fused.weight", (6, 1, 1, C), Kind.VECTOR)
    # Layer 0 mixes no value residual, but llama.cpp wants its tensors there, with iclr's rank.
    rank_v = shape.rank_v if layer else shape.rank_a
    for c, rank in (("w", shape.rank_w), ("a", shape.rank_a), ("v", rank_v), ("g", shape.rank_g)):
        if c != "g":
            yield TensorSpec(f"{mix}_{c}0.weight", (C,), Kind.VECTOR)
        yield TensorSpec(f"{mix}_{c}1.weight", (rank, C), Kind.LORA)
        yield TensorSpec(f"{mix}_{c}2.weight", (C, rank), Kind.LORA)
    for c in ("k_k", "k_a", "r_k"):
        yield TensorSpec(f"{mix}_{c}.weight", (C,), Kind.VECTOR)
    for c in ("receptance", "key", "value", "output"):
        yield TensorSpec(f"{mix}_{c}.weight", (C, C), Kind.MATRIX)
    yield from _norm(f"{mix}_ln", C)
    yield from _norm(f"{blk}.attn_norm_2", C)
    yield TensorSpec(f"{ffn}_lerp_k.weight", (C,), Kind.VECTOR)
    yield TensorSpec(f"{ffn}_key.weight", (F, C), Kind.MATRIX)
    yield TensorSpec(f"{ffn}_value.weight", (C, F), Kind.MATRIX)
