# SPDX-License-Identifier: Apache-2.0
"""Digits to candidates: the search, completions, pieces, learning, rescoring, English."""

from __future__ import annotations

import json
import random
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parrot.base.errors import ConfigError
from parrot.senses.english import EnglishWords, MultiTap
from parrot.senses.lattice import DIGITS_MAX, WORD_COST, Lattice
from parrot.senses.pinyin_table import PinyinTable
from parrot.senses.t9 import RESCORE_WEIGHT, T9, rescored, t9
from parrot.senses.user_words import ListStore, UserWord, UserWords
from tests.unit.pinyin_fixture import write_table


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> PinyinTable:
    return PinyinTable(write_table(tmp_path_factory.mktemp("table")))


def texts(engine: T9, digits: str, before: int = 0) -> list[str]:
    lattice = engine.lattice(before)
    lattice.extend(digits)
    return [c.text for c in engine.candidates(lattice)]


def test_best_sentence_comes_first_with_its_exact_cost(table: PinyinTable) -> None:
    lattice = T9(table).lattice()
    lattice.extend("64426" + "62")
    best = lattice.readings[0]
    # 你好 at the clause's edge is a pair (30), 吗 after it another (20); the word 你好吗 has none
    # (back-off 6 + 90)
    assert (best.text, best.cost, len(best.words)) == ("你好吗", 30 + 20 + 2 * WORD_COST, 2)


def test_context_changes_the_order(table: PinyinTable) -> None:
    engine = T9(table)
    words = {table.text(w): w for w in range(table.base[8])}
    lattice = engine.lattice(before=engine._lm_id(words["今天"]))
    lattice.extend("842674")
    best = engine.sentences(lattice)[0]
    assert (best.text, best.cost) == ("天气", 12 + 20 + WORD_COST)


def test_taking_digits_back_is_the_same_as_never_typing_them(table: PinyinTable) -> None:
    engine = T9(table)
    rng = random.Random(3)
    lattice = engine.lattice()
    for _ in range(200):
        if rng.random() < 0.6:
            lattice.extend(rng.choice("2456789"))
        else:
            lattice.shorten(rng.randint(0, len(lattice.digits)))
        fresh = engine.lattice()
        fresh.extend(lattice.digits)
        assert fresh.readings == lattice.readings


def test_unfinished_word_is_completed(table: PinyinTable) -> None:
    assert texts(T9(table), "5468")[:1] == ["今天"]
    assert "你好" in texts(T9(table), "644")


def test_pieces_reach_every_character_of_the_first_syllable(table: PinyinTable) -> None:
    found = texts(T9(table), "64426")
    assert {"你好", "米高", "你", "米"} <= set(found)
    assert len(found) == len(set(found))


def test_fixed_syllable_is_obeyed(table: PinyinTable) -> None:
    lattice = T9(table).lattice(fixed={0: "mi"})
    lattice.extend("64426")
    found = [c.text for c in T9(table).candidates(lattice)]
    assert found[0] == "米高"
    assert all(text.startswith("米") for text in found)


def test_syllables_are_offered_in_the_order_of_the_readings(table: PinyinTable) -> None:
    engine = T9(table)
    lattice = engine.lattice()
    lattice.extend("64426")
    assert engine.syllables(lattice, 0) == ["ni", "mi"]
    assert engine.syllables(lattice, 2) == ["hao", "gao"]
    assert engine.spelling(lattice) == "ni hao"


def test_learned_word_comes_up_and_can_be_forgotten(table: PinyinTable) -> None:
    store = ListStore()
    user = UserWords(store)
    engine = T9(table, user)
    assert "米好" not in texts(engine, "64426")[:1]
    for _ in range(40):
        user.learn("米好", ("mi", "hao"))
    assert texts(engine, "64426")[0] == "米好"
    assert store.words() == [UserWord("米好", ("mi", "hao"), 40)]
    assert T9(table, UserWords(store)).user.find("64426")[0].n_picked == 40
    assert user.forget("米好")
    assert not user.forget("米好")
    assert store.words() == []
    assert texts(engine, "64426")[0] == "你好"


