# SPDX-License-Identifier: Apache-2.0
"""TensorFlow Lite models, read without TensorFlow: a FlatBuffer of tensors and operators.

Only what two speech networks need is read. A table begins with the distance back to its vtable, a
list of u16: its size, the table's size, then where each field lies (0: absent). Every offset is
checked by the slice or `unpack_from` that follows it; what points outside the file is an error.
Source: schema.fbs of TensorFlow Lite, version 3; FlatBuffers "internals" document.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from parrot.base.errors import FormatError
from parrot.base.files import read_file

_SIZE_MAX = 256 << 20
_DTYPES = {0: "<f4", 2: "<i4", 4: "<i8", 6: "?", 9: "i1"}


class Table:
    """One table of a FlatBuffer."""

    def __init__(self, blob: bytes, at: int) -> None:
        self._blob, self._at = blob, at
        self._vtable = at - struct.unpack_from("<i", blob, at)[0]
        self._vtable_size = struct.unpack_from("<H", blob, self._vtable)[0]

    def _place(self, index: int) -> int:
        entry = 4 + index * 2
        if entry >= self._vtable_size:
            return 0
        offset: int = struct.unpack_from("<H", self._blob, self._vtable + entry)[0]
        return self._at + offset if offset else 0

    def value(self, index: int, form: str, default: Any) -> Any:
        place = self._place(index)
        return struct.unpack_from(form, self._blob, place)[0] if place else default

    def _vector(self, index: int) -> tuple[int, int]:
        """Return (where the first item is, how many)."""
        place = self._place(index)
        if not place:
            return 0, 0
        at = place + struct.unpack_from("<I", self._blob, place)[0]
        n = struct.unpack_from("<I", self._blob, at)[0]
        if at + 4 + n > len(self._blob):  # an item takes a byte at least
            raise ValueError(f"a list of {n:,} at byte {at:,}")
        return at + 4, n

    def table(self, index: int) -> Table | None:
        place = self._place(index)
        if not place:
            return None
        return Table(self._blob, place + struct.unpack_from("<I", self._blob, place)[0])

    def tables(self, index: int) -> list[Table]:
        at, n = self._vector(index)
        places = [at + 4 * i for i in range(n)]
        blob = self._blob
        return [Table(blob, place + struct.unpack_from("<I", blob, place)[0]) for place in places]

    def array(self, index: int, dtype: str) -> npt.NDArray[Any]:
        at, n = self._vector(index)
        return np.frombuffer(self._blob, dtype, n, at) if n else np.zeros(0, dtype)

    def text(self, index: int) -> str:
        return self.array(index, "u1").tobytes().decode()


@dataclass(frozen=True)
class LiteTensor:
    """A tensor: constant when `values` is there. `scale` is that of an int8 tensor."""

    name: str
    rank: int
    shape: tuple[int, ...]
    dtype: str
    values: npt.NDArray[Any] | None
    scale: float | None
    zero_point: int


@dataclass(frozen=True)
class LiteOperator:
    """An operator: `code` is its number in the schema, `custom` the name of one that has none."""

    code: int
    custom: str
    inputs: list[int]
    outputs: list[int]
    options: Table | None


@dataclass
class LiteModel:
    """The first subgraph of a model."""

    tensors: list[LiteTensor] = field(default_factory=list)
    operators: list[LiteOperator] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)


def read_tflite(path: Path) -> LiteModel:
    """Return the model in a .tflite file. Raises: FormatError for what is none."""
    blob = read_file(path, _SIZE_MAX)
    try:
        if blob[4:8] != b"TFL3":
            raise ValueError(f"marked {blob[4:8]!r}, expected b'TFL3'")
        return _model(Table(blob, struct.unpack_from("<I", blob, 0)[0]))
    except (struct.error, ValueError, KeyError, IndexError, AttributeError) as exc:
        raise FormatError(
            f"{path}: not a whole TensorFlow Lite model ({exc}); remove it and install again.",
            path=path,
        ) from exc


def _model(root: Table) -> LiteModel:
    buffers = root.tables(4)
    codes = [(max(c.value(0, "<b", 0), c.value(3, "<i", 0)), c.text(1)) for c in root.tables(1)]
    graph = root.tables(2)[0]
    model = LiteModel(inputs=graph.array(1, "<i4").tolist(), outputs=graph.array(2, "<i4").tolist())
    for table in graph.tables(0):
        model.tensors.append(_tensor(table, buffers))
    for op in graph.tables(3):
        code, custom = codes[op.value(0, "<I", 0)]
        ins, outs = op.array(1, "<i4").tolist(), op.array(2, "<i4").tolist()
        model.operators.append(LiteOperator(code, custom, ins, outs, op.table(4)))
    return model


def _tensor(table: Table, buffers: list[Table]) -> LiteTensor:
    dtype = _DTYPES[table.value(1, "<b", 0)]
    shape = tuple(table.array(0, "<i4").tolist())
    stored = buffers[table.value(2, "<I", 0)].array(0, "u1")
    values = np.frombuffer(stored.tobytes(), dtype).reshape(shape) if len(stored) else None
    quantization = table.table(4)
    scales = quantization.array(2, "<f4") if quantization else np.zeros(0)
    zeros = quantization.array(3, "<i8") if quantization else np.zeros(0)
    if len(scales) > 1:
        raise ValueError(f"{table.text(3)} has {len(scales)} scales, expected one")
    return LiteTensor(
        name=table.text(3),
        rank=len(shape),
        shape=shape,
        dtype=dtype,
        values=values,
        scale=float(scales[0]) if len(scales) else None,
        zero_point=int(zeros[0]) if len(zeros) else 0,
    )
