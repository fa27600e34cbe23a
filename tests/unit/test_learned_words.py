# SPDX-License-Identifier: Apache-2.0
"""Learned words outlive the program, whenever the parrot wakes."""

from __future__ import annotations

import json

import pytest

from parrot.app import learned
from parrot.app.learned import LearnedWords, words_from
from parrot.base.errors import FormatError
from parrot.senses.user_words import UserWord

RICE = ("米好", ("mi", "hao"))


def test_what_is_learned_is_kept_and_comes_back() -> None:
    kept: list[list[object]] = []
    words = LearnedWords(kept.append)
    words.recall(None)
    words.index.learn(*RICE)
    words.index.learn(*RICE)
    assert json.loads(json.dumps(kept[-1])) == [["米好", "mi hao", 2]]
    again = LearnedWords(kept.append)
    again.recall(kept[-1])
    assert again.index.find("64426") == [UserWord(*RICE, 2)]
    assert again.index.forget("米好")
    assert kept[-1] == []


def test_what_is_learned_before_the_parrot_wakes_is_joined() -> None:
    kept: list[list[object]] = []
    words = LearnedWords(kept.append)
    words.index.learn(*RICE)
    assert kept == []  # it would drop what the soul still holds
    words.recall([["你高", "ni gao", 7]])
    assert sorted(w.text for w in words.index.find("64426")) == ["你高", "米好"]
    assert len(kept[-1]) == 2


def test_the_word_picked_least_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learned, "N_WORDS_MAX", 2)
    words = LearnedWords(lambda _: None)
    words.recall([["米好", "mi hao", 5], ["你高", "ni gao", 1]])
    words.index.learn("你好", ("ni", "hao"))
    assert [w.text for w in words.words()] == ["米好", "你好"]


@pytest.mark.parametrize(
    "kept", [7, ["x"], [["米好", "mi", 1]], [["米好", "mi hao", 0]], [[1, 2, 3]], {"a": 1}]
)
def test_setting_that_is_no_list_of_words_is_refused(kept: object) -> None:
    with pytest.raises(FormatError, match="the learned words begin anew"):
        words_from(kept)
