# SPDX-License-Identifier: Apache-2.0
"""The WKV recurrence on a GPU, in Triton; `tools.wkv` says what it computes.

One program holds a head's matrix in registers and walks over time. Forward, the rows of the matrix
do not know each other, so several programs share a head. Backward, the state is taken back a step
at a time by undoing the update (the decay is never below 0.545); it is read afresh every SPAN
bytes, which bounds what division does to rounding errors.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

SPAN = 16  # bytes between two kept states
ROWS = 16  # of a head's matrix, for each program of the forward pass
HEAD = 64


@triton.jit
def forward_kernel(
    state, r, w, k, v, a, b, y, last, sa, kept, T, H,
    SPAN: tl.constexpr, ROWS: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(0)
    i = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    j = tl.arange(0, N)
    cell = i[:, None] * N + j[None, :]
    S = tl.load(state + head * N * N + cell)
    at = ((head // H) * T * H + head % H) * N
    kept += head * tl.cdiv(T, SPAN) * N * N
    for t in range(T):
        r_t, w_t, k_t = tl.load(r + at + j), tl.load(w + at + j), tl.load(k + at + j)
        a_t, b_t, v_t = tl.load(a + at + j), tl.load(b + at + j), tl.load(v + at + i)
        sa_t = tl.sum(S * a_t[None, :], 1)
        S = S * w_t[None, :] + sa_t[:, None] * b_t[None, :] + v_t[:, None] * k_t[None, :]
        tl.store(sa + at + i, sa_t)
        tl.store(y + at + i, tl.sum(S * r_t[None, :], 1))
        if (t + 1) % SPAN == 0 or t + 1 == T:
            tl.store(kept + (t // SPAN) * N * N + cell, S)
        at += H * N
    tl.store(last + head * N * N + cell, S)


@triton.jit
def backward_kernel(
    r, w, k, v, a, b, sa, kept, dy, dstate, dr, dw, dk, dv, da, db, T, H,
    SPAN: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(0)
    j = tl.arange(0, N)
    cell = j[:, None] * N + j[None, :]
    G = tl.load(dstate + head * N * N + cell)  # gradient of the state after byte t
    kept += head * tl.cdiv(T, SPAN) * N * N
    S = tl.load(kept + ((T - 1) // SPAN) * N * N + cell)  # the state after byte t
    at = ((head // H) * T * H + head % H) * N + (T - 1) * H * N
    for n in range(T):
        t = T - 1 - n
        if (t + 1) % SPAN == 0:
            S = tl.load(kept + (t // SPAN) * N * N + cell)
        r_t, w_t, k_t = tl.load(r + at + j), tl.load(w + at + j), tl.load(k + at + j)
        a_t, b_t, v_t = tl.load(a + at + j), tl.load(b + at + j), tl.load(v + at + j)
        sa_t, dy_t = tl.load(sa + at + j), tl.load(dy + at + j)
        G += dy_t[:, None] * r_t[None, :]
        dsa = tl.sum(G * b_t[None, :], 1)
        tl.store(dr + at + j, tl.sum(S * dy_t[:, None], 0))
        tl.store(dv + at + j, tl.sum(G * k_t[None, :], 1))
        tl.store(dk + at + j, tl.sum(G * v_t[:, None], 0))
        tl.store(db + at + j, tl.sum(G * sa_t[:, None], 0))
        S = (S - sa_t[:, None] * b_t[None, :] - v_t[:, None] * k_t[None, :]) / w_t[None, :]
        tl.store(dw + at + j, tl.sum(G * S, 0))
        tl.store(da + at + j, tl.sum(S * dsa[:, None], 0))
        G = G * w_t[None, :] + dsa[:, None] * a_t[None, :]
        at -= H * N
    tl.store(dstate + head * N * N + cell, G)


def forward(
    state: Tensor, r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(y, last state, sa, kept): kept[s] is the state after span s."""
    inputs = [x.contiguous() for x in (state, r, w, k, v, a, b)]
    B, T, H, N = r.shape
    y, sa, last = (torch.empty_like(inputs[i]) for i in (1, 1, 0))
    kept = state.new_empty(B, H, -(-T // SPAN), N, N)
    grid = (B * H, N // ROWS)
    forward_kernel[grid](*inputs, y, last, sa, kept, T, H, SPAN, ROWS, N, num_warps=1)
    return y, last, sa, kept


def backward(
    r: Tensor,
    w: Tensor,
    k: Tensor,
    v: Tensor,
    a: Tensor,
    b: Tensor,
    sa: Tensor,
    kept: Tensor,
    dy: Tensor,
    dlast: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the state before the first byte and of r, w, k, v, a, b."""
    inputs = [x.contiguous() for x in (r, w, k, v, a, b, sa, kept, dy)]
    B, T, H, N = r.shape
    dstate = dlast.contiguous().clone()
    g = [torch.empty_like(inputs[0]) for _ in range(6)]
    backward_kernel[(B * H,)](*inputs, dstate, *g, T, H, SPAN, N, num_warps=4)
    return dstate, g[0], g[1], g[2], g[3], g[4], g[5]
