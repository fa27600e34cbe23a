# SPDX-License-Identifier: Apache-2.0
"""RWKV-7 "Goose" in plain numpy: the meaning of a model file, and the judge of every engine.

Each token moves the residual stream x through L layers. A layer mixes over time (each head keeps a
matrix S, which it decays, corrects and reads) and then over channels (a squared-ReLU network). What
outlives the token is the hidden state: S, and the last input of both sub-blocks (token shift).

Axes: L layers, C width, H heads, N head size (C = H·N), F feed-forward, V vocabulary, R rank.
Every matrix is (out, in). Names of weights are those of the model file, without `.weight`.
Source: RWKV-7, arXiv:2503.14456. Checked against the PyPI package `rwkv` and llama.cpp.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from parrot.model.shape import Shape

Array = NDArray[Any]

LAYER_NORM_EPS = 1e-5
GROUP_NORM_EPS = 64e-5  # whatever the head size
UNIT_EPS = 1e-12  # shortest removal key that is still scaled to length one
DECAY_RATE_MAX = np.exp(-0.5)  # so a channel forgets at most 45.5 % of itself in one step


@dataclass
class HiddenState:
    """What a parrot is between two tokens. shift_att, shift_ffn (L, C); wkv (L, H, N, N)."""

    shift_att: Array
    shift_ffn: Array
    wkv: Array  # row = value channel, column = key channel


class Reference:
    """An RWKV-7 network in the precision asked for: float64 judges, float32 imitates engines."""

    def __init__(
        self, shape: Shape, weights: Mapping[str, Array], dtype: DTypeLike = np.float64
    ) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self._z = {n.removesuffix(".weight"): w.astype(dtype) for n, w in weights.items()}

    def new_state(self) -> HiddenState:
        L, C, H, N = self.shape.n_layer, self.shape.n_embd, self.shape.n_head, self.shape.head_size
        return HiddenState(
            np.zeros((L, C), self.dtype),
            np.zeros((L, C), self.dtype),
            np.zeros((L, H, N, N), self.dtype),
        )

    def forward(self, tokens: Iterable[int], state: HiddenState) -> Array:
        """Feed a sequence, advance `state`, and return the logits after each token (T, V)."""
        return np.stack([self.step(token, state) for token in tokens])

    def step(self, token: int, state: HiddenState) -> Array:
        """Feed one token, advance `state`, and return the logits (V,)."""
        z = self._z
        x = self._layer_norm("token_embd_norm", z["token_embd"][token])
        v_first = None
        for layer in range(self.shape.n_layer):
            y, v_first = self._time_mix(layer, x, v_first, state)
            x = x + y
            x = x + self._channel_mix(layer, x, state)
        logits: Array = z["output"] @ self._layer_norm("output_norm", x)
        return logits

    def _time_mix(
        self, layer: int, x: Array, v_first: Array | None, state: HiddenState
    ) -> tuple[Array, Array]:
        """Return the sub-block's output and layer 0's value, both (C,)."""
        z, blk, mix = self._z, f"blk.{layer}", f"blk.{layer}.time_mix_"
        x = self._layer_norm(f"{blk}.attn_norm", x)
        shifted = state.shift_att[layer] - x  # the previous token's input, zeros before the first
        state.shift_att[layer] = x
        x_r, x_w, x_k, x_v, x_a, x_g = x + shifted * z[mix + "lerp_fused"][:, 0, 0]

        r = z[mix + "receptance"] @ x_r
        k = z[mix + "key"] @ x_k
        v = z[mix + "value"] @ x_v
        w = np.exp(-DECAY_RATE_MAX * _sigmoid(z[mix + "w0"] + self._lora(mix + "w", x_w, np.tanh)))
        iclr = _sigmoid(z[mix + "a0"] + self._lora(mix + "a", x_a))
        gate = self._lora(mix + "g", x_g, _sigmoid)
        if v_first is None:
            v_first = v
        else:
            v = v + (v_first - v) * _sigmoid(z[mix + "v0"] + self._lora(mix + "v", x_v))
        kk = self._heads(k * z[mix + "k_k"])
        kk = kk / np.maximum(np.linalg.norm(kk, axis=1, keepdims=True), UNIT_EPS)
        k = k * (1 + (iclr - 1) * z[mix + "k_a"])  # after kk, which is made of the plain key

        r, w, k, v_heads, iclr = map(self._heads, (r, w, k, v, iclr))
        y = wkv_step(state.wkv[layer], r, w, k, v_heads, kk, iclr)
        y = y - y.mean(axis=1, keepdims=True)
        y = y / np.sqrt((y * y).mean(axis=1, keepdims=True) + GROUP_NORM_EPS)
        y = y.ravel() * z[mix + "ln"] + z[mix + "ln.bias"]
        # The bonus lets a head see the present token; after the norm, before the gate.
        bonus = (r * k * self._heads(z[mix + "r_k"])).sum(axis=1, keepdims=True) * v_heads
        return z[mix + "output"] @ ((y + bonus.ravel()) * gate), v_first

    def _channel_mix(self, layer: int, x: Array, state: HiddenState) -> Array:
        z, mix = self._z, f"blk.{layer}.channel_mix_"
        x = self._layer_norm(f"blk.{layer}.attn_norm_2", x)
        x_k = x + (state.shift_ffn[layer] - x) * z[mix + "lerp_k"]
        state.shift_ffn[layer] = x
        out: Array = z[mix + "value"] @ np.maximum(z[mix + "key"] @ x_k, 0) ** 2
        return out

    def _lora(self, name: str, x: Array, activation: Any = lambda hidden: hidden) -> Array:
        """Return B f(A x), with A (R, C) and B (C, R)."""
        out: Array = self._z[name + "2"] @ activation(self._z[name + "1"] @ x)
        return out

    def _layer_norm(self, name: str, x: Array) -> Array:
        x = x - x.mean()
        x = x / np.sqrt((x * x).mean() + LAYER_NORM_EPS)
        out: Array = x * self._z[name] + self._z[name + ".bias"]
        return out

    def _heads(self, x: Array) -> Array:
        return x.reshape(self.shape.n_head, self.shape.head_size)


def wkv_step(S: Array, r: Array, w: Array, k: Array, v: Array, kk: Array, iclr: Array) -> Array:
    """Advance all heads of a layer by one token, in place, and return what receptance reads.

    Decay the columns of S, erase along `kk` at rate `iclr`, write v kᵀ, read with r.
    Shapes: S (H, N, N), row = value channel, column = key channel; the rest and the result (H, N).
    Units:  w in (0.545, 1); iclr in (0, 1); |kk| = 1 in each head.
    """
    erased = S @ kk[:, :, None]  # (H, N, 1), of the old state: before the decay
    S *= w[:, None, :]
    S -= erased * (kk * iclr)[:, None, :]
    S += v[:, :, None] * k[:, None, :]
    return (S @ r[:, :, None])[:, :, 0]  # of the new state


def _sigmoid(x: Array) -> Array:
    y: Array = 1 / (1 + np.exp(-x))
    return y
