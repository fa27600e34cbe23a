# SPDX-License-Identifier: Apache-2.0
"""The WKV recurrence as one PyTorch operator: our C kernel on a CPU, our Triton kernel on a GPU.

`wkv(state, r, w, k, v, a, b) -> (y, state)` with r ... b of shape (B, T, H, 64) in float32 and
state (B, H, 64, 64); `reference` is the same in plain PyTorch, byte by byte, and is what both
kernels are checked against.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
from pathlib import Path

import torch
from torch import Tensor

HEAD = 64  # rows and columns of one head's state
SPAN = 32  # bytes between two kept states; WKV_SPAN in wkv.c
SPAN_GPU = 16  # the same in wkv_triton.py
SOURCE = Path(__file__).parent / "kernels" / "wkv.c"
FLAGS = ("-O3", "-march=native", "-ffast-math", "-fopenmp", "-shared", "-fPIC")


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


@functools.cache
def library(real: str = "float") -> ctypes.CDLL:
    """wkv.c compiled for this processor, once, into the cache folder."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise RuntimeError("wkv: no C compiler found; install gcc, or set CC to one.")
    command = [compiler, *FLAGS, f"-DREAL={real}", str(SOURCE)]
    key = hashlib.sha256(SOURCE.read_bytes() + " ".join(command).encode() + _cpu().encode())
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "parrot" / "kernels"
    target = home / f"wkv-{key.hexdigest()[:16]}.so"
    if not target.exists():
        home.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(f".{os.getpid()}")
        done = subprocess.run([*command, "-o", str(partial)], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"wkv: {compiler} failed: {done.stderr.strip()[:500]}")
        partial.replace(target)
    return ctypes.CDLL(str(target))


def _cpu() -> str:
    """What -march=native stands for here: two machines may share one cache folder."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _at(*tensors: Tensor) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(t.data_ptr()) for t in tensors]


def _library_for(x: Tensor) -> ctypes.CDLL:
    return library("double" if x.dtype == torch.float64 else "float")


@torch.library.custom_op("parrot::wkv", mutates_args=())
def _forward(
    state: Tensor, r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if r.is_cuda:
        from tools import wkv_triton

        return wkv_triton.forward(state, r, w, k, v, a, b)
    inputs = [x.contiguous() for x in (state, r, w, k, v, a, b)]
    y, last, sa, kept = _outputs(*inputs[:2])
    size = [ctypes.c_int(n) for n in r.shape[:3]]
    _library_for(r).wkv_forward(*size, *_at(*inputs, y, last, sa, kept))
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
    size = [ctypes.c_int(n) for n in r.shape[:3]]
    _library_for(r).wkv_backward(*size, *_at(*inputs, dstate, *grads))
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
