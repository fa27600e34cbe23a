# SPDX-License-Identifier: Apache-2.0
"""The network of `tools.net` on a CPU, fast: the same parameters, the same numbers, but what stands
between two large matrix products is one C kernel (`tools/kernels`), forward and backward.

B rows of T bytes, C channels, H heads of 64. Between kernels and products travel tensors of one
type (`flow`): bf16 where the processor multiplies it in hardware, else float32, or float64 in the
test that holds the gradients against PyTorch's own.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from parrot.base.errors import EngineError
from tools.native import at, library, pointers, sizes
from tools.net import Block, LayerState, Model
from tools.wkv import HEAD, SPAN


class TokenMix(torch.autograd.Function):
    """x (B, T, C) + delta -> (the sum, n mixes of its norm with the byte before, the last norm).

    x float32 (or float64), delta and mixes of the type `flow`.

    `params` (n + 2, C): gamma, beta, then the mixes. The last norm is state: no gradient enters it.
    """

    @staticmethod
    def forward(ctx, x, delta, shift, params, flow):
        B, T, C = x.shape
        n, shift = len(params) - 2, shift.contiguous()
        size = sizes(B, T, C, n)
        total, last = torch.empty_like(x), shift.new_empty(B, C)
        out, stat = x.new_empty(n, B, T, C, dtype=flow), x.new_empty(B, T, 2)
        library("token_mix", flow).token_mix_forward(
            size, *at(x, delta, shift, params, total, out, last, stat)
        )
        ctx.save_for_backward(total, shift, params, stat)
        ctx.flow, ctx.delta = flow, delta is not None
        ctx.mark_non_differentiable(last)
        return total, last, *out.unbind()

    @staticmethod
    @once_differentiable
    def backward(ctx, dtotal, _dlast, *dout):
        total, shift, params, stat = ctx.saved_tensors
        B, T, C = total.shape
        size = sizes(B, T, C, len(dout))
        dx, dtotal = torch.empty_like(total), dtotal.contiguous()
        ddelta = torch.empty_like(total, dtype=ctx.flow) if ctx.delta else None
        dparams = params.new_zeros(B, *params.shape)
        dout = [d.contiguous() for d in dout]
        library("token_mix", ctx.flow).token_mix_backward(
            size,
            *at(total, shift, params, stat),
            pointers(*dout),
            *at(dtotal, dx, ddelta, dparams),
        )
        return dx, ddelta, None, dparams.sum(0), None


class TimeMixCore(torch.autograd.Function):
    """What `TimeMix.forward` of tools.net does between its projections and its output.

    r ... g (B, T, C) as products gave them, `vp` and `first` None in layer 0; params (8, C): w0,
    a0, v0, k_k, k_a, r_k, ln_x; state (B, H, 64, 64). Returns (what `output` multiplies, state).
    """

    @staticmethod
    def forward(ctx, state, params, r, k, v, wp, ap, vp, first, g):
        B, T, C = r.shape
        H, state = C // HEAD, state.contiguous()
        size = sizes(B, T, H)
        streams = (r, k, v, wp, ap, vp, first, g)
        out, last = torch.empty_like(r), torch.empty_like(state)
        sa, y = state.new_empty(B, T, C), state.new_empty(B, T, C)
        kept = state.new_empty(B, H, -(-T // SPAN), HEAD, HEAD)
        library("time_mix", r.dtype).time_mix_forward(
            size, pointers(*streams), *at(params, state, out, last), pointers(sa, y, kept)
        )
        ctx.save_for_backward(params, sa, y, kept, *streams)
        return out, last

    @staticmethod
    @once_differentiable
    def backward(ctx, dout, dlast):
        params, sa, y, kept, *streams = ctx.saved_tensors
        B, T, C = dout.shape
        dout, dstate = dout.contiguous(), dlast.contiguous().clone()
        grads = [None if x is None else torch.empty_like(x) for x in streams]
        dparams = params.new_empty(B, *params.shape)
        failed = library("time_mix", dout.dtype).time_mix_backward(
            sizes(B, T, C // HEAD),
            pointers(*streams),
            *at(params),
            pointers(sa, y, kept),
            *at(dout, dstate),
            pointers(*grads),
            *at(dparams),
        )
        if failed:
            raise EngineError("time_mix: no memory for the states of a span; free some.")
        return dstate, dparams.sum(0), *grads


class SquaredRelu(torch.autograd.Function):
    """relu(x) ** 2."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        out = torch.empty_like(x)
        library("token_mix", x.dtype).squared_relu_forward(_count(x), *at(x, out))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, dout):
        (x,) = ctx.saved_tensors
        dx, dout = torch.empty_like(x), dout.contiguous()
        library("token_mix", x.dtype).squared_relu_backward(_count(x), *at(x, dout, dx))
        return dx


def _count(x: Tensor) -> ctypes.c_size_t:
    return ctypes.c_size_t(x.numel())


def block(
    net: Block, x: Tensor, delta: Tensor | None, first: Tensor | None, state: LayerState
) -> tuple[Tensor, Tensor, Tensor, LayerState]:
    """One block: (x, what is still to be added to it, layer 0's values, state)."""
    flow = _flow(x)
    att, ffn, C = net.att, net.ffn, x.shape[-1]
    mixes = (att.x_r, att.x_k, att.x_v, att.x_w, att.x_a, att.x_g)
    params = torch.cat([p.view(1, C) for p in (net.ln1.weight, net.ln1.bias, *mixes)])
    x, shift_att, xr, xk, xv, xw, xa, xg = TokenMix.apply(x, delta, state[0], params, flow)
    r, k, v = att.receptance(xr), att.key(xk), att.value(xv)
    wp = torch.tanh(xw @ att.w1) @ att.w2
    ap = (xa @ att.a1) @ att.a2
    g = torch.sigmoid(xg @ att.g1) @ att.g2
    vp = None if first is None else (xv @ att.v1) @ att.v2
    v0 = torch.zeros_like(att.w0) if first is None else att.v0
    heads = (att.w0, att.a0, v0, att.k_k, att.k_a, att.r_k, att.ln_x.weight, att.ln_x.bias)
    params = torch.cat([p.reshape(1, C) for p in heads])
    y, matrix = TimeMixCore.apply(state[2], params, r, k, v, wp, ap, vp, first, g)
    params = torch.cat([p.view(1, C) for p in (net.ln2.weight, net.ln2.bias, ffn.x_k)])
    x, shift_ffn, xk = TokenMix.apply(x, att.output(y), state[1], params, flow)
    delta = ffn.value(SquaredRelu.apply(ffn.key(xk)))
    return x, delta, v if first is None else first, (shift_att, shift_ffn, matrix)


def _flow(x: Tensor) -> torch.dtype:
    """The type that matrix products have here: autocast's, or that of x."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


def fastest(model: Model) -> Callable[[Tensor, list[LayerState]], tuple]:
    """How to compute `model(tokens, state)` where its parameters lie."""
    return model if model.emb.weight.is_cuda else functools.partial(forward, model)


def forward(
    model: Model, tokens: Tensor, state: list[LayerState]
) -> tuple[Tensor, list[LayerState]]:
    """`model(tokens, state)`; gradients do not reach the token shifts of the state."""
    x, delta, first, after = model.blocks[0].ln0(model.emb(tokens)), None, None, []
    for net, before in zip(model.blocks, state, strict=True):
        x, delta, first, last = block(net, x, delta, first, before)
        after.append(last)
    return model.head(model.ln_out(x + delta)), after
