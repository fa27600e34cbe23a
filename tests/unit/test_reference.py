# SPDX-License-Identifier: Apache-2.0
"""The oracle, judged by the PyPI package `rwkv`: live where it is installed, recorded elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from parrot.model.codec import TensorType
from parrot.model.convert import checkpoint_source
from parrot.model.random_model import SHAPES, random_checkpoint, write_random_model
from parrot.model.reference import Reference, wkv_step
from parrot.model.shape import Shape, tensor_specs
from parrot.model.tokenizer import BYTE_VOCABULARY
from parrot.model.weights import open_model
from tests.golden import make_reference

GOLDEN = Path(make_reference.__file__).parent
TOLERANCE = 1e-4  # of a logit in f32; the worst seen is 6e-6


def reference_of(shape: Shape, seed: int = 1, dtype: type = np.float64) -> Reference:
    source = checkpoint_source(random_checkpoint(shape, seed), [None] * shape.n_vocab)
    return Reference(shape, {s.name: source.load(s.name) for s in tensor_specs(shape)}, dtype)


SMALL = reference_of(Shape.standard(n_layer=2, n_embd=64))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_inv4_logits_are_those_recorded_from_rwkv(dtype: type) -> None:
    model = open_model(GOLDEN / "tiny.gguf")
    with np.load(GOLDEN / "tiny.npz") as golden:
        tokens, expected = golden["tokens"].tolist(), golden["logits"]
    reference = Reference(model.shape, model.weights(), dtype)
    logits = reference.forward(tokens, reference.new_state())
    assert logits.dtype == dtype
    assert expected.std() > 0.5
    assert np.abs(logits - expected).max() < TOLERANCE


def test_golden_model_is_made_as_it_says(tmp_path: Path) -> None:
    make_reference.write_tiny(tmp_path / "tiny.gguf")
    assert (tmp_path / "tiny.gguf").read_bytes() == (GOLDEN / "tiny.gguf").read_bytes()


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # met inside `rwkv`
@pytest.mark.parametrize(
    ("shape", "n_tokens"),
    [
        pytest.param(SHAPES["S"], 24, id="S"),
        pytest.param(SHAPES["M"], 12, id="M"),
        pytest.param(Shape.standard(2, 64, n_vocab=65_536), 8, id="64k"),
    ],
)
def test_inv4_logits_are_those_of_rwkv(shape: Shape, n_tokens: int, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("rwkv", reason="the package rwkv is not installed")
    tokens = np.random.default_rng(2).integers(0, shape.n_vocab, n_tokens).tolist()
    reference = reference_of(shape)
    expected = make_reference.rwkv_logits(random_checkpoint(shape), tokens, tmp_path)
    assert np.abs(reference.forward(tokens, reference.new_state()) - expected).max() < TOLERANCE


def test_a_sequence_is_its_steps_and_may_be_cut_anywhere() -> None:
    tokens = list(b"a parrot")
    whole, cut = SMALL.new_state(), SMALL.new_state()
    logits = SMALL.forward(tokens, whole)
    parts = [SMALL.forward(tokens[:3], cut), [SMALL.step(t, cut) for t in tokens[3:]]]
    assert np.array_equal(logits, np.concatenate(parts))
    assert np.array_equal(whole.wkv, cut.wkv)
    assert np.array_equal(whole.shift_att, cut.shift_att)
    assert np.array_equal(whole.shift_ffn, cut.shift_ffn)


def test_the_state_remembers_every_byte() -> None:
    first, second = (SMALL.forward(text, SMALL.new_state())[-1] for text in (b"a....", b"b...."))
    assert np.abs(first - second).max() > 1e-3


def test_layer_0_value_residual_is_not_read() -> None:
    shape = Shape.standard(n_layer=2, n_embd=64)
    source = checkpoint_source(random_checkpoint(shape), BYTE_VOCABULARY)
    weights = {spec.name: source.load(spec.name) for spec in tensor_specs(shape)}
    plain = Reference(shape, weights)
    for i in range(3):
        weights[f"blk.0.time_mix_v{i}.weight"] = weights[f"blk.0.time_mix_v{i}.weight"] + 1
    other = Reference(shape, weights)
    states = plain.new_state(), other.new_state()
    assert np.array_equal(plain.step(65, states[0]), other.step(65, states[1]))


def test_wkv_step_worked_by_hand() -> None:
    # One head of two channels. Old S reads kk = (1, 0) as its first column (1, 3).
    S = np.array([[[1.0, 2.0], [3.0, 4.0]]])
    one = {
        "r": [1.0, 10.0], "w": [0.5, 1.0], "k": [1.0, 2.0], "v": [5.0, 7.0],
        "kk": [1.0, 0.0], "iclr": [0.5, 0.9],
    }  # fmt: skip
    y = wkv_step(S, **{name: np.array([value]) for name, value in one.items()})
    # Decay: (.5 2; 1.5 4). Erase (1 3)ᵀ(.5 0): (0 2; 0 4). Write (5 7)ᵀ(1 2): (5 12; 7 18).
    assert S.tolist() == [[[5, 12], [7, 18]]]
    assert y.tolist() == [[125, 187]]


def test_quantized_weights_still_say_nearly_the_same(tmp_path: Path) -> None:
    path, shape = tmp_path / "q.gguf", Shape.standard(n_layer=2, n_embd=64)
    write_random_model(path, shape, matrix=TensorType.Q8_0)
    quantized = Reference(shape, open_model(path).weights())
    tokens = list(b"a parrot talks")
    p = softmax(SMALL.forward(tokens, SMALL.new_state()))
    q = softmax(quantized.forward(tokens, quantized.new_state()))
    divergence_bits = (p * np.log2(p / q)).sum(axis=1)
    assert 1e-9 < divergence_bits.max() < 0.002


def softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def test_reference_can_be_read_in_one_sitting() -> None:
    import parrot.model.reference as module

    assert len(Path(module.__file__).read_text().splitlines()) <= 150
