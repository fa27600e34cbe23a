# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in, model files out; and files that want more than to be read."""

from __future__ import annotations

import json
import os
import pickle
import re
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parrot.base.errors import ConfigError, CorruptError, FileError, FormatError, ParrotError
from parrot.model import convert
from parrot.model.codec import TensorType
from parrot.model.convert import checkpoint_source, import_model, open_checkpoint
from parrot.model.random_model import random_checkpoint
from parrot.model.reference import Reference
from parrot.model.safetensors import read_safetensors
from parrot.model.shape import Shape
from parrot.model.tokenizer import BYTE_VOCABULARY
from parrot.model.weights import open_model

SHAPE = Shape(
    n_layer=2, n_embd=32, head_size=16, n_ffn=48, n_vocab=256,
    rank_w=8, rank_a=4, rank_v=3, rank_g=12,
)  # fmt: skip
GOLDEN = Path(__file__).parent.parent / "golden"
DTYPES = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}


def stored(values: np.ndarray, kind: str) -> np.ndarray:
    """Return values as a checkpoint holds them; BF16 cuts the lower half of a float32 off."""
    if kind == "BF16":
        return (np.ascontiguousarray(values, "<f4").view("<u4") >> 16).astype("<u2")
    return values.astype(DTYPES[kind])


def rounded(values: np.ndarray, kind: str) -> np.ndarray:
    if kind == "BF16":
        return (stored(values, kind).astype("<u4") << 16).view("<f4")
    return stored(values, kind).astype(np.float32)


def safetensors(checkpoint: dict[str, np.ndarray], kind: str = "F32") -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    payload = b""
    for name, values in checkpoint.items():
        raw = stored(values, kind).tobytes()
        offsets = [len(payload), len(payload) + len(raw)]
        header[name] = {"dtype": kind, "shape": list(values.shape), "data_offsets": offsets}
        payload += raw
    return with_header(json.dumps(header), payload)


