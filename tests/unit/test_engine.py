# SPDX-License-Identifier: Apache-2.0
"""The C engine, judged by the numpy reference and by itself."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import parrot
from parrot import _native
from parrot.base.errors import Aborted, ConfigError, EngineError, FileError
from parrot.model.codec import TensorType
from parrot.model.random_model import SHAPES, write_random_model
from parrot.model.reference import Reference
from parrot.model.shape import Shape
from parrot.model.weights import open_model

TOKENS = np.random.default_rng(3).integers(0, 256, 70).tolist()  # more than one chunk of rows


def judge(path: Path, tokens: list[int]) -> np.ndarray:
    file = open_model(path)
    reference = Reference(file.shape, file.weights(), np.float64)
    return reference.forward(tokens, reference.new_state())


def kl_nats(p_logits: np.ndarray, q_logits: np.ndarray) -> np.ndarray:
    def log_softmax(x: np.ndarray) -> np.ndarray:
        x = x.astype(np.float64) - x.max(axis=-1, keepdims=True)
        return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))

    p, q = log_softmax(p_logits), log_softmax(q_logits)
    return (np.exp(p) * (p - q)).sum(axis=-1)


# Head sizes that are no power of two, ranks and widths that fill no group of 16 rows.
ODD = Shape(
    n_layer=2, n_embd=72, head_size=24, n_ffn=100, n_vocab=300,
    rank_w=5, rank_a=17, rank_v=33, rank_g=7,
)  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "n_tokens"),
    [
        pytest.param(SHAPES["S"], 24, id="S"),
        pytest.param(SHAPES["M"], 12, id="M"),
        pytest.param(Shape.standard(2, 64, n_vocab=65_536), 6, id="64k"),
        pytest.param(ODD, 70, id="odd"),
        pytest.param(Shape.standard(1, 256, head_size=128), 12, id="head128"),
        pytest.param(Shape.standard(2, 64, head_size=16), 12, id="head16"),
    ],
)
def test_inv4_f32_logits_are_those_of_the_reference(
    shape: Shape, n_tokens: int, tmp_path: Path
) -> None:
    path = tmp_path / "random.gguf"
    write_random_model(path, shape, seed=2)
    tokens = TOKENS[:n_tokens]
    model = parrot.Model.open(path, threads=1)
    logits = model.forward(tokens, model.new_state(), every=True)
    expected = judge(path, tokens)
    assert expected.std() > 0.5
    assert np.abs(logits - expected).max() < 1e-4  # the worst seen is 1.2e-5


@pytest.mark.parametrize("kind", ["F16", "Q8_0"])
def test_inv4_quantised_engine_loses_nothing_beside_numpy_on_the_same_file(
    kind: str, model_paths: dict[str, Path]
) -> None:
    model = parrot.Model.open(model_paths[kind], threads=1)
    logits = model.forward(TOKENS, model.new_state(), every=True)
    assert kl_nats(judge(model_paths[kind], TOKENS), logits).max() < 1e-6  # nats per byte


@pytest.mark.parametrize("kind", [kind.name for kind in TensorType])
def test_inv8_every_path_gives_the_same_bits(
    kind: str, model_paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()
    cpus = _native.cpu_names()
    assert cpus[-1] == "scalar"
    for cpu in cpus:
        monkeypatch.setenv("PARROT_CPU", cpu)
        for threads, mapped in [(1, False), (2, False), (3, True)]:
            model = parrot.Model.open(model_paths[kind], threads=threads, mapped=mapped)
            assert model.describe()["cpu"] == cpu
            assert model.describe()["threads"] == threads
            at_once, by_one, by_batch = (model.new_state() for _ in range(3))
            logits = model.forward(TOKENS, at_once, every=True)
            steps = np.stack([model.forward([t], by_one) for t in TOKENS])
            for at in range(0, len(TOKENS), 7):
                model.forward(TOKENS[at : at + 7], by_batch)
            assert np.array_equal(logits, steps)
            assert np.array_equal(at_once.payload, by_one.payload)
            assert np.array_equal(at_once.payload, by_batch.payload)
            seen.add((logits.tobytes(), at_once.payload.tobytes()))
    assert len(seen) == 1


def test_inv8_batch_of_lives_is_each_life_alone(model: parrot.Model) -> None:
    alone = [model.new_state() for _ in range(9)]
    together = [model.new_state() for _ in range(9)]
    for step in range(5):
        tokens = [(31 * step + 7 * i) % 256 for i in range(9)]
        logits = model.forward_batch(tokens, together)
        for i, state in enumerate(alone):
            assert np.array_equal(model.forward([tokens[i]], state), logits[i])
    assert all(
        np.array_equal(a.payload, b.payload) and a.position == b.position == 5
        for a, b in zip(alone, together, strict=True)
    )


def test_one_life_given_twice_in_a_batch_lives_both_tokens_in_order(model: parrot.Model) -> None:
    twice, other, expected = (model.new_state() for _ in range(3))
    model.forward_batch(b"abc", [twice, other, twice])
    model.forward(b"ac", expected)
    assert np.array_equal(twice.payload, expected.payload)


def test_score_is_the_sum_of_log_probabilities_and_leaves_the_state(model: parrot.Model) -> None:
    state = model.new_state()
    model.forward(b"before", state)
    before = state.payload.copy()
    texts = [b"a", b"abc", "你好".encode(), b""]
    scores = model.score(texts, state)
    for text, score in zip(texts, scores, strict=True):
        twin, logits, expected = state.copy(), state.logits, 0.0
        for byte in text:
            assert logits is not None
            exact = logits.astype(np.float64)
            expected += exact[byte] - np.log(np.exp(exact - exact.max()).sum()) - exact.max()
            logits = model.forward([byte], twin)
        assert score == pytest.approx(expected, abs=1e-4)
    assert np.array_equal(state.payload, before)
    assert state.position == 6


def test_generate_says_the_same_for_the_same_seed_and_another_for_another(
    model: parrot.Model,
) -> None:
    def say(seed: int) -> bytes:
        return b"".join(model.generate(model.new_state(), b"hello", seed=seed, max_bytes=60))

    assert say(1) == say(1)
    assert len({say(seed) for seed in range(5)}) > 1


def test_generate_ends_its_turn_whatever_ends_it(model: parrot.Model) -> None:
    long, short = model.new_state(), model.new_state()
    said = b"".join(model.generate(long, b"x", max_bytes=7, stop=b"\x03"))
    assert long.position == 1 + len(said) + 1
    replies = model.generate(short, b"x", stop=b"\x03")
    first = next(replies)
    replies.close()  # type: ignore[attr-defined]
    assert short.position == 1 + len(first) + 1


def test_generate_never_says_a_broken_character_or_a_control_byte(model: parrot.Model) -> None:
    for seed in range(40):
        state = model.new_state()
        how = parrot.Sampling(temperature=3.0, top_p=1.0)  # nearly random bytes
        pieces = list(model.generate(state, b"x", sampling=how, seed=seed, max_bytes=50))
        text = "".join(piece.decode("utf-8", "strict") for piece in pieces)  # each is whole
        assert not any(ord(c) < 0x20 and c not in "\t\n" for c in text)
        assert len(b"".join(pieces)) <= 50


def test_abort_ends_a_reply_and_a_prompt(model: parrot.Model) -> None:
    abort, state = parrot.Abort(), model.new_state()
    pieces = []
    for piece in model.generate(state, b"x", temperature=2.0, stop=b"", abort=abort):
        pieces.append(piece)
        abort.set()
    assert len(pieces) == 1
    before = state.position
    with pytest.raises(Aborted) as caught:
        model.forward(b"y" * 1000, state, abort=abort)
    assert caught.value.n_done == 0
    assert state.position == before
    assert list(model.generate(state, b"y" * 1000, abort=abort)) == []


def test_greedy_continuation_is_byte_identical_after_save_and_load(
    model: parrot.Model, tmp_path: Path
) -> None:
    state = model.new_state()
    model.forward(b"once upon a time", state)
    state.save(tmp_path / "a.state")
    loaded = model.load_state(tmp_path / "a.state")
    assert loaded.position == state.position == 16

    def say(state: parrot.State) -> bytes:
        return b"".join(model.generate(state, b" there", temperature=0.0, stop=b"", max_bytes=300))

    assert say(loaded) == say(state)
    assert np.array_equal(loaded.payload, state.payload)


def test_loaded_state_cannot_go_on_without_a_byte(model: parrot.Model, tmp_path: Path) -> None:
    state = model.new_state()
    model.forward(b"x", state)
    state.save(tmp_path / "a.state")
    with pytest.raises(EngineError, match="pass a prompt of at least one byte"):
        next(iter(model.generate(model.load_state(tmp_path / "a.state"))))


def test_many_threads_may_share_one_model(model_paths: dict[str, Path]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    model = parrot.Model.open(model_paths["Q8_0"], threads=2)

    def live(seed: int) -> bytes:
        state = model.new_state()
        for _ in range(20):
            model.forward([seed, 2 * seed, 3 * seed], state)
        return state.payload.tobytes()

    with ThreadPoolExecutor(4) as pool:
        lives = list(pool.map(live, [1, 2, 1, 2, 1, 2, 1, 2]))
    assert len(set(lives)) == 2


@pytest.mark.parametrize("token", [-1, 256, 2**31 - 1])
def test_token_outside_the_vocabulary_is_refused_and_nothing_lived(
    token: int, model: parrot.Model
) -> None:
    state = model.new_state()
    with pytest.raises(EngineError, match="outside the vocabulary"):
        model.forward([65, token], state)
    assert not state.payload.any()
    assert state.position == 0


def test_no_tokens_is_a_value_error(model: parrot.Model) -> None:
    with pytest.raises(ValueError, match="no tokens"):
        model.forward(b"", model.new_state())


def test_missing_file_unknown_device_absurd_threads_and_absent_kernels_are_named(
    model_paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = model_paths["F32"]
    with pytest.raises(FileError, match=r"nowhere\.gguf: cannot be opened"):
        parrot.Model.open("nowhere.gguf")
    with pytest.raises(ConfigError, match="device: abacus"):
        parrot.Model.open(path, device="abacus")
    for threads in (0, -1, 10_000):
        with pytest.raises(ConfigError, match=f"threads: {threads}, expected 1 to 256"):
            parrot.Model.open(path, threads=threads)
    monkeypatch.setenv("PARROT_CPU", "z80")
    with pytest.raises(EngineError, match="PARROT_CPU: z80 kernels cannot run"):
        parrot.Model.open(path)


def test_model_id_is_xxh64_of_the_file(model_paths: dict[str, Path]) -> None:
    xxhash = pytest.importorskip("xxhash", reason="the package xxhash is not installed")
    for path in model_paths.values():
        blob = path.read_bytes()
        assert parrot.Model.open(path, threads=1).id == xxhash.xxh64(blob).hexdigest()


def test_fork_may_use_the_model_of_its_parent(model_paths: dict[str, Path]) -> None:
    import os

    model = parrot.Model.open(model_paths["Q8_0"], threads=2)
    expected = model.forward(b"abc", model.new_state()).tobytes()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, model.forward(b"abc", model.new_state()).tobytes())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 1 << 16) == expected


@pytest.mark.parametrize("cpu", _native.cpu_names())
def test_a_model_outlives_its_file_being_cut_short(
    cpu: str, model_paths: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARROT_CPU", cpu)
    path = tmp_path / "model.gguf"
    path.write_bytes(model_paths["Q8_0"].read_bytes())
    model = parrot.Model.open(path, threads=2)
    logits = model.forward(TOKENS, model.new_state())
    os.truncate(path, 0)  # a page of a mapped file that is no longer there is SIGBUS
    assert np.array_equal(model.forward(TOKENS, model.new_state()), logits)
