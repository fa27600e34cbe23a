# SPDX-License-Identifier: Apache-2.0
"""The CUDA path, judged by the CPU engine.

Without a GPU the library is built for the emulated one (native/cuda/emulated): the same kernels and
the same host code, each CUDA thread a fiber. With PARROT_TEST_GPU=1 the same tests run on the GPU,
with the library that PARROT_CUDA names, and those that only a GPU can pass in reasonable time.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from parrot.base.errors import Aborted, EngineError
from parrot.engine import cuda_library
from parrot.engine.cuda import CudaModel, CudaState, Life, Speech
from parrot.engine.generate import Abort, Sampling, new_sampler
from parrot.engine.model import Model
from parrot.model.codec import TensorType
from parrot.model.random_model import SHAPES, write_random_model
from parrot.model.shape import Shape

ON_GPU = os.environ.get("PARROT_TEST_GPU") == "1"
TOKENS = np.random.default_rng(3).integers(0, 256, 2100).tolist()

gpu_only = pytest.mark.skipif(not ON_GPU, reason="needs a GPU: PARROT_TEST_GPU=1")
emulated_only = pytest.mark.skipif(ON_GPU, reason="asks for what only the emulated GPU can do")

# Head sizes and widths that fill no group, ranks of one number and more than a chunk.
ODD = Shape(
    n_layer=2, n_embd=51, head_size=17, n_ffn=83, n_vocab=300,
    rank_w=1, rank_a=17, rank_v=33, rank_g=7,
)  # fmt: skip
SMALL = Shape(
    n_layer=2, n_embd=64, head_size=32, n_ffn=128, n_vocab=256,
    rank_w=32, rank_a=32, rank_v=32, rank_g=32,
)  # fmt: skip
TINY = Shape(
    n_layer=2, n_embd=32, head_size=16, n_ffn=64, n_vocab=256,
    rank_w=4, rank_a=4, rank_v=4, rank_g=4,
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def library(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Let every model of this file that asks for a GPU find one."""
    patch = pytest.MonkeyPatch()
    if not ON_GPU:
        patch.setenv("PARROT_CUDA", str(request.getfixturevalue("emulated")))
    yield cuda_library.library_path()
    patch.undo()


@pytest.fixture(scope="session")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("cuda")
    made = {
        "odd": (ODD, TensorType.F32),
        "head128": (Shape.standard(1, 128, head_size=128), TensorType.F32),
        "F32": (SMALL, TensorType.F32),
        "F16": (SMALL, TensorType.F16),
        "Q8_0": (SMALL, TensorType.Q8_0),
        "talk": (TINY, TensorType.F32),
    }
    for name, (shape, kind) in made.items():
        write_random_model(folder / name, shape, seed=2, matrix=kind)
    # One whole head of 64 and no layer after it, for looking at stages.
    write_random_model(folder / "stages", Shape.standard(1, 64), seed=2, matrix=TensorType.Q8_0)
    return {name.name: name for name in folder.iterdir()}


def both(path: Path) -> tuple[Model, Model]:
    return Model.open(path, threads=1), Model.open(path, device="cuda:0")


def kl_nats(p_logits: np.ndarray, q_logits: np.ndarray) -> float:
    def log_softmax(x: np.ndarray) -> np.ndarray:
        x = x.astype(np.float64) - x.max(axis=-1, keepdims=True)
        return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))

    p, q = log_softmax(p_logits), log_softmax(q_logits)
    return float((np.exp(p) * (p - q)).sum(axis=-1).max())


# ---- the same numbers as the CPU


@pytest.mark.parametrize("name", ["odd", "head128", "F32"])
def test_inv4_f32_logits_and_state_are_those_of_the_cpu(name: str, paths: dict[str, Path]) -> None:
    cpu, gpu = both(paths[name])
    life, twin = cpu.new_state(), gpu.new_state()
    for part in (TOKENS[:1], TOKENS[1:2], TOKENS[2:8], TOKENS[8:9]):  # one row, and many
        expected = cpu.forward(part, life, every=True)
        assert np.abs(gpu.forward(part, twin, every=True) - expected).max() < 1e-4
    assert twin.position == life.position == 9
    assert np.abs(twin.payload - life.payload).max() < 1e-4
    assert np.abs(life.payload).max() > 1


