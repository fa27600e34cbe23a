# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parrot.base.errors import CorruptError, FormatError, MismatchError
from parrot.model.codec import TensorType, encode_q8_0
from parrot.model.convert import checkpoint_source
from parrot.model.gguf import TensorSource, read_gguf, write_gguf
from parrot.model.quantize import model_info, quantize_model, verify_model
from parrot.model.random_model import random_checkpoint, write_random_model
from parrot.model.shape import Kind, Shape
from parrot.model.tokenizer import BYTE_VOCABULARY
from parrot.model.weights import ModelSource, open_model, write_model

SHAPE = Shape.standard(n_layer=2, n_embd=64)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "plain.gguf"
    write_random_model(path, SHAPE)
    return path


def types_of(path: Path) -> dict[str, list[str]]:
    types: dict[str, list[str]] = model_info(path)["types"]
    return types


@pytest.mark.parametrize("lora", [TensorType.F16, TensorType.Q8_0], ids=lambda kind: kind.name)
def test_matrices_are_quantized_and_vectors_kept(
    lora: TensorType, plain: Path, tmp_path: Path
) -> None:
    quantize_model(plain, tmp_path / "q.gguf", lora)
    before, after = open_model(plain), open_model(tmp_path / "q.gguf")
    assert types_of(after.path) == {"vector": ["F32"], "matrix": ["Q8_0"], "lora": [lora.name]}
    assert after.shape == before.shape
    assert after.vocabulary == before.vocabulary
    for name, spec in after.specs.items():
        expected = before.array(name)
        if spec.kind is Kind.MATRIX:
            groups = encode_q8_0(expected)
            exact = groups["q"] * groups["scale"][:, None].astype(np.float32)
            assert np.array_equal(after.array(name).ravel(), exact.ravel())
        elif spec.kind is Kind.VECTOR:
            assert np.array_equal(after.array(name), expected)
        else:
            assert np.abs(after.array(name) - expected).max() <= 0.01 * np.abs(expected).max()


def test_a_matrix_takes_34_bytes_for_32_weights(plain: Path, tmp_path: Path) -> None:
    quantize_model(plain, tmp_path / "q.gguf")
    entry = open_model(tmp_path / "q.gguf").gguf.tensors["output.weight"]
    assert entry.size == 256 * 64 // 32 * 34


def test_quantizing_gives_the_file_that_writing_q8_0_gives(plain: Path, tmp_path: Path) -> None:
    quantize_model(plain, tmp_path / "q.gguf")
    write_random_model(tmp_path / "direct.gguf", SHAPE, matrix=TensorType.Q8_0)
    assert (tmp_path / "q.gguf").read_bytes() == (tmp_path / "direct.gguf").read_bytes()


def test_a_model_may_be_quantized_in_place(plain: Path, tmp_path: Path) -> None:
    quantize_model(plain, tmp_path / "q.gguf")
    quantize_model(plain, plain)
    assert plain.read_bytes() == (tmp_path / "q.gguf").read_bytes()


def test_metadata_of_others_is_carried_over(tmp_path: Path) -> None:
    source = checkpoint_source(random_checkpoint(SHAPE), BYTE_VOCABULARY)
    metadata = {"general.license": "apache-2.0", "general.size": 1 << 40, "general.alignment": 64}
    other = ModelSource(source.shape, source.vocabulary, source.load, metadata)
    write_model(tmp_path / "a.gguf", other, TensorType.F16)
    quantize_model(tmp_path / "a.gguf", tmp_path / "q.gguf")
    carried = open_model(tmp_path / "q.gguf").gguf.metadata
    assert carried["general.license"] == "apache-2.0"
    assert carried["general.size"] == 1 << 40
    assert carried["general.file_type"] == 7
    assert "general.alignment" not in carried


