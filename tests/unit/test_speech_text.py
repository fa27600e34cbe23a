# SPDX-License-Identifier: Apache-2.0
"""Text to words, words to text, and where a clause ends."""

from __future__ import annotations

import pytest

from parrot.faces.clause import ClauseSplitter, language_of, runs_of
from parrot.faces.spoken_text import english_number, english_ordinal, mandarin_number, spoken
from parrot.senses.transcript import english_value, mandarin_value, written


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("I have 3 apples.", "I have three apples."),
        ("2026-11-22, 7:05!", "November twenty second, twenty twenty six, seven oh five!"),
        ("It costs $9.99, or £1.", "It costs nine dollars and ninety nine cents, or one pound."),
        ("3.14 and 1,234,567", "three point one four and one million two hundred thirty four "
         "thousand five hundred sixty seven"),
        ("5 km at 80 km/h, -4°C", "five kilometers at eighty kilometers per hour, minus four "
         "degrees Celsius"),
        ("the 21st, 100%", "the twenty first, one hundred percent"),
        ("born in 1905 & 2000", "born in nineteen oh five and two thousand"),
        ("007", "zero zero seven"),
        ("pages 3-5", "pages three to five"),
        ("It's fine \x03\x07🦜", "It's fine"),
        ("2026年11月22日7:30", "二零二六年十一月二十二日七点三十分"),
        ("花了9.99元，打5折", "花了九点九九元，打五折"),
        ("我有2个朋友，12只猫", "我有两个朋友，十二只猫"),
        ("气温-3℃，湿度50%", "气温负三摄氏度，湿度百分之五十"),
        ("跑了10km", "跑了十公里"),
        ("¥1200", "one thousand two hundred yuan"),
        ("我叫Tom，8岁", "我叫Tom，八岁"),
    ],
)  # fmt: skip
def test_text_becomes_words(text: str, said: str) -> None:
    assert spoken(text) == said


@pytest.mark.parametrize(
    ("n", "said"),
    [(0, "零"), (10, "十"), (15, "十五"), (20, "二十"), (101, "一百零一"), (110, "一百一十"),
     (1001, "一千零一"), (10_010, "一万零一十"), (120_000, "十二万"),
     (100_000_001, "一亿零一")],
)  # fmt: skip
def test_mandarin_numbers(n: int, said: str) -> None:
    assert mandarin_number(n) == said


def test_numbers_survive_the_round_trip() -> None:
    for n in [*range(0, 1200), 1999, 10_000, 10_203, 99_999, 120_034, 7_000_001, 123_456_789]:
        assert english_value(english_number(n).split(" ")) == n
        assert mandarin_value(mandarin_number(n)) == str(n)


def test_ordinals() -> None:
    assert [english_ordinal(n) for n in (1, 12, 20, 33)] == [
        "first", "twelfth", "twentieth", "thirty third"]  # fmt: skip


@pytest.mark.parametrize(
    ("heard", "text"),
    [
        ("I am twenty five years old.", "I am 25 years old."),
        ("two thousand and five", "2005"),
        ("one of them", "one of them"),
        ("five three one", "five three one"),
        ("fifty percent", "50%"),
        ("  a   lot ", "a lot"),
    ],
)
def test_english_words_become_numbers(heard: str, text: str) -> None:
    assert written(heard, "en") == text


@pytest.mark.parametrize(
    ("heard", "text"),
    [
        ("今天天氣很好,我們去公園", "今天天气很好，我们去公园"),
        ("我有十五個蘋果", "我有15个苹果"),
        ("二零二六年十一月", "2026年11月"),
        ("百分之五十", "50%"),
        ("一千零一夜", "1001夜"),
        ("一个人十分开心", "一个人十分开心"),
        ("千万别去", "千万别去"),
        ("你好 我是鹦鹉", "你好我是鹦鹉"),
        ("三点一四", "3.14"),
        ("两百五十块", "250块"),
        ("三三两两", "三三两两"),
    ],
)
def test_mandarin_is_written_as_people_type(heard: str, text: str) -> None:
    pytest.importorskip("zhconv", reason="the extra speech is not installed")
    assert written(heard, "zh") == text


def clauses(text: str) -> list[str]:
    splitter = ClauseSplitter()
    return [clause for char in text for clause in splitter.feed(char)] + list(splitter.flush())


def test_clauses_end_at_pauses_and_not_inside_numbers() -> None:
    assert clauses("It is 3.14, I think. Yes! 好的，我们走吧。再见") == [
        "It is 3.14,", "I think.", "Yes!", "好的，我们走吧。", "再见"]  # fmt: skip


def test_titles_and_short_beginnings_end_no_clause() -> None:
    assert clauses("Oh, Dr. Smith is here.") == ["Oh, Dr. Smith is here."]


def test_a_text_without_pauses_is_cut() -> None:
    parts = clauses("word " * 60)
    assert all(len(part) <= 100 for part in parts)
    assert " ".join(parts).split() == ["word"] * 60
    assert max(len(part) for part in clauses("字" * 300)) <= 92


def test_what_cannot_be_said_is_no_clause() -> None:
    assert clauses("!!! ... 🦜。") == []


def test_runs_go_to_their_language() -> None:
    assert runs_of("我喜欢Python，真的") == [("zh", "我喜欢"), ("en", "Python，"), ("zh", "真的")]
    assert runs_of("привет") == []


def test_language_of_a_clause() -> None:
    assert language_of("我叫Tom") == "zh"
    assert language_of("I say 你 to you") == "en"
    assert language_of("12:30") == "en"
