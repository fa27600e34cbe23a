# SPDX-License-Identifier: Apache-2.0
"""GGUF version 3: a strict reader and a streaming writer.

A GGUF file is a header, metadata (key, typed value), tensor descriptions, and then the tensors,
each at a multiple of the alignment, back to back in the order of their descriptions. This module
knows nothing about networks: `parrot.model.weights` says which keys and tensors a parrot has.

The reader trusts no number. A count is compared with the bytes that are left before anything is
allocated for it, nothing recurses, and what a writer of ours would never produce (gaps, overlaps,
unknown types, doubled names, bytes after the end) is refused with the offset where it was met.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from parrot.base.errors import CorruptError, FormatError
from parrot.base.files import file_error, writing
from parrot.model.codec import GROUP_SIZE, F32Array, TensorType, byte_size, decode, encode

MAGIC = b"GGUF"
VERSION = 3
ALIGNMENT = 32  # bytes; what a file means that does not say `general.alignment`

N_KEYS_MAX = 4_096
N_TENSORS_MAX = 16_384
KEY_SIZE_MAX = 255
NAME_SIZE_MAX = 63
N_DIMS_MAX = 4
ROWS_SIZE = 1 << 24  # bytes of float32 that the writer encodes at a time

# A scalar of metadata, a list of strings, or a numeric array.
Value = str | int | float | bool | list[str] | NDArray[Any]

_U32, _F32, _BOOL, _STRING, _ARRAY, _U64, _I64, _F64 = 4, 6, 7, 8, 9, 10, 11, 12
_F32_MAX = 3.4028234663852886e38  # the largest float that fits
_SCALARS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
_ARRAY_TYPES = {np.dtype(code): kind for kind, code in _SCALARS.items()}

# What people pass by mistake, by its first bytes.
_LOOKALIKES = {
    b"PK": "this is a zip archive or a .pth file, convert it with: parrot model import",
    b"\x1f\x8b": "this is a gzip archive, unpack it and pass the .gguf inside",
    b"ve": "this is a pointer left by git-lfs, fetch the file itself",
    b"<": "this is a web page, download the file itself",
}
# ggml's other formats, so that a refusal can say what it met.
_TYPE_NAMES = {
    2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K",
    14: "Q6_K", 30: "BF16",
}  # fmt: skip


@dataclass(frozen=True)
class TensorEntry:
    """Where one tensor lies. `dims` slowest first; `offset` and `size` in bytes of the file."""

    name: str
    dims: tuple[int, ...]
    type: TensorType
    offset: int
    size: int


@dataclass(frozen=True)
class GGUF:
    """An open GGUF file: its metadata, its tensors by name, and its bytes, mapped."""

    path: Path
    metadata: Mapping[str, Value]
    tensors: Mapping[str, TensorEntry]
    blob: mmap.mmap

    def array(self, name: str) -> F32Array:
        """Return the values of a tensor as a new float32 array."""
        entry = self.tensors[name]
        raw = memoryview(self.blob)[entry.offset : entry.offset + entry.size]
        return decode(raw, entry.dims, entry.type)


def read_gguf(path: Path) -> GGUF:
    """Map `path` and check everything that can be checked without reading the tensors.

    Raises: FormatError if it is not GGUF or uses what parrot does not run; CorruptError if it is
            damaged; FileError if it cannot be read.
    Cost:   a few milliseconds and a few hundred kB for the metadata; tensors stay on disk.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(8)
            _check_head(path, head)
            blob = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as exc:
        raise file_error(path, exc, "read") from exc
    cursor = _Cursor(path, blob)
    n_tensors = cursor.count("tensors", N_TENSORS_MAX)
    n_keys = cursor.count("metadata keys", N_KEYS_MAX)
    metadata: dict[str, Value] = {}
    for _ in range(n_keys):
        key = cursor.name("metadata key", KEY_SIZE_MAX)
        if key in metadata:
            raise cursor.corrupt(f"metadata key {key} appears twice")
        metadata[key] = cursor.value(key)
    alignment = _alignment(path, metadata)
    tensors = _read_entries(cursor, n_tensors, alignment)
    return GGUF(path, metadata, tensors, blob)


def _check_head(path: Path, head: bytes) -> None:
    if len(head) < 8 or head[:4] != MAGIC:
        hint = next((h for start, h in _LOOKALIKES.items() if head.startswith(start)), None)
        raise FormatError(
            f"{path}: first bytes are {head[:4].hex(' ') or 'missing'}, expected "
            f"{MAGIC.hex(' ')}; {hint or 'this is not a model, pass a .gguf'}.",
            path=path,
            offset=0,
        )
    version = int.from_bytes(head[4:], "little")
    if version != VERSION:
        raise FormatError(
            f"{path}: GGUF version {version}, expected {VERSION}; convert it again with a "
            "present-day tool.",
            path=path,
            offset=4,
        )


