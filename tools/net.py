# SPDX-License-Identifier: Apache-2.0
"""RWKV-7 in PyTorch, for training. Names and shapes of the parameters are those of the official
checkpoints.

B rows, T bytes, C channels, H heads of 64, L layers, V entries of the vocabulary. The state of one
layer is (shift_att (B, C), shift_ffn (B, C), wkv (B, H, 64, 64)); it goes in and comes out, so
that rows can run on for ever. The initial values are the published recipe of the architecture
(arXiv:2503.14456); `docs/training.md` has what they are worth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.wkv import HEAD, wkv

DECAY = -math.exp(-0.5)  # the smallest decay is exp(DECAY) = 0.545
LayerState = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Shape:
    width: int = 256
    layers: int = 6
    vocab: int = 256

    @property
    def heads(self) -> int:
        return self.width // HEAD

    def rank(self, factor: float) -> int:
        """Of one low-rank pair: factor * sqrt(width), in steps of 32, at least 32."""
        return max(32, round(factor * math.sqrt(self.width) / 32) * 32)


def ramp(shape: Shape) -> tuple[Tensor, Tensor]:
    """Two patterns over the channels: -0.5 to 0.5 from first to last, and -1 to 1 (signed square)
    inside each head.
    """
    n = torch.arange(shape.width, dtype=torch.float32)
    z = ((n % HEAD) - (HEAD - 1) / 2) / ((HEAD - 1) / 2)
    return n / (shape.width - 1) - 0.5, z * z.abs()


def orthogonal(rows: int, columns: int, gain: float) -> Tensor:
    scale = math.sqrt(rows / columns) if rows > columns else 1.0
    return nn.init.orthogonal_(torch.empty(rows, columns), gain=gain * scale)


def uniform(rows: int, columns: int, bound: float) -> Tensor:
    return torch.empty(rows, columns).uniform_(-bound, bound)


def linear(weight: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight = nn.Parameter(weight)
    return layer


def wide(x: Tensor) -> Tensor:
    """x, in float32 where autocast had made it narrower."""
    return x.float() if x.dtype == torch.bfloat16 else x


class TimeMix(nn.Module):
    """Attention's place: each head writes to, decays and reads a matrix of 64 x 64."""

    def __init__(self, shape: Shape, layer: int, slow: int) -> None:
        super().__init__()
        C, H = shape.width, shape.heads
        self.layer, self.heads = layer, H
        depth = layer / max(1, shape.layers - 1)
        share = torch.arange(C) / C
        power = {"r": 0.2, "w": 0.9, "k": 0.7, "v": 0.7, "a": 0.9, "g": 0.2}
        for name, p in power.items():
            mix = 1 - share ** (p * (1 - layer / shape.layers))
            setattr(self, f"x_{name}", nn.Parameter(mix.view(1, 1, C)))
        line, zigzag = ramp(shape)
        decay = -6 + 6 * (line + 0.5) ** (1 + depth**0.3) + 0.5 + 2.5 * zigzag
        # the first key channels of each head: a half-life of 9,000 bytes, where nothing
        # says otherwise
        if slow:
            decay[torch.arange(C) % HEAD < slow] = -9.0
        self._pair("w", shape.rank(2.5), decay)
        self._pair("a", shape.rank(2.5), -0.19 + 0.3 * zigzag + 0.4 * line)
        if layer > 0:
            self._pair("v", shape.rank(1.7), 0.73 - 0.4 * line)
        self._pair("g", shape.rank(5.0), None, C)
        self.k_k = nn.Parameter((0.71 - 0.1 * line).view(1, 1, C))
        self.k_a = nn.Parameter(torch.full((1, 1, C), 1.02))
        self.r_k = nn.Parameter(torch.full((H, HEAD), -0.04))
        self.receptance = linear(uniform(C, C, 0.5 / C**0.5))
        self.key = linear(uniform(C, C, 0.05 / C**0.5))
        self.value = linear(uniform(C, C, 0.5 / C**0.5))
        self.output = linear(torch.zeros(C, C))
        self.ln_x = nn.GroupNorm(H, C, eps=64e-5)
        nn.init.constant_(self.ln_x.weight, ((1 + layer) / shape.layers) ** 0.7)

    def _pair(self, name: str, rank: int, bias: Tensor | None, width: int | None = None) -> None:
        C = width or len(bias)
        setattr(self, f"{name}1", nn.Parameter(torch.zeros(C, rank)))
        setattr(self, f"{name}2", nn.Parameter(orthogonal(rank, C, 0.1)))
        if bias is not None:
            setattr(self, f"{name}0", nn.Parameter(bias.clone().view(1, 1, C)))

    def forward(
        self, x: Tensor, first: Tensor | None, shift: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x is normed. Returns (what to add to the stream, layer 0's values, shift, state)."""
        B, T, C = x.shape
        d = torch.cat((shift.unsqueeze(1), x[:, :-1]), 1) - x
        r = self.receptance(x + d * self.x_r)
        k = self.key(x + d * self.x_k)
        xv = x + d * self.x_v
        v = self.value(xv)
        w = torch.tanh((x + d * self.x_w) @ self.w1) @ self.w2
        w = torch.exp(DECAY * torch.sigmoid(self.w0 + wide(w)))
        a = torch.sigmoid(self.a0 + ((x + d * self.x_a) @ self.a1) @ self.a2)
        g = torch.sigmoid((x + d * self.x_g) @ self.g1) @ self.g2
        if first is None:
            first = v
        else:
            v = v + (first - v) * torch.sigmoid(self.v0 + (xv @ self.v1) @ self.v2)

        def heads(z: Tensor) -> Tensor:
            return wide(z).view(B, T, self.heads, HEAD)

        kk = F.normalize(heads(k * self.k_k), dim=-1)
        k = heads(k * (1 + (a - 1) * self.k_a))
        r, v4 = heads(r), heads(v)
        y, state = wkv(state, r, heads(w), k, v4, -kk, kk * heads(a))
        y = self.ln_x(y.view(B * T, C)).view(B, T, C)
        bonus = (r * k * self.r_k).sum(-1, keepdim=True) * v4
        return self.output((y + bonus.view(B, T, C)) * g), first, x[:, -1], state


class ChannelMix(nn.Module):
    """The feed-forward half: squared ReLU, four times as wide."""

    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        C = shape.width
        mix = 1 - (torch.arange(C) / C) ** ((1 - layer / shape.layers) ** 4)
        self.x_k = nn.Parameter(mix.view(1, 1, C))
        self.key = linear(uniform(4 * C, C, 0.5 / C**0.5))
        self.value = linear(torch.zeros(C, 4 * C))

    def forward(self, x: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        d = torch.cat((shift.unsqueeze(1), x[:, :-1]), 1) - x
        return self.value(torch.relu(self.key(x + d * self.x_k)) ** 2), x[:, -1]


class Block(nn.Module):
    def __init__(self, shape: Shape, layer: int, slow: int) -> None:
        super().__init__()
        if layer == 0:
            self.ln0 = nn.LayerNorm(shape.width)
        self.ln1 = nn.LayerNorm(shape.width)
        self.ln2 = nn.LayerNorm(shape.width)
        self.att = TimeMix(shape, layer, slow)
        self.ffn = ChannelMix(shape, layer)

    def forward(
        self, x: Tensor, first: Tensor | None, state: LayerState
    ) -> tuple[Tensor, Tensor, LayerState]:
        if first is None:
            x = self.ln0(x)
        dx, first, shift_att, matrix = self.att(self.ln1(x), first, state[0], state[2])
        x = x + dx
        dx, shift_ffn = self.ffn(self.ln2(x), state[1])
        return x + dx, first, (shift_att, shift_ffn, matrix)


class Model(nn.Module):
    """The whole network. `slow`: key channels of each head that begin with a very slow decay (0:
    official).
    """

    def __init__(self, shape: Shape, slow: int = 0) -> None:
        super().__init__()
        C, V = shape.width, shape.vocab
        self.shape = shape
        self.emb = nn.Embedding(V, C)
        nn.init.uniform_(self.emb.weight, -1e-4, 1e-4)
        self.blocks = nn.ModuleList(Block(shape, i, slow) for i in range(shape.layers))
        self.ln_out = nn.LayerNorm(C)
        self.head = linear(orthogonal(V, C, 0.5))

    def new_state(self, rows: int) -> list[LayerState]:
        p = self.emb.weight
        C, H = self.shape.width, self.shape.heads
        return [
            (
                p.new_zeros(rows, C, dtype=torch.float32),
                p.new_zeros(rows, C, dtype=torch.float32),
                p.new_zeros(rows, H, HEAD, HEAD, dtype=torch.float32),
            )
            for _ in self.blocks
        ]

    def forward(self, tokens: Tensor, state: list[LayerState]) -> tuple[Tensor, list[LayerState]]:
        """(B, T) -> logits (B, T, V) and the state after the last byte."""
        x, first, after = self.emb(tokens), None, []
        for block, before in zip(self.blocks, state, strict=True):
            x, first, last = block(x, first, before)
            after.append(last)
        return self.head(self.ln_out(x)), after
