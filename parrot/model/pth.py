# SPDX-License-Identifier: Apache-2.0
"""A reader of PyTorch `.pth` checkpoints that cannot run what is inside.

A `.pth` is a zip archive: `data.pkl`, a pickle that describes a dictionary of tensors, and one
member of raw bytes for each storage. Unpickling runs code by design, so nothing here unpickles.
`_Machine` interprets the few opcodes that such a dictionary needs; the callables it meets are only
names, compared with a short list and never imported. torch is not needed.
Source: CPython's Lib/pickletools.py for the opcodes; torch/serialization.py for the layout.
"""

from __future__ import annotations

import math
import pickletools
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from parrot.base.errors import CorruptError, FormatError
from parrot.base.files import file_error
from parrot.model.codec import F32Array
from parrot.model.safetensors import ITEM_SIZES, N_DIMS_MAX, floats

PICKLE_SIZE_MAX = 16 << 20
_KINDS = {
    "torch FloatStorage": "F32",
    "torch HalfStorage": "F16",
    "torch BFloat16Storage": "BF16",
}
_ORDERED_DICT = "collections OrderedDict"
_REBUILD_TENSOR = "torch._utils _rebuild_tensor_v2"
_REBUILD_PARAMETER = "torch._utils _rebuild_parameter"
_GLOBALS = {*_KINDS, _ORDERED_DICT, _REBUILD_TENSOR, _REBUILD_PARAMETER}

# What a damaged archive makes the standard library raise.
_BROKEN = (
    zipfile.BadZipFile, ValueError, KeyError, IndexError, EOFError, NotImplementedError,
    RuntimeError, OverflowError, TypeError, AttributeError, struct.error,
)  # fmt: skip


class _Global(NamedTuple):
    """A name that the pickle wants imported. It is only ever compared."""

    name: str


class _Storage(NamedTuple):
    kind: str
    key: str
    n: int


class PthTensor(NamedTuple):
    """A tensor inside an archive: dimensions now, values on demand."""

    path: Path
    member: str
    kind: str
    first: int  # in elements of the storage
    dims: tuple[int, ...]

    def array(self) -> F32Array:
        """Return the values as a new float32 array."""
        size = ITEM_SIZES[self.kind]
        start, n = self.first * size, math.prod(self.dims) * size
        try:
            with zipfile.ZipFile(self.path) as archive:
                raw = _stored(archive, self.member, 1 << 40)[start : start + n]
        except OSError as exc:
            raise file_error(self.path, exc, "read") from exc
        except _BROKEN as exc:
            raise _corrupt(self.path, f"{self.member} cannot be read ({exc})") from exc
        return floats(raw, self.kind).reshape(self.dims)


def read_pth(path: Path) -> dict[str, PthTensor]:
    """Return the tensors of a checkpoint by name; their values stay on disk.

    Raises: FormatError if the pickle is anything but a dictionary of float tensors; CorruptError
            if the archive is damaged; FileError if it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
            pickle_name = next(name for name in members if name.endswith("/data.pkl"))
            root = pickle_name.removesuffix("data.pkl")
            if f"{root}byteorder" in members and archive.read(f"{root}byteorder") != b"little":
                raise FormatError(f"{path}: numbers are big-endian; save it on another machine.")
            loaded = _Machine(path).run(_stored(archive, pickle_name, PICKLE_SIZE_MAX))
            sizes = {info.filename: info.file_size for info in archive.infolist()}
    except OSError as exc:
        raise file_error(path, exc, "read") from exc
    except StopIteration:
        raise _refused(path, "a zip archive without data.pkl") from None
    except _BROKEN as exc:
        raise _corrupt(path, f"the archive is not what it should be ({exc})") from exc
    if not isinstance(loaded, dict):
        raise _refused(path, "a pickle of something else")
    tensors = {}
    for name, tensor in loaded.items():
        if not isinstance(name, str) or not isinstance(tensor, PthTensor):
            raise _refused(path, "a dictionary that holds more than tensors")
        tensor = tensor._replace(member=f"{root}data/{tensor.member}")
        end = (tensor.first + math.prod(tensor.dims)) * ITEM_SIZES[tensor.kind]
        if end > sizes.get(tensor.member, 0):
            raise _corrupt(path, f"tensor {name} reaches past the end of its storage")
        tensors[name] = tensor
    return tensors


def _stored(archive: zipfile.ZipFile, member: str, size_max: int) -> bytes:
    """Return a member's bytes. Torch never compresses, so what is compressed may be a bomb."""
    info = archive.getinfo(member)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > size_max:
        raise ValueError(f"{member} is compressed or too large")
    return archive.read(info)


