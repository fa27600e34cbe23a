# SPDX-License-Identifier: Apache-2.0
"""LoRA and persona files that are cut, flipped or something else: words, never a crash."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parrot.app.cli import main
from parrot.base.errors import CorruptError, FormatError, ParrotError
from parrot.engine.model import Model
from parrot.model import lora
from parrot.model.gguf import TensorSource, read_gguf, write_gguf
from parrot.model.lora import write_lora
from parrot.model.random_model import write_random_model
from tests.fault.test_hostile_files import SENTENCE, SHAPE, run_main
from tests.unit.test_lora import random_updates


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    write_random_model(path, SHAPE)
    return path


@pytest.fixture(scope="module")
def model(model_path: Path) -> Model:
    return Model.open(model_path, threads=1)


@pytest.fixture(scope="module")
def lora_path(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lora") / "whole.lora"
    write_lora(path, model.id, random_updates(SHAPE, rank=2))
    return path


def wears(model: Model, path: Path) -> bool:
    """Load and live a byte: True, or False when it is refused in one sentence."""
    try:
        worn = model.with_lora(path)
        worn.forward(b"a", worn.new_state())
    except ParrotError as exc:
        assert SENTENCE.match(str(exc)), str(exc)
        return False
    return True


def test_lora_cut_anywhere_is_refused(model: Model, lora_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.lora"
    shutil.copy(lora_path, path)
    size = path.stat().st_size
    for n in range(size - 1, -1, -7):
        os.truncate(path, n)
        assert not wears(model, path), n


def test_a_flipped_bit_is_refused_wherever_it_counts(
    model: Model, lora_path: Path, tmp_path: Path
) -> None:
    path, whole = tmp_path / "flipped.lora", lora_path.read_bytes()
    gguf = read_gguf(lora_path)
    entries = sorted(gguf.tensors.values(), key=lambda entry: entry.offset)
    counted = {at for e in entries for at in range(e.offset, e.offset + e.size)}
    data_at = entries[0].offset
    bits = [*range(0, 8 * data_at, 5), *(8 * at + at % 8 for at in range(data_at, len(whole), 23))]
    taken = []
    for bit in bits:
        spoiled = bytearray(whole)
        spoiled[bit // 8] ^= 1 << bit % 8
        path.write_bytes(spoiled)
        if wears(model, path):
            taken.append(bit // 8)
    assert len(bits) > 1_500
    assert not counted & set(taken), "a changed weight was heard"
    padding = {at for at in range(len(whole)) if whole[at] == 0}
    assert set(taken) <= padding, "a changed name or number was taken"


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=300), st.integers(0, 3000), st.integers(0, 200))
def test_lora_of_any_bytes_is_refused_in_words(
    model: Model, lora_path: Path, tmp_path: Path, blob: bytes, at: int, n: int
) -> None:
    path, whole = tmp_path / "any.lora", lora_path.read_bytes()
    path.write_bytes(whole[:at] + blob + whole[at + n :])
    wears(model, path)  # checks the words of a refusal
    path.write_bytes(b"GGUF\3\0\0\0" + blob)
    assert not wears(model, path)


def rewritten(source: Path, target: Path, *, drop: int = 0, **changes: object) -> Path:
    """Copy a LoRA with other metadata, or without its last tensors."""
    gguf = read_gguf(source)
    names = list(gguf.tensors)[: len(gguf.tensors) - drop]
    metadata = {**gguf.metadata, **{k.replace("__", "."): v for k, v in changes.items()}}
    tensors = [
        TensorSource(n, gguf.tensors[n].dims, gguf.tensors[n].type, lambda n=n: gguf.array(n))
        for n in names
    ]
    write_gguf(target, metadata, tensors)  # type: ignore[arg-type]
    return target


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"general__architecture": "llama"}, FormatError, "llama"),
        ({"general__type": "model"}, FormatError, "no LoRA"),
        ({"adapter__lora__alpha": 3.0}, CorruptError, "checksum"),
        ({"adapter__lora__alpha": float("nan")}, CorruptError, "alpha"),
        ({"adapter__lora__alpha": "2"}, CorruptError, "alpha"),
        ({"parrot__model_id": "0" * 16}, CorruptError, "checksum"),
        ({"parrot__crc32": 1}, CorruptError, "checksum"),
        ({"drop": 1}, CorruptError, "tensors"),
        ({"drop": 2}, CorruptError, "checksum"),
        ({"drop": 12}, CorruptError, "0 tensors"),
    ],
)
def test_a_lora_of_another_making_is_named(
    model: Model, lora_path: Path, tmp_path: Path, changes: dict, error: type, says: str
) -> None:
    path = rewritten(lora_path, tmp_path / "other.lora", **changes)
    with pytest.raises(error, match=says) as refused:
        model.with_lora(path)
    assert SENTENCE.match(str(refused.value)), str(refused.value)


def test_a_lora_of_numbers_that_are_none_is_refused(model: Model, tmp_path: Path) -> None:
    path, updates = tmp_path / "inf.lora", random_updates(SHAPE, rank=2)
    write_lora(path, model.id, updates)
    gguf = read_gguf(path)
    blob = bytearray(path.read_bytes())
    arrays = {name: gguf.array(name) for name in gguf.tensors}
    name = list(arrays)[5]
    arrays[name].flat[0] = np.inf
    at = gguf.tensors[name].offset
    blob[at : at + 4] = struct.pack("<f", np.inf)
    right = struct.pack("<I", lora._checksum(model.id, 2.0, arrays))
    old = struct.pack("<I", int(str(gguf.metadata["parrot.crc32"])))
    assert blob.count(old) == 1
    path.write_bytes(blob.replace(old, right))
    with pytest.raises(CorruptError, match="no number"):
        model.with_lora(path)


def test_chat_refuses_a_wrong_lora_and_a_wrong_persona_in_one_sentence(
    model_path: Path, lora_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.gguf"
    write_random_model(other, SHAPE, seed=2)
    model = Model.open(model_path, threads=1)
    model.new_state().save(tmp_path / "born.state")
    lived = model.new_state()
    model.forward(b"hello", lived)
    lived.save(tmp_path / "lived.state")
    ask = ["chat", "--once", "Hi", "--fresh", "--threads", "1", "--max-bytes", "8"]
    cases = [
        (["--model", str(other), "--lora", str(lora_path)], "trained on model"),
        (["--model", str(model_path), "--lora", str(model_path)], "no LoRA"),
        (["--model", str(model_path), "--lora", str(tmp_path / "no.lora")], "no such file"),
        (["--model", str(other), "--persona", str(tmp_path / "born.state")], "grown by model"),
        (["--model", str(model_path), "--persona", str(tmp_path / "lived.state")], "has lived 5"),
        (["--model", str(model_path), "--persona", str(lora_path)], "expected a parrot state"),
        (["--model", str(model_path), "--persona", "nobody"], "no such file"),
    ]
    for words, says in cases:
        code, said = run_main(capsys, *ask, *words)
        assert code in (1, 2), said
        assert SENTENCE.match(said.removeprefix("parrot: ").rstrip("\n")), said
        assert says in said
    worn = ["--lora", str(lora_path), "--persona", str(tmp_path / "born.state")]
    assert main([*ask, "--model", str(model_path), *worn]) == 0