def test_learned_word_that_cannot_be_one_is_not_kept() -> None:
    user = UserWords(ListStore())
    user.learn("你好", ("ni",))
    user.learn("一二三四五六七八", ("a",) * 8)
    user.learn("", ())
    assert user.longer("") == []


def test_learned_words_are_completed(table: PinyinTable) -> None:
    user = UserWords(ListStore([UserWord("米好们", ("mi", "hao", "men"), 500)]))
    assert "米好们" in texts(T9(table, user), "64426")[:5]


@settings(deadline=None, max_examples=40)
@given(digits=st.text("23456789", max_size=70))
def test_random_digits_never_raise_and_pieces_use_digits(table: PinyinTable, digits: str) -> None:
    user = UserWords(ListStore([UserWord("米好", ("mi", "hao"), 3)]))
    engine = T9(table, user)
    lattice = engine.lattice()
    lattice.extend(digits)
    assert len(lattice.digits) == min(len(digits), DIGITS_MAX)
    for candidate in islice(engine.candidates(lattice), 300):
        assert 0 < candidate.n_digits <= len(lattice.digits)
        assert len(candidate.pinyin) == len(candidate.text) > 0
    for reading in lattice.readings:
        assert reading.ends[-1:] == (len(lattice.digits),) or not lattice.digits
        costs = [r.cost for r in lattice.readings]
        assert costs == sorted(costs)


def test_t9_prints_scores_best_first(table: PinyinTable) -> None:
    found = t9(table, "64426", n=3)
    json.dumps(found)
    assert [c["text"] for c in found["candidates"]][:1] == ["你好"]
    assert len(found["candidates"]) == 3
    assert found["candidates"][0]["score"] == round(-(36 + WORD_COST) / 12, 3)


@pytest.mark.parametrize("digits", ["", "12", "6a", "6" * (DIGITS_MAX + 1), "６４"])
def test_t9_says_what_digits_are(table: PinyinTable, digits: str) -> None:
    with pytest.raises(ConfigError, match=r"t9: .*expected 1 to 64 digits of 2 to 9; type pinyin"):
        t9(table, digits)


def test_language_model_reorders_by_its_weight(table: PinyinTable) -> None:
    asked: list[list[str]] = []

    def likes_rice(found: list[str]) -> list[float]:
        asked.append(found)
        return [0.0 if text == "米高" else -40.0 for text in found]

    found = t9(table, "64426", rescore=likes_rice)["candidates"]
    assert found[0]["text"] == "米高"
    assert asked[0][:1] == ["你好"]


def test_rescoring_adds_log_likelihoods_in_nats(table: PinyinTable) -> None:
    lattice = T9(table).lattice()
    lattice.extend("64426")
    before = T9(table).sentences(lattice)
    after = rescored(before, [-2.0, -5.0] + [-100.0] * (len(before) - 2))
    assert [c.text for c in after[:2]] == [c.text for c in before[:2]]
    assert after[0].cost == before[0].cost
    gap = after[1].cost - after[0].cost - (before[1].cost - before[0].cost)
    assert gap == round(12 * RESCORE_WEIGHT * 3)


def test_english_fits_before_it_goes_on(table: PinyinTable) -> None:
    words = EnglishWords(table)
    assert list(words.candidates("4663")) == ["good", "home", "goodness"]
    assert list(words.candidates("43556")) == ["Hello"]
    assert list(words.candidates("4")) == ["I", "good", "home", "Hello", "goodness"]
    assert list(words.candidates("9999")) == ["wwww"]  # nothing typed disappears


def test_multitap_goes_round_until_time_or_another_key() -> None:
    taps = MultiTap()
    assert [taps.feed("2", t) for t in (0, 100, 200, 300, 400)] == [
        ("a", False), ("b", True), ("c", True), ("2", True), ("a", True)
    ]  # fmt: skip
    assert taps.feed("2", 1300) == ("a", False)
    assert taps.feed("3", 1310) == ("d", False)


def test_word_of_eight_syllables_is_read_as_two(table: PinyinTable) -> None:
    lattice = Lattice(table, UserWords(ListStore()))
    lattice.extend("64426" * 4)
    assert lattice.readings[0].text == "你好" * 4
