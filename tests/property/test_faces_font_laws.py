# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parrot.base.errors import FileError
from parrot.faces.font import Font
from tools.assets_font import encode

COLUMNS = st.integers(0, 2**144 - 1).map(lambda bits: [bits >> 12 * x & 0xFFF for x in range(12)])
GLYPHS = st.dictionaries(st.integers(0, 0xD7FF), st.tuples(st.integers(1, 12), COLUMNS), max_size=8)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("font") / "x.bin"


@settings(max_examples=200, deadline=None)
@given(glyphs=GLYPHS)
def test_what_the_tool_writes_the_font_reads(
    path: Path, glyphs: dict[int, tuple[int, list[int]]]
) -> None:
    path.write_bytes(encode(glyphs))
    font = Font(path)
    assert len(font) == len(glyphs)
    for codepoint, (advance_px, columns) in glyphs.items():
        glyph = font.glyph(chr(codepoint))
        assert glyph.advance_px == advance_px
        assert glyph.columns.tolist() == columns[:advance_px]
    font.close()


@settings(max_examples=200, deadline=None)
@given(glyphs=GLYPHS, noise=st.binary(max_size=40), at=st.integers(0, 400), is_cut=st.booleans())
def test_no_bytes_can_do_worse_than_a_file_error(
    path: Path, glyphs: dict[int, tuple[int, list[int]]], noise: bytes, at: int, is_cut: bool
) -> None:
    blob = encode(glyphs)
    bad = blob[: at % len(blob)] if is_cut else blob[:at] + noise + blob[at + len(noise) :]
    path.write_bytes(bad)
    try:
        Font(path).close()
    except FileError:
        return
    assert bad == blob
