# SPDX-License-Identifier: Apache-2.0
"""Image files: what is in them, whether they are whole, and whether a disk holds the same.

An image is a disk as it will be: plain (.img) or compressed (.img.zst, .gz, .xz). Beside it may lie
its checksum (NAME.sha256) and its map of blocks (.bmap), both made by tools.image.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from parrot.base.errors import CorruptError, DeviceError, FormatError
from parrot.base.files import file_error
from parrot.base.program import installed

SECTOR, CHUNK = 512, 4 << 20
HEAD = 34 * SECTOR  # the tables of a disk
_UNPACKERS = {".zst": "zstd", ".gz": "gzip", ".xz": "xz"}
_FOREIGN = {b"PK": "a zip archive, unpack it", b"GGUF": "a model", b"SQLite": "a soul",
            b"7z": "a 7z archive, unpack it", b"\x7fELF": "a program"}  # fmt: skip
Progress = Callable[[str, int, int], None]  # what is done, bytes so far, bytes in all (0: unknown)


@dataclass(frozen=True)
class Image:
    """A whole image. `n_bytes` is the size of the disk it describes, `ends` where its last
    partition ends, `table` the kind of its partition table."""

    path: Path
    n_bytes: int
    ends: int
    table: str
    block_map: Path | None

    def ranges(self) -> list[tuple[int, int]]:
        """Return what of the disk is written, as (first byte, end); all of it without a map."""
        return mapped(self.block_map, self.n_bytes) if self.block_map else [(0, self.n_bytes)]


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Open the disk inside `path` for reading, through a program where it is compressed."""
    program = _UNPACKERS.get(path.suffix)
    if program is None:
        with open(path, "rb") as file:
            yield file
        return
    installed(program, "image", program if program != "xz" else "xz-utils")
    process = subprocess.Popen([program, "-dc", path], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)  # fmt: skip
    assert process.stdout
    try:
        yield process.stdout
    finally:
        process.stdout.close()
        process.wait()


def inspect(path: Path, progress: Progress) -> Image:
    """Read the whole of `path`. Raises: FormatError for what is no image, CorruptError for one
    that was cut short or changed, FileError when it cannot be read."""
    try:
        size = path.stat().st_size
        _check_sum(path, size, progress)
        n_bytes, head = 0, b""
        with unpacked(path) as disk:
            while chunk := disk.read(CHUNK):
                head = head or chunk[:HEAD]
                if not n_bytes:
                    table, ends = partitions(path, head)
                n_bytes += len(chunk)
                progress("reading", n_bytes, 0 if path.suffix in _UNPACKERS else size)
    except OSError as exc:
        raise file_error(path, exc, "read") from exc
    if not n_bytes:
        raise CorruptError(f"{path}: nothing could be unpacked; download it again.", path=path)
    if n_bytes < ends:
        raise CorruptError(
            f"{path}: its last partition ends at byte {ends:,} but it has {n_bytes:,}; the copy "
            "was cut short, copy it again.",
            path=path,
        )
    plain = path.with_suffix("") if path.suffix in _UNPACKERS else path
    block_map = plain.with_suffix(plain.suffix + ".bmap")
    return Image(path, n_bytes, ends, table, block_map if block_map.exists() else None)


def _check_sum(path: Path, size: int, progress: Progress) -> None:
    note = path.with_name(path.name + ".sha256")
    if not note.exists():
        return
    wanted = note.read_text(errors="replace").split()[:1]
    digest, n_read = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            n_read += len(chunk)
            progress("checking", n_read, size)
    if [digest.hexdigest()] != wanted:
        raise CorruptError(
            f"{path}: sha256 begins {digest.hexdigest()[:12]}, {note.name} says "
            f"{(wanted or ['nothing'])[0][:12]}; download both again.",
            path=path,
        )


def partitions(path: Path, head: bytes) -> tuple[str, int]:
    """Return the kind of the partition table in `head` and the byte where its last one ends."""
    if head[SECTOR : SECTOR + 8] == b"EFI PART":
        first, n_entries, size = struct.unpack_from("<QII", head, SECTOR + 72)
        entries = head[first * SECTOR : first * SECTOR + n_entries * size]
        if first == 2 and size == 128:
            spans = [
                struct.unpack_from("<QQ", entries, i + 32) for i in range(0, len(entries), 128)
            ]
            ends = max((last + 1 for begin, last in spans if begin), default=0)
            return "gpt", (ends + 33) * SECTOR  # and the table's copy
    elif head[510:512] == b"\x55\xaa":
        rows = [struct.unpack_from("<II", head, 446 + 16 * i + 8) for i in range(4)]
        if ends := max(begin + count for begin, count in rows):
            return "dos", ends * SECTOR
    seen = next((what for sign, what in _FOREIGN.items() if head.startswith(sign)), "no disk image")
    raise FormatError(
        f"{path}: first bytes are {head[:4].hex(' ') or 'none'} and no partition table follows, "
        f"expected an image of a disk; this is {seen}.",
        path=path,
    )


def mapped(block_map: Path, n_bytes: int) -> list[tuple[int, int]]:
    """Return the byte ranges that a bmap lists. Raises: FormatError."""
    try:
        root = ElementTree.parse(block_map).getroot()
        block, size = int(root.findtext("BlockSize", "")), int(root.findtext("ImageSize", ""))
        found = []
        for element in root.iterfind("BlockMap/Range"):
            first, _, last = (element.text or "").partition("-")
            begin, end = int(first) * block, (int(last or first) + 1) * block
            found.append((begin, min(end, size)))
    except (ElementTree.ParseError, ValueError) as exc:
        raise FormatError(f"{block_map}: no map of blocks ({exc}); remove it.") from exc
    if size != n_bytes:
        raise FormatError(
            f"{block_map}: of an image of {size:,} bytes, this one has {n_bytes:,}; remove it."
        )
    return found


def compare(image: Image, device: Path, progress: Progress) -> None:
    """Read `device` back from the medium. Raises: DeviceError at the first byte that differs."""
    ranges, position = image.ranges(), 0
    total = sum(end - begin for begin, end in ranges)
    done = 0
    with unpacked(image.path) as wanted, open(device, "rb", buffering=0) as medium:
        os.posix_fadvise(medium.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # not from the cache
        for begin, end in ranges:
            _skip(wanted, begin - position)
            medium.seek(begin)
            position = begin
            while position < end:
                expected = _exactly(wanted, min(CHUNK, end - position))
                if _exactly(medium, len(expected)) != expected or not expected:
                    raise DeviceError(
                        f"{device}: the {len(expected):,} bytes at {position:,} are not what was "
                        "written; the card or its reader is bad, take another.",
                        device=str(device),
                    )
                position += len(expected)
                done += len(expected)
                progress("verifying", done, total)


def _exactly(stream: IO[bytes], size: int) -> bytes:
    received = b""
    while len(received) < size and (chunk := stream.read(size - len(received))):
        received += chunk
    return received


def _skip(stream: IO[bytes], n_bytes: int) -> None:
    while n_bytes > 0 and (chunk := stream.read(min(CHUNK, n_bytes))):
        n_bytes -= len(chunk)
