# SPDX-License-Identifier: Apache-2.0
"""docs/formats.md says what the files are; here it is held to that."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

import parrot
from parrot.model.gguf import read_gguf
from parrot.model.random_model import SHAPES, made_up_vocabulary, write_random_model
from parrot.model.shape import BOUNDS, Kind, Shape, tensor_specs
from parrot.model.weights import SHAPE_KEYS

PAGE = (Path(__file__).parent.parent.parent / "docs" / "formats.md").read_text(encoding="utf-8")
SHAPE = Shape(
    n_layer=2, n_embd=64, head_size=16, n_ffn=80, n_vocab=256,
    rank_w=8, rank_a=4, rank_v=3, rank_g=12,
)  # fmt: skip
GOLDEN = Path(__file__).parent.parent / "golden"


def rows(section: str) -> list[list[str]]:
    """Return the cells of the table rows in a section whose first cell is code."""
    text = PAGE.split(f"### {section}\n")[1].split("\n###")[0].split("\n---\n")[0]
    found = [re.split(r"\s*\|\s*", line.strip("| ")) for line in text.splitlines() if "|" in line]
    return [[cells[0].strip("`"), *cells[1:]] for cells in found if cells[0].startswith("`")]


def test_the_tensor_table_is_the_tensor_set() -> None:
    axes = {
        "V": SHAPE.n_vocab, "C": SHAPE.n_embd, "F": SHAPE.n_ffn, "Rw": SHAPE.rank_w,
        "Ra": SHAPE.rank_a, "Rv": SHAPE.rank_v, "Rg": SHAPE.rank_g,
    }  # fmt: skip
    kinds = {"vector": Kind.VECTOR, "matrix": Kind.MATRIX, "LoRA": Kind.LORA}
    documented = [
        (name, tuple(axes.get(n) or int(n) for n in shape.strip("()").split(", ")), kinds[kind])
        for name, shape, kind, *_ in rows("Tensors")
    ]
    specs = [(spec.name, spec.dims, spec.kind) for spec in tensor_specs(SHAPE)]
    layer_1 = [spec for spec in specs if not spec[0].startswith("blk.0.")]
    assert [(name.replace("blk.i", "blk.1"), *rest) for name, *rest in documented] == layer_1
    assert len(specs) == len(layer_1) + 28


def test_the_metadata_tables_are_the_metadata(tmp_path: Path) -> None:
    write_random_model(tmp_path / "a.gguf", SHAPE)
    metadata = read_gguf(tmp_path / "a.gguf").metadata
    assert {row[0] for row in rows("Metadata")} == set(metadata)
    for field, key in SHAPE_KEYS.items():
        assert key in metadata
        low, high = BOUNDS[field]
        stated = next(row[2] for row in rows("Metadata") if row[0] == key)
        if "…" in stated:
            assert f"{low} … {high:,}" in stated


def test_the_state_file_is_laid_out_as_documented(tmp_path: Path) -> None:
    xxhash = pytest.importorskip("xxhash", reason="the package xxhash is not installed")
    model_path = GOLDEN / "tiny.gguf"
    model = parrot.Model.open(model_path, threads=1)
    state = model.new_state()
    model.forward(b"parrot", state)
    state.save(tmp_path / "a.state")
    blob = (tmp_path / "a.state").read_bytes()
    fields = struct.unpack("<4sI8sIIIIQII", blob[:48])
    magic, version, model_id, n_layer, n_embd, head_size, reserved, position, crc, zero = fields
    assert (magic, version, reserved, zero) == (b"PST1", 1, 0, 0)
    assert model_id == xxhash.xxh64(model_path.read_bytes()).digest()
    assert (n_layer, n_embd, head_size, position) == (3, 32, 16, 6)
    assert crc == zlib.crc32(blob[48:], zlib.crc32(blob[:40] + bytes(8)))
    payload = np.frombuffer(blob[48:], "<f4").reshape(n_layer, -1)
    assert payload.shape[1] == 2 * n_embd + n_embd * head_size
    assert all(name in PAGE for name in ("XXH64 (seed 0)", "bytes 0–47 with this field zero"))


def test_the_state_payload_holds_what_the_reference_holds(tmp_path: Path) -> None:
    from parrot.model.reference import Reference
    from parrot.model.weights import open_model

    opened = open_model(GOLDEN / "tiny.gguf")
    reference = Reference(opened.shape, opened.weights())
    hidden = reference.new_state()
    reference.forward(b"parrot", hidden)
    model = parrot.Model.open(GOLDEN / "tiny.gguf", threads=1)
    state = model.new_state()
    model.forward(b"parrot", state)
    layers = zip(hidden.shift_att, hidden.shift_ffn, hidden.wkv, strict=True)
    expected = np.concatenate([part.ravel() for layer in layers for part in layer])
    assert np.abs(state.payload - expected).max() < 1e-4


def test_the_worked_example_of_the_state_is_right() -> None:
    size = 4 * SHAPES["S"].state_len
    assert f"* 4 = {size:,} bytes, file {size + 48:,} bytes" in PAGE.replace("·", "*")


def test_made_up_vocabularies_hold_no_token_twice() -> None:
    vocabulary = made_up_vocabulary(65_536)
    assert len(set(vocabulary)) == len(vocabulary) == 65_536
