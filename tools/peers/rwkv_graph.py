# SPDX-License-Identifier: Apache-2.0
"""The peer on a GPU: the same step in PyTorch, half-precision weights, replayed as a CUDA graph.

What a person gets who writes RWKV-7 in PyTorch and does the one thing that makes decoding fast
there: capture it, so that no Python and no launch latency is left between kernels. The state is
float32, the operations are PyTorch's own, as few as they can be.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import torch
from torch.nn import functional as F

from parrot.model.weights import open_model

GROUP_NORM_EPS = 64e-5


class GraphPeer:
    """One life of one model. `step` reads `token` and writes `logits`; both stay where they are."""

    def __init__(self, path: Path, device: str, dtype: torch.dtype) -> None:
        file = open_model(path)
        self.shape, self.device = file.shape, device
        self._z = {
            name.removesuffix(".weight"): torch.from_numpy(w.copy()).to(
                device, torch.float32 if "time_mix_ln" in name else dtype
            )
            for name, w in file.weights().items()
        }
        s = self.shape
        self._shift = torch.zeros(s.n_layer, 2, s.n_embd, device=device, dtype=dtype)
        self._wkv = torch.zeros(
            s.n_layer, s.n_head, s.head_size, s.head_size, device=device, dtype=torch.float32
        )
        self.token = torch.zeros(1, device=device, dtype=torch.int64)
        self.logits = torch.zeros(s.n_vocab, device=device, dtype=torch.float32)
        self._graph: torch.cuda.CUDAGraph | None = None

    def _norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], self._z[name], self._z[name + ".bias"], 1e-5)

    def _time_mix(
        self, layer: int, x: torch.Tensor, v_first: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        z, mix, s = self._z, f"blk.{layer}.time_mix_", self.shape
        x = self._norm(f"blk.{layer}.attn_norm", x)
        shift = self._shift[layer, 0]
        mixed = torch.lerp(x, shift, z[mix + "lerp_fused"][:, 0, 0])
        shift.copy_(x)
        r, k = z[mix + "receptance"] @ mixed[0], z[mix + "key"] @ mixed[2]
        v = z[mix + "value"] @ mixed[3]
        w = z[mix + "w0"] + z[mix + "w2"] @ torch.tanh(z[mix + "w1"] @ mixed[1])
        w = torch.exp(-math.exp(-0.5) * torch.sigmoid(w.float()))
        a = torch.sigmoid(z[mix + "a0"] + z[mix + "a2"] @ (z[mix + "a1"] @ mixed[4]))
        gate = z[mix + "g2"] @ torch.sigmoid(z[mix + "g1"] @ mixed[5])
        if v_first is None:
            v_first = v
        else:
            pull = torch.sigmoid(z[mix + "v0"] + z[mix + "v2"] @ (z[mix + "v1"] @ mixed[3]))
            v = torch.lerp(v, v_first, pull)
        heads = (s.n_head, s.head_size)
        kk = F.normalize((k * z[mix + "k_k"]).view(heads).float(), dim=-1)
        k = k * (1 + (a - 1) * z[mix + "k_a"])
        r_, k_, v_ = r.view(heads).float(), k.view(heads).float(), v.view(heads).float()
        S = self._wkv[layer]
        erased = S @ kk[:, :, None]
        S.mul_(w.view(heads)[:, None, :])
        S.sub_(erased * (kk * a.view(heads).float())[:, None, :])
        S.addcmul_(v_[:, :, None], k_[:, None, :])
        y = (S @ r_[:, :, None]).view(1, -1)
        y = F.group_norm(y, s.n_head, z[mix + "ln"], z[mix + "ln.bias"], GROUP_NORM_EPS).view(-1)
        bonus = (r_ * k_ * z[mix + "r_k"].view(heads)).sum(-1, keepdim=True) * v_
        return z[mix + "output"] @ ((y + bonus.view(-1)).to(x.dtype) * gate), v_first

    def _channel_mix(self, layer: int, x: torch.Tensor) -> torch.Tensor:
        z, mix = self._z, f"blk.{layer}.channel_mix_"
        x = self._norm(f"blk.{layer}.attn_norm_2", x)
        shift = self._shift[layer, 1]
        mixed = torch.lerp(x, shift, z[mix + "lerp_k"].view(-1))
        shift.copy_(x)
        return z[mix + "value"] @ torch.relu(z[mix + "key"] @ mixed).square()

    @torch.no_grad()
    def step(self) -> None:
        """Live `token`, by the plain operations."""
        # Not by [token]: PyTorch would ask the GPU for the number, which a capture forbids.
        x = self._norm("token_embd_norm", F.embedding(self.token, self._z["token_embd"])[0])
        v_first = None
        for layer in range(self.shape.n_layer):
            y, v_first = self._time_mix(layer, x, v_first)
            x = x + y
            x = x + self._channel_mix(layer, x)
        self.logits.copy_(self._z["output"] @ self._norm("output_norm", x))

    def capture(self) -> None:
        """Record the step; `replay` runs it from then on."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):  # cuBLAS chooses and allocates
                self.step()
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self.step()

    def replay(self) -> None:
        assert self._graph is not None
        self._graph.replay()


def step_us(path: Path, n: int = 200) -> float:
    """Return microseconds of a replayed step: the median of `n`, timed by events."""
    peer = GraphPeer(path, "cuda", torch.float16)
    peer.capture()
    events = [torch.cuda.Event(enable_timing=True) for _ in range(n + 1)]
    for _ in range(20):
        peer.replay()
    events[0].record()
    for event in events[1:]:
        peer.replay()
        event.record()
    torch.cuda.synchronize()
    times = sorted(a.elapsed_time(b) for a, b in itertools.pairwise(events))
    return 1e3 * times[n // 2]


def multiply_per_s(size: int = 4096, n: int = 20) -> float:
    """Return multiply-adds per second of PyTorch's f16 matrix product, on random numbers."""
    a, b = (torch.randn(size, size, device="cuda", dtype=torch.float16) for _ in range(2))
    begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    for i in range(n + 3):
        if i == 3:  # warmed up
            begun.record()
        a @ b
    ended.record()
    torch.cuda.synchronize()
    return n * size**3 / (1e-3 * begun.elapsed_time(ended))
