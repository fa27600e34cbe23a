# SPDX-License-Identifier: Apache-2.0
"""A LoRA file: low-rank updates of a model's large matrices, y += s B (A x).

It is a GGUF file of the general type `adapter`, as llama.cpp has them, and is tied to one model
file by that file's id. `docs/formats.md` describes it. A checksum covers everything that is
computed with, so a file that is not whole is refused rather than heard.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from parrot.base.errors import CorruptError, FormatError, MismatchError
from parrot.model.codec import F32Array, TensorType
from parrot.model.gguf import GGUF, TensorSource, Value, read_gguf, write_gguf
from parrot.model.shape import Shape

RANK_MAX = 64  # PARROT_LORA_RANK_MAX of parrot.h
# In the order of enum parrot_matrix: the name in a layer, and whether (out, in) is F instead of C.
MATRICES = {
    "time_mix_receptance": (False, False),
    "time_mix_key": (False, False),
    "time_mix_value": (False, False),
    "time_mix_output": (False, False),
    "channel_mix_key": (True, False),
    "channel_mix_value": (False, True),
}
_ID, _CHECKSUM, _ALPHA = "parrot.model_id", "parrot.crc32", "adapter.lora.alpha"
_FIXED: dict[str, Value] = {
    "general.type": "adapter",
    "general.architecture": "rwkv7",
    "adapter.type": "lora",
}


@dataclass(frozen=True)
class Update:
    """The update of one matrix. Shapes: a (rank, in), b (out, rank), the scale already in b."""

    layer: int
    matrix: str
    a: F32Array
    b: F32Array

    @property
    def name(self) -> str:
        return f"blk.{self.layer}.{self.matrix}.weight"


def matrix_dims(shape: Shape, matrix: str) -> tuple[int, int]:
    """Return (out, in) of one of MATRICES."""
    is_tall, is_wide = MATRICES[matrix]
    return (
        shape.n_ffn if is_tall else shape.n_embd,
        shape.n_ffn if is_wide else shape.n_embd,
    )


def write_lora(path: Path, model_id: str, updates: list[Update]) -> None:
    """Write a LoRA file, whole or not at all (INV-1). Raises: FileError from the disk."""
    arrays = {}
    for update in updates:
        arrays[f"{update.name}.lora_a"] = np.ascontiguousarray(update.a, np.float32)
        arrays[f"{update.name}.lora_b"] = np.ascontiguousarray(update.b, np.float32)
    alpha = float(updates[0].a.shape[0])  # llama.cpp scales by alpha / rank: by one
    metadata = _FIXED | {_ALPHA: alpha, _ID: model_id}
    metadata[_CHECKSUM] = _checksum(model_id, alpha, arrays)
    tensors = [
        TensorSource(name, array.shape, TensorType.F32, partial(arrays.__getitem__, name))
        for name, array in arrays.items()
    ]
    write_gguf(path, metadata, tensors)


def read_lora(path: Path, shape: Shape, model_id: str) -> list[Update]:
    """Return the updates in a file, for the model of that shape and id.

    Raises: FormatError if it is no LoRA; CorruptError if it is damaged or does not fit the shape;
            MismatchError if it was trained on another model; FileError if it cannot be read.
    """
    gguf = read_gguf(path)
    for key, value in _FIXED.items():
        if gguf.metadata.get(key) != value:
            raise FormatError(
                f"{path}: {key} is {gguf.metadata.get(key)!r}, expected {value!r}; this is no LoRA "
                "for a parrot, pass a file of tools.tune.",
                path=path,
            )
    alpha = gguf.metadata.get(_ALPHA)
    if not isinstance(alpha, float) or not 0 < alpha < 1e6:
        raise _corrupt(path, f"{_ALPHA} is {alpha!r}")
    updates = _updates(gguf, shape, alpha)
    grown = gguf.metadata.get(_ID)
    if grown != model_id:
        raise MismatchError(
            f"{path}: trained on model {str(grown)[:8]}, this model is {model_id[:8]}; load that "
            "model, or train it again with: python -m tools.tune.",
            path=path,
        )
    return updates


def _updates(gguf: GGUF, shape: Shape, alpha: float) -> list[Update]:
    """Check names, dimensions and checksum; the order is that of the file."""
    path, names = gguf.path, list(gguf.tensors)
    if not names or len(names) % 2:
        raise _corrupt(path, f"it holds {len(names)} tensors")
    for name in names:
        if gguf.tensors[name].type is not TensorType.F32:
            raise _corrupt(path, f"tensor {name} is not F32")
    places = [_place(path, shape, pair) for pair in zip(names[::2], names[1::2], strict=True)]
    if len(set(places)) != len(places):
        raise _corrupt(path, "a matrix has two updates")
    for (_, matrix), a, b in zip(places, names[::2], names[1::2], strict=True):
        n_out, n_in = matrix_dims(shape, matrix)
        rank = gguf.tensors[a].dims[0]
        dims = gguf.tensors[a].dims, gguf.tensors[b].dims
        if dims != ((rank, n_in), (n_out, rank)) or not 1 <= rank <= RANK_MAX:
            raise MismatchError(
                f"{path}: {a} and its pair have shapes {dims[0]} and {dims[1]}, expected "
                f"(rank, {n_in}) and ({n_out}, rank) with a rank of 1 to {RANK_MAX}; this LoRA "
                "is for another model.",
                path=path,
            )
    arrays = {name: gguf.array(name) for name in names}
    seen = _checksum(str(gguf.metadata.get(_ID)), alpha, arrays)
    if seen != gguf.metadata.get(_CHECKSUM):
        raise _corrupt(path, f"its checksum is {seen:08x}, not the {_CHECKSUM} it names")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise _corrupt(path, "a weight is no number")
    return [
        Update(layer, matrix, arrays[a], arrays[b] * np.float32(alpha / len(arrays[a])))
        for (layer, matrix), a, b in zip(places, names[::2], names[1::2], strict=True)
    ]


def _place(path: Path, shape: Shape, names: tuple[str, str]) -> tuple[int, str]:
    """Return layer and matrix of a pair of names."""
    for layer in range(shape.n_layer):
        for matrix in MATRICES:
            stem = f"blk.{layer}.{matrix}.weight"
            if names == (f"{stem}.lora_a", f"{stem}.lora_b"):
                return layer, matrix
    raise _corrupt(path, f"tensors {names[0]} and {names[1]} are no pair of a matrix of this model")


def _checksum(model_id: str, alpha: float, arrays: Mapping[str, F32Array]) -> int:
    crc = zlib.crc32(struct.pack("<f", alpha) + model_id.encode())
    for name, array in arrays.items():
        crc = zlib.crc32(array.astype("<f4", copy=False).tobytes(), zlib.crc32(name.encode(), crc))
    return crc


def _corrupt(path: Path, seen: str) -> CorruptError:
    return CorruptError(f"{path}: {seen}; the file is damaged, copy it again.", path=path)