def _alignment(path: Path, metadata: Mapping[str, Value]) -> int:
    value = metadata.get("general.alignment", ALIGNMENT)
    if not isinstance(value, int) or value & (value - 1) or not 8 <= value <= 65_536:
        raise CorruptError(
            f"{path}: general.alignment is {value!r}, expected a power of two from 8 to 65,536; "
            "copy the file again.",
            path=path,
        )
    return value


def _read_entries(cursor: _Cursor, n_tensors: int, alignment: int) -> dict[str, TensorEntry]:
    """Read the tensor descriptions and turn their offsets into offsets of the file."""
    relative: list[TensorEntry] = []
    names = set()
    end = 0
    for _ in range(n_tensors):
        entry = _read_entry(cursor, alignment)
        if entry.name in names:
            raise cursor.corrupt(f"tensor {entry.name} appears twice")
        if entry.offset != _align(end, alignment):
            raise cursor.corrupt(
                f"tensor {entry.name} is at data offset {entry.offset:,}, expected "
                f"{_align(end, alignment):,}"
            )
        names.add(entry.name)
        relative.append(entry)
        end = entry.offset + entry.size
    base = _align(cursor.position, alignment)
    tensors = {}
    for entry in relative:
        start = base + entry.offset
        if start + entry.size > cursor.size:
            raise CorruptError(
                f"{cursor.path}: tensor {entry.name} ends at byte {start + entry.size:,} but the "
                f"file has {cursor.size:,}; the copy was cut short, copy it again.",
                path=cursor.path,
                offset=start,
            )
        tensors[entry.name] = TensorEntry(entry.name, entry.dims, entry.type, start, entry.size)
    if cursor.size > _align(base + end, alignment):
        raise cursor.corrupt(
            f"the file has {cursor.size:,} bytes, expected {_align(base + end, alignment):,}"
        )
    return tensors


def _read_entry(cursor: _Cursor, alignment: int) -> TensorEntry:
    name = cursor.name("tensor name", NAME_SIZE_MAX)
    n_dims = int(cursor.scalar("<I"))
    if not 1 <= n_dims <= N_DIMS_MAX:
        raise cursor.corrupt(f"tensor {name} has {n_dims} dimensions, expected 1 to {N_DIMS_MAX}")
    dims = tuple(int(cursor.scalar("<Q")) for _ in range(n_dims))[::-1]
    type_id = int(cursor.scalar("<I"))
    if type_id not in TensorType.__members__.values():
        raise FormatError(
            f"{cursor.path}: tensor {name} has type {_TYPE_NAMES.get(type_id, type_id)}, expected "
            "F32, F16 or Q8_0; fetch the F16 file and use: parrot model quantize.",
            path=cursor.path,
            offset=cursor.position,
        )
    kind = TensorType(type_id)
    if 0 in dims or (kind is TensorType.Q8_0 and dims[-1] % GROUP_SIZE):
        raise cursor.corrupt(f"tensor {name} has dimensions {dims}, impossible for {kind.name}")
    return TensorEntry(name, dims, kind, int(cursor.scalar("<Q")), byte_size(dims, kind))


