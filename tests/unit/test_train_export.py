# SPDX-License-Identifier: Apache-2.0
"""From a training checkpoint to files the C engine reads; and the PPM yardstick."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install -e '.[train]'")

import parrot  # noqa: E402
from tests.unit.train_world import write_recipe, write_shards  # noqa: E402
from tools import export, ppm  # noqa: E402
from tools.machine import Machine  # noqa: E402
from tools.net import Model, Shape  # noqa: E402
from tools.recipe import load_recipe  # noqa: E402
from tools.train import Trainer  # noqa: E402


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    write_shards(folder / "data")
    recipe = load_recipe(write_recipe(folder))
    run = Trainer(recipe, folder / "data", folder, Machine("cpu", False))
    for _ in range(4):
        run.advance(1.0)
    run.save()
    return folder / "last.safetensors"


def test_exported_model_speaks_in_the_engine_as_in_pytorch(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, half = checkpoint.with_name("parrot.gguf"), checkpoint.with_name("parrot.safetensors")
    words = [str(checkpoint), "--gguf", str(out), "--safetensors", str(half)]
    assert export.main(words) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["step"] == 4
    assert report["f32_max"] < 1e-3
    assert 0 < report["q8_mean"] < export.Q8_ERROR
    model = parrot.Model.open(out)
    said = model.generate(model.new_state(), prompt=b"\x02Hi\x03\x06", max_bytes=5, seed=1)
    assert len(b"".join(said)) == 5
    from safetensors.torch import load_file

    tensors = load_file(half)
    assert tensors["blocks.1.att.x_r"].dtype == torch.float16
    assert set(tensors) == set(Model(Shape(64, 3)).state_dict())


def test_an_engine_that_differs_stops_the_export(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = export.engine_logits
    monkeypatch.setattr(export, "engine_logits", lambda p, t: np.roll(right(p, t), 1, 1))
    out = checkpoint.with_name("wrong.gguf")
    assert export.main([str(checkpoint), "--gguf", str(out)]) == 1
    assert "nothing written" in capsys.readouterr().err
    assert not out.exists()


def test_a_file_that_is_no_checkpoint_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "last.safetensors"
    path.write_bytes(b"nonsense")
    assert export.main([str(path), "--gguf", str(tmp_path / "x.gguf")]) == 1
    assert "whole safetensors file" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_named(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export.main([str(checkpoint), "--gguf", str(tmp_path / "no" / "x.gguf")]) == 1
    said = capsys.readouterr().err
    assert "no such file or folder" in said and said.count("\n") == 1


# ---- PPM


def test_ppm_prices_are_those_of_a_probability(tmp_path: Path) -> None:
    model = ppm.PPM()
    model.train(b"abracadabra, abracadabra. " * 3)
    for context in (b"abraca", b"zzzzzz", b"ra, ab", b"."):
        key = int.from_bytes(context, "big")
        total = sum(2 ** -model.price(key, byte) for byte in range(256))
        assert total == pytest.approx(1.0)


def test_ppm_learns_what_repeats_and_not_what_does_not() -> None:
    model = ppm.PPM()
    assert model.bits_per_byte(b"the parrot sat. " * 40) < 0.5
    noise = np.random.default_rng(0).integers(0, 256, 2000, dtype=np.uint8).tobytes()
    assert ppm.PPM().bits_per_byte(noise) > 7.9


def test_ppm_of_a_short_text_is_method_c_by_hand() -> None:
    model = ppm.PPM(order=1)
    model.train(b"aba")
    # after "a" one kind was seen, once: b costs 1 / (1 + 1). c escapes (1 / 2), then b is left out;
    # of no context, a was seen twice: escape 1 / (2 + 1); then one of the 254 others
    assert model.price(ord("a"), ord("b")) == pytest.approx(1.0)
    assert model.price(ord("a"), ord("c")) == pytest.approx(1 + math.log2(3) + math.log2(254))
