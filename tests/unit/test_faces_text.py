# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from parrot.faces.font import Font
from parrot.faces.text import TextLayout, cells, fitted, may_break

FONT = Font()


def shown(text: str, width_px: int = 120, hang_px: int = 0) -> list[str]:
    layout = TextLayout(FONT, width_px, hang_px)
    layout.feed(text)
    return [line.shown for line in layout.lines]


def test_ten_hanzi_fill_a_line_of_120_px() -> None:
    assert shown("一二三四五六七八九十甲乙") == ["一二三四五六七八九十", "甲乙"]


def test_full_stop_takes_its_hanzi_to_the_next_line() -> None:
    assert shown("一二三四五六七八九十。甲") == ["一二三四五六七八九", "十。甲"]


def test_full_stop_hangs_where_there_is_a_margin() -> None:
    assert shown("一二三四五六七八九十。甲", hang_px=8) == ["一二三四五六七八九十。", "甲"]


def test_only_one_sign_hangs() -> None:
    assert shown("一二三四五六七八九十！？", hang_px=8) == ["一二三四五六七八九", "十！？"]


def test_opening_bracket_does_not_end_a_line() -> None:
    assert shown("一二三四五六七八九（甲）") == ["一二三四五六七八九", "（甲）"]


def test_dashes_and_ellipses_stay_in_pairs() -> None:
    assert shown("一二三四五六七八九——甲") == ["一二三四五六七八九", "——甲"]
    assert not may_break("…", "…")


def test_latin_words_move_whole() -> None:
    assert shown("my parrot remembers", 60) == ["my parrot", "remembers"]


def test_word_longer_than_a_line_is_split() -> None:
    lines = shown("a" + "b" * 30, 60)
    assert len(lines) > 1
    assert "".join(lines) == "a" + "b" * 30


def test_split_word_does_not_begin_a_line_with_punctuation() -> None:
    assert shown("bbbbbbbbbb,", 60) == ["bbbbbbbbb", "b,"]


def test_hyphenated_words_break_after_the_hyphen() -> None:
    assert shown("never-ending", 48) == ["never-", "ending"]


def test_chinese_and_latin_may_part() -> None:
    assert shown("你好hello", 48) == ["你好", "hello"]


def test_spaces_at_the_break_are_not_drawn() -> None:
    assert shown("ab   cd", 18) == ["ab", "cd"]


def test_newlines_end_paragraphs() -> None:
    layout = TextLayout(FONT, 120)
    layout.feed("a\n\nb\n")
    assert [line.shown for line in layout.lines] == ["a", "", "b", ""]
    assert [line.ends_paragraph for line in layout.lines] == [True, True, True, False]


def test_lines_say_where_they_came_from() -> None:
    layout = TextLayout(FONT, 24)
    layout.feed("一二三\n四")
    assert [(line.start, line.end) for line in layout.lines] == [(0, 2), (2, 3), (4, 5)]


def test_quotes_are_narrow_beside_latin_and_wide_beside_hanzi() -> None:
    assert "".join(c for c, _, _ in cells("它说“ok”吧")) == "它说“ok”吧"
    assert "".join(c for c, _, _ in cells("It’s “ok”")) == 'It\'s "ok"'
    assert "".join(c for c, _, _ in cells("“好”")) == "“好”"


def test_what_follows_a_quote_may_still_move_the_line_before_it() -> None:
    layout = TextLayout(FONT, 12)
    layout.feed("11’")
    layout.feed("好")
    assert [line.shown for line in layout.lines] == shown("11’好", 12)


def test_combining_marks_compose() -> None:
    assert list(cells("e\u0301x")) == [("é", 0, 2), ("x", 2, 3)]


def test_marks_without_a_composed_form_are_shown_not_dropped() -> None:
    assert [c for c, _, _ in cells("q\u0301")] == ["q", "\u0301"]


def test_steering_characters_have_no_picture() -> None:
    assert [c for c, _, _ in cells("❤\ufe0f\u200b👍\U0001f3fd")] == ["❤", "👍"]


def test_fitted_ends_with_an_ellipsis() -> None:
    assert fitted(FONT, "一二三四五", 60) == "一二三四五"
    assert fitted(FONT, "一二三四五六", 60) == "一二三四…"
    assert fitted(FONT, "two\nlines", 100) == "two lines"


@pytest.mark.parametrize("width_px", [12, 13, 60, 120])
def test_every_layout_has_at_least_one_line(width_px: int) -> None:
    assert shown("", width_px) == [""]
