# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from parrot.faces.font import Font
from parrot.faces.text import HANGING, NO_LINE_START, TextLayout, cells

FONT = Font()
SIGNS = "ab1 -\n。，！？”“’（）…—好的鹦鹉éqe\u0301\u200b❤\ufe0f,."
TEXTS = st.text(st.sampled_from(SIGNS), max_size=120)
WIDTHS = st.integers(12, 130)  # px


def lay(pieces: list[str], width_px: int, hang_px: int) -> TextLayout:
    layout = TextLayout(FONT, width_px, hang_px)
    for piece in pieces:
        layout.feed(piece)
    return layout


@settings(max_examples=200, deadline=None)
@given(TEXTS, WIDTHS, st.integers(0, 8), st.data())
def test_pieces_lay_out_like_the_whole(
    text: str, width_px: int, hang_px: int, data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert lay(pieces, width_px, hang_px).lines == lay([text], width_px, hang_px).lines


@settings(max_examples=200, deadline=None)
@given(TEXTS, WIDTHS, st.integers(0, 8))
def test_nothing_but_spaces_is_lost_and_nothing_sticks_out(
    text: str, width_px: int, hang_px: int
) -> None:
    lines = lay([text], width_px, hang_px).lines
    assert "".join(line.shown for line in lines).replace(" ", "") == "".join(
        char for char, _, _ in cells(text) if char not in " \n"
    )
    for line in lines:
        ink = line.shown.rstrip(" ")
        if ink and FONT.width_px(ink) > width_px:
            assert ink[-1] in HANGING
            assert FONT.width_px(ink[:-1]) + 6 <= width_px + hang_px


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("好的鹦鹉，。！）”ab "), max_size=120))
def test_no_line_begins_with_closing_punctuation_unless_all_is(text: str) -> None:
    lines = lay([text], 120, 0).lines
    for above, line in itertools.pairwise(lines):
        if line.shown[:1] in NO_LINE_START and line.shown:
            assert all(char in NO_LINE_START for char in above.shown.lstrip(" ")[1:])
