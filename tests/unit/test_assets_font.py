# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from parrot.base.errors import FormatError
from tools import assets
from tools.assets_font import (
    filled,
    fit_rows,
    narrowed,
    read_emoji,
    read_unifont,
    transposed,
    trimmed,
)

EMOJI = Path("tools/emoji12.txt")


def test_outline_becomes_the_pixels_it_encloses() -> None:
    square = [(1, 9, 7), (3, 7, 9)]  # x 1…3, y 7…9 above the baseline
    columns = filled(square)
    rows_5_and_6 = 0b11 << 5  # rows count down from 14 above the baseline
    assert columns == [0, rows_5_and_6, rows_5_and_6, *[0] * 9]


def test_hole_in_an_outline_stays_empty() -> None:
    ring = [(0, 9, 6), (3, 6, 9), (1, 7, 8), (2, 8, 7)]
    assert [column >> 5 for column in filled(ring)[:3]] == [0b111, 0b101, 0b111]


def test_accent_above_the_cell_pushes_the_letter_together() -> None:
    accent, letter = 1 << 2, 0b111111111 << 5
    columns = fit_rows([accent | letter, *[0] * 11])
    assert columns[0] < 1 << 12
    assert columns[0] & 1  # the accent is in the first row


def test_narrowing_joins_what_looks_alike() -> None:
    assert narrowed([0b101, 0b101, 0b010], 2) == [0b101, 0b010]
    assert narrowed([0b11, 0, 0, 0b11], 3) == [0b11, 0, 0b11]
    assert narrowed([1, 2], 5) == [1, 2]


def test_transposed_twice_is_the_same() -> None:
    lines = [0b1011, 0b0001, 0b1111]
    assert transposed(transposed(lines, 4), 3) == lines
    assert trimmed([0, 0, 5, 0, 3, 0]) == [5, 0, 3]
    assert trimmed([0, 0]) == []


def test_unifont_glyphs_are_cut_to_the_cell(tmp_path: Path) -> None:
    path = tmp_path / "unifont.hex"
    path.write_text("0041:" + "FF" * 16 + "\n00C0:" + "FF" * 16 + "\n4E00:" + "FFFF" * 16 + "\n")
    found = dict(read_unifont(path, frozenset({0x4E01})))
    assert found == {0xC0: (8, [0xFFF] * 8 + [0] * 4), 0x4E00: (12, [0x7FF] * 11 + [0])}
    assert dict(read_unifont(path, frozenset({0x4E00, 0xC0}))) == {}


def test_unifont_line_of_a_wrong_length_is_named(tmp_path: Path) -> None:
    path = tmp_path / "unifont.hex"
    path.write_text("4E00:FF\n")
    with pytest.raises(FormatError, match=r"unifont\.hex, line 1: 2 digits, expected 32 or 64"):
        list(read_unifont(path, frozenset()))


def test_our_emoji_are_pictures_of_twelve_columns() -> None:
    found = dict(read_emoji(EMOJI))
    assert len(found) >= 40
    assert all(advance == 12 and any(columns) for advance, columns in found.values())
    assert len({tuple(columns) for _, columns in found.values()}) == len(found)


def test_crooked_emoji_is_named(tmp_path: Path) -> None:
    path = tmp_path / "emoji.txt"
    path.write_text("U+1F600 grin\n############\n####\n")
    with pytest.raises(FormatError, match="U\\+1F600 grin: expected at most 12 rows of 12"):
        dict(read_emoji(path))


def test_unknown_kind_of_asset_prints_the_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    assert assets.main(["nonsense"]) == 2
    assert "font" in capsys.readouterr().err
