# SPDX-License-Identifier: Apache-2.0
"""The network in PyTorch: names, initial values, and what it computes."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install -e '.[train]'")

from parrot.model.convert import checkpoint_dims, checkpoint_shape, checkpoint_source  # noqa: E402
from parrot.model.reference import Reference  # noqa: E402
from parrot.model.shape import Shape as FileShape  # noqa: E402
from parrot.model.shape import tensor_specs  # noqa: E402
from parrot.model.tokenizer import BYTE_VOCABULARY  # noqa: E402
from tools.net import Model, Shape  # noqa: E402

TEXT = "Hello. 你好，小鹦鹉！\x03\x06Hi!".encode()


def lively(shape: Shape) -> Model:
    """A network whose every tensor matters: the official start has many zeros."""
    torch.manual_seed(4)
    model = Model(shape)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.05 * torch.randn_like(p)
    return model


def squeezed(dims: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in dims if n != 1)


@pytest.mark.parametrize("shape", [Shape(64, 1), Shape(128, 3), Shape(512, 2)])
def test_names_and_sizes_are_those_of_the_official_checkpoints(shape: Shape) -> None:
    found = {n: squeezed(tuple(p.shape)) for n, p in Model(shape).named_parameters()}
    file_shape = FileShape.standard(shape.layers, shape.width)
    expected = {n: squeezed(d) for n, d in checkpoint_dims(file_shape).items()}
    assert found == expected


def test_logits_and_state_are_those_of_the_numpy_reference() -> None:
    model = lively(Shape(128, 3))
    tensors = {n: p.detach().numpy() for n, p in model.named_parameters()}
    dims = {n: a.shape for n, a in tensors.items()}
    source = checkpoint_source(tensors, BYTE_VOCABULARY)
    shape = checkpoint_shape(dims)
    judge = Reference(shape, {s.name: source.load(s.name) for s in tensor_specs(shape)})
    state = judge.new_state()
    expected = judge.forward(TEXT, state)
    with torch.no_grad():
        logits, after = model(torch.tensor([list(TEXT)]), model.new_state(1))
    assert np.abs(logits[0].numpy() - expected).max() < 1e-4
    assert np.abs(after[2][2][0].numpy() - state.wkv[2]).max() < 1e-4
    assert np.abs(after[1][0][0].numpy() - state.shift_att[1]).max() < 1e-4


def test_a_row_that_is_cut_goes_on_from_its_state() -> None:
    model = lively(Shape(64, 2))
    tokens = torch.tensor([list(TEXT), list(TEXT[::-1])])
    with torch.no_grad():
        whole, _ = model(tokens, model.new_state(2))
        first, state = model(tokens[:, :9], model.new_state(2))
        second, _ = model(tokens[:, 9:], state)
    assert torch.allclose(torch.cat((first, second), 1), whole, atol=1e-5)


def test_first_values_are_the_published_recipe() -> None:
    torch.manual_seed(0)
    shape = Shape(256, 6)
    z = {n: p.detach() for n, p in Model(shape).named_parameters()}
    C, last = 256, "blocks.5."
    assert z["emb.weight"].abs().max() <= 1e-4
    for name, bound in (("receptance", 0.5), ("key", 0.05), ("value", 0.5)):
        p = z[f"blocks.2.att.{name}.weight"]
        assert p.abs().max() <= bound / C**0.5
        assert float(p.std()) == pytest.approx(bound / C**0.5 / 3**0.5, rel=0.02)
    for name in ("blocks.1.att.output.weight", "blocks.1.ffn.value.weight", "blocks.3.att.w1"):
        assert not z[name].any()
    w2 = z["blocks.1.att.w2"]  # 32 orthogonal rows, each 0.1 long
    assert torch.allclose(w2 @ w2.T, 0.01 * torch.eye(32), atol=1e-6)
    head = z["head.weight"]
    assert torch.allclose(head @ head.T, 0.25 * torch.eye(256), atol=1e-5)
    # decay: -6 to 0 over the channels, bent more in deeper layers, with a zigzag in each head
    w0 = z["blocks.0.att.w0"].flatten()
    assert float(w0[0]) == pytest.approx(-6 + 0.5 - 2.5)
    assert float(w0[-1]) == pytest.approx(0.5 + 2.5, abs=1e-5)
    mid = -6 + 6 * (100 / 255) ** 2 + 0.5 + 2.5 * math.copysign(((36 - 31.5) / 31.5) ** 2, 1)
    assert float(z[last + "att.w0"].flatten()[100]) == pytest.approx(mid, abs=1e-5)
    assert float(z["blocks.0.att.x_r"].flatten()[64]) == pytest.approx(1 - 0.25**0.2)
    assert float(z[last + "ffn.x_k"].flatten()[64]) == pytest.approx(
        1 - 0.25 ** (1 / 6) ** 4, abs=1e-6
    )
    assert float(z[last + "att.ln_x.weight"][7]) == pytest.approx(1.0)
    assert float(z["blocks.0.att.ln_x.weight"][7]) == pytest.approx((1 / 6) ** 0.7)
    assert torch.equal(z["blocks.4.att.r_k"], torch.full((4, 64), -0.04))


def test_slow_channels_begin_almost_without_forgetting() -> None:
    torch.manual_seed(0)
    w0 = Model(Shape(128, 2), slow=3).blocks[1].att.w0.detach().flatten()
    slow = torch.arange(128) % 64 < 3
    decay = torch.exp(-math.exp(-0.5) * torch.sigmoid(w0[slow]))
    assert (math.log(0.5) / torch.log(decay) > 9000).all()
    official = Model(Shape(128, 2)).blocks[1].att.w0.detach().flatten()
    assert torch.equal(w0[~slow], official[~slow])
