# SPDX-License-Identifier: Apache-2.0
"""The GGUF reader and writer, judged by the PyPI package `gguf` and by broken files."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parrot.base.errors import CorruptError, FileError, FormatError, ParrotError
from parrot.model.codec import TensorType, decode, encode, encode_q8_0
from parrot.model.gguf import GGUF, TensorSource, Value, read_gguf, write_gguf
from parrot.model.random_model import write_random_model
from parrot.model.shape import Shape
from parrot.model.weights import SHAPE_KEYS, open_model

SHAPE = Shape(
    n_layer=2, n_embd=32, head_size=16, n_ffn=64, n_vocab=256,
    rank_w=8, rank_a=4, rank_v=3, rank_g=12,
)  # fmt: skip
EVEN = Shape.standard(n_layer=1, n_embd=64)


def source(name: str, values: Any, kind: TensorType = TensorType.F32) -> TensorSource:
    array = np.asarray(values, np.float32)
    return TensorSource(name, array.shape, kind, lambda: array)


# --- number formats ---------------------------------------------------------------------------


def test_q8_0_of_a_group_worked_by_hand() -> None:
    # Largest magnitude 127, so the scale is 1 and weights round to integers, halves away from zero.
    values = np.zeros(32, np.float32)
    values[:6] = [127, 0.5, -0.5, 1.5, -2.49, 2.5]
    group = encode_q8_0(values)[0]
    assert group["scale"] == 1
    assert group["q"][:7].tolist() == [127, 1, -1, 2, -2, 3, 0]
    assert encode(values, TensorType.Q8_0)[:5] == bytes([0x00, 0x3C, 127, 1, 0xFF])


def test_q8_0_of_weights_too_small_for_an_inverse_is_zero() -> None:
    group = encode_q8_0(np.array([1e-40, -1e-40, *[0] * 30], np.float32))[0]
    assert group["scale"] == 0
    assert not group["q"].any()


def test_q8_0_is_that_of_the_peer_library_to_the_bit() -> None:
    quants = pytest.importorskip("gguf", reason="the package gguf is not installed").quants
    rng = np.random.default_rng(0)
    values = rng.standard_normal((256, 64), np.float32) * 10.0 ** rng.integers(-6, 3, (256, 1))
    values = values.astype(np.float32)
    values[3] = 0
    values[4, :32] = np.linspace(-127, 127, 32).round(0) / 2  # ties
    values[5] *= 1e-3 / np.abs(values[5]).max()
    ours = np.frombuffer(encode(values, TensorType.Q8_0), np.uint8)
    peers = quants.quantize(values, quants.GGMLQuantizationType.Q8_0)
    assert np.array_equal(ours, peers.ravel())
    back = quants.dequantize(peers, quants.GGMLQuantizationType.Q8_0)
    assert np.array_equal(decode(ours.tobytes(), values.shape, TensorType.Q8_0), back)


@settings(deadline=None)
@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=32, max_size=32))
def test_q8_0_error_is_at_most_half_a_step(values: list[float]) -> None:
    x = np.array(values, np.float32)
    back = decode(encode(x, TensorType.Q8_0), (32,), TensorType.Q8_0)
    step = np.abs(x).max() / 127
    # The f16 scale is off by 2^-11 of itself, or 2^-25 where it is subnormal; times q ≤ 127.
    assert np.all(np.abs(back - x) <= step * (0.5 + 127 * 2**-11) + 127 * 2**-25 + 1e-30)


@pytest.mark.parametrize("kind", list(TensorType))
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(kind: TensorType, bad: float) -> None:
    with pytest.raises(FormatError, match="not a finite number"):
        encode(np.full(32, bad, np.float32), kind)


@pytest.mark.parametrize(("kind", "big"), [(TensorType.F16, 7e4), (TensorType.Q8_0, 1e7)])
def test_weights_too_large_for_the_format_are_refused(kind: TensorType, big: float) -> None:
    with pytest.raises(FormatError, match=f"does not fit {kind.name}; write F32"):
        encode(np.full(32, big, np.float32), kind)


# --- files ------------------------------------------------------------------------------------


def test_metadata_and_tensors_come_back(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    metadata: dict[str, Value] = {
        "zero": 0, "u32": 0xFFFFFFFF, "u64": 1 << 32, "i64": -7, "half": 0.5, "huge": 1e300,
        "yes": True, "no": False, "text": "鹦鹉", "texts": ["", "\n", "é"],
    }  # fmt: skip
    numbers = {code: np.arange(5).astype(code) for code in ("<i4", "<f4", "<u2", "i1", "<f8")}
    write_gguf(
        path, metadata | numbers, [source("x", [[1, 2], [3, 4]]), source("y", [5], TensorType.F16)]
    )
    gguf = read_gguf(path)
    assert {key: gguf.metadata[key] for key in metadata} == metadata
    for code, array in numbers.items():
        seen = gguf.metadata[code]
        assert isinstance(seen, np.ndarray)
        assert seen.dtype == array.dtype
        assert seen.tolist() == array.tolist()
    assert gguf.array("x").tolist() == [[1, 2], [3, 4]]
    assert gguf.array("y").tolist() == [5]
    assert [entry.offset % 32 for entry in gguf.tensors.values()] == [0, 0]


@pytest.mark.parametrize("matrix", list(TensorType), ids=lambda kind: kind.name)
def test_peer_library_reads_our_models(matrix: TensorType, tmp_path: Path) -> None:
    peer = pytest.importorskip("gguf", reason="the package gguf is not installed")
    path = tmp_path / "model.gguf"
    write_random_model(path, EVEN, matrix=matrix)
    model, reader = open_model(path), peer.GGUFReader(path)
    assert [tensor.name for tensor in reader.tensors] == list(model.specs)
    for tensor in reader.tensors:
        entry = model.gguf.tensors[tensor.name]
        assert tuple(tensor.shape[::-1]) == entry.dims
        assert tensor.data_offset == entry.offset
        values = peer.quants.dequantize(tensor.data, tensor.tensor_type)
        assert np.array_equal(values.reshape(entry.dims), model.gguf.array(tensor.name))
    for name, key in SHAPE_KEYS.items():
        assert reader.fields[key].contents() == getattr(EVEN, name)
    assert reader.fields["tokenizer.ggml.tokens"].contents()[:2] == ["\\x00", "\\x01"]


def test_our_reader_reads_the_peer_library(tmp_path: Path) -> None:
    peer = pytest.importorskip("gguf", reason="the package gguf is not installed")
    path = tmp_path / "model.gguf"
    writer = peer.GGUFWriter(path, "rwkv7")
    writer.add_custom_alignment(64)
    writer.add_token_list([b"a", b"b"])
    arrays = {"first": np.arange(6, dtype=np.float32).reshape(2, 3), "second": np.ones(5, "f2")}
    for name, array in arrays.items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    gguf = read_gguf(path)
    assert gguf.metadata["tokenizer.ggml.tokens"] == ["a", "b"]
    for name, array in arrays.items():
        assert np.array_equal(gguf.array(name), array)


def test_inv1_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(b"old")
    good, bad = source("good", [1]), source("bad", [1e6], TensorType.F16)
    with pytest.raises(FormatError, match=r"a\.gguf: tensor bad: a weight of 1e\+06 does not fit"):
        write_gguf(path, {}, [good, bad])
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_rows_that_are_no_whole_groups_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="tensor x: rows of 33 weights, expected a multiple"):
        write_gguf(tmp_path / "a.gguf", {}, [source("x", np.ones((2, 33)), TensorType.Q8_0)])


def test_a_source_of_another_shape_is_refused(tmp_path: Path) -> None:
    wrong = TensorSource("x", (2,), TensorType.F32, lambda: np.ones(3, np.float32))
    with pytest.raises(FormatError, match=r"tensor x: shape \(3,\), expected \(2,\)"):
        write_gguf(tmp_path / "a.gguf", {}, [wrong])


# --- broken files -----------------------------------------------------------------------------


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def entry(name: str = "x", dims: tuple[int, ...] = (2,), kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


def build(
    keys: list[bytes], entries: list[bytes], payload: bytes = bytes(32), counts: Any = None
) -> bytes:
    """Lay out a GGUF by hand, as right or wrong as its parts."""
    n_tensors, n_keys = counts or (len(entries), len(keys))
    head = struct.pack("<4sIQQ", b"GGUF", 3, n_tensors, n_keys) + b"".join(keys + entries)
    return head + bytes(-len(head) % 32) + payload


def u32(key: str, value: int) -> bytes:
    return text(key) + struct.pack("<II", 4, value)


def read_blob(folder: Path, blob: bytes) -> GGUF:
    path = folder / "broken.gguf"
    path.write_bytes(blob)
    return read_gguf(path)


def test_the_layout_that_the_next_tests_break_is_right(tmp_path: Path) -> None:
    gguf = read_blob(tmp_path, build([u32("k", 7)], [entry()], struct.pack("<2f", 1, 2)))
    assert gguf.metadata == {"k": 7}
    assert gguf.array("x").tolist() == [1, 2]


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"PK\3\4 and more", "first bytes are 50 4b 03 04, expected 47 47 55 46; this is a zip"),
        (b"\x1f\x8b\x08\x00 and", "this is a gzip archive, unpack it"),
        (b"version https://git-lfs", "this is a pointer left by git-lfs"),
        (b"<!doctype html>", "this is a web page"),
        (b"GGUF\2\0\0\0 and more", "GGUF version 2, expected 3; convert it again"),
        (b"GGUF\0\0\0\3 and more", "GGUF version 50331648"),
        (b"GGUF", "this is not a model, pass a .gguf"),
        (b"", "first bytes are missing"),
    ],
)
def test_what_is_no_gguf_is_named(head: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=re.escape(words)):
        read_blob(tmp_path, head)


HUGE = (1 << 64) - 1


@pytest.mark.parametrize(
    ("blob", "words"),
    [
        (build([], [], counts=(HUGE, 0)), "counts 18,446,744,073,709,551,615 tensors"),
        (build([], [], counts=(0, HUGE)), "counts 18,446,744,073,709,551,615 metadata keys"),
        (build([], [], counts=(0, 9)), "a metadata key has 0 bytes, expected 1 to 255"),
        (
            build([text("k") + struct.pack("<IQ", 8, HUGE)], []),
            "the header wants 18,446,744,073,709,",
        ),
        (build([text("k") + struct.pack("<IIQ", 9, 8, HUGE)], []), "k counts 18,446,744,"),
        (build([text("k") + struct.pack("<IIQ", 9, 4, HUGE)], []), "the header wants 73,786,976,"),
        (build([text("k") + struct.pack("<IIQ", 9, 9, 1)], []), "k is an array of type 9"),
        (build([text("k") + struct.pack("<I", 13)], []), "k has value type 13, expected 0 to 12"),
        (build([text("k") + struct.pack("<IB", 7, 2)], []), "k is 2, expected a truth value"),
        (build([text("k") + struct.pack("<I", 8) + text(b"\xff")], []), "k is not UTF-8"),
        (build([u32("k", 1), u32("k", 2)], []), "metadata key k appears twice"),
        (build([u32("", 1)], []), "a metadata key has 0 bytes, expected 1 to 255"),
        (build([u32("kö", 1)], []), "a metadata key is b'k\\xc3\\xb6', expected printable ASCII"),
        (build([u32("general.alignment", 0)], []), "general.alignment is 0, expected a power"),
        (build([u32("general.alignment", 48)], []), "general.alignment is 48, expected a power"),
        (build([], [entry(dims=())]), "tensor x has 0 dimensions, expected 1 to 4"),
        (build([], [entry(dims=(1,) * 5)]), "tensor x has 5 dimensions"),
        (build([], [entry(dims=(0,))]), "tensor x has dimensions (0,), impossible for F32"),
        (build([], [entry(dims=(33,), kind=8)]), "(33,), impossible for Q8_0"),
        (build([], [entry(dims=(1 << 62, 1 << 62))]), "but the file has"),
        (build([], [entry(dims=(9,))]), "ends at byte 100 but the file has 96; the copy was cut"),
        (build([], [entry(offset=32)]), "tensor x is at data offset 32, expected 0"),
        (build([], [entry(), entry(offset=32)], bytes(64)), "tensor x appears twice"),
        (build([], [entry(), entry("y")], bytes(64)), "y is at data offset 0, expected 32"),
        (build([], [entry()], bytes(33)), "the file has 97 bytes, expected 96"),
        (build([], [entry("n" * 64)]), "a tensor name has 64 bytes, expected 1 to 63"),
    ],
    ids=str,
)
def test_damage_is_named(blob: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(CorruptError, match=re.escape(words)):
        read_blob(tmp_path, blob)


def test_other_number_formats_are_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="tensor x has type Q4_K, expected F32, F16 or Q8_0"):
        read_blob(tmp_path, build([], [entry(dims=(256,), kind=12)], bytes(144)))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"nowhere\.gguf: cannot be read: no such file"):
        read_gguf(tmp_path / "nowhere.gguf")


# --- models -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_blob(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("small") / "small.gguf"
    write_random_model(path, SHAPE)
    return path.read_bytes()


def rewrite(blob: bytes, folder: Path, change: Any) -> Path:
    """Write the model again after `change(metadata, tensors)`, both of which it may alter."""
    old = folder / "old.gguf"
    old.write_bytes(blob)
    gguf = read_gguf(old)
    metadata = dict(gguf.metadata)
    tensors = {name: source(name, gguf.array(name)) for name in gguf.tensors}
    change(metadata, tensors)
    write_gguf(folder / "new.gguf", metadata, list(tensors.values()))
    return folder / "new.gguf"


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda m, t: m.update({"general.architecture": "llama"}), FormatError,
         "architecture 'llama', expected 'rwkv7'"),
        (lambda m, t: m.pop("rwkv7.block_count"), CorruptError,
         "rwkv7.block_count is None, expected an integer"),
        (lambda m, t: m.update({"rwkv7.block_count": True}), CorruptError,
         "rwkv7.block_count is True, expected an integer"),
        (lambda m, t: m.update({"rwkv7.wkv.head_size": 12}), FormatError, "head_size is 12"),
        (lambda m, t: m.update({"rwkv7.attention.layer_norm_epsilon": 0.1}), FormatError,
         "layer_norm_epsilon is 0.1"),
        (lambda m, t: m.update({"rwkv7.block_count": 3}), CorruptError,
         "lacks tensor blk.2.attn_norm.weight, blk.2.attn_norm.bias, blk.2.time_mix_lerp_fused"),
        (lambda m, t: t.pop("blk.1.time_mix_v1.weight"), CorruptError,
         "lacks tensor blk.1.time_mix_v1.weight;"),
        (lambda m, t: t.update(x=source("extra", [1])), CorruptError, "has unknown tensor extra;"),
        (lambda m, t: t.update({"output.weight": source("output.weight", np.ones((32, 256)))}),
         CorruptError, "tensor output.weight is (32, 256), expected (256, 32)"),
        (lambda m, t: t.update({"output_norm.bias":
                                source("output_norm.bias", np.ones(32), TensorType.F16)}),
         FormatError, "tensor output_norm.bias is F16, expected F32"),
        (lambda m, t: m.update({"tokenizer.ggml.model": "gpt2"}), FormatError, "tokenizer is 'gpt"),
        (lambda m, t: m.pop("tokenizer.ggml.token_type"), CorruptError, "not two lists of one"),
        (lambda m, t: m["tokenizer.ggml.tokens"].__setitem__(9, "\\x0"), CorruptError,
         "token '\\\\x0': not an escaped token"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_model_is_named(
    change: Any, error: type[FileError], words: str, small_blob: bytes, tmp_path: Path
) -> None:
    with pytest.raises(error, match=re.escape(words)) as caught:
        open_model(rewrite(small_blob, tmp_path, change))
    assert caught.value.path == tmp_path / "new.gguf"


def test_axes_of_length_one_may_be_left_out(small_blob: bytes, tmp_path: Path) -> None:
    name = "blk.0.channel_mix_lerp_k.weight"

    def widen(metadata: Any, tensors: Any) -> None:
        tensors[name] = source(name, np.ones((1, 1, 32)))

    assert open_model(rewrite(small_blob, tmp_path, widen)).array(name).shape == (32,)


def use(path: Path) -> None:
    """Open a model and read every weight; nothing but a ParrotError may come out."""
    try:
        model = open_model(path)
        for name in model.specs:
            model.array(name)
    except ParrotError:
        pass


@settings(max_examples=100, deadline=None)
@given(cut=st.integers(0, 10**9))
def test_a_cut_model_is_refused(
    cut: int, small_blob: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.gguf"
    cut %= len(small_blob) - 32  # the last tensor is a full line, so no cut spares it
    path.write_bytes(small_blob[:cut])
    with pytest.raises(ParrotError):
        open_model(path)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_flipped_bits_raise_nothing_but_parrot_errors(
    data: st.DataObject, small_blob: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped.gguf"
    header_size = 12_000  # where a flip can mislead the reader; weights are just numbers
    blob = bytearray(small_blob)
    for place in data.draw(st.lists(st.integers(0, 8 * header_size - 1), min_size=1, max_size=4)):
        blob[place // 8] ^= 1 << place % 8
    path.write_bytes(blob)
    use(path)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_noise_after_the_magic_raises_nothing_but_parrot_errors(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "noise.gguf"
    path.write_bytes(b"GGUF\3\0\0\0" + noise)
    use(path)
