# SPDX-License-Identifier: Apache-2.0
"""LoRA files in the engine: judged by the numpy reference on merged weights, and by refusals."""

from __future__ import annotations

import gc
import time
from pathlib import Path

import numpy as np
import pytest

import parrot
from parrot.base.errors import EngineError, MismatchError
from parrot.model.codec import TensorType
from parrot.model.lora import MATRICES, Update, matrix_dims, read_lora, write_lora
from parrot.model.random_model import write_random_model
from parrot.model.reference import Reference
from parrot.model.shape import Shape
from parrot.model.weights import open_model

SHAPE = Shape.standard(n_layer=3, n_embd=64, head_size=32)
TOKENS = list(np.random.default_rng(4).integers(0, 256, 21))


def random_updates(shape: Shape, rank: int = 5, seed: int = 1) -> list[Update]:
    dice = np.random.default_rng(seed)
    updates = []
    for layer in range(shape.n_layer):
        for matrix in MATRICES:
            n_out, n_in = matrix_dims(shape, matrix)
            a = dice.normal(0, n_in**-0.5, (rank, n_in)).astype(np.float32)
            b = dice.normal(0, 0.3, (n_out, rank)).astype(np.float32)
            updates.append(Update(layer, matrix, a, b))
    return updates


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("lora")
    found = {name: folder / name for name in ("model.gguf", "other.gguf", "q8.gguf", "x.lora")}
    write_random_model(found["model.gguf"], SHAPE, seed=1)
    write_random_model(found["other.gguf"], SHAPE, seed=2)
    write_random_model(found["q8.gguf"], SHAPE, seed=1, matrix=TensorType.Q8_0)
    model = parrot.Model.open(found["model.gguf"], threads=1)
    write_lora(found["x.lora"], model.id, random_updates(SHAPE))
    return found


def test_inv4_a_lora_computes_what_the_reference_does_with_merged_weights(
    paths: dict[str, Path],
) -> None:
    file = open_model(paths["model.gguf"])
    weights = file.weights()
    for update in random_updates(SHAPE):
        weights[update.name] = weights[update.name] + update.b @ update.a
    judge = Reference(file.shape, weights, np.float64)
    expected = judge.forward(TOKENS, judge.new_state())
    plain = parrot.Model.open(paths["model.gguf"], threads=1)
    model = plain.with_lora(paths["x.lora"])
    seen = model.forward(TOKENS, model.new_state(), every=True)
    assert np.abs(seen - expected).max() < 1e-4
    before = plain.forward(TOKENS, plain.new_state(), every=True)
    assert np.abs(before - expected).max() > 1, "this LoRA says nothing"


def test_a_life_goes_on_when_a_lora_is_put_on_and_taken_off(paths: dict[str, Path]) -> None:
    plain = parrot.Model.open(paths["model.gguf"], threads=1)
    worn = plain.with_lora(paths["x.lora"])
    state, twin = plain.new_state(), plain.new_state()
    for model in (plain, worn, plain):
        model.forward(TOKENS, state)
    assert state.position == 3 * len(TOKENS)
    assert worn.id == plain.id
    plain.forward(TOKENS * 3, twin)
    assert not np.array_equal(state.payload, twin.payload)
    loaded = worn.state_from_bytes(twin.to_bytes())
    assert np.array_equal(loaded.payload, twin.payload)


def test_a_switch_takes_less_than_50_ms(paths: dict[str, Path]) -> None:
    plain = parrot.Model.open(paths["model.gguf"], threads=1)
    taken = []
    for _ in range(5):
        begun = time.perf_counter()
        plain = plain.with_lora(paths["x.lora"])
        taken.append(time.perf_counter() - begun)
    assert min(taken) < 0.05


def test_a_twin_keeps_the_weights_it_borrows_alive(paths: dict[str, Path]) -> None:
    plain = parrot.Model.open(paths["q8.gguf"], threads=2)
    write_lora(paths["x.lora"].with_name("q8.lora"), plain.id, random_updates(SHAPE))
    worn = plain.with_lora(paths["x.lora"].with_name("q8.lora"))
    expected = plain.with_lora(paths["x.lora"].with_name("q8.lora")).forward(
        TOKENS, plain.new_state()
    )
    del plain
    gc.collect()
    assert np.array_equal(worn.forward(TOKENS, worn.new_state()), expected)


def test_a_second_lora_replaces_the_first(paths: dict[str, Path], tmp_path: Path) -> None:
    plain = parrot.Model.open(paths["model.gguf"], threads=1)
    write_lora(tmp_path / "two.lora", plain.id, random_updates(SHAPE, rank=2, seed=9))
    straight = plain.with_lora(tmp_path / "two.lora")
    round_about = plain.with_lora(paths["x.lora"]).with_lora(tmp_path / "two.lora")
    logits = [m.forward(TOKENS, m.new_state()) for m in (straight, round_about)]
    assert np.array_equal(*logits)


def test_a_lora_of_another_model_is_refused(paths: dict[str, Path], tmp_path: Path) -> None:
    other = parrot.Model.open(paths["other.gguf"], threads=1)
    with pytest.raises(MismatchError, match=r"trained on model [0-9a-f]{8}, this model is"):
        other.with_lora(paths["x.lora"])
    wide = Shape.standard(n_layer=3, n_embd=128, head_size=32)
    write_random_model(tmp_path / "wide.gguf", wide)
    with pytest.raises(MismatchError, match="for another model"):
        parrot.Model.open(tmp_path / "wide.gguf", threads=1).with_lora(paths["x.lora"])


def test_a_file_reads_back_what_was_written(paths: dict[str, Path]) -> None:
    model = parrot.Model.open(paths["model.gguf"], threads=1)
    seen = read_lora(paths["x.lora"], SHAPE, model.id)
    for update, written in zip(seen, random_updates(SHAPE), strict=True):
        assert (update.layer, update.matrix) == (written.layer, written.matrix)
        assert np.array_equal(update.a, written.a)
        assert np.array_equal(update.b, written.b)


@pytest.mark.parametrize(
    ("update", "error"),
    [
        ((3, 0, 1, (1, 64), (64, 1)), EngineError),
        ((0, 6, 1, (1, 64), (64, 1)), EngineError),
        ((0, 0, 65, (65, 64), (64, 65)), ValueError),
        ((0, 0, 0, (0, 64), (64, 0)), ValueError),
        ((0, 4, 1, (1, 64), (64, 1)), ValueError),  # ffn key wants (256, 1)
        ((0, 0, 2, (1, 64), (64, 2)), ValueError),
    ],
)
def test_the_binding_refuses_what_does_not_fit(
    paths: dict[str, Path], update: tuple, error: type[Exception]
) -> None:
    native = parrot.Model.open(paths["model.gguf"], threads=1)._native
    layer, matrix, rank, a, b = update
    item = (layer, matrix, rank, np.zeros(a, np.float32), np.zeros(b, np.float32))
    with pytest.raises(error):
        native.adapt((item,))
    good = (0, 0, 1, np.zeros((1, 64), np.float32), np.zeros((64, 1), np.float32))
    with pytest.raises(EngineError):
        native.adapt((good, good))
    with pytest.raises(ValueError, match="twin"):
        native.adapt((good,)).adapt((good,))
