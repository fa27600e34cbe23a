# SPDX-License-Identifier: Apache-2.0
"""The WKV recurrence as one PyTorch operator: our C kernel on a CPU, our Triton kernel on a GPU.

`wkv(state, r, w, k, v, a, b) -> (y, state)` with r ... b of shape (B, T, H, 64) in float32 and
state (B, H, 64, 64); `reference` is the same in plain PyTorch, byte by byte, and is what both
kernels are checked against.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tools.native import at, library

HEAD = 64  # rows and columns of one head's state
SPAN = 32  # bytes between two kept states; WKV_SPAN in wkv.h
SPAN_GPU = 16  # the same in wkv_triton.py


def reference(
    state: Tensor, r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor
) -> tuple[Tensor, Tensor]:
    """The recurrence, written as it is defined; slow, differentiable, of any float type."""
    rows = []
    for t in range(r.shape[1]):
        sa = (state * a[:, t, :, None, :]).sum(-1, keepdim=True)
        state = (
            state * w[:, t, :, None, :]
            + sa * b[:, t, :, None, :]
            + v[:, t, :, :, None] * k[:, t, :, None, :]
        )
        rows.append((state * r[:, t, :, None, :]).sum(-1))
    return torch.stack(rows, 1), state


@torch.library.custom_op("parrot::wkv", mutates_args=())
def _forward(
    state: Tensor, r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if r.is_cuda:
        from tools import wkv_triton

        return wkv_triton.forward(state, r, w, k, v, a, b)
    inputs = [x.contiguous() for x in (state, r, w, k, v, a, b)]
    y, last, sa, kept = _outputs(*inputs[:2])
    library("wkv", r.dtype).wkv_forward(*r.shape[:3], *at(*inputs, y, last, sa, kept))
    return y, last, sa, kept


def _outputs(state: Tensor, r: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    B, T, H, N = r.shape
    kept = r.new_empty(B, H, -(-T // (SPAN_GPU if r.is_cuda else SPAN)), N, N)
    return torch.empty_like(r), torch.empty_like(state), torch.empty_like(r), kept


@_forward.register_fake
def _(state, r, w, k, v, a, b):
    return _outputs(state.contiguous(), r.contiguous())


@torch.library.custom_op("parrot::wkv_backward", mutates_args=())
def _backward(
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
    if r.is_cuda:
        from tools import wkv_triton

        return wkv_triton.backward(r, w, k, v, a, b, sa, kept, dy, dlast)
    inputs = [x.contiguous() for x in (r, w, k, v, a, b, sa, kept, dy)]
    dstate = dlast.contiguous().clone()
    grads = [torch.empty_like(inputs[0]) for _ in range(6)]
    library("wkv", r.dtype).wkv_backward(*r.shape[:3], *at(*inputs, dstate, *grads))
    return dstate, grads[0], grads[1], grads[2], grads[3], grads[4], grads[5]


@_backward.register_fake
def _(r, w, k, v, a, b, sa, kept, dy, dlast):
    like = r.contiguous()
    return (torch.empty_like(dlast.contiguous()), *(torch.empty_like(like) for _ in range(6)))


def _save(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs[1:], output[2], output[3])
    ctx.set_materialize_grads(True)


def _gradient(ctx, dy, dlast, _dsa, _dkept):
    return _backward(*ctx.saved_tensors, dy, dlast)


_forward.register_autograd(_gradient, setup_context=_save)


def wkv(
    state: Tensor, r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor
) -> tuple[Tensor, Tensor]:
    """(y, state after the last byte); the shapes are in the module's first paragraph."""
    y, last, _, _ = _forward(state, r, w, k, v, a, b)
    return y, last
