# SPDX-License-Identifier: Apache-2.0
"""The training kernels of a CPU against the network as PyTorch computes it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install -e '.[train]'")

from tests.unit.test_train_net import lively  # noqa: E402
from tools import fused  # noqa: E402
from tools.net import Model, Shape  # noqa: E402
from tools.wkv import SPAN  # noqa: E402

SHAPE = Shape(128, 3)


def lived(rows: int, dtype: object) -> list:
    """States as a row has them in the middle of its life."""
    torch.manual_seed(7)
    C, H = SHAPE.width, SHAPE.heads
    sizes = ((rows, C), (rows, C), (rows, H, 64, 64))
    return [
        tuple(torch.randn(s, dtype=torch.float64).to(dtype).requires_grad_() for s in sizes)
        for _ in range(SHAPE.layers)
    ]


def run(forward: Callable, model: Model, rows: int, T: int) -> dict:
    """What comes out, and the gradient of everything, by name."""
    torch.manual_seed(T)
    tokens = torch.randint(0, 256, (rows, T))
    before = lived(rows, model.emb.weight.dtype)
    model.zero_grad()
    logits, after = forward(tokens, before)
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten())
    loss = loss + sum((layer[2] ** 2).sum() for layer in after) * 1e-3
    loss.backward()
    found = {"logits": logits, **{n: p.grad for n, p in model.named_parameters()}}
    for i, (old, new) in enumerate(zip(before, after, strict=True)):
        found |= {f"state {i}.{j}": x for j, x in enumerate(new)} | {f"first {i}": old[2].grad}
    return {name: x.detach().clone() for name, x in found.items()}


def worst(found: dict, expected: dict) -> tuple[float, str]:
    """The largest relative error, and of what."""
    assert found.keys() == expected.keys()
    return max(
        (float((found[n] - x).double().norm() / x.double().norm().clamp_min(1e-30)), n)
        for n, x in expected.items()
    )


@pytest.mark.parametrize("T", [1, SPAN - 1, SPAN, 2 * SPAN + 5])
def test_values_and_gradients_in_float64_are_those_of_pytorch(T: int) -> None:
    model = lively(SHAPE).double()
    expected = run(model, model, 2, T)
    error, where = worst(run(lambda t, s: fused.forward(model, t, s), model, 2, T), expected)
    assert error < 1e-10, where


def test_float32_is_as_close_as_float32_can_be() -> None:
    model = lively(SHAPE)
    found = run(lambda t, s: fused.forward(model, t, s), model, 3, 40)
    double = model.double()
    error, where = worst(found, run(double, double, 3, 40))
    assert error < 1e-4, where


def test_bf16_between_the_products_costs_what_autocast_costs() -> None:
    """Each against float64: the kernels may not be worse than PyTorch's own mixed precision."""
    model = lively(SHAPE)

    def narrow(forward: Callable) -> Callable:
        def narrowed(tokens, state):
            with torch.autocast("cpu", torch.bfloat16):
                logits, after = forward(tokens, state)
            return logits.float(), after

        return narrowed

    ours = run(narrow(lambda t, s: fused.forward(model, t, s)), model, 2, 70)
    theirs = run(narrow(model), model, 2, 70)
    double = model.double()
    exact = run(double, double, 2, 70)
    assert worst(ours, exact)[0] < 1.5 * worst(theirs, exact)[0]
    assert worst(ours, exact)[0] > 1e-4  # it was bf16


def test_a_width_that_is_no_power_of_two() -> None:
    torch.manual_seed(1)
    model = Model(Shape(192, 1)).double()
    tokens = torch.randint(0, 256, (1, 9))
    with torch.no_grad():
        expected, _ = model(tokens, [tuple(x.double() for x in s) for s in model.new_state(1)])
        found, _ = fused.forward(
            model, tokens, [tuple(x.double() for x in s) for s in model.new_state(1)]
        )
    assert torch.allclose(found, expected, atol=1e-12)
