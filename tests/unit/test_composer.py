# SPDX-License-Identifier: Apache-2.0
"""Keys in, text out: every key of every mode, and the laws that hold for any keys at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parrot.senses.composer import LINE_MAX, Composer
from parrot.senses.key import KEYS, LONG_PRESS_MS, KeyPress
from parrot.senses.pinyin_table import PinyinTable
from parrot.senses.t9 import T9
from parrot.senses.user_words import ListStore, UserWords
from tests.unit.pinyin_fixture import write_table

_TABLE: list[PinyinTable] = []


def table() -> PinyinTable:
    if not _TABLE:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:  # a mapped file outlives its name
            _TABLE.append(PinyinTable(write_table(Path(folder))))
    return _TABLE[0]


class Hand:
    """A composer and a finger with a watch."""

    def __init__(self, store: ListStore | None = None, page_size: int = 5) -> None:
        self.store = store or ListStore()
        self.composer = Composer(T9(table(), UserWords(self.store)), page_size)
        self.now_ms = 0

    def tap(self, keys: str, gap_ms: int = 1000) -> list[bool]:
        return [self._press(key, gap_ms) for key in keys]

    def long(self, key: str) -> bool:
        self._press(key, 1000)
        return self.composer.feed(KeyPress(key, "long_press", self.now_ms + LONG_PRESS_MS))

    def _press(self, key: str, gap_ms: int) -> bool:
        self.now_ms += gap_ms
        used = self.composer.feed(KeyPress(key, "press", self.now_ms))
        assert not self.composer.feed(KeyPress(key, "release", self.now_ms + 50))
        return used

    @property
    def candidates(self) -> tuple[str, ...]:
        return self.composer.view.candidates


def test_digits_then_ok_commit_the_first_candidate() -> None:
    hand = Hand()
    hand.tap("64426")
    view = hand.composer.view
    assert (view.spelling, view.candidates[0], view.line) == ("ni hao", "你好", "")
    hand.tap("D")
    assert (hand.composer.line, hand.composer.is_composing) == ("你好", False)


def test_ok_on_an_empty_composition_is_the_apps() -> None:
    hand = Hand()
    assert hand.tap("64426D") == [True] * 6
    assert hand.tap("D") == [False]
    assert hand.composer.take_line() == "你好"
    assert hand.composer.line == ""


def test_long_press_picks_and_its_own_press_is_undone() -> None:
    hand = Hand()
    hand.tap("64426")
    place = hand.candidates.index("米高") + 1
    assert hand.long(str(place))
    assert hand.composer.line == "米高"


def test_predictions_follow_a_commit_and_can_be_picked() -> None:
    hand = Hand()
    assert hand.candidates == ("你好",)  # what begins a clause
    hand.tap("64426D")
    assert hand.candidates == ("吗",)
    hand.long("1")
    assert hand.composer.line == "你好吗"


def test_long_press_without_that_candidate_is_the_digit_itself() -> None:
    hand = Hand()
    hand.long("7")
    hand.long("0")
    assert hand.composer.line == "70"


def test_piece_then_rest_is_one_sentence_and_is_learned() -> None:
    hand = Hand()
    hand.tap("64426")
    while "米" not in hand.candidates:
        hand.tap("#")
    hand.long(str(hand.candidates.index("米") + 1))
    view = hand.composer.view
    assert (view.picked, view.spelling) == ("米", "hao")
    hand.tap("D")
    assert hand.composer.line == "米好"
    assert "米好" in {word.text for word in hand.store.words()}


def test_back_takes_back_exactly_the_last_step() -> None:
    hand = Hand()
    hand.tap("64426")
    before = hand.composer.view
    while "米" not in hand.candidates:
        hand.tap("#")
    hand.long(str(hand.candidates.index("米") + 1))
    hand.tap("A")  # the pick
    assert hand.composer.view.picked == before.picked == ""
    assert hand.composer.view.spelling == before.spelling
    hand.tap("AAAAA")
    assert not hand.composer.is_composing
    assert hand.tap("A") == [False]  # an empty line: the app's


def test_syllable_filter_narrows_and_is_taken_back() -> None:
    hand = Hand()
    hand.tap("644261")
    assert hand.composer.view.syllables == ("ni", "mi")
    hand.tap("2")
    assert hand.candidates[0] == "米高"
    hand.tap("1")
    assert hand.composer.view.syllables == ("gao",) or "gao" in hand.composer.view.syllables
    hand.tap("A")  # leaves the choice
    assert hand.composer.view.syllables == ()
    hand.tap("A")  # takes the syllable back
    assert hand.candidates[0] == "你好"


def test_paging_stops_at_both_ends() -> None:
    hand = Hand(page_size=2)
    hand.tap("64426")
    pages = [hand.candidates]
    while hand.composer.view.has_more:
        hand.tap("#")
        pages.append(hand.candidates)
    everything = [text for page in pages for text in page]
    assert len(pages) > 2
    assert len(everything) == len(set(everything))
    hand.tap("#")
    assert hand.candidates == pages[-1]
    hand.tap("*" * (len(pages) + 3))
    assert hand.candidates == pages[0]


def test_ok_takes_the_first_of_the_page_shown() -> None:
    hand = Hand(page_size=1)
    hand.tap("64426#")
    second = hand.candidates[0]
    assert second != "你好"
    hand.tap("D")
    assert hand.composer.line == second


def test_punctuation_wheel_turns_only_while_it_is_quick() -> None:
    hand = Hand()
    hand.tap("11", gap_ms=200)
    assert hand.composer.line == "。"
    hand.tap("1", gap_ms=2000)
    assert hand.composer.line == "。，"


def test_zero_is_a_space_or_takes_the_candidate() -> None:
    hand = Hand()
    hand.tap("644260")
    assert hand.composer.line == "你好"
    hand.tap("0")
    assert hand.composer.line == "你好 "


def test_modes_go_round_and_lose_nothing() -> None:
    hand = Hand()
    hand.tap("64426B")
    assert (hand.composer.line, hand.composer.view.mode) == ("你好", "En")
    hand.tap("4663")
    assert hand.candidates == ("good", "home", "goodness")
    hand.tap("1")  # letter case
    assert hand.candidates[0] == "Good"
    hand.tap("0")
    assert hand.composer.line == "你好Good "
    hand.tap("B12*#")
    assert (hand.composer.line, hand.composer.view.mode) == ("你好Good 12*#", "12")
    hand.tap("B")
    assert hand.composer.view.mode == "符"
    assert len(hand.candidates) == 9
    hand.tap("2#1B")
    assert hand.composer.line == "你好Good 12*#。《"
    assert hand.composer.view.mode == "中"


def test_english_letter_by_letter() -> None:
    hand = Hand()
    hand.tap("B")
    hand.long("B")
    assert (hand.composer.view.mode, hand.composer.line) == ("abc", "")
    hand.tap("22", gap_ms=100)
    hand.tap("2", gap_ms=2000)
    assert hand.composer.line == "ba"
    hand.tap("A")
    assert hand.composer.line == "b"
    hand.tap("2", gap_ms=100)  # after erasing, a new letter
    assert hand.composer.line == "ba"


def test_erase_repeats_while_held() -> None:
    hand = Hand()
    hand.tap("BB12345")
    hand.tap("A")
    for kind in ("long_press", "repeat", "repeat"):
        assert hand.composer.feed(KeyPress("A", kind, hand.now_ms + 500))
    assert hand.composer.line == "12"


def test_long_back_clears_the_composition_only() -> None:
    hand = Hand()
    hand.tap("64426D64426")
    hand.long("A")
    assert (hand.composer.line, hand.composer.is_composing) == ("你好", False)


def test_learned_word_is_marked_and_forgotten_in_one_press() -> None:
    hand = Hand()
    for _ in range(30):
        hand.composer._engine.user.learn("米好", ("mi", "hao"))
    hand.tap("64426")
    view = hand.composer.view
    assert view.learned[view.candidates.index("米好")]
    assert hand.long("C")
    assert not any(hand.composer.view.learned)  # it can still be put together
    assert hand.store.words() == []
    assert not hand.long("C")


def test_menu_key_is_the_apps() -> None:
    assert Hand().tap("C") == [False]
    assert not Hand().long("D")


def test_language_model_may_reorder_until_the_next_key() -> None:
    hand = Hand()
    hand.tap("64426")
    asked = hand.composer.rescorable()
    assert asked is not None
    stamp, line, found = asked
    assert line == ""
    wanted = [0.0 if text == "米高" else -60.0 for text in found]
    assert hand.composer.rescore(stamp, wanted)
    assert hand.candidates[0] == "米高"
    assert hand.composer.rescorable() is None  # already done for these digits
    hand.tap("A6")
    assert hand.candidates[0] == "米高"  # the same digits again
    hand.tap("62")
    assert not hand.composer.rescore(stamp, wanted)
    assert hand.candidates[0] == "你好吗"


def test_line_does_not_grow_for_ever() -> None:
    hand = Hand()
    hand.tap("BB")
    hand.tap("5" * (LINE_MAX + 20), gap_ms=1)
    assert len(hand.composer.line) == LINE_MAX


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(KEYS), st.sampled_from(["tap", "long", "repeat"]), st.integers(1, 900)
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=60)
@given(EVENTS)
def test_any_keys_are_survived_and_a_composition_can_be_cleared(
    events: list[tuple[str, str, int]],
) -> None:
    hand = Hand()
    for key, how, gap_ms in events:
        hand.now_ms += gap_ms
        hand.composer.feed(KeyPress(key, "press", hand.now_ms))
        if how != "tap":
            hand.composer.feed(KeyPress(key, "long_press", hand.now_ms + LONG_PRESS_MS))
        if how == "repeat":
            hand.composer.feed(KeyPress(key, "repeat", hand.now_ms + 480))
        view = hand.composer.view
        assert view.is_composing or not view.picked
        assert len(view.candidates) == len(view.learned) <= 9
    hand.long("A")
    hand.long("A")  # the first may only have left the choice of a syllable
    assert not hand.composer.is_composing


@settings(deadline=None, max_examples=40)
@given(EVENTS)
def test_back_alone_empties_everything(events: list[tuple[str, str, int]]) -> None:
    hand = Hand()
    for key, how, _ in events:
        hand.long(key) if how == "long" else hand.tap(key)
    for _ in range(LINE_MAX):
        if not hand.tap("A")[0]:
            break
    assert hand.composer.line == ""
    assert not hand.composer.is_composing


@pytest.mark.parametrize("digits", ["7", "777", "9999999"])
def test_digits_that_spell_nothing_are_committed_as_they_are(digits: str) -> None:
    hand = Hand()
    hand.tap(digits)
    if not hand.candidates:
        hand.tap("D")
        assert hand.composer.line == digits
    assert hand.composer.take_line()
