# SPDX-License-Identifier: Apache-2.0
"""The numbers of the CUDA path, judged by the oracle and by the CPU engine (cuda_lives.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from parrot.engine.model import Model
from parrot.model.codec import TensorType
from parrot.model.convert import checkpoint_source
from parrot.model.random_model import made_up_vocabulary, random_checkpoint, write_random_model
from parrot.model.reference import Reference
from parrot.model.shape import Shape
from parrot.model.weights import open_model, write_model
from tests.unit.cuda_lives import TOKENS, both, kl_nats

pytestmark = pytest.mark.usefixtures("cuda_library")


# ---- the oracle


# Whatever the weights: with one f16 a number, tensor cores would be 4e-3 away.
@pytest.mark.parametrize("name", ["odd", "odd-F16", "head128", "F32", "F16", "Q8_0"])
def test_inv4_logits_are_those_of_the_oracle(name: str, cuda_paths: dict[str, Path]) -> None:
    file = open_model(cuda_paths[name])
    oracle = Reference(file.shape, file.weights(), np.float64)
    gpu = Model.open(cuda_paths[name], device="cuda:0")
    life, twin = oracle.new_state(), gpu.new_state()
    for part in (TOKENS[:1], TOKENS[1:2], TOKENS[2:7], TOKENS[7:42]):  # decode, walk, chunks
        expected = oracle.forward(part, life)
        assert np.abs(gpu.forward(part, twin, every=True) - expected).max() < 1e-4


# ---- the same numbers as the CPU


@pytest.mark.parametrize("name", ["odd", "head128", "F32"])
def test_inv4_f32_logits_and_state_are_those_of_the_cpu(
    name: str, cuda_paths: dict[str, Path]
) -> None:
    cpu, gpu = both(cuda_paths[name])
    life, twin = cpu.new_state(), gpu.new_state()
    for part in (TOKENS[:1], TOKENS[1:2], TOKENS[2:8], TOKENS[8:9]):  # one row, and many
        expected = cpu.forward(part, life, every=True)
        assert np.abs(gpu.forward(part, twin, every=True) - expected).max() < 1e-4
    assert twin.position == life.position == 9
    assert np.abs(twin.payload - life.payload).max() < 1e-4
    assert np.abs(life.payload).max() > 1


@pytest.mark.parametrize("kind", ["F16", "Q8_0"])
def test_inv4_quantised_logits_lose_nothing_beside_the_cpu(
    kind: str, cuda_paths: dict[str, Path]
) -> None:
    cpu, gpu = both(cuda_paths[kind])
    life, twin, one = cpu.new_state(), gpu.new_state(), gpu.new_state()
    expected = cpu.forward(TOKENS[:40], life, every=True)
    assert kl_nats(expected, gpu.forward(TOKENS[:40], twin, every=True)) < 1e-6
    singly = np.stack([gpu.forward([token], one) for token in TOKENS[:8]])
    assert kl_nats(expected[:8], singly) < 1e-6


# A tile is 32 or, beyond 256 rows, 64 rows: below, at and above, a prime, and the larger tiles.
@pytest.mark.parametrize("n", [31, 32, 33, 37, pytest.param(257, id="large-tiles")])
def test_prefill_of_any_length_is_the_same_life(n: int, cuda_paths: dict[str, Path]) -> None:
    cpu, gpu = both(cuda_paths["Q8_0" if n > 64 else "F16"])
    life, twin = cpu.new_state(), gpu.new_state()
    expected, logits = cpu.forward(TOKENS[:n], life), gpu.forward(TOKENS[:n], twin)
    assert kl_nats(expected, logits) < 1e-6
    assert np.abs(twin.payload - life.payload).max() < 2e-3  # the CPU rounds inputs to 16 bits
    assert logits.shape == expected.shape


@pytest.mark.parametrize(
    ("n", "name"),
    [(1, "F32"), (2, "F32"), (7, "Q8_0"), (32, "F16"), (33, "F32"), (257, "F16"), (1024, "least")],
)
def test_batch_of_any_size_is_each_life_alone(
    n: int, name: str, cuda_paths: dict[str, Path]
) -> None:
    cpu, gpu = both(cuda_paths[name])
    tolerance = 1e-4 if name in ("F32", "least") else 2e-3  # the CPU rounds inputs to 16 bits
    lives, twins = [cpu.new_state() for _ in range(n)], [gpu.new_state() for _ in range(n)]
    for step in range(2):  # the second replays the graph of the first
        tokens = TOKENS[step * n : step * n + n]
        expected, logits = cpu.forward_batch(tokens, lives), gpu.forward_batch(tokens, twins)
        assert np.abs(logits - expected).max() < tolerance
    for life, twin in zip(lives, twins, strict=True):
        assert np.abs(life.payload - twin.payload).max() < tolerance


def test_lives_of_different_lengths_share_a_call(cuda_paths: dict[str, Path]) -> None:
    cpu, gpu = both(cuda_paths["F32"])
    texts = [b"a", b"the parrot", b"\xe9\xb9\xa6\xe9\xb9\x89", b"xy"]
    life, twin = cpu.new_state(), gpu.new_state()
    cpu.forward(b"said before", life)
    gpu.forward(b"said before", twin)
    assert np.allclose(gpu.score(texts, twin), cpu.score(texts, life), atol=1e-3)
    assert twin.position == life.position


def test_more_rows_than_a_call_takes_are_lived_in_order(
    cuda_paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parrot.engine.cuda.ROWS_MAX", 5)  # cuts runs in the middle
    cpu, gpu = both(cuda_paths["F32"])
    lives, twins = [cpu.new_state() for _ in range(3)], [gpu.new_state() for _ in range(3)]
    counts, tokens = np.array([7, 1, 6], np.int32), np.array(TOKENS[:14], np.int32)
    for every in (False, True):
        expected = cpu._run(tokens, tuple(lives), counts, every, None)
        logits = gpu._run(tokens, tuple(twins), counts, every, None)
        assert np.abs(logits - expected).max() < 1e-4
    assert [twin.position for twin in twins] == [14, 2, 12]


# ---- sizes: one, one below, at and one above what a block or a group takes, and primes


def shape_of(n_embd: int, head_size: int, n_ffn: int, rank: int, n_vocab: int) -> Shape:
    return Shape(
        n_layer=2, n_embd=n_embd, head_size=head_size, n_ffn=n_ffn, n_vocab=n_vocab,
        rank_w=rank, rank_a=rank, rank_v=rank, rank_g=rank,
    )  # fmt: skip


# A block has 256 threads and takes 16 rows of a product a round, 32 rows of a head, 32 outputs of a
# tile; a lane takes 16 weights; a line of weights is padded to 32.
SIZES = [
    shape_of(16, 16, 16, 1, 256),
    shape_of(19, 19, 17, 15, 256),
    shape_of(62, 31, 31, 31, 256),
    shape_of(96, 32, 32, 32, 257),
    shape_of(99, 33, 33, 33, 271),
    shape_of(63, 63, 16, 16, 272),
    shape_of(65, 65, 17, 17, 273),
    shape_of(127, 127, 47, 2, 287),
    shape_of(255, 51, 255, 3, 288),
    shape_of(256, 64, 256, 64, 289),
    shape_of(258, 43, 257, 65, 1024),
]


@pytest.mark.parametrize("shape", SIZES, ids=lambda s: f"C{s.n_embd}-N{s.head_size}-F{s.n_ffn}")
@pytest.mark.parametrize("kind", [TensorType.F32, TensorType.F16], ids=["F32", "F16"])
def test_shapes_that_fill_no_block(shape: Shape, kind: TensorType, tmp_path: Path) -> None:
    write_random_model(tmp_path / "m", shape, seed=6, matrix=kind)
    cpu, gpu = both(tmp_path / "m")
    life, twin = cpu.new_state(), gpu.new_state()
    tokens = [token % shape.n_vocab for token in TOKENS[:20]]
    for part in (tokens[:1], tokens[1:19], tokens[19:]):  # one row, a chunk and two, one row
        expected, logits = cpu.forward(part, life, every=True), gpu.forward(part, twin, every=True)
        if kind is TensorType.F32:
            assert np.abs(logits - expected).max() < 1e-4
        assert kl_nats(expected, logits) < 1e-6


# ---- the recurrence in chunks of 16


@pytest.mark.parametrize("name", ["odd", "head128", "F32"])
@pytest.mark.parametrize("n", [15, 16, 17, 31, 32, 33, 53])
def test_chunks_are_the_walk(n: int, name: str, cuda_paths: dict[str, Path]) -> None:
    cpu, gpu = both(cuda_paths[name])
    life, twin = cpu.new_state(), gpu.new_state()
    for at in (0, n):  # from nothing, then from what the chunks left
        expected = cpu.forward(TOKENS[at : at + n], life, every=True)
        assert np.abs(gpu.forward(TOKENS[at : at + n], twin, every=True) - expected).max() < 1e-4
    assert np.abs(twin.payload - life.payload).max() < 1e-4


def test_chunks_of_lives_of_different_lengths(cuda_paths: dict[str, Path]) -> None:
    cpu, gpu = both(cuda_paths["F32"])
    counts = np.array([33, 1, 16, 15, 2], np.int32)
    tokens = np.array(TOKENS[: counts.sum()], np.int32)
    lives, twins = [cpu.new_state() for _ in counts], [gpu.new_state() for _ in counts]
    expected = cpu._run(tokens, tuple(lives), counts, True, None)
    assert np.abs(gpu._run(tokens, tuple(twins), counts, True, None) - expected).max() < 1e-4
    for life, twin in zip(lives, twins, strict=True):
        assert np.abs(twin.payload - life.payload).max() < 1e-4


def test_chunks_keep_their_digits_where_all_is_forgotten_fastest(tmp_path: Path) -> None:
    drawn = random_checkpoint(Shape.standard(2, 64), seed=8)
    for name, values in drawn.items():
        if name.endswith(("att.w0", "att.a0")):  # decay 0.545 everywhere, erased whole
            values += 20.0
    write_model(tmp_path / "m", checkpoint_source(drawn, made_up_vocabulary(256)), TensorType.F32)
    cpu, gpu = both(tmp_path / "m")
    life, twin = cpu.new_state(), gpu.new_state()
    expected = cpu.forward(TOKENS[:64], life, every=True)
    assert np.abs(gpu.forward(TOKENS[:64], twin, every=True) - expected).max() < 1e-4
    assert np.abs(twin.payload - life.payload).max() < 1e-4