def with_header(header: str, payload: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header.encode() + payload


def change(checkpoint: dict[str, np.ndarray], **values: np.ndarray | None) -> dict[str, np.ndarray]:
    """Return a copy with values replaced, or dropped where None."""
    return {name: v for name, v in (checkpoint | values).items() if v is not None}


# --- names and shapes -------------------------------------------------------------------------


def test_tensors_land_where_the_file_wants_them() -> None:
    z = random_checkpoint(SHAPE)
    load = checkpoint_source(z, BYTE_VOCABULARY).load
    blk, att = "blk.1.", "blocks.1.att."
    assert np.array_equal(load("token_embd.weight"), z["emb.weight"])
    assert np.array_equal(load("token_embd_norm.bias"), z["blocks.0.ln0.bias"])
    assert np.array_equal(load(blk + "attn_norm_2.weight"), z["blocks.1.ln2.weight"])
    assert np.array_equal(load(blk + "time_mix_ln.bias"), z[att + "ln_x.bias"])
    assert np.array_equal(load(blk + "time_mix_w1.weight"), z[att + "w1"].T)
    assert np.array_equal(load(blk + "time_mix_g2.weight"), z[att + "g2"].T)
    assert np.array_equal(load(blk + "time_mix_r_k.weight"), z[att + "r_k"].ravel())
    assert np.array_equal(load(blk + "channel_mix_lerp_k.weight"), z["blocks.1.ffn.x_k"].ravel())
    assert np.array_equal(load(blk + "channel_mix_value.weight"), z["blocks.1.ffn.value.weight"])
    fused = load(blk + "time_mix_lerp_fused.weight")
    assert fused.shape == (6, 1, 1, 32)
    for row, c in enumerate("rwkvag"):
        assert np.array_equal(fused[row].ravel(), z[f"{att}x_{c}"].ravel())
    assert not load("blk.0.time_mix_v1.weight").any()


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("head_size", [16, 128])
def test_an_imported_model_computes_with_the_weights_of_the_checkpoint(
    kind: str, head_size: int, tmp_path: Path
) -> None:
    shape = Shape(2, 128, head_size, 96, 256, rank_w=8, rank_a=4, rank_v=3, rank_g=12)
    z = random_checkpoint(shape)
    (tmp_path / "a.safetensors").write_bytes(safetensors(z, kind))
    import_model(tmp_path / "a.safetensors", tmp_path / "a.gguf", TensorType.F32)
    model = open_model(tmp_path / "a.gguf")
    assert model.shape == shape
    expected = checkpoint_source({n: rounded(v, kind) for n, v in z.items()}, BYTE_VOCABULARY)
    for name in model.specs:
        assert np.array_equal(model.array(name), expected.load(name)), name


def test_a_trainers_unread_tensors_are_dropped(tmp_path: Path) -> None:
    z = random_checkpoint(SHAPE)
    dummies = {f"blocks.0.att.v{i}": z[f"blocks.1.att.v{i}"] for i in range(3)}
    load = checkpoint_source(change(z, **dummies), BYTE_VOCABULARY).load
    assert not load("blk.0.time_mix_v1.weight").any()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"blocks.1.att.x_g": None}, "tensor blocks.1.att.x_g missing, expected RWKV-7's set"),
        ({f"blocks.1.att.x_{c}": None for c in "rwkva"},
         "tensor blocks.1.att.x_r, blocks.1.att.x_w, blocks.1.att.x_k and 2 more missing"),
        ({"blocks.1.att.extra": np.ones(3)}, "tensor blocks.1.att.extra unknown"),
        ({"blocks.5.att.x_g": np.ones(32)}, "tensor blocks.2.ln1.weight, blocks.2.ln1.bias"),
        ({"blocks.1.ffn.key.weight": np.ones((32, 48))},
         "tensor blocks.1.ffn.key.weight (32, 48) instead of (48, 32) misshaped"),
        ({"emb.weight": None}, "tensor emb.weight is missing, expected a matrix"),
        ({"blocks.0.att.r_k": np.ones(32)}, "tensor blocks.0.att.r_k is (32,), expected a matrix"),
        ({"blocks.0.att.r_k": np.ones((4, 8))}, "head_size is 8, expected 16 to 128"),
    ],
)  # fmt: skip
def test_what_is_amiss_in_a_checkpoint_is_named(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(safetensors(change(random_checkpoint(SHAPE), **changes)))
    with pytest.raises(FileError, match=re.escape(words)) as caught:
        import_model(path, tmp_path / "a.gguf")
    assert caught.value.path == path
    assert not (tmp_path / "a.gguf").exists()


def test_a_weight_that_no_f16_can_hold_is_named(tmp_path: Path) -> None:
    z = random_checkpoint(SHAPE)
    z["blocks.1.att.key.weight"][0, 0] = 1e5
    (tmp_path / "a.safetensors").write_bytes(safetensors(z))
    with pytest.raises(FormatError, match=r"blk\.1\.time_mix_key\.weight: a weight of 100000 does"):
        import_model(tmp_path / "a.safetensors", tmp_path / "a.gguf")


# --- vocabularies -----------------------------------------------------------------------------


WIDE = Shape.standard(n_layer=1, n_embd=32, n_vocab=300, head_size=32)


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    path = tmp_path / "wide.safetensors"
    path.write_bytes(safetensors(random_checkpoint(WIDE)))
    return path


def test_other_vocabularies_are_read_from_rwkvs_text_file(wide: Path, tmp_path: Path) -> None:
    lines = [f"{b + 1} {bytes([b])!r} 1" for b in range(256)] + ["261 '\\n\\n' 2", "270 '你' 3"]
    (tmp_path / "vocabulary.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    import_model(wide, tmp_path / "a.gguf", vocabulary=tmp_path / "vocabulary.txt")
    model = open_model(tmp_path / "a.gguf")
    assert model.vocabulary[0] is None
    assert model.vocabulary[98] == b"a"
    assert model.vocabulary[270] == "你".encode()
    assert model.vocabulary[299] is None
    assert model.gguf.metadata["tokenizer.ggml.eot_token_id"] == 261


def test_a_missing_vocabulary_is_named(
    wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "WORLD_FILE", "absent.txt")
    with pytest.raises(
        ConfigError, match="300 tokens, expected a vocabulary beside it; pass absen"
    ):
        import_model(wide, tmp_path / "a.gguf")


def test_a_vocabulary_of_another_size_is_refused() -> None:
    with pytest.raises(FormatError, match="vocabulary: 256 tokens, expected 300"):
        checkpoint_source(random_checkpoint(WIDE), BYTE_VOCABULARY)


# --- safetensors ------------------------------------------------------------------------------


def test_the_package_safetensors_writes_what_we_read(tmp_path: Path) -> None:
    peer = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    arrays = {"a": np.arange(6, dtype="f4").reshape(2, 3), "b": np.ones((1, 1, 2), "f2")}
    peer.save_file(arrays, tmp_path / "a.safetensors")
    read = open_checkpoint(tmp_path / "a.safetensors")
    assert set(read) == {"a", "b"}
    for name, array in arrays.items():
        assert read[name].dims == array.shape
        assert np.array_equal(read[name].array(), array)


def item(start: Any = 0, end: Any = 4, dtype: Any = "F32", shape: Any = (1,)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    ("blob", "words"),
    [
        (with_header("{}", b"x"), "the tensors end at byte 10, the file at 11"),
        (struct.pack("<Q", 99) + b"{", "the header wants 99 of 9 bytes"),
        (struct.pack("<Q", 1 << 63) + b"{", "the header wants 9,223,372,036,854,775,808"),
        (with_header("{" * 9000), "the header is not what it should be"),
        (with_header('{"a":' * 3000), "the header is not what it should be"),
        (with_header('{"a":{},"a":{}}'), "a name appears twice"),
        (with_header('{"a":7}'), "the header is not what it should be"),
        (with_header(json.dumps({"a": item(0, 8)}), bytes(8)), "tensor a has bytes 0 to 8"),
        (with_header(json.dumps({"a": item(4, 8)}), bytes(8)), "tensor a has bytes 4 to 8"),
        (with_header(json.dumps({"a": item(), "b": item()}), bytes(4)), "tensor b has bytes 0 to"),
        (with_header(json.dumps({"a": item()})), "the tensors end at byte 73, the file at 69"),
        (with_header(json.dumps({"a": item(shape=[-1])}), bytes(4)), "no proper shape or range"),
        (with_header(json.dumps({"a": item(shape=7)}), bytes(4)), "no proper shape or range"),
        (with_header(json.dumps({"a": item(shape=[1] * 9)}), bytes(4)), "no proper shape"),
        (with_header(json.dumps({"a": item(end=4.0)}), bytes(4)), "no proper shape or range"),
        (with_header('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}'), "no proper range"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damage_to_a_safetensors_file_is_named(blob: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(blob)
    with pytest.raises(CorruptError, match=re.escape(words)):
        open_checkpoint(tmp_path / "a.safetensors")


def test_an_empty_file_is_no_safetensors(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(CorruptError, match="the file has less than 8 bytes"):
        read_safetensors(tmp_path / "a")


def test_other_number_formats_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(with_header(json.dumps({"a": item(dtype="I64", shape=[1])}), bytes(4)))
    with pytest.raises(FormatError, match="tensor a has type 'I64', expected F32, F16 or BF16"):
        open_checkpoint(path)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"GGUF\3\0\0\0 and more", "this is a model file already"),
        (b"", "first bytes are missing"),
        (b"\x80\x02}q\x00.  ", "expected a .pth (50 4b 03 04) or a .safetensors"),
    ],
)
def test_what_is_no_checkpoint_is_named(head: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(head)
    with pytest.raises(FormatError, match=re.escape(words)):
        open_checkpoint(tmp_path / "a")


# --- pth --------------------------------------------------------------------------------------


def test_a_recorded_pth_is_read_without_torch() -> None:
    read = open_checkpoint(GOLDEN / "tensors.pth")
    expected = np.arange(6, dtype=np.float32).reshape(1, 2, 3) / 4
    assert set(read) == {"f32", "f16", "bf16", "slice", "module.weight", "module.bias"}
    for name in ("f32", "f16", "bf16"):
        assert read[name].dims == (1, 2, 3)
        assert np.array_equal(read[name].array(), expected)
    assert np.array_equal(read["slice"].array(), expected[0, 1])
    assert read["module.weight"].dims == (2, 3)


def test_torch_writes_what_we_read(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    z = random_checkpoint(SHAPE)
    torch.save({n: torch.from_numpy(v).bfloat16() for n, v in z.items()}, tmp_path / "a.pth")
    import_model(tmp_path / "a.pth", tmp_path / "a.gguf", TensorType.F32)
    model = open_model(tmp_path / "a.gguf")
    exact = {n: torch.from_numpy(v).bfloat16().float().numpy() for n, v in z.items()}
    load = checkpoint_source(exact, BYTE_VOCABULARY).load
    assert all(np.array_equal(model.array(name), load(name)) for name in model.specs)
    reference = Reference(model.shape, model.weights())
    assert np.isfinite(reference.forward(b"parrot", reference.new_state())).all()


def archive(folder: Path, data: bytes, **members: bytes) -> Path:
    path = folder / "a.pth"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", data)
        for name, blob in members.items():
            file.writestr(f"archive/{name}", blob)
    return path


class Attack:
    """Pickles to a call of os.mkdir, which anyone can see having happened."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_cannot_call_anything(protocol: int, tmp_path: Path) -> None:
    attack = pickle.dumps({"emb.weight": Attack(tmp_path / "pwned")}, protocol)
    with pytest.raises(FormatError, match="expected a plain dictionary"):
        open_checkpoint(archive(tmp_path, attack))
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (pickle.dumps([1, 2]), "a pickle with EMPTY_LIST"),
        (pickle.dumps(7, 2), "a pickle of something else"),
        (pickle.dumps({"a": 7}, 2), "a dictionary that holds more than tensors"),
        (pickle.dumps({(): 7}, 2), "a dictionary with other keys than names"),
        (pickle.dumps(OrderedDict, 2), "a pickle of something else"),
        (b"\x80\x02cos\nsystem\n.", "a pickle that wants to call 'os system'"),
        (b"\x80\x02ccollections\nOrderedDict\nK\x01\x85R.", "calls what it should not"),
    ],
)
def test_a_pickle_that_is_no_dictionary_of_tensors_is_refused(
    data: bytes, words: str, tmp_path: Path
) -> None:
    with pytest.raises(FormatError, match=re.escape(words)):
        open_checkpoint(archive(tmp_path, data))


TENSOR = (
    b"\x80\x02}X\x01\0\0\0actorch._utils\n_rebuild_tensor_v2\n"
    b"((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0bX\x03\0\0\0cpuK\x04tQ"
    b"K%c(K%ct(K%ct\x89ccollections\nOrderedDict\n)RtRs."
)


@pytest.mark.parametrize(
    ("first", "n", "stride", "words"),
    [
        (1, 4, 1, "tensor a reaches past the end of its storage"),
        (0, 4, 2, "a tensor that is not contiguous"),
    ],
)
def test_a_tensor_that_is_not_what_it_says_is_refused(
    first: int, n: int, stride: int, words: str, tmp_path: Path
) -> None:
    good = archive(tmp_path, TENSOR % (b"\0", b"\4", b"\1"), **{"data/b": bytes(16)})
    assert open_checkpoint(good)["a"].array().tolist() == [0, 0, 0, 0]
    bad = TENSOR % tuple(bytes([number]) for number in (first, n, stride))
    with pytest.raises(FileError, match=words):
        open_checkpoint(archive(tmp_path, bad, **{"data/b": bytes(16)}))


MINUS_ONE, NINE_ONES = b"J\xff\xff\xff\xff", b"(" + b"K\1" * 9 + b"t"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"K\0(K", MINUS_ONE + b"(K", "a tensor has impossible dimensions"),
        (b"(K\4t", b"(" + MINUS_ONE + b"t", "a tensor has impossible dimensions"),
        (b"(K\4t", b"(X\1\0\0\0at", "a tensor has impossible dimensions"),
        (b"(K\4t", b"}", "a tensor is described wrongly"),
        (b"(K\4t(K\1t", NINE_ONES * 2, "a tensor is described wrongly"),
        (b"(K\4t(K\1t", b"(K\4t)", "argument 2 is shorter"),
        (b"X\1\0\0\0bX", b")X", "a storage is described wrongly"),
        (b"ctorch\nFloatStorage\n", b"K\1", "no attribute 'name'"),
        (b"\x80\2}", b"\x80\2\x86", "the pickle takes more than it has"),
        (b"RtRs.", b"RtRs", "pickle exhausted before seeing STOP"),
    ],
)
def test_a_pickle_that_is_described_wrongly_is_corrupt(
    old: bytes, new: bytes, words: str, tmp_path: Path
) -> None:
    data = TENSOR % (b"\0", b"\4", b"\1")
    assert data.count(old) == 1
    path = archive(tmp_path, data.replace(old, new), **{"data/b": bytes(16)})
    with pytest.raises(CorruptError, match=words):
        open_checkpoint(path)


def test_names_with_backslashes_raise_no_warning(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="wants to call"):
        open_checkpoint(archive(tmp_path, b"\x80\2ca\\c\nb\n."))


def test_big_endian_and_compressed_archives_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="numbers are big-endian"):
        open_checkpoint(archive(tmp_path, b"}.", byteorder=b"big"))
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", bytes(10_000_000))
    with pytest.raises(CorruptError, match=r"data\.pkl is compressed or too large"):
        open_checkpoint(tmp_path / "bomb.pth")


def test_an_archive_without_a_pickle_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("readme", b"hello")
    with pytest.raises(FormatError, match=r"a zip archive without data\.pkl"):
        open_checkpoint(tmp_path / "a.zip")


# --- noise ------------------------------------------------------------------------------------


def use(path: Path) -> None:
    """Read a whole checkpoint; nothing but a ParrotError may come out."""
    try:
        for tensor in open_checkpoint(path).values():
            tensor.array()
    except ParrotError:
        pass


SMALL = {"a": np.arange(8, dtype=np.float32), "b": np.ones((2, 2), np.float32)}
BLOBS = {"pth": (GOLDEN / "tensors.pth").read_bytes(), "safetensors": safetensors(SMALL)}


@settings(max_examples=100, deadline=None)
@given(kind=st.sampled_from(sorted(BLOBS)), cut=st.integers(1, 1 << 20))
def test_a_cut_checkpoint_is_refused(
    kind: str, cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / f"cut.{kind}"
    path.write_bytes(BLOBS[kind][: cut % len(BLOBS[kind])])
    with pytest.raises(ParrotError):
        open_checkpoint(path)


@settings(max_examples=100, deadline=None)
@given(kind=st.sampled_from(sorted(BLOBS)), data=st.data())
def test_flipped_bits_raise_nothing_but_parrot_errors(
    kind: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    blob = bytearray(BLOBS[kind])
    places = st.lists(st.integers(0, 8 * len(blob) - 1), min_size=1, max_size=4)
    for place in data.draw(places):
        blob[place // 8] ^= 1 << place % 8
    path = tmp_path_factory.getbasetemp() / f"flipped.{kind}"
    path.write_bytes(blob)
    use(path)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_flipped_pickles_raise_nothing_but_parrot_errors(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The archive's checksum guards the pickle from accidents, not from authors."""
    blob = bytearray(TENSOR % (b"\0", b"\4", b"\1"))
    for _ in range(data.draw(st.integers(1, 4))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    use(archive(tmp_path_factory.getbasetemp(), bytes(blob), **{"data/b": bytes(16)}))
