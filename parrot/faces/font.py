# SPDX-License-Identifier: Apache-2.0
"""The pixel font: one memory-mapped file, 12 px high (format: docs/formats_font.md).

Opening checks everything once (length, checksum, order, ranges), so that drawing never has to.
A character that the font lacks is drawn as a box: the owner sees that something is there.
"""

from __future__ import annotations

import mmap
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from parrot.base.errors import CorruptError, FormatError
from parrot.base.files import file_error

MAGIC = b"PFN1"
VERSION = 1
HEADER_SIZE = 20
HEIGHT_PX = 12
GLYPH_SIZE = 18  # 12 columns of 12 bits
N_GLYPHS_MAX = 0x110000
SEEN_MAX = 2048  # decoded glyphs kept, about 0.5 MB
DEFAULT_PATH = Path(__file__).parent.parent / "assets" / "font12.bin"
_COLUMN_MASK = (1 << HEIGHT_PX) - 1


class Glyph(NamedTuple):
    """A character's picture: `columns` are u64 words whose bit 0 is the top row."""

    advance_px: int
    columns: NDArray[np.uint64]


def _glyph(advance_px: int, words: list[int]) -> Glyph:
    columns = np.array(words[:advance_px], dtype="<u8")
    columns.flags.writeable = False  # glyphs are shared by everyone who draws
    return Glyph(advance_px, columns)


MISSING = _glyph(12, [0x000, 0x7FE, *[0x402] * 8, 0x7FE, 0x000])


class Font:
    """A compiled font file, mapped read-only. Owns the mapping until `close`.

    Raises: FileError when it cannot be read, FormatError when it is something else,
            CorruptError when it is damaged. Once open, nothing it holds can make drawing fail.
    Cost:   opening reads the file once (its checksum); a glyph seen lately costs a dictionary look.
    """

    def __init__(self, path: Path = DEFAULT_PATH) -> None:
        try:
            with open(path, "rb") as file:
                size = file.seek(0, 2)
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        except OSError as exc:
            raise file_error(path, exc, "read") from exc
        try:
            self._index, self._advances, self._bits_at = _check(path, self._map)
        except BaseException:
            self.close()
            raise
        self._seen: dict[str, Glyph] = {}

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, char: str) -> bool:
        return self._position(ord(char)) >= 0

    def close(self) -> None:
        """Release the file. Glyphs already handed out stay valid."""
        self._index = self._advances = np.zeros(0, dtype="<u4")
        if isinstance(self._map, mmap.mmap):
            self._map.close()

    def glyph(self, char: str) -> Glyph:
        """Return the picture of one character, or a box if the font lacks it."""
        glyph = self._seen.get(char)
        if glyph is None:
            if len(self._seen) >= SEEN_MAX:
                self._seen.clear()
            glyph = self._seen[char] = self._read_glyph(char)
        return glyph

    def width_px(self, text: str) -> int:
        """Return the sum of advances, character by character, without layout rules."""
        return sum(self.glyph(char).advance_px for char in text)

    def _position(self, codepoint: int) -> int:
        at = int(np.searchsorted(self._index, np.uint32(codepoint)))
        return at if at < len(self._index) and self._index[at] == codepoint else -1

    def _read_glyph(self, char: str) -> Glyph:
        at = self._position(ord(char))
        if at < 0:
            return MISSING
        offset = self._bits_at + at * GLYPH_SIZE
        bits = int.from_bytes(self._map[offset : offset + GLYPH_SIZE], "little")
        words = [bits >> (HEIGHT_PX * x) & _COLUMN_MASK for x in range(HEIGHT_PX)]
        return _glyph(int(self._advances[at]), words)


def _check(
    path: Path, blob: mmap.mmap | bytes
) -> tuple[NDArray[np.uint32], NDArray[np.uint8], int]:
    """Return (index, advances, offset of the bitmaps) of a sound file."""
    head = bytes(blob[:HEADER_SIZE])
    if head[:4] != MAGIC:
        seen = head[:4].hex(" ") or "none, the file is empty"
        raise FormatError(
            f"{path}: first bytes are {seen}, expected {MAGIC.hex(' ')}; this is not a parrot "
            "font, build one with: python -m tools.assets font.",
            path=path,
        )
    if len(head) < HEADER_SIZE:
        raise _damaged(path, f"has {len(head)} bytes, its header alone needs {HEADER_SIZE}", 0)
    version, n_glyphs, height_px, crc = (
        int.from_bytes(head[at : at + 4], "little") for at in (4, 8, 12, 16)
    )
    if version != VERSION or height_px != HEIGHT_PX:
        raise FormatError(
            f"{path}: version {version} with {height_px} px rows, expected version {VERSION} with "
            f"{HEIGHT_PX}; build it again with: python -m tools.assets font.",
            path=path,
        )
    size = HEADER_SIZE + n_glyphs * (4 + 1 + GLYPH_SIZE)
    if n_glyphs > N_GLYPHS_MAX or len(blob) != size:
        raise _damaged(path, f"has {len(blob):,} bytes, {n_glyphs:,} glyphs need {size:,}", 8)
    seen_crc = zlib.crc32(memoryview(blob)[HEADER_SIZE:], zlib.crc32(head[:16]))
    if seen_crc != crc:
        raise _damaged(path, f"checksum is {seen_crc:08x}, expected {crc:08x}", 16)
    index = np.frombuffer(bytes(blob[HEADER_SIZE : HEADER_SIZE + 4 * n_glyphs]), dtype="<u4")
    advances_at = HEADER_SIZE + 4 * n_glyphs
    advances = np.frombuffer(bytes(blob[advances_at : advances_at + n_glyphs]), dtype="u1")
    if np.any(index[1:] <= index[:-1]) or np.any(index >= N_GLYPHS_MAX):
        raise _damaged(path, "its index is not in rising order", HEADER_SIZE)
    if np.any(advances < 1) or np.any(advances > HEIGHT_PX):
        raise _damaged(path, "an advance is outside 1…12 px", advances_at)
    return index, advances, advances_at + n_glyphs


def _damaged(path: Path, seen: str, offset: int) -> CorruptError:
    return CorruptError(
        f"{path}: {seen}; the copy is damaged, copy it again.", path=path, offset=offset
    )
