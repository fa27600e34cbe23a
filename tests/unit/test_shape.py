# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses

import pytest

from parrot.base.errors import FormatError
from parrot.model.convert import checkpoint_dims
from parrot.model.random_model import SHAPES, random_checkpoint
from parrot.model.shape import BOUNDS, Kind, Shape, tensor_specs

SMALL = Shape.standard(n_layer=2, n_embd=64)


def test_public_0_1b_has_its_published_number_of_weights() -> None:
    # C 768, 12 layers, World vocabulary. Source: RWKV-7, arXiv:2503.14456, table of model sizes.
    shape = Shape(12, 768, 64, 3072, 65_536, rank_w=64, rank_a=64, rank_v=32, rank_g=128)
    assert shape.n_weights == 191_034_624


def test_weights_are_those_of_a_checkpoint() -> None:
    z = random_checkpoint(SMALL)
    assert SMALL.n_weights == sum(value.size for value in z.values())
    assert {name: value.squeeze().shape for name, value in z.items()} == {
        name: tuple(n for n in dims if n > 1) for name, dims in checkpoint_dims(SMALL).items()
    }


def test_state_of_shape_s_has_the_documented_size() -> None:
    assert 4 * SHAPES["S"].state_len == 405_504


def test_layer_0_has_the_value_residual_that_llama_cpp_wants() -> None:
    shape = Shape(2, 64, 32, 128, 256, rank_w=8, rank_a=16, rank_v=24, rank_g=40)
    dims = {spec.name: spec.dims for spec in tensor_specs(shape)}
    assert dims["blk.0.time_mix_v1.weight"] == (16, 64)
    assert dims["blk.1.time_mix_v1.weight"] == (24, 64)
    assert dims["blk.1.time_mix_v2.weight"] == (64, 24)


def test_tensor_names_are_unique_and_vectors_are_small() -> None:
    specs = list(tensor_specs(SMALL))
    assert len({spec.name for spec in specs}) == len(specs) == 6 + 2 * 28
    assert all(len(s.dims) == 1 or s.dims[0] == 6 for s in specs if s.kind is Kind.VECTOR)


@pytest.mark.parametrize("field", BOUNDS)
def test_each_field_is_bounded_on_both_sides(field: str) -> None:
    low, high = BOUNDS[field]
    for value in (low - 1, high + 1):
        with pytest.raises(FormatError, match=f"model shape: {field} is .*expected"):
            dataclasses.replace(SMALL, **{field: value})


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(FormatError, match="n_embd is 64, expected a multiple of head_size 48"):
        dataclasses.replace(SMALL, head_size=48)
