# SPDX-License-Identifier: Apache-2.0
"""Lives on the GPU: they move, speak, stop, refuse, and do not depend on order (cuda_lives.py)."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest

from parrot.base.errors import Aborted, EngineError
from parrot.engine import cuda_library
from parrot.engine.cuda import CudaModel, CudaState, Life, Speech
from parrot.engine.generate import Abort, Sampling, new_sampler
from parrot.engine.model import Model
from tests.unit.cuda_lives import ON_GPU, TOKENS, both, emulated_only, handles, kl_nats

pytestmark = pytest.mark.usefixtures("cuda_library")


# ---- one state, two engines


def test_a_life_moves_between_gpu_and_cpu(cuda_paths: dict[str, Path], tmp_path: Path) -> None:
    cpu, gpu = both(cuda_paths["F32"])
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


@pytest.mark.parametrize("grown_on", ["cpu", "gpu"])
def test_512_greedy_bytes_are_the_same_after_moving(
    grown_on: str, cuda_paths: dict[str, Path]
) -> None:
    cpu, gpu = both(cuda_paths["least"])
    home, abroad = (cpu, gpu) if grown_on == "cpu" else (gpu, cpu)
    life = home.new_state()
    home.forward(b"grown at home, ", life)
    moved = abroad.state_from_bytes(life.to_bytes())
    said = [
        b"".join(model.generate(state, b"and on", temperature=0, max_bytes=512, stop=b""))
        for model, state in ((home, life), (abroad, moved))
    ]
    assert said[0] == said[1] and len(said[0]) > 500
    assert life.position == moved.position
    assert np.abs(life.payload - moved.payload).max() < 1e-4


@pytest.mark.parametrize("grown_on", ["cpu", "gpu"])
def test_a_quantised_life_loses_nothing_by_moving(
    grown_on: str, cuda_paths: dict[str, Path]
) -> None:
    cpu, gpu = both(cuda_paths["Q8_0"])
    home, abroad = (cpu, gpu) if grown_on == "cpu" else (gpu, cpu)
    life = home.new_state()
    home.forward(TOKENS[:40], life)
    moved = abroad.state_from_bytes(life.to_bytes())
    for at in range(40, 100, 20):
        part = TOKENS[at : at + 20]
        expected = home.forward(part, life, every=True)
        assert kl_nats(expected, abroad.forward(part, moved, every=True)) < 1e-4
    for token in TOKENS[100:108]:
        assert kl_nats(home.forward([token], life), abroad.forward([token], moved)) < 1e-4


def test_an_untouched_state_comes_back_bit_for_bit(cuda_paths: dict[str, Path]) -> None:
    gpu = Model.open(cuda_paths["odd"], device="cuda:0")
    state = gpu.new_state()
    sent = np.random.default_rng(5).standard_normal(state.payload.size).astype(np.float32)
    np.copyto(state.payload, sent)
    assert state.board() is not None
    assert np.array_equal(state.payload, sent)


def test_twins_live_apart(cuda_paths: dict[str, Path]) -> None:
    gpu = Model.open(cuda_paths["F32"], device="cuda:0")
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
def test_a_reply_is_that_of_the_cpu(how: dict[str, object], cuda_paths: dict[str, Path]) -> None:
    cpu, gpu = both(cuda_paths["talk"])
    life, twin = cpu.new_state(), gpu.new_state()
    n = 512 if ON_GPU else 24
    expected = b"".join(cpu.generate(life, b"hello", max_bytes=n, **how))
    assert b"".join(gpu.generate(twin, b"hello", max_bytes=n, **how)) == expected
    assert len(expected) > 4
    assert twin.position == life.position
    assert np.abs(twin.payload - life.payload).max() < 1e-4
    assert twin.logits is not None and np.abs(twin.logits - life.logits).max() < 1e-4


def test_a_reply_without_a_limit_is_that_of_the_cpu(cuda_paths: dict[str, Path]) -> None:
    cpu, gpu = both(cuda_paths["talk"])
    said = []
    for model in (cpu, gpu):  # room for more bytes than an int counts
        reply = model.generate(
            model.new_state(), b"x", max_bytes=1 << 32, temperature=3.0, stop=b""
        )
        text = b""
        while len(text) < 24:
            text += next(reply)
        reply.close()
        said.append(text[:24])
    assert said[0] == said[1] and max(said[0]) > 127


def test_pieces_of_a_reply_are_whole_characters(cuda_paths: dict[str, Path]) -> None:
    gpu = Model.open(cuda_paths["talk"], device="cuda:0")
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
    how: Sampling, is_bytes: bool, cuda_paths: dict[str, Path]
) -> None:
    gpu = Model.open(cuda_paths["talk"], device="cuda:0")
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


def test_choosing_from_no_number_is_an_error(cuda_paths: dict[str, Path]) -> None:
    gpu = Model.open(cuda_paths["talk"], device="cuda:0")
    state = gpu.new_state()
    speech = Speech(Sampling(), 1, np.zeros(0, np.int32), -1, is_utf8=False)
    with pytest.raises(EngineError, match="no logit that may be chosen"):
        speech.say(state, 4, 4, np.full(256, np.nan, np.float32))
    assert state.position == 0 and not state.payload.any()


# ---- abort, and what breaks the contract


def test_abort_stops_between_calls(
    cuda_paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parrot.engine.cuda.ROWS_MAX", 3)
    gpu = Model.open(cuda_paths["F32"], device="cuda:0")
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


def test_bad_calls_are_refused_and_nothing_is_lived(cuda_paths: dict[str, Path]) -> None:
    cpu, gpu = both(cuda_paths["F32"])
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


def test_the_library_refuses_batch_0_and_what_does_not_add_up(cuda_paths: dict[str, Path]) -> None:
    cuda = CudaModel(cuda_paths["F32"], "cuda")
    life, other = cuda.new_life(), CudaModel(cuda_paths["F32"], "cuda").new_life()
    out = np.zeros((4, 256), np.float32)

    def call(tokens: list[int], lives: list[Life], counts: list[int]) -> None:
        ids = np.array([*tokens, 0], np.int32)[: len(tokens)]
        cuda._forward(ids, handles(lives), np.array([*counts, 0], np.int32)[: len(counts)], 1, out)

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
    payload = np.ones(life_len(cuda, cuda_paths["F32"]), np.float32)
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
    cuda._forward(ids[:1], handles(lives[:1]), ones[:1], 1, out[0])
    cuda._forward(ids[:3], handles(lives), ones, 1, out[1])
    cuda._forward(ids, handles(lives[:2]), np.array([5, 4], np.int32), 2, out[2])
    payload = np.zeros(n, np.float32)
    lives[0].download(payload)
    return [*out, payload]


@pytest.mark.parametrize("kind", ["F32", "Q8_0"])
def test_inv8_graph_and_plain_launches_give_the_same_bits(
    kind: str, cuda_paths: dict[str, Path]
) -> None:
    for a, b in zip(
        lived_bits(cuda_paths[kind]), lived_bits(cuda_paths[kind], plain=True), strict=True
    ):
        assert np.isfinite(a).all() and np.array_equal(a, b)


def test_graphs_of_batches_come_and_go(cuda_paths: dict[str, Path]) -> None:
    cpu, gpu = both(cuda_paths["F32"])
    lives, twins = [cpu.new_state() for _ in range(7)], [gpu.new_state() for _ in range(7)]
    for n in (2, 3, 4, 5, 6, 2, 7, 3):  # four are kept; the later 2 and 3 are recorded again
        expected = cpu.forward_batch(TOKENS[:n], lives[:n])
        assert np.abs(gpu.forward_batch(TOKENS[:n], twins[:n]) - expected).max() < 1e-4


@emulated_only
@pytest.mark.parametrize("kind", ["odd", "Q8_0"])
def test_the_order_of_threads_between_barriers_does_not_matter(
    kind: str, cuda_paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = lived_bits(cuda_paths[kind]) if kind != "odd" else None
    for seed in (1, 2):
        monkeypatch.setenv("PARROT_EMULATED_GPU", f"seed={seed}")
        if expected is None:
            expected = odd_bits(cuda_paths[kind])
        seen = odd_bits(cuda_paths[kind]) if kind == "odd" else lived_bits(cuda_paths[kind])
        assert all(np.array_equal(a, b) for a, b in zip(expected, seen, strict=True))


def odd_bits(path: Path) -> list[np.ndarray]:
    model = Model.open(path, device="cuda")
    state = model.new_state()
    return [model.forward(TOKENS[:1], state), model.forward(TOKENS[1:4], state), state.payload]


def test_structs_have_the_sizes_of_the_header_s() -> None:
    assert ctypes.sizeof(cuda_library.SamplerC) == 1048
    assert ctypes.sizeof(cuda_library.Device) == 304