def test_a_quantized_model_is_not_quantized_again(plain: Path, tmp_path: Path) -> None:
    quantize_model(plain, tmp_path / "q.gguf")
    with pytest.raises(FormatError, match="weights are Q8_0 already, expected F32 or F16"):
        quantize_model(tmp_path / "q.gguf", tmp_path / "qq.gguf")


def test_a_width_that_is_no_multiple_of_32_is_named(tmp_path: Path) -> None:
    shape = Shape(1, 48, 16, 64, 256, rank_w=8, rank_a=8, rank_v=8, rank_g=8)
    write_random_model(tmp_path / "a.gguf", shape)
    with pytest.raises(
        FormatError, match=r"q\.gguf: tensor token_embd\.weight: rows of 48 weights"
    ):
        quantize_model(tmp_path / "a.gguf", tmp_path / "q.gguf")


def test_info_shows_both_sizes(plain: Path) -> None:
    report = model_info(plain)
    model = open_model(plain)
    assert report["weights_bytes"] == sum(entry.size for entry in model.gguf.tensors.values())
    assert report["file_bytes"] == plain.stat().st_size
    assert report["description_bytes"] == report["code_bytes"] + report["metadata_bytes"]
    assert report["metadata_bytes"] + report["weights_bytes"] <= report["file_bytes"]
    assert 4_000 < report["code_bytes"] < 10_000
    assert report["shape"]["n_head"] == 1
    assert report["n_weights"] == SHAPE.n_weights
    assert report["state_bytes"] == 4 * 2 * (2 * 64 + 64 * 64)
    assert report["vocabulary"] == "bytes"


def test_verify_counts_every_tensor_and_names_the_file(plain: Path) -> None:
    report = verify_model(plain)
    assert report["tensors"] == 6 + 2 * 28
    assert report["sha256"] == hashlib.sha256(plain.read_bytes()).hexdigest()
    assert "worst_error" not in report


def test_verify_measures_the_error_of_quantizing(plain: Path, tmp_path: Path) -> None:
    quantize_model(plain, tmp_path / "q.gguf")
    report = verify_model(tmp_path / "q.gguf", plain)
    assert 0.004 < report["worst_error"] < 0.008
    assert report["worst_tensor"] in open_model(plain).specs
    assert verify_model(plain, plain)["worst_error"] == 0


def test_verify_finds_a_model_made_from_another(plain: Path, tmp_path: Path) -> None:
    write_random_model(tmp_path / "other.gguf", SHAPE, seed=2)
    with pytest.raises(MismatchError, match=r"tensor .* differs by .*made from another file"):
        verify_model(tmp_path / "other.gguf", plain)
    write_random_model(tmp_path / "deeper.gguf", Shape.standard(n_layer=3, n_embd=64))
    with pytest.raises(MismatchError, match=r"shape Shape\(n_layer=3.*expected Shape\(n_layer=2"):
        verify_model(tmp_path / "deeper.gguf", plain)


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_verify_names_a_tensor_with_a_value_that_is_no_number(bad: float, plain: Path) -> None:
    entry = read_gguf(plain).tensors["blk.1.time_mix_w0.weight"]
    blob = bytearray(plain.read_bytes())
    blob[entry.offset + 8 : entry.offset + 12] = np.float32(bad).tobytes()
    plain.write_bytes(blob)
    words = re.escape("tensor blk.1.time_mix_w0.weight holds a value that is no finite number")
    with pytest.raises(CorruptError, match=words) as caught:
        verify_model(plain)
    assert caught.value.offset == entry.offset


def test_mixed_number_formats_are_shown(plain: Path, tmp_path: Path) -> None:
    gguf = read_gguf(plain)

    def source(name: str) -> TensorSource:
        values: Any = gguf.array(name)
        kind = TensorType.F16 if name == "output.weight" else TensorType.F32
        return TensorSource(name, values.shape, kind, lambda: values)

    write_gguf(tmp_path / "mixed.gguf", gguf.metadata, [source(name) for name in gguf.tensors])
    assert types_of(tmp_path / "mixed.gguf")["matrix"] == ["F16", "F32"]
