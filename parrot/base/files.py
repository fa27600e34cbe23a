# SPDX-License-Identifier: Apache-2.0
"""The only way parrot writes a durable file.

A file that is replaced holds, after a power cut at any instant, its old bytes or its new bytes,
whole (INV-1). Three orders make it so: the bytes reach the disk before the name that points at
them, and the name before the folder entry is trusted.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from parrot.base.errors import FileError

_PIECE = 1 << 20
_HINTS = {
    errno.ENOSPC: "the disk is full; free some space and try again",
    errno.EDQUOT: "the quota is used up; free some space and try again",
    errno.EROFS: "the file system is read-only; remount it writable or choose another path",
    errno.EACCES: "permission denied; choose a path you may write",
    errno.EPERM: "permission denied; choose a path you may write",
    errno.ENOENT: "no such file or folder; check the path",
    errno.EISDIR: "this is a folder, expected a file; check the path",
    errno.ENOTDIR: "a part of the path is a file, expected a folder; check the path",
    errno.EIO: "the disk reported a read or write error; check it before trusting it again",
}


def file_error(path: Path, exc: OSError, doing: str) -> FileError:
    """Turn an OSError met while `doing` ("read", "written") into one sentence with a next step."""
    hint = _HINTS.get(exc.errno or 0, f"{exc.strerror or exc}; check the disk and the path")
    return FileError(f"{path}: cannot be {doing}: {hint}.", path=path)


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable. Cost: one fsync."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to fill; when the block ends, `path` holds those bytes, durably (INV-1).

    If the block raises, `path` is untouched and the part file is gone.
    Raises: FileError, with what to do, when the disk refuses.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        with open(part, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # the bytes first,
        os.replace(part, path)  # then the name that points at them,
        sync_folder(path.parent)  # then the folder that holds the name
    except BaseException as exc:
        with suppress(OSError):
            part.unlink()
        if isinstance(exc, OSError):
            raise file_error(path, exc, "written") from exc
        raise


def replace_file(path: Path, blob: bytes | bytearray | memoryview) -> None:
    """Make `path` hold `blob`; after a power cut it holds the old bytes or the new (INV-1).

    Raises: FileError, with what to do, when the disk refuses.
    """
    with writing(path) as file:
        file.write(blob)


def read_file(path: Path, size_max: int) -> bytes:
    """Return the bytes of `path`, which may hold at most `size_max` bytes.

    Raises: FileError when it cannot be read or is larger.
    """
    try:
        with open(path, "rb") as file:
            blob = bytearray()  # piece by piece: a read of size_max would take that much memory
            while len(blob) <= size_max and (piece := file.read(min(_PIECE, size_max + 1))):
                blob += piece
    except OSError as exc:
        raise file_error(path, exc, "read") from exc
    if len(blob) > size_max:
        raise FileError(
            f"{path}: holds more than {size_max:,} bytes, expected at most that; "
            "this is not the file meant here.",
            path=path,
        )
    return bytes(blob)
