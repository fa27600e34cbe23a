# SPDX-License-Identifier: Apache-2.0
"""Compile `parrot/assets/font12.bin` from fonts under the SIL Open Font License.

Three sources; the first that has a character wins: our own emoji (`tools/emoji12.txt`), Fusion
Pixel 12 px, and GNU Unifont for what Fusion Pixel lacks. Fusion Pixel is an outline font whose
corners lie on a grid of one pixel, so it is read exactly, without a rasteriser. Unifont is 16 px
high: its glyphs are narrowed by joining those neighbouring rows and columns whose union loses
fewest stroke edges. The format is in docs/formats_font.md.

Both fonts are brought by the person who builds (USAGE says how): no network here, and the
versions are visible.
"""

from __future__ import annotations

import argparse
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from parrot.base.errors import FormatError
from parrot.base.files import read_file, replace_file

USAGE = """\
where the fonts come from (both SIL OFL 1.1):
  npm pack @fontsource/fusion-pixel-12px-proportional-sc@5.3.0    package/files/*.woff2
  apt-get download unifont=1:15.0.01-2                            usr/share/unifont/unifont.hex
reading woff2 needs: pip install fonttools brotli
"""
CELL_PX = 12
UNIT = 100  # Fusion Pixel: font units a pixel
TOP_UNITS = 1400  # Fusion Pixel: ascent; the rows above the cell hold the accents of capitals
ROWS_ABOVE = 4
ROWS_TALL = 18
HANZI_PX = 11  # ink of a hanzi: the twelfth row and column keep neighbours apart
FROM_UNIFONT = (
    range(0x00A1, 0x0250),  # Latin
    range(0x0370, 0x0530),  # Greek, Cyrillic
    range(0x1E00, 0x2C00),  # Latin with marks, punctuation, arrows, signs
    range(0x3000, 0x4DC0),  # CJK signs, kana, extension A
    range(0x4E00, 0xA000),  # the unified ideographs
    range(0xFF00, 0xFFEF),  # full width
)
HANZI = (range(0x3400, 0x4DC0), range(0x4E00, 0xA000))
SIZE_MAX = 1_200_000

Glyph = tuple[int, list[int]]  # advance_px, columns as integers whose bit 0 is the top row


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.assets font",
        description="Compile the 12 px font.",
        epilog=USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--fusion", type=Path, required=True, help="the .woff2, .ttf or .otf")
    parser.add_argument("--unifont", type=Path, required=True, help="unifont.hex")
    parser.add_argument("--emoji", type=Path, default=Path(__file__).parent / "emoji12.txt")
    parser.add_argument("--out", type=Path, default=Path("parrot/assets/font12.bin"))
    args = parser.parse_args(argv)
    glyphs = dict(read_emoji(args.emoji))
    print(f"{args.emoji}: {len(glyphs):,} characters")
    for read, path in ((read_fusion, args.fusion), (read_unifont, args.unifont)):
        found = dict(read(path, frozenset(glyphs)))
        glyphs |= found
        print(f"{path}: {len(found):,} characters")
    blob = encode(glyphs)
    if len(blob) > SIZE_MAX:
        raise FormatError(f"{args.out}: {len(blob):,} bytes, at most {SIZE_MAX:,} are wanted.")
    replace_file(args.out, blob)
    n_hanzi = sum(c in glyphs for c in range(0x4E00, 0x9FA6))
    print(f"{args.out}: {len(glyphs):,} glyphs, {n_hanzi:,} of 20,902 hanzi, {len(blob):,} bytes")
    return 0


def encode(glyphs: dict[int, Glyph]) -> bytes:
    """Return the file of docs/formats_font.md."""
    order = sorted(glyphs)
    index = struct.pack(f"<{len(order)}I", *order)
    advances = bytes(glyphs[c][0] for c in order)
    bitmaps = b"".join(
        sum(column << (CELL_PX * x) for x, column in enumerate(glyphs[c][1])).to_bytes(18, "little")
        for c in order
    )
    payload = index + advances + bitmaps
    head = struct.pack("<4sIII", b"PFN1", 1, len(order), CELL_PX)
    return head + struct.pack("<I", zlib.crc32(payload, zlib.crc32(head))) + payload