def _align(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment


class _Cursor:
    """Reads the front of a GGUF file in order; every read is checked against the file's length."""

    def __init__(self, path: Path, blob: mmap.mmap) -> None:
        self.path, self.size, self.position = path, len(blob), 8
        self._blob = blob

    def corrupt(self, seen: str) -> CorruptError:
        return CorruptError(
            f"{self.path}: {seen}; the file is damaged, copy it again.",
            path=self.path,
            offset=self.position,
        )

    def take(self, size: int) -> bytes:
        if size > self.size - self.position:
            raise self.corrupt(
                f"the header wants {size:,} bytes at byte {self.position:,} but the file has "
                f"{self.size:,}"
            )
        start, self.position = self.position, self.position + size
        return self._blob[start : self.position]

    def scalar(self, code: str) -> int | float:
        value: int | float = struct.unpack(code, self.take(struct.calcsize(code)))[0]
        return value

    def count(self, what: str, n_max: int) -> int:
        n = int(self.scalar("<Q"))
        if n > n_max:
            raise self.corrupt(f"the header counts {n:,} {what}, expected at most {n_max:,}")
        return n

    def string(self, what: str) -> str:
        try:
            return self.take(int(self.scalar("<Q"))).decode()
        except UnicodeDecodeError as exc:
            raise self.corrupt(f"{what} is not UTF-8") from exc

    def name(self, what: str, size_max: int) -> str:
        """Return a string of printable ASCII, as all keys and names are."""
        size = int(self.scalar("<Q"))
        if not 1 <= size <= size_max:
            raise self.corrupt(f"a {what} has {size:,} bytes, expected 1 to {size_max}")
        raw = self.take(size)
        if not all(0x20 <= byte < 0x7F for byte in raw):
            raise self.corrupt(f"a {what} is {raw[:20]!r}, expected printable ASCII")
        return raw.decode("ascii")

    def value(self, key: str) -> Value:
        kind = int(self.scalar("<I"))
        if kind == _ARRAY:
            return self._array(key)
        return self._item(key, kind)

    def _item(self, key: str, kind: int) -> str | int | float | bool:
        if kind == _STRING:
            return self.string(key)
        if kind == _BOOL:
            flag = self.scalar("<B")
            if flag > 1:
                raise self.corrupt(f"{key} is {flag}, expected a truth value of 0 or 1")
            return flag == 1
        if kind in _SCALARS:
            return self.scalar(_SCALARS[kind])
        raise self.corrupt(f"{key} has value type {kind}, expected 0 to 12")

    def _array(self, key: str) -> list[str] | NDArray[Any]:
        kind, n = int(self.scalar("<I")), int(self.scalar("<Q"))
        if kind == _STRING:
            if n > (self.size - self.position) // 8:
                raise self.corrupt(f"{key} counts {n:,} strings, more than the file can hold")
            return [self.string(key) for _ in range(n)]
        if kind == _BOOL or kind in _SCALARS:
            dtype = np.dtype("u1" if kind == _BOOL else _SCALARS[kind])
            return np.frombuffer(self.take(n * dtype.itemsize), dtype)
        raise self.corrupt(f"{key} is an array of type {kind}, expected numbers or strings")


@dataclass(frozen=True)
class TensorSource:
    """A tensor to be written: its description, and a function that returns its values."""

    name: str
    dims: tuple[int, ...]
    type: TensorType
    load: Callable[[], NDArray[Any]]


def write_gguf(path: Path, metadata: Mapping[str, Value], tensors: Sequence[TensorSource]) -> None:
    """Write a GGUF file, whole or not at all (INV-1), loading one tensor at a time.

    Integers of metadata become u32 and floats f32, or 64 bits where they must; lists become arrays
    of strings; numeric arrays keep their type.
    Raises: FormatError naming the tensor whose values do not fit; FileError from the disk.
    Cost:   memory for one tensor and a few MB; one fsync.
    """
    head = bytearray(struct.pack("<4sIQQ", MAGIC, VERSION, len(tensors), len(metadata)))
    for key, value in metadata.items():
        head += _string(key) + _typed(value)
    offset = 0
    for tensor in tensors:
        head += _string(tensor.name) + struct.pack("<I", len(tensor.dims))
        head += struct.pack(f"<{len(tensor.dims)}Q", *reversed(tensor.dims))
        head += struct.pack("<IQ", tensor.type, offset)
        offset = _align(offset + byte_size(tensor.dims, tensor.type), ALIGNMENT)
    with writing(path) as file:
        file.write(head.ljust(_align(len(head), ALIGNMENT), b"\0"))
        for tensor in tensors:
            try:
                _write_tensor(file, tensor)
            except FormatError as exc:
                raise FormatError(f"{path}: tensor {tensor.name}: {exc}", path=path) from exc


def _write_tensor(file: BinaryIO, tensor: TensorSource) -> None:
    values = tensor.load()
    if values.shape != tensor.dims:
        raise FormatError(f"shape {values.shape}, expected {tensor.dims}; check the source.")
    if tensor.type is TensorType.Q8_0 and tensor.dims[-1] % GROUP_SIZE:
        raise FormatError(
            f"rows of {tensor.dims[-1]} weights, expected a multiple of {GROUP_SIZE} for Q8_0; "
            "write F16 instead."
        )
    rows = values.reshape(-1, tensor.dims[-1])
    step = max(1, ROWS_SIZE // (4 * tensor.dims[-1]))
    for first in range(0, len(rows), step):
        file.write(encode(rows[first : first + step], tensor.type))
    size = byte_size(tensor.dims, tensor.type)
    file.write(bytes(_align(size, ALIGNMENT) - size))


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _typed(value: Value) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<I?", _BOOL, value)
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _string(value)
    if isinstance(value, int):
        kind = _U32 if 0 <= value < 1 << 32 else _U64 if value >= 0 else _I64
        return struct.pack("<I", kind) + struct.pack(_SCALARS[kind], value)
    if isinstance(value, float):
        kind = _F32 if abs(value) <= _F32_MAX or not math.isfinite(value) else _F64
        return struct.pack("<I", kind) + struct.pack(_SCALARS[kind], value)
    if isinstance(value, list):
        return struct.pack("<IIQ", _ARRAY, _STRING, len(value)) + b"".join(map(_string, value))
    return struct.pack("<IIQ", _ARRAY, _ARRAY_TYPES[value.dtype], value.size) + value.tobytes()