class _Machine:
    """A stack machine for the part of the pickle language that describes tensors."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._actions: dict[str, Callable[[Any], None]] = {
            "PROTO": lambda _: None,
            "FRAME": lambda _: None,
            "MARK": lambda _: self._marks.append(len(self._stack)),
            "NONE": lambda _: self._stack.append(None),
            "NEWTRUE": lambda _: self._stack.append(True),
            "NEWFALSE": lambda _: self._stack.append(False),
            "EMPTY_DICT": lambda _: self._stack.append({}),
            "EMPTY_TUPLE": lambda _: self._stack.append(()),
            "TUPLE": lambda _: self._stack.append(tuple(self._to_mark())),
            "TUPLE1": lambda _: self._stack.append(tuple(self._pop(1))),
            "TUPLE2": lambda _: self._stack.append(tuple(self._pop(2))),
            "TUPLE3": lambda _: self._stack.append(tuple(self._pop(3))),
            "GLOBAL": self._global,
            "STACK_GLOBAL": lambda _: self._global(" ".join(self._pop(2))),
            "REDUCE": lambda _: self._stack.append(self._reduce(*self._pop(2))),
            "BUILD": lambda _: self._pop(1).clear(),  # attributes of a state_dict, no tensors
            "BINPERSID": lambda _: self._stack.append(self._storage(*self._pop(1))),
            "SETITEM": lambda _: self._set_items(self._pop(2)),
            "SETITEMS": lambda _: self._set_items(self._to_mark()),
            "MEMOIZE": lambda _: self._memo.update({len(self._memo): self._stack[-1]}),
        }
        for code in ("BINUNICODE", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1"):
            self._actions[code] = self._stack.append
        for code in ("BINPUT", "LONG_BINPUT"):
            self._actions[code] = lambda i: self._memo.update({i: self._stack[-1]})
        for code in ("BINGET", "LONG_BINGET"):
            self._actions[code] = lambda i: self._stack.append(self._memo[i])

    def run(self, pickle: bytes) -> Any:
        with warnings.catch_warnings():  # about backslashes in names, before we refuse them
            warnings.simplefilter("ignore", DeprecationWarning)
            return self._run(pickle)

    def _run(self, pickle: bytes) -> Any:
        for opcode, argument, _ in pickletools.genops(pickle):
            if opcode.name == "STOP":
                return self._stack.pop()
            action = self._actions.get(opcode.name)
            if action is None:
                raise _refused(self._path, f"a pickle with {opcode.name}")
            action(argument)
        raise EOFError("the pickle has no end")

    def _pop(self, n: int) -> list[Any]:
        if len(self._stack) < n:
            raise IndexError("the pickle takes more than it has")
        items, self._stack[-n:] = self._stack[-n:], []
        return items

    def _to_mark(self) -> list[Any]:
        start = self._marks.pop()
        return self._pop(len(self._stack) - start) if len(self._stack) > start else []

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(target, dict) or not isinstance(key, str | int):
                raise _refused(self._path, "a dictionary with other keys than names")
            target[key] = value

    def _global(self, name: str) -> None:
        if name not in _GLOBALS:
            raise _refused(self._path, f"a pickle that wants to call {name[:80]!r}")
        self._stack.append(_Global(name))

    def _storage(self, description: Any) -> _Storage:
        _, kind, key, _, n = description
        if not isinstance(key, str):
            raise ValueError("a storage is described wrongly")
        return _Storage(_KINDS[kind.name], key, n)

    def _reduce(self, called: Any, arguments: Any) -> Any:
        name = called.name if isinstance(called, _Global) else None
        if name == _ORDERED_DICT and arguments == ():
            return {}
        if name == _REBUILD_PARAMETER and isinstance(arguments[0], PthTensor):
            return arguments[0]
        if name == _REBUILD_TENSOR:
            return self._tensor(*arguments[:4])
        raise _refused(self._path, "a pickle that calls what it should not")

    def _tensor(self, storage: Any, first: Any, dims: Any, strides: Any) -> PthTensor:
        if not isinstance(dims, tuple) or len(dims) > N_DIMS_MAX:
            raise ValueError("a tensor is described wrongly")
        if not all(type(n) is int and 0 <= n < 1 << 48 for n in (first, *dims)):
            raise ValueError("a tensor has impossible dimensions")
        step = 1
        for n, stride in zip(reversed(dims), reversed(strides), strict=True):
            if n != 1 and stride != step:
                raise _refused(self._path, "a tensor that is not contiguous")
            step *= n
        return PthTensor(self._path, storage.key, storage.kind, first, dims)


def _refused(path: Path, seen: str) -> FormatError:
    return FormatError(
        f"{path}: {seen}, expected a plain dictionary of F32, F16 or BF16 tensors; save the "
        "model's state_dict() with torch.save.",
        path=path,
    )


def _corrupt(path: Path, seen: str) -> CorruptError:
    return CorruptError(f"{path}: {seen}; the file is damaged, copy it again.", path=path)