@pytest.mark.parametrize("kind", ["F16", "Q8_0"])
def test_inv4_quantised_logits_lose_nothing_beside_the_cpu(
    kind: str, paths: dict[str, Path]
) -> None:
    cpu, gpu = both(paths[kind])
    life, twin, one = cpu.new_state(), gpu.new_state(), gpu.new_state()
    expected = cpu.forward(TOKENS[:40], life, every=True)
    assert kl_nats(expected, gpu.forward(TOKENS[:40], twin, every=True)) < 1e-4
    singly = np.stack([gpu.forward([token], one) for token in TOKENS[:8]])
    assert kl_nats(expected[:8], singly) < 1e-6  # one row rounds nothing


# A tile is 32 or, beyond 256 rows, 64 rows: below, at and above, a prime, and the larger tiles.
@pytest.mark.parametrize("n", [31, 32, 33, 37, pytest.param(257, id="large-tiles")])
def test_prefill_of_any_length_is_the_same_life(n: int, paths: dict[str, Path]) -> None:
    cpu, gpu = both(paths["Q8_0" if n > 64 else "F16"])
    life, twin = cpu.new_state(), gpu.new_state()
    expected, logits = cpu.forward(TOKENS[:n], life), gpu.forward(TOKENS[:n], twin)
    assert kl_nats(expected, logits) < 1e-4
    assert np.abs(twin.payload - life.payload).max() < 2e-2
    assert logits.shape == expected.shape


@pytest.mark.parametrize("n", [1, 2, 7, 33])
def test_batch_of_any_size_is_each_life_alone(n: int, paths: dict[str, Path]) -> None:
    cpu, gpu = both(paths["F32"])
    lives, twins = [cpu.new_state() for _ in range(n)], [gpu.new_state() for _ in range(n)]
    for step in range(2):  # the second replays the graph of the first
        tokens = TOKENS[step * n : step * n + n]
        expected, logits = cpu.forward_batch(tokens, lives), gpu.forward_batch(tokens, twins)
        assert np.abs(logits - expected).max() < 1e-4
    assert (
        max(np.abs(a.payload - b.payload).max() for a, b in zip(lives, twins, strict=True)) < 1e-4
    )


def test_lives_of_different_lengths_share_a_call(paths: dict[str, Path]) -> None:
    cpu, gpu = both(paths["F32"])
    texts = [b"a", b"the parrot", b"\xe9\xb9\xa6\xe9\xb9\x89", b"xy"]
    life, twin = cpu.new_state(), gpu.new_state()
    cpu.forward(b"said before", life)
    gpu.forward(b"said before", twin)
    assert np.allclose(gpu.score(texts, twin), cpu.score(texts, life), atol=1e-3)
    assert twin.position == life.position


