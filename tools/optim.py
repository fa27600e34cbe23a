# SPDX-License-Identifier: Apache-2.0
"""Muon for the big matrices, AdamW for everything else, over one flat vector of parameters.

All parameters live in one tensor and their gradients in another; the modules see views. So AdamW,
the norm and the zeroing are a handful of calls, and a checkpoint is a few tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tools import ranks

NEWTON = (3.4445, -4.7750, 2.0315)  # quintic whose iteration drives singular values towards 1


@dataclass(frozen=True)
class Rates:
    muon: float = 0.02  # 0: AdamW takes the matrices too
    adam: float = 4e-3
    decay: float = 0.02  # weight decay of the matrices, times the rate
    momentum: float = 0.95
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = 1.0


def is_matrix(name: str, p: Tensor) -> bool:
    """Muon's share: the square and feed-forward matrices of the blocks."""
    return name.startswith("blocks.") and name.endswith(".weight") and p.ndim == 2


def orthogonalise(g: Tensor, steps: int = 5) -> Tensor:
    """(n, rows, columns) -> the nearest matrices with orthonormal rows or columns, roughly, in
    bf16.
    """
    a, b, c = NEWTON
    x = g.bfloat16()
    x = x / (x.float().flatten(1).norm(dim=1).view(-1, 1, 1) + 1e-7).bfloat16()
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT.contiguous()
    for _ in range(steps):
        m = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(m, m, m, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).float()


class Optimizer:
    """Owns the flat vectors of one model. The first `split` numbers are Muon's."""

    def __init__(self, model: nn.Module, rates: Rates) -> None:
        self.rates = rates
        named = list(model.named_parameters())
        matrices = [(n, p) for n, p in named if rates.muon and is_matrix(n, p)]
        matrices.sort(key=lambda item: item[1].shape)  # equal shapes: one batched product
        taken = {n for n, _ in matrices}
        rest = [(n, p) for n, p in named if n not in taken]
        like = named[0][1]
        size = sum(p.numel() for _, p in named)
        self.flat = torch.empty(size, device=like.device)
        self.grad = torch.zeros_like(self.flat)
        self.places = self._flatten(matrices + rest)
        self.split = sum(p.numel() for _, p in matrices)
        self.groups: dict[torch.Size, tuple[int, int]] = {}
        for n, p in matrices:
            start, end = self.places[n]
            first = self.groups.get(p.shape, (start, end))[0]
            self.groups[p.shape] = (first, end)
        self.momentum = torch.zeros(self.split, device=like.device)
        self.mean = torch.zeros(size - self.split, device=like.device)
        self.square = torch.zeros_like(self.mean)
        self.rate = torch.ones_like(self.mean)  # of each number, relative
        for n, _ in rest:
            if n.endswith("att.w0"):
                start, end = self.places[n]
                self.rate[start - self.split : end - self.split] = 2.0
        self.steps = 0

    def _flatten(self, named: list[tuple[str, nn.Parameter]]) -> dict[str, tuple[int, int]]:
        """Move parameters into `flat` and gradients into `grad`; where each begins and ends."""
        places: dict[str, tuple[int, int]] = {}
        at = 0
        for n, p in named:
            end = at + p.numel()
            self.flat[at:end] = p.data.flatten()
            p.data = self.flat[at:end].view(p.shape)
            p.grad = self.grad[at:end].view(p.shape)
            places[n] = (at, end)
            at = end
        return places

    def norm(self) -> Tensor:
        return self.grad.norm()

    @torch.no_grad()
    def step(self, scale: float, norm: float) -> None:
        """`scale`: of the schedule, 0 to 1; `norm`: of the gradient."""
        r = self.rates
        self.steps += 1
        self._adam(r.adam * scale, min(1.0, r.clip / (norm + 1e-6)))
        for shape, (start, end) in self.groups.items():
            g, m = self.grad[start:end], self.momentum[start:end]
            m.mul_(r.momentum).add_(g, alpha=1 - r.momentum)
            g = torch.lerp(g, m, r.momentum).view(-1, *shape)
            lr = r.muon * scale * max(1.0, shape[0] / shape[1]) ** 0.5
            p = self.flat[start:end]
            p.mul_(1 - r.muon * scale * r.decay)
            p.add_(ranks.shared(orthogonalise, g).flatten(), alpha=-lr)
        self.grad.zero_()

    def _adam(self, lr: float, shrink: float) -> None:
        b1, b2 = self.rates.betas
        g = self.grad[self.split :] * shrink
        self.mean.lerp_(g, 1 - b1)
        self.square.lerp_(g * g, 1 - b2)
        size = (self.square / (1 - b2**self.steps)).sqrt_().add_(1e-12)
        self.flat[self.split :].addcdiv_(
            self.mean * self.rate, size, value=-lr / (1 - b1**self.steps)
        )

    def state(self) -> dict[str, Tensor]:
        return {
            "momentum": self.momentum,
            "mean": self.mean,
            "square": self.square,
            "steps": torch.tensor([self.steps]),
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        self.momentum.copy_(state["momentum"])
        self.mean.copy_(state["mean"])
        self.square.copy_(state["square"])
        self.steps = int(state["steps"][0])