# Reading the sources


def read_fusion(path: Path, known: frozenset[int]) -> Iterator[tuple[int, Glyph]]:
    """Yield (codepoint, glyph) of what is not `known`; corners off the grid are an error."""
    from fontTools.ttLib import TTFont

    font = TTFont(path)
    glyphs, advances = font.getGlyphSet(), font["hmtx"]
    for codepoint, name in sorted(font.getBestCmap().items()):
        if codepoint in known:
            continue
        edges = upright_edges(glyphs[name], f"{path}: U+{codepoint:04X}")
        yield codepoint, (min(int(advances[name][0]) // UNIT, CELL_PX), fit_rows(filled(edges)))


def upright_edges(glyph: object, where: str) -> list[tuple[int, int, int]]:
    """Return the vertical edges (x, y_from, y_to) of an outline, in pixels, y growing upwards."""
    from fontTools.pens.recordingPen import RecordingPen

    pen = RecordingPen()
    glyph.draw(pen)  # type: ignore[attr-defined]
    edges, start, here = [], (0, 0), (0, 0)
    for verb, points in pen.value:
        if verb not in ("moveTo", "lineTo", "closePath", "endPath"):
            raise FormatError(f"{where} has a curve, expected only pixels; pass Fusion Pixel.")
        there = points[-1] if points else start
        if there[0] % UNIT or there[1] % UNIT:
            raise FormatError(f"{where} leaves the pixel grid; pass the 12 px size.")
        if verb == "moveTo":
            start = there
        elif here[0] == there[0]:
            edges.append((here[0] // UNIT, here[1] // UNIT, there[1] // UNIT))
        here = there
    return edges


def filled(edges: Iterable[tuple[int, int, int]]) -> list[int]:
    """Return 12 columns of ROWS_TALL rows enclosed by `edges` under the nonzero winding rule."""
    winding = [[0] * ROWS_TALL for _ in range(CELL_PX)]
    for x, y_from, y_to in edges:
        if x >= CELL_PX:
            continue
        for y in range(min(y_from, y_to), max(y_from, y_to)):
            row = TOP_UNITS // UNIT - 1 - y
            if 0 <= row < ROWS_TALL:
                winding[max(x, 0)][row] += 1 if y_to > y_from else -1
    columns, inside = [], [0] * ROWS_TALL
    for turn in winding:
        inside = [a + b for a, b in zip(inside, turn, strict=True)]
        columns.append(sum(1 << row for row, depth in enumerate(inside) if depth))
    return columns


def read_unifont(path: Path, known: frozenset[int]) -> Iterator[tuple[int, Glyph]]:
    """Yield (codepoint, glyph) of the blocks in FROM_UNIFONT less `known`, narrowed to the cell."""
    for n, line in enumerate(read_file(path, 8_000_000).decode("ascii").splitlines(), 1):
        code, _, digits = line.partition(":")
        if len(digits) not in (32, 64):
            raise FormatError(f"{path}, line {n}: {len(digits)} digits, expected 32 or 64.")
        codepoint, width = int(code, 16), len(digits) // 4
        if codepoint in known or not any(codepoint in block for block in FROM_UNIFONT):
            continue
        step = width // 4
        rows = [int(digits[i : i + step], 16) for i in range(0, len(digits), step)]
        columns = [
            sum((row >> (width - 1 - x) & 1) << y for y, row in enumerate(rows))
            for x in range(width)
        ]
        is_hanzi = any(codepoint in block for block in HANZI)
        yield codepoint, narrow_hanzi(columns) if is_hanzi else narrow_symbol(columns)


def read_emoji(path: Path) -> Iterator[tuple[int, Glyph]]:
    """Yield (codepoint, glyph) of our own pictures: a line `U+1F602 name`, then rows of # and .."""
    for block in read_file(path, 100_000).decode().strip().split("\n\n"):
        title, *rows = [line for line in block.splitlines() if not line.startswith("//")]
        if len(rows) > CELL_PX or any(len(row) != CELL_PX or set(row) - set("#.") for row in rows):
            raise FormatError(f"{path}, {title}: expected at most 12 rows of 12 '#' or '.'.")
        columns = [sum((row[x] == "#") << y for y, row in enumerate(rows)) for x in range(CELL_PX)]
        yield int(title.split()[0][2:], 16), (CELL_PX, columns)


# Narrowing: a glyph is a list of lines (rows or columns), each an integer


def transposed(lines: list[int], n: int) -> list[int]:
    """Return the `n` lines across `lines`."""
    return [sum((line >> i & 1) << j for j, line in enumerate(lines)) for i in range(n)]


def trimmed(lines: list[int]) -> list[int]:
    """Return `lines` without blank ones at either end."""
    inked = [i for i, line in enumerate(lines) if line]
    return lines[inked[0] : inked[-1] + 1] if inked else []


def narrowed(lines: list[int], n: int) -> list[int]:
    """Join neighbouring lines until `n` are left, each time the pair that loses least.

    What is lost is counted in stroke edges: across the lines, those that vanish between them;
    along a line, those that its replacement no longer has. A tie goes to the middle.
    """
    lines = list(lines)
    while len(lines) > n:
        lines = min(_joins(lines), key=lambda join: join[0])[1]
    return lines


def _joins(lines: list[int]) -> Iterator[tuple[float, list[int]]]:
    whole = _edges_across(lines)
    for i in range(len(lines) - 1):
        a, b = lines[i], lines[i + 1]
        for joined in (a | b, a, b):
            rest = [*lines[:i], joined, *lines[i + 2 :]]
            lost_along = max(_edges_along(a), _edges_along(b)) - _edges_along(joined)
            lost_ink = ((a | b) & ~joined).bit_count()
            cost = 2 * (whole - _edges_across(rest)) + lost_ink + max(lost_along, 0)
            yield cost + 0.01 * abs(i + 1 - len(lines) / 2), rest


def _edges_across(lines: list[int]) -> int:
    return sum((a ^ b).bit_count() for a, b in zip([0, *lines], [*lines, 0], strict=True))


def _edges_along(line: int) -> int:
    return (line ^ (line << 1)).bit_count()


def narrow_hanzi(columns: list[int]) -> Glyph:
    """Return a 16 px hanzi with its ink in the first eleven rows and columns."""
    rows = narrowed(trimmed(transposed(columns, 16)), HANZI_PX)
    lines = narrowed(trimmed(transposed(rows, len(columns))), HANZI_PX)
    down, right = (HANZI_PX - len(rows)) // 2, (HANZI_PX - len(lines)) // 2
    return CELL_PX, _padded([0] * right + [line << down for line in lines])


def narrow_symbol(columns: list[int]) -> Glyph:
    """Return a 16 px symbol in at most 12 rows and columns, its height kept where it fits."""
    if len(columns) > CELL_PX:
        columns = narrowed(columns, CELL_PX)
    rows = narrowed(transposed(columns, 16), CELL_PX)
    return len(columns), _padded(transposed(rows, len(columns)))


def fit_rows(columns: list[int]) -> list[int]:
    """Cut ROWS_TALL rows to the cell's 12; an accent above them pushes the letter together."""
    rows = transposed(columns, ROWS_TALL)
    kept, above = rows[ROWS_ABOVE : ROWS_ABOVE + CELL_PX], trimmed(rows[:ROWS_ABOVE])
    if above:
        kept = narrowed(above + kept, CELL_PX)
    return transposed(kept, CELL_PX)


def _padded(columns: list[int]) -> list[int]:
    return [*columns, *[0] * (CELL_PX - len(columns))]
