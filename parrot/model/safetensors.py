# SPDX-License-Identifier: Apache-2.0
"""A strict reader of `.safetensors` checkpoints.

The file is a length, a JSON header that gives each tensor's type, dimensions and byte range, and
the bytes. The header may not exceed a cap, names are unique, and the ranges must cover the rest of
the file exactly, one after the other, so nothing hides between or behind them.
Source: https://github.com/huggingface/safetensors, section Format of its README.
"""

from __future__ import annotations

import json
import math
import mmap
from pathlib import Path
from typing import Any

import numpy as np

from parrot.base.errors import CorruptError, FormatError
from parrot.base.files import file_error
from parrot.model.codec import F32Array

HEADER_SIZE_MAX = 16 << 20  # the largest published RWKV-7 needs 200 kB
N_DIMS_MAX = 8
ITEM_SIZES = {"F32": 4, "F16": 2, "BF16": 2}


class StoredTensor:
    """A tensor inside a checkpoint: dimensions now, values on demand."""

    def __init__(self, dims: tuple[int, ...], kind: str, blob: mmap.mmap, offset: int) -> None:
        self.dims = dims
        self._kind, self._blob, self._offset = kind, blob, offset

    def array(self) -> F32Array:
        """Return the values as a new float32 array."""
        n = math.prod(self.dims)
        raw = self._blob[self._offset : self._offset + n * ITEM_SIZES[self._kind]]
        return floats(raw, self._kind).reshape(self.dims)


def floats(raw: bytes, kind: str) -> F32Array:
    """Return little-endian F32, F16 or BF16 bytes as float32."""
    if kind == "BF16":  # the upper half of a float32
        return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(raw, "<f4" if kind == "F32" else "<f2").astype(np.float32)


def read_safetensors(path: Path) -> dict[str, StoredTensor]:
    """Return the tensors of a checkpoint by name; their values stay on disk.

    Raises: CorruptError if the file is damaged; FormatError for number formats other than F32, F16
            and BF16; FileError if it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            if path.stat().st_size < 8:
                raise _corrupt(path, "the file has less than 8 bytes")
            blob = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as exc:
        raise file_error(path, exc, "read") from exc
    header_size = int.from_bytes(blob[:8], "little")
    if header_size > min(HEADER_SIZE_MAX, len(blob) - 8):
        raise _corrupt(path, f"the header wants {header_size:,} of {len(blob):,} bytes")
    try:
        header = json.loads(blob[8 : 8 + header_size].decode(), object_pairs_hook=_unique)
        header.pop("__metadata__", None)
        ranges = sorted((entry["data_offsets"], name) for name, entry in header.items())
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError) as exc:
        raise _corrupt(path, f"the header is not what it should be ({exc})") from exc
    base = place = 8 + header_size
    tensors = {}
    for _, name in ranges:
        dims, kind, (start, end) = _checked(path, name, header[name])
        if base + start != place or end - start != math.prod(dims) * ITEM_SIZES[kind]:
            raise _corrupt(path, f"tensor {name} has bytes {start:,} to {end:,}")
        tensors[name] = StoredTensor(dims, kind, blob, place)
        place = base + end
    if place != len(blob):
        raise _corrupt(path, f"the tensors end at byte {place:,}, the file at {len(blob):,}")
    return tensors


def _checked(path: Path, name: str, entry: Any) -> tuple[tuple[int, ...], str, tuple[int, int]]:
    """Return dimensions, type and byte range of a header entry whose parts have the right types."""
    dims, kind, offsets = entry.get("shape"), entry.get("dtype"), entry["data_offsets"]
    if kind not in ITEM_SIZES:
        raise FormatError(
            f"{path}: tensor {name} has type {kind!r}, expected F32, F16 or BF16; this is not a "
            "training checkpoint.",
            path=path,
        )
    for numbers, n_max in ((dims, N_DIMS_MAX), (offsets, 2)):
        if not isinstance(numbers, list) or len(numbers) > n_max:
            raise _corrupt(path, f"tensor {name} has no proper shape or range")
        if not all(type(n) is int and 0 <= n < 1 << 48 for n in numbers):
            raise _corrupt(path, f"tensor {name} has no proper shape or range")
    if len(offsets) != 2:
        raise _corrupt(path, f"tensor {name} has no proper range")
    return tuple(dims), kind, (offsets[0], offsets[1])


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError("a name appears twice")
    return entries


def _corrupt(path: Path, seen: str) -> CorruptError:
    return CorruptError(f"{path}: {seen}; the file is damaged, copy it again.", path=path)
