# SPDX-License-Identifier: Apache-2.0
"""The WKV kernels against the recurrence as it is defined."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install -e '.[train]'")

from tools import wkv  # noqa: E402


def draw(B: int, T: int, H: int, dtype: object, device: str = "cpu") -> list:
    """State and inputs of the size that training sees."""
    torch.manual_seed(B * 1000 + T)
    shape = (B, T, H, wkv.HEAD)
    kk = torch.nn.functional.normalize(torch.randn(shape, dtype=torch.float64), dim=-1)
    r, k, v = (torch.randn(shape, dtype=torch.float64) for _ in range(3))
    w = 0.55 + 0.45 * torch.rand(shape, dtype=torch.float64)
    state = torch.randn(B, H, wkv.HEAD, wkv.HEAD, dtype=torch.float64)
    inputs = (state, r, w, k, v, -kk, kk * torch.rand(shape, dtype=torch.float64))
    return [x.to(dtype).to(device).requires_grad_() for x in inputs]


def run(op: object, inputs: list) -> list:
    """Outputs and the gradients of a sum with random weights."""
    y, state = op(*inputs)
    torch.manual_seed(9)
    dy, dstate = torch.randn(y.shape).to(y), torch.randn(state.shape).to(y)
    torch.autograd.backward((y, state), (dy, dstate))
    return [y.detach(), state.detach(), *(x.grad for x in inputs)]


def error(found: list, expected: list) -> float:
    """Largest relative error of any of the tensors."""
    return max(
        float((a.double().cpu() - b.double().cpu()).norm() / b.double().cpu().norm())
        for a, b in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize("T", [1, wkv.SPAN - 1, wkv.SPAN, 2 * wkv.SPAN + 5])
def test_c_kernel_in_float64_is_the_definition_forward_and_backward(T: int) -> None:
    expected = run(wkv.reference, draw(2, T, 2, torch.float64))
    assert error(run(wkv.wkv, draw(2, T, 2, torch.float64)), expected) < 1e-12


def test_c_kernel_in_float32_is_as_close_as_float32_can_be() -> None:
    expected = run(wkv.reference, draw(1, 70, 3, torch.float64))
    assert error(run(wkv.wkv, draw(1, 70, 3, torch.float32)), expected) < 1e-5


def test_two_halves_with_the_state_passed_on_are_the_whole() -> None:
    whole = run(wkv.wkv, draw(2, 64, 1, torch.float64))

    def halves(state, *inputs):
        first = [x[:, :40] for x in inputs]
        second = [x[:, 40:] for x in inputs]
        y1, state = wkv.wkv(state, *first)
        y2, state = wkv.wkv(state, *second)
        return torch.cat((y1, y2), 1), state

    assert error(run(halves, draw(2, 64, 1, torch.float64)), whole) < 1e-12


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("T", [1, 31, 100])
def test_triton_kernel_is_the_definition_forward_and_backward(T: int) -> None:
    expected = run(wkv.reference, draw(2, T, 2, torch.float64))
    assert error(run(wkv.wkv, draw(2, T, 2, torch.float32, "cuda")), expected) < 1e-4


INTERPRETED = """
import torch
from tests.unit.test_train_wkv import draw, error, run
from tools import wkv, wkv_triton

for T in (1, 19):
    inputs = [x.detach() for x in draw(1, T, 2, torch.float32)]
    y, last, sa, kept = wkv_triton.forward(*inputs)
    torch.manual_seed(9)
    dy, dlast = torch.randn(y.shape), torch.randn(last.shape)
    grads = wkv_triton.backward(*inputs[1:], sa, kept, dy, dlast)
    found = [y, last, *grads]
    print(error(found, run(wkv.reference, draw(1, T, 2, torch.float64))))
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton: pip install triton")
def test_triton_kernel_in_its_interpreter_is_the_definition() -> None:
    """The arithmetic of the GPU kernel, where there is no GPU."""
    done = subprocess.run(
        [sys.executable, "-c", INTERPRETED],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert all(float(line) < 1e-4 for line in done.stdout.split()), done.stdout
