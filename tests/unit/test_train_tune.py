# SPDX-License-Identifier: Apache-2.0
"""Personas, LoRA and preferences: trained in PyTorch, heard the same from the C engine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install -e '.[train]'")

import parrot  # noqa: E402
from parrot.base.errors import CorruptError, FormatError  # noqa: E402
from parrot.model.random_model import write_random_model  # noqa: E402
from parrot.model.shape import Shape  # noqa: E402
from tests.unit.train_world import write_jsonl  # noqa: E402
from tools import adapt, moods, prefer, tune  # noqa: E402

SHAPE = Shape.standard(n_layer=2, n_embd=64)
TEXT = "\x00\x02Hello, parrot! 你好\x03\x06Here I am.\x03\x02Good\x03\x06".encode()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tune") / "tiny.gguf"
    write_random_model(path, SHAPE, seed=3)
    return path


@pytest.fixture(scope="module")
def engine(path: Path) -> parrot.Model:
    return parrot.Model.open(path, threads=1)


def torch_logits(adapter: adapt.Adapter) -> np.ndarray:
    with torch.no_grad():
        logits, _ = adapter.model(torch.tensor([list(TEXT)]), adapter.start(1))
    return logits[0].numpy()


def engine_logits(engine: parrot.Model, file: Path) -> np.ndarray:
    model, first = adapt.worn(engine, file)
    return model.forward(TEXT, first, every=True)


def shaken(adapter: adapt.Adapter) -> adapt.Adapter:
    """With random parameters, so that nothing that is forgotten stays zero."""
    generator = torch.Generator().manual_seed(1)
    for p in adapter.parameters:
        p.data += 0.3 * torch.randn(p.shape, generator=generator)
    return adapter


@pytest.mark.parametrize("rank", [None, 4], ids=["persona", "lora"])
def test_inv4_the_engine_hears_what_pytorch_trained(
    path: Path, engine: parrot.Model, tmp_path: Path, rank: int | None
) -> None:
    plain = engine.forward(TEXT, engine.new_state(), every=True)
    adapter = adapt.adapter_for(adapt.load_network(path), rank)
    if rank is None:  # and a fresh adapter is the model as it was
        assert np.abs(torch_logits(adapter) - plain).max() < 1e-4
    file = tmp_path / f"x{shaken(adapter).suffix}"
    adapter.write(file, engine)
    expected, seen = torch_logits(adapter), engine_logits(engine, file)
    print(f"worst |Δlogit| {np.abs(seen - expected).max():.1e}")
    assert np.abs(seen - expected).max() < 1e-4
    assert np.abs(seen - plain).max() > 0.5, "this adapter says nothing"


def test_a_new_lora_changes_nothing(path: Path, engine: parrot.Model) -> None:
    lora = adapt.adapter_for(adapt.load_network(path), 3)
    plain = engine.forward(TEXT, engine.new_state(), every=True)
    assert np.abs(torch_logits(lora) - plain).max() < 1e-4


def test_only_what_the_parrot_says_is_learnt() -> None:
    marked = adapt.said_by_parrot(TEXT)
    said = np.frombuffer(TEXT[1:], np.uint8)[marked].tobytes()
    assert said == b"Here I am.\x03"


def talks(n: int = 20) -> list[dict]:
    """The parrot always says the same: a persona that is quickly learnt."""
    return [
        {
            "turns": [
                {"role": "user", "text": f"{word} {i}"},
                {"role": "assistant", "text": "hop hop hop"},
            ]
        }
        for i in range(n // 2)
        for word in ("hello", "bye")
    ]


@pytest.mark.parametrize("option", [[], ["--lora", "4"]], ids=["persona", "lora"])
def test_tuning_makes_held_out_talk_likelier_and_leaves_the_model_alone(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    before = path.read_bytes()
    write_jsonl(tmp_path / "hop.jsonl", talks())
    words = [str(tmp_path / "hop.jsonl"), "--out", str(tmp_path / "made"), "--model", str(path)]
    assert tune.main([*words, "--steps", "12", "--rate", "0.05", *option]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["heldout_talks"] == 2
    assert report["bits_after"] < report["bits_before"] - 0.5
    assert path.read_bytes() == before
    suffix = ".lora" if option else ".state"
    assert [p.name for p in (tmp_path / "made").iterdir()] == [f"hop{suffix}"]


def test_the_same_seed_gives_the_same_file(path: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "hop.jsonl", talks())
    blobs = []
    for out in ("a", "b"):
        words = [str(tmp_path / "hop.jsonl"), "--out", str(tmp_path / out), "--model", str(path)]
        assert tune.main([*words, "--steps", "3"]) == 0
        blobs.append((tmp_path / out / "hop.state").read_bytes())
    assert blobs[0] == blobs[1]


def test_what_cannot_be_tuned_is_named_before_anything_is_written(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_jsonl(tmp_path / "few.jsonl", talks(4))
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "empty.jsonl").write_bytes(b"")
    write_jsonl(tmp_path / "good.jsonl", talks())
    cases = {
        "few.jsonl": "holds 4 talks",
        "binary.jsonl": "not UTF-8",
        "empty.jsonl": "holds no text",
        "missing.jsonl": "no such file",
    }
    out = tmp_path / "out"
    for name, says in cases.items():
        words = [str(tmp_path / "good.jsonl"), str(tmp_path / name), "--out", str(out)]
        assert tune.main([*words, "--model", str(path), "--steps", "500"]) == 1
        said = capsys.readouterr().err
        assert says in said and said.count("\n") == 1, said
    assert not out.exists()
    words = [str(tmp_path / "good.jsonl"), "--out", str(tmp_path / "empty.jsonl" / "x")]
    assert tune.main([*words, "--model", str(path), "--steps", "500"]) == 1
    assert "a part of the path is a file" in capsys.readouterr().err
    with pytest.raises(FormatError, match="rank of 1 to 64"):
        adapt.Lora(adapt.load_network(path), 65)


# ---- preferences


def write_pairs(path: Path, n: int = 30) -> Path:
    good, bad = "well let me see", "yes"
    items = [
        {"context": f"do you hear {i}", "chosen": f"{good} {i}", "rejected": f"{bad} {i}"}
        for i in range(n)
    ]
    items[0]["context"] = [
        {"role": "user", "text": "hello"},
        {"role": "assistant", "text": "hello"},
        {"role": "user", "text": "do you hear"},
    ]
    write_jsonl(path, items)
    return path


@pytest.mark.parametrize("option", [[], ["--reference-free"]], ids=["dpo", "simpo"])
def test_held_out_pairs_are_told_right_afterwards(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    pairs = write_pairs(tmp_path / "pairs.jsonl")
    write_jsonl(tmp_path / "check.jsonl", talks())
    words = [str(pairs), "--out", str(tmp_path / "x.lora"), "--model", str(path)]
    words += ["--check", str(tmp_path / "check.jsonl"), "--steps", "15", "--rate", "1e-2"]
    assert prefer.main([*words, *option]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["heldout_pairs"] == 6
    before, after = report["before"], report["after"]
    assert after["pairs_right_per_byte"] == 1.0 > before["pairs_right_per_byte"]
    assert after["chosen_bits"] < before["chosen_bits"]
    assert 0 < after["check_bits"] < before["check_bits"] + 0.3


def test_a_preference_can_be_a_first_state(path: Path, tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "pairs.jsonl", 12)
    words = [str(pairs), "--out", str(tmp_path / "x.state"), "--model", str(path)]
    assert prefer.main([*words, "--steps", "2", "--rate", "0.05"]) == 0
    engine = parrot.Model.open(path, threads=1)
    assert engine.load_state(tmp_path / "x.state").payload.any()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 3 is no pair"),
        ("[1]", "line 3 is no pair"),
        ('{"context": "a", "chosen": "b"}', "rejected"),
        ('{"context": "a", "chosen": "b", "rejected": "b"}', "the same"),
        ('{"context": "a", "chosen": 1, "rejected": "b"}', "line 3 is no pair"),
        (
            '{"context": [{"role": "assistant", "text": "a"}], "chosen": "b", "rejected": "c"}',
            "companion's turn",
        ),
    ],
)
def test_a_wrong_pair_is_named(tmp_path: Path, line: str, says: str) -> None:
    path = write_pairs(tmp_path / "pairs.jsonl")
    lines = path.read_text("utf-8").splitlines()
    lines[2] = line
    path.write_text("\n".join(lines), "utf-8")
    with pytest.raises(CorruptError, match="line 3") as refused:
        prefer.read_pairs(path)
    assert says in str(refused.value)


def test_too_few_pairs_and_a_strange_name_are_refused(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = write_pairs(tmp_path / "few.jsonl", 9)
    assert prefer.main([str(few), "--out", str(tmp_path / "x.lora"), "--model", str(path)]) == 1
    assert "holds 9 pairs" in capsys.readouterr().err
    pairs = write_pairs(tmp_path / "pairs.jsonl")
    assert prefer.main([str(pairs), "--out", str(tmp_path / "x.bin"), "--model", str(path)]) == 1
    assert "ends in .lora or .state" in capsys.readouterr().err
    nowhere = str(tmp_path / "no" / "x.lora")
    assert prefer.main([str(pairs), "--out", nowhere, "--model", str(path)]) == 1
    assert "expected a folder that is there" in capsys.readouterr().err


def test_a_direction_makes_high_replies_likelier_one_way_and_low_ones_the_other(
    path: Path,
    engine: parrot.Model,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(moods, "CONTEXTS", 1)
    monkeypatch.setattr(moods, "CHECK_TALKS", 2)
    args = ["stress", "--model", str(path), "--steps", "12", "--rate", "0.5"]
    assert moods.main(args) == moods.main([*args, "--measure"]) == 0
    trained, measured = map(json.loads, capsys.readouterr().out.splitlines())
    assert trained == measured
    assert trained["file"] == str(path.with_suffix(".moods") / "stress.state")
    up, still, down = (trained[at] for at in ("+0.70", "+0.00", "-0.70"))
    assert up["high"] < still["high"] and down["low"] < still["low"]
    direction = engine.load_state(Path(trained["file"]))
    shifts = direction.payload.reshape(2, -1)[:, : 2 * 64]
    assert direction.position == 0 and direction.payload.any() and not shifts.any()


def test_torch_and_the_engine_price_a_pushed_reply_alike(path: Path, engine: parrot.Model) -> None:
    state = engine.new_state()
    engine.forward(TEXT[:-1], state)
    push = np.zeros((2, state.payload.size // 2), np.float32)
    push[:, 2 * 64 :] = np.random.default_rng(1).normal(size=push[:, 2 * 64 :].shape)
    reply = b"so be it\x03"
    model = adapt.load_network(path)
    wkv = torch.from_numpy(push[:, 2 * 64 :]).view(1, 2, 1, 64, 64)
    with torch.no_grad():
        nats = moods.costs(model, [state], wkv, [reply]).item() * len(reply)
    assert nats == pytest.approx(moods.nats_of(engine, state, push.ravel(), reply), rel=1e-4)