def test_more_rows_than_a_call_takes_are_lived_in_order(
    paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parrot.engine.cuda.ROWS_MAX", 5)  # cuts runs in the middle
    cpu, gpu = both(paths["F32"])
    lives, twins = [cpu.new_state() for _ in range(3)], [gpu.new_state() for _ in range(3)]
    counts, tokens = np.array([7, 1, 6], np.int32), np.array(TOKENS[:14], np.int32)
    for every in (False, True):
        expected = cpu._run(tokens, tuple(lives), counts, every, None)
        logits = gpu._run(tokens, tuple(twins), counts, every, None)
        assert np.abs(logits - expected).max() < 1e-4
    assert [twin.position for twin in twins] == [14, 2, 12]


# ---- one state, two engines


def test_a_life_moves_between_gpu_and_cpu(paths: dict[str, Path], tmp_path: Path) -> None:
    cpu, gpu = both(paths["F32"])
    alone, there = cpu.new_state(), gpu.new_state()
    cpu.forward(TOKENS[:6], alone)
    gpu.forward(TOKENS[:6], there)
    there.save(tmp_path / "moved.state")
    here = cpu.load_state(tmp_path / "moved.state")
    assert here.position == 6
    expected = cpu.forward(TOKENS[6:8], alone)
    assert np.abs(cpu.forward(TOKENS[6:8], here) - expected).max() < 1e-4
    here.save(tmp_path / "back.state")
    back = gpu.load_state(tmp_path / "back.state")
    assert isinstance(back, CudaState)
    expected = cpu.forward(TOKENS[8:9], alone)
    assert np.abs(gpu.forward(TOKENS[8:9], back) - expected).max() < 1e-4


def test_an_untouched_state_comes_back_bit_for_bit(paths: dict[str, Path]) -> None:
    gpu = Model.open(paths["odd"], device="cuda:0")
    state = gpu.new_state()
    sent = np.random.default_rng(5).standard_normal(state.payload.size).astype(np.float32)
    np.copyto(state.payload, sent)
    assert state.board() is not None
    assert np.array_equal(state.payload, sent)


def test_twins_live_apart(paths: dict[str, Path]) -> None:
    gpu = Model.open(paths["F32"], device="cuda:0")
    state = gpu.new_state()
    gpu.forward(b"ab", state)
    twin = state.copy()
    assert twin.position == 2
    first = gpu.forward(b"c", twin)
    assert np.array_equal(gpu.forward(b"c", state), first)
    gpu.forward(b"d", twin)
    assert state.position == 3 and twin.position == 4
    assert not np.array_equal(state.payload, twin.payload)
    state.assign(twin)
    assert np.array_equal(gpu.forward(b"e", state), gpu.forward(b"e", twin))


# ---- speaking


SAYINGS = [
    {"temperature": 0.0},
    {"temperature": 0.9, "top_p": 0.8, "seed": 5},
    {"temperature": 1.5, "top_p": 1.0, "seed": 7, "stop": b""},
    {
        "temperature": 2.0,
        "seed": 9,
        "stop": b"a",
    },  # ends early: the stop is lived, nothing after it
]


@pytest.mark.parametrize("how", SAYINGS, ids=["greedy", "top-p", "all", "stopped"])
def test_a_reply_is_that_of_the_cpu(how: dict[str, object], paths: dict[str, Path]) -> None:
    cpu, gpu = both(paths["talk"])
    life, twin = cpu.new_state(), gpu.new_state()
    n = 512 if ON_GPU else 24
    expected = b"".join(cpu.generate(life, b"hello", max_bytes=n, **how))
    assert b"".join(gpu.generate(twin, b"hello", max_bytes=n, **how)) == expected
    assert len(expected) > 4
    assert twin.position == life.position
    assert np.abs(twin.payload - life.payload).max() < 1e-4
    assert twin.logits is not None and np.abs(twin.logits - life.logits).max() < 1e-4


def test_pieces_of_a_reply_are_whole_characters(paths: dict[str, Path]) -> None:
    gpu = Model.open(paths["talk"], device="cuda:0")
    pieces = list(gpu.generate(gpu.new_state(), b"x", max_bytes=35, temperature=3.0, top_p=1.0))
    assert len(pieces) > 1
    assert all(piece.decode() for piece in pieces)  # raises inside a character


SETTINGS = [
    Sampling(temperature=1.0, top_p=1.0),
    Sampling(temperature=0.7, top_p=0.5, min_p=0.02),
    Sampling(temperature=1.3, top_k=5),
    Sampling(temperature=0.9, top_k=40, top_p=0.9, repetition=1.3, window=11),
    Sampling(temperature=0.0, repetition=1.5, window=256),
    Sampling(temperature=1e-3, top_p=0.9),
]


@pytest.mark.parametrize("how", SETTINGS, ids=range(len(SETTINGS)))
@pytest.mark.parametrize("is_bytes", [True, False])
def test_choices_are_those_of_the_host_sampler(
    how: Sampling, is_bytes: bool, paths: dict[str, Path]
) -> None:
    gpu = Model.open(paths["talk"], device="cuda:0")
    banned = [3, 77, 200] if is_bytes else []
    state, rng = gpu.new_state(), np.random.default_rng(11)
    speech = Speech(how, 42, np.array(banned, np.int32), -1, is_utf8=is_bytes)
    host = new_sampler(how, 42, 256, is_bytes=is_bytes, stop=frozenset(range(256)) - {*banned})
    if is_bytes:  # bans what replies may not hold, so ask for the same
        speech._banned = np.array(
            [b for b in [*range(9), *range(11, 32), 127] if b in banned], np.int32
        )
    for i in range(6):
        logits = rng.standard_normal(256).astype(np.float32) * 3
        if i == 3:
            logits[:100] = logits[0]  # ties
            logits[5] = np.nan
        chosen = host.choose(logits.copy(), 40 - i)
        host.feed(chosen)
        assert speech.say(state, 1, 40 - i, logits) == [chosen]
        assert speech.utf8_need() == host.utf8_need()
    assert state.position == 6


def test_choosing_from_no_number_is_an_error(paths: dict[str, Path]) -> None:
    gpu = Model.open(paths["talk"], device="cuda:0")
    state = gpu.new_state()
    speech = Speech(Sampling(), 1, np.zeros(0, np.int32), -1, is_utf8=False)
    with pytest.raises(EngineError, match="no logit that may be chosen"):
        speech.say(state, 4, 4, np.full(256, np.nan, np.float32))
    assert state.position == 0 and not state.payload.any()


# ---- abort, and what breaks the contract


def test_abort_stops_between_calls(paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parrot.engine.cuda.ROWS_MAX", 3)
    gpu = Model.open(paths["F32"], device="cuda:0")
    state, abort = gpu.new_state(), Abort()
    abort.set()
    with pytest.raises(Aborted, match="after 0 of 9"):
        gpu.forward(TOKENS[:9], state, abort=abort)
    assert state.position == 0
    lived = CudaModel._forward

    def live_one_call(self: CudaModel, *args: object) -> None:
        lived(self, *args)  # type: ignore[arg-type]
        abort.set()

    abort.clear()
    monkeypatch.setattr(CudaModel, "_forward", live_one_call)
    with pytest.raises(Aborted, match="after 3 of 9") as caught:
        gpu.forward(TOKENS[:9], state, abort=abort)
    assert caught.value.n_done == state.position == 3


def test_bad_calls_are_refused_and_nothing_is_lived(paths: dict[str, Path]) -> None:
    cpu, gpu = both(paths["F32"])
    state = gpu.new_state()
    for token in (256, -1):
        with pytest.raises(EngineError, match="outside the vocabulary"):
            gpu.forward([1, token], state)
    with pytest.raises(ValueError, match="none twice"):
        gpu.forward_batch([1, 2], [state, state])
    with pytest.raises(ValueError, match="this model's"):
        gpu.forward([1], cpu.new_state())
    with pytest.raises(ValueError, match="no tokens"):
        gpu.forward_batch([], [])
    assert state.position == 0 and not state.payload.any()


def test_the_library_refuses_batch_0_and_what_does_not_add_up(paths: dict[str, Path]) -> None:
    cuda = CudaModel(paths["F32"], "cuda")
    life, other = cuda.new_life(), CudaModel(paths["F32"], "cuda").new_life()
    out = np.zeros((4, 256), np.float32)

    def call(tokens: list[int], lives: list[Life], counts: list[int]) -> None:
        ids = np.array([*tokens, 0], np.int32)[: len(tokens)]
        cuda._forward(ids, lives, np.array([*counts, 0], np.int32)[: len(counts)], 1, out)

    with pytest.raises(EngineError, match="no states"):
        call([], [], [])
    for counts in ([0], [-1], [1025]):
        with pytest.raises(EngineError, match="counts must be 1 or more"):
            call([1], [life], counts)
    with pytest.raises(EngineError, match="a state twice"):
        call([1, 2], [life, life], [1, 1])
    with pytest.raises(EngineError, match="another GPU"):
        call([1], [other], [1])
    with pytest.raises(EngineError, match="outside the vocabulary"):
        call([256], [life], [1])
    payload = np.ones(life_len(cuda, paths["F32"]), np.float32)
    life.download(payload)
    assert not payload.any()


def life_len(cuda: CudaModel, path: Path) -> int:
    return Model.open(path, threads=1).describe()["state_len"]


# ---- graphs, order, stages


def lived_bits(path: Path, plain: bool = False) -> list[np.ndarray]:
    cuda = CudaModel(path, "cuda", plain=plain)
    n = Model.open(path, threads=1).describe()["state_len"]
    lives, out = (
        [cuda.new_life() for _ in range(3)],
        [np.zeros((k, 256), np.float32) for k in (1, 3, 9)],
    )
    ids, ones = np.array(TOKENS[:9], np.int32), np.ones(3, np.int32)
    cuda._forward(ids[:1], lives[:1], ones[:1], 1, out[0])
    cuda._forward(ids[:3], lives, ones, 1, out[1])
    cuda._forward(ids, lives[:2], np.array([5, 4], np.int32), 2, out[2])
    payload = np.zeros(n, np.float32)
    lives[0].download(payload)
    return [*out, payload]


@pytest.mark.parametrize("kind", ["F32", "Q8_0"])
def test_inv8_graph_and_plain_launches_give_the_same_bits(
    kind: str, paths: dict[str, Path]
) -> None:
    for a, b in zip(lived_bits(paths[kind]), lived_bits(paths[kind], plain=True), strict=True):
        assert np.isfinite(a).all() and np.array_equal(a, b)


@emulated_only
@pytest.mark.parametrize("kind", ["odd", "Q8_0"])
def test_the_order_of_threads_between_barriers_does_not_matter(
    kind: str, paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = lived_bits(paths[kind]) if kind != "odd" else None
    for seed in (1, 2):
        monkeypatch.setenv("PARROT_EMULATED_GPU", f"seed={seed}")
        if expected is None:
            expected = odd_bits(paths[kind])
        seen = odd_bits(paths[kind]) if kind == "odd" else lived_bits(paths[kind])
        assert all(np.array_equal(a, b) for a, b in zip(expected, seen, strict=True))


def odd_bits(path: Path) -> list[np.ndarray]:
    model = Model.open(path, device="cuda")
    state = model.new_state()
    return [model.forward(TOKENS[:1], state), model.forward(TOKENS[1:4], state), state.payload]


ONE_ROW = [
    *("r", "down_w", "down_a", "down_g", "k", "v", "v_first", "w", "a", "gate", "y"),
    *("norm_att", "ffn", "norm_ffn", "x", "logits"),
]
MANY_ROWS = [
    *("r", "down_w", "down_a", "down_g", "v_first", "w", "a", "k", "v", "v_gate", "gate", "y"),
    *("out", "ffn", "x", "ends", "logits"),
]


@gpu_only
@pytest.mark.parametrize("n_rows", [1, 5], ids=["decode", "wide"])
def test_every_stage_of_a_layer_is_that_of_the_emulated_gpu(
    n_rows: int, paths: dict[str, Path], emulated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names the first stage that differs: the kernel that writes it is where to look."""
    shape, ids = Shape.standard(1, 64), np.array(TOKENS[:n_rows], np.int32)
    widths = {"ffn": shape.n_ffn, "logits": 256} | {f"down_{c}": shape.rank_w for c in "wa"}
    widths["down_g"] = shape.rank_g
    one_logits = {"ends", "logits"}

    def stages() -> dict[str, np.ndarray]:
        cuda = CudaModel(paths["stages"], "cuda", plain=True)
        out = np.zeros((1, 256), np.float32)
        cuda._forward(ids, [cuda.new_life()], np.array([n_rows], np.int32), 1, out)
        return {
            name: cuda.probe(name, widths.get(name, 64) * (1 if name in one_logits else n_rows))
            for name in (ONE_ROW if n_rows == 1 else MANY_ROWS)
        }

    seen = stages()
    monkeypatch.setenv("PARROT_CUDA", str(emulated))
    for name, expected in stages().items():
        apart = np.abs(seen[name] - expected).max() / np.abs(expected).max()
        assert apart < (1e-5 if n_rows == 1 else 2e-3), f"{name} is off by {apart:.2g} of its size"


@emulated_only
def test_stages_can_be_looked_at(paths: dict[str, Path]) -> None:
    cuda = CudaModel(paths["stages"], "cuda")
    out = np.zeros((1, 256), np.float32)
    cuda._forward(np.array([65], np.int32), [cuda.new_life()], np.ones(1, np.int32), 1, out)
    assert np.array_equal(cuda.probe("logits", 256), out[0])
    assert all(np.isfinite(cuda.probe(name, 8)).all() for name in ONE_ROW)
    with pytest.raises(EngineError, match="no such stage"):
        cuda.probe("soul", 1)


# ---- only on a GPU: sizes that take the emulated one minutes


@gpu_only
@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0"])
@pytest.mark.parametrize("name", ["S", "L", "64k"])
def test_gpu_shapes(name: str, kind: str, tmp_path: Path) -> None:
    shape = Shape.standard(2, 512, n_vocab=65_536) if name == "64k" else SHAPES[name]
    write_random_model(tmp_path / "m", shape, seed=4, matrix=TensorType[kind])
    cpu, gpu = both(tmp_path / "m")
    life, twin = cpu.new_state(), gpu.new_state()
    expected = cpu.forward(TOKENS[:300], life, every=True)
    logits = gpu.forward(TOKENS[:300], twin, every=True)
    assert kl_nats(expected, logits) < 1e-4
    assert kind != "F32" or np.abs(expected - logits).max() < 1e-4
    for token in TOKENS[300:320]:
        expected, logits = cpu.forward([token], life), gpu.forward([token], twin)
        assert kl_nats(expected, logits) < 1e-4
    assert kind != "F32" or np.abs(expected - logits).max() < 1e-4


@gpu_only
@pytest.mark.parametrize("n", [255, 256, 257, 1023, 1024])
def test_gpu_batches(n: int, paths: dict[str, Path]) -> None:
    cpu, gpu = both(paths["F32"])
    lives, twins = [cpu.new_state() for _ in range(n)], [gpu.new_state() for _ in range(n)]
    for step in range(2):
        tokens = TOKENS[step * n : step * n + n]
        expected, logits = cpu.forward_batch(tokens, lives), gpu.forward_batch(tokens, twins)
        assert np.abs(logits - expected).max() < 1e-4


@gpu_only
def test_gpu_greedy_text_goes_on_after_moving(tmp_path: Path) -> None:
    write_random_model(tmp_path / "m", SHAPES["S"], seed=4)
    cpu, gpu = both(tmp_path / "m")
    life = gpu.new_state()
    gpu.forward(b"grown on the GPU, ", life)
    moved, stay = cpu.state_from_bytes(life.to_bytes()), life.copy()
    expected = b"".join(gpu.generate(stay, b"and on", temperature=0, max_bytes=512, stop=b""))
    assert (
        b"".join(cpu.generate(moved, b"and on", temperature=0, max_bytes=512, stop=b"")) == expected
    )
    assert len(expected) > 500


def test_structs_have_the_sizes_of_the_header_s() -> None:
    assert ctypes.sizeof(cuda_library.SamplerC) == 1048
    assert ctypes.sizeof(cuda_library.Device) == 304
