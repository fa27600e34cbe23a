# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from parrot.base.errors import CorruptError, FileError, FormatError
from parrot.faces.font import DEFAULT_PATH, HEADER_SIZE, MISSING, Font

FONT = Font()


def rows(char: str) -> list[str]:
    columns = FONT.glyph(char).columns
    return ["".join(".#"[int(word) >> y & 1] for word in columns) for y in range(12)]


def file_with(n_glyphs: int = 2, index: tuple[int, ...] = (65, 66), advance: int = 6) -> bytes:
    """A small file with a right checksum, whatever else is wrong with it."""
    head = b"PFN1" + b"".join(v.to_bytes(4, "little") for v in (1, n_glyphs, 12))
    payload = b"".join(c.to_bytes(4, "little") for c in index)
    payload += bytes([advance]) * n_glyphs + b"\x55" * (18 * n_glyphs)
    return head + zlib.crc32(payload, zlib.crc32(head)).to_bytes(4, "little") + payload


def opened(tmp_path: Path, blob: bytes) -> Font:
    path = tmp_path / "x.bin"
    path.write_bytes(blob)
    return Font(path)


def test_every_unified_ideograph_has_a_glyph() -> None:
    hanzi = [chr(c) for c in range(0x4E00, 0x9FA6)]
    assert len(hanzi) == 20_902
    assert all(char in FONT for char in hanzi)
    assert all(FONT.glyph(char).advance_px == 12 for char in hanzi[::50])


def test_file_is_below_its_budget() -> None:
    size = DEFAULT_PATH.stat().st_size
    assert size == 20 + 23 * len(FONT)
    assert size < 1_200_000


def test_glyphs_are_what_the_font_draws() -> None:
    stem, bar, blank = ".....#......", "###########.", "............"
    assert rows("十") == [*[stem] * 4, bar, *[stem] * 6, blank]


def test_advances_vary() -> None:
    assert [FONT.glyph(char).advance_px for char in "Mi中"] == [10, 4, 12]
    assert FONT.width_px("Mi中") == 26


def test_accents_of_capitals_are_inside_the_cell() -> None:
    assert rows("É")[:3] != rows("E")[:3]
    assert "#" in "".join(rows("É")[:2])


def test_rare_hanzi_are_narrowed_to_eleven_pixels() -> None:
    assert "伝" in FONT
    picture = rows("倀")
    assert all(row[11] == "." for row in picture)
    assert picture[11] == "." * 12


def test_missing_character_is_a_box() -> None:
    assert "\U00020000" not in FONT
    assert FONT.glyph("\U00020000") is MISSING


def test_every_emoji_of_ours_is_there() -> None:
    for char in "😂❤🤣👍😭🙏😘🥰😍😊🎉😁💕🥺😅🔥🙄😆🤗🎂🤔👏🙂😳😎👌💪✨💖👀😋😏😢😡😴👎🌹😱🦜🐦":
        assert char in FONT


def test_many_glyphs_are_seen_without_growing_for_ever() -> None:
    font = Font()
    for codepoint in range(0x4E00, 0x4E00 + 5_000):
        font.glyph(chr(codepoint))
    assert len(font._seen) <= 2_048


def test_small_file_opens(tmp_path: Path) -> None:
    font = opened(tmp_path, file_with())
    assert len(font) == 2
    assert font.glyph("B").advance_px == 6
    assert font.glyph("C") is MISSING


def test_empty_font_draws_boxes(tmp_path: Path) -> None:
    assert opened(tmp_path, file_with(0, ())).glyph("A") is MISSING


@pytest.mark.parametrize(
    ("blob", "kind", "words"),
    [
        (b"", FormatError, "first bytes are none, the file is empty, expected 50 46 4e 31"),
        (b"PK\x03\x04rest", FormatError, "first bytes are 50 4b 03 04"),
        (b"PFN1\x01", CorruptError, "has 5 bytes, its header alone needs 20"),
        (file_with()[:-1], CorruptError, "has 65 bytes, 2 glyphs need 66"),
        (file_with() + b"x", CorruptError, "has 67 bytes, 2 glyphs need 66"),
        (file_with()[:-1] + b"!", CorruptError, "checksum is"),
        (file_with(index=(66, 65)), CorruptError, "its index is not in rising order"),
        (file_with(index=(65, 65)), CorruptError, "its index is not in rising order"),
        (file_with(index=(65, 0x110000)), CorruptError, "its index is not in rising order"),
        (file_with(advance=0), CorruptError, "an advance is outside 1…12 px"),
        (file_with(advance=13), CorruptError, "an advance is outside 1…12 px"),
        (file_with()[:4] + b"\x02" + file_with()[5:], FormatError, "version 2 with 12 px rows"),
        (file_with()[:8] + b"\xff" * 4 + file_with()[12:], CorruptError, "4,294,967,295 glyphs"),
    ],
)
def test_bad_file_says_what_is_wrong(
    tmp_path: Path, blob: bytes, kind: type[FileError], words: str
) -> None:
    with pytest.raises(kind) as caught:
        opened(tmp_path, blob)
    assert words in str(caught.value)
    assert caught.value.path == tmp_path / "x.bin"


def test_absent_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such file or folder"):
        Font(tmp_path / "nowhere.bin")


def test_every_single_bit_flip_in_the_header_is_noticed(tmp_path: Path) -> None:
    good = file_with()
    for bit in range(8 * HEADER_SIZE):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FileError):
            opened(tmp_path, bytes(bad))


def test_closed_font_keeps_the_glyphs_it_gave(tmp_path: Path) -> None:
    font = opened(tmp_path, file_with())
    glyph = font.glyph("A")
    font.close()
    assert len(glyph.columns) == 6
