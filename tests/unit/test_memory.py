# SPDX-License-Identifier: Apache-2.0
"""What becomes a crystal, what brings it back, and what the owner can do with it."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path

import pytest

from parrot.app.cli import main
from parrot.base.clock import ManualClock
from parrot.base.errors import ConfigError
from parrot.engine.model import Model
from parrot.mind.companion import Companion, Manner
from parrot.mind.memory import (
    COLD,
    HALF_LIFE_S,
    asked_to_remember,
    crystal_of,
    is_surprising,
    strength_at,
    terms_of,
)
from parrot.mind.schema import MIGRATIONS
from parrot.mind.soul import Soul
from parrot.mind.told import told_of_oneself
from tools.kill_soul import tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model.open(tiny_model(tmp_path_factory.mktemp("model")), threads=1)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Remember that my cat is called Tofu.", "my cat is called Tofu."),
        ("please remember: the key is under the pot", "the key is under the pot"),
        ("记住，我的生日是五月三日", "我的生日是五月三日"),
        ("请你记住我住在杭州", "我住在杭州"),
        ("Remember my name?", None),
        ("你记得我的名字吗", None),
        ("I remember the sea.", None),
        ("remember", None),
    ],
)
def test_a_request_to_remember_is_understood_in_both_languages(text: str, kept: str | None) -> None:
    assert asked_to_remember(text) == kept


@pytest.mark.parametrize(
    "text",
    [
        "my cat is called Momo",
        "My sister's name is Anna.",
        "hi! I'm Tom",
        "call me Bea",
        "i live in Oslo",
        "I am 9",
        "we have a dog",
        "my favourite colour is green",
        "my brother Jan works in a bakery",
        "I love plums",
        "我叫小明",
        "我家的狗叫豆豆",
        "我喜欢吃梨",
        "我的生日是五月三日",
        "我今年8岁",
        "我住在杭州。",
        "my name is Tom, what's yours?",
        "I'm Tom. What's your name?",
        "我叫小明，你呢？",
        "Is that so? my dog is called Rex",
        "my name's Tom",
        "my sister's Anna",
        "I'm a nurse",
        "I'm from Oslo",
        "I don't like fish",
        "I really like fish",
        "I have 2 cats",
        "I have got a dog",
        "I am nine",
        "My birthday's on May 3",
        "我妹妹叫小红",
        "我妈妈叫李红",
        "我爸爸是医生",
        "我生日是五月三日",
        "我来自北京",
        "我在北京工作",
        "我是护士",
        "我不喜欢吃鱼",
        "I turned 6",
        "we've moved to Elm Street",
        "Bob is my best friend",
        "the secret word is teapot",
        "我妈妈是牙医",
        "我妹妹的名字叫小云",
        "我家住在老码头",
        "i have a dog called Bruno",
        "我家有只猫叫团子",
    ],
)
def test_what_tells_of_ones_own_life_is_kept(text: str) -> None:
    told = told_of_oneself(text)
    assert told
    assert "?" not in told
    assert "？" not in told


@pytest.mark.parametrize(
    "text",
    [
        "what is my cat called?",
        "do you know what my name is",
        "I'm tired",
        "hello",
        "tell me a story",
        "the sky is blue",
        "I am so happy today",
        "我叫什么名字",
        "我累了",
        "你叫什么",
        "我家在哪儿",
        "给我讲个故事",
        "今天真好",
        "tell me what my name is",
        "hey what is my cat called",
        "tell me where i live",
        "i forgot what my dog is called",
        "我叫啥",
        "我姓啥",
        "我家有几口人",
        "你猜我有几只猫",
        "我有点累",
        "我有一个问题",
        "我是说真的",
        "我是开玩笑的",
        "我叫你别走",
        "我叫了外卖",
        "我爱你",
        "I love you",
        "I like it",
        "I hate this",
        "i have a question",
        "i have an idea",
        "i have a headache",
        "my head is spinning",
        "my turn is next",
        "don't call me",
        "I am 5 minutes late",
        "I'm Sorry",
        "I'm Fine",
        "i live",
        "remember what my name is",
        "remember when we met",
        "你记得我叫什么",
    ],
)
def test_questions_moods_and_phrases_are_not(text: str) -> None:
    assert crystal_of(text, None, []) is None


def test_of_a_turn_only_the_sentences_that_tell_are_kept() -> None:
    assert told_of_oneself("Nice weather! I'm Tom. What's your name?") == "I'm Tom."
    assert told_of_oneself("我叫小明，你呢？") == "我叫小明"
    lead = "blah blah " * 30
    assert told_of_oneself(f"{lead}. My name is Tom.") == "My name is Tom."


@pytest.mark.parametrize(
    ("told", "asked"),
    [
        ("I'm Tom.", "what's my name?"),
        ("call me Bea", "Who am I"),
        ("my name is Anna", "who am i?"),
        ("我叫小雨", "我是谁？"),
        ("我叫小雨", "你记得我的名字吗"),
        ("I am 9", "how old am I?"),
        ("我今年8岁", "我多大了"),
        ("I live in Oslo", "where is my home?"),
    ],
)
def test_a_fact_is_found_by_what_it_is_about(told: str, asked: str) -> None:
    soul = Soul.in_memory()
    soul.remember("the sky is blue today", 1.7e9)
    soul.remember(told, 1.7e9)
    assert [c.text for c in soul.recall(asked, 1.7e9, 5)][:1] == [told]


@pytest.mark.parametrize("piece", ["my ", "my   ", "i am ", "我", "a-", "my a's ", "我叫", "what "])
def test_hostile_turns_are_judged_in_no_time(piece: str) -> None:
    begun = time.perf_counter()
    crystal_of(piece * 20_000, None, [])
    assert time.perf_counter() - begun < 0.5


def test_a_crystal_too_long_for_its_room_does_not_keep_shorter_ones_out(model: Model) -> None:
    soul, clock = Soul.in_memory(), ManualClock(wall_s=1.7e9)
    soul.remember("tea " * 50, clock.wall_s())
    soul.remember("my sister likes tea", clock.wall_s())
    parrot = Companion(model, soul, clock, Manner(max_bytes=6, recall_bytes=100))
    list(parrot.hear("tea"))
    assert parrot.recent(1)[0].recalled == b"my sister likes tea"


def test_only_what_stands_out_among_enough_turns_is_surprising() -> None:
    usual = [2.0] * 20
    assert is_surprising("The bridge fell into the river.", 2.7, usual)
    assert not is_surprising("The bridge fell into the river.", 2.5, usual)
    assert not is_surprising("The bridge fell into the river?", 2.7, usual)
    assert not is_surprising("Bridge!", 2.7, usual)
    assert not is_surprising("The bridge fell into the river.", 2.7, usual[:19])
    assert not is_surprising("The bridge fell into the river.", None, usual)


def test_terms_are_words_and_pairs_without_what_says_nothing() -> None:
    assert terms_of("Where does Anna's cat live?") == ["anna", "cat", "liv"]
    assert terms_of("我的名字") == ["我的", "的名", "名字"]
    assert terms_of("猫 likes cats") == ["猫", "lik", "cat"]


def test_a_fact_comes_back_in_other_words_and_only_with_budget(model: Model) -> None:
    soul = Soul.in_memory()
    parrot = Companion(model, soul, ManualClock(wall_s=1.7e9), Manner(max_bytes=6, recall_bytes=0))
    for text in ("Remember that my sister Anna likes tea.", "记住我住在杭州", "hello"):
        list(parrot.hear(text))
    assert [c.text for c in soul.crystals()] == ["my sister Anna likes tea.", "我住在杭州"]
    list(parrot.hear("what does Anna like?"))
    assert parrot.recent(1)[0].recalled == b""
    parrot.manner = Manner(max_bytes=6, recall_bytes=100)
    list(parrot.hear("what does Anna like?"))
    list(parrot.hear("杭州好玩吗"))
    recalled = [turn.recalled.decode() for turn in parrot.recent(2)]
    assert recalled == ["my sister Anna likes tea.", "我住在杭州"]
    again = Companion(model, soul, ManualClock())
    assert again.state.to_bytes() == parrot.state.to_bytes()  # replayed with its memories
    parrot.manner = Manner(max_bytes=6, recall_bytes=10)
    list(parrot.hear("what does Anna like?"))
    assert parrot.recent(1)[0].recalled == b""


def test_recall_strengthens_neglect_cools_and_search_still_finds(model: Model) -> None:
    soul, clock = Soul.in_memory(), ManualClock(wall_s=1.7e9)
    soul.remember("the boat is blue", clock.wall_s())
    (crystal,) = soul.crystals()
    assert strength_at(crystal, 1.7e9 + HALF_LIFE_S) == pytest.approx(0.5)
    much_later = 1.7e9 + 6 * HALF_LIFE_S
    assert strength_at(crystal, much_later) < COLD
    assert soul.recall("boat", much_later, 5) == []
    assert len(soul.recall("boat", much_later, 5, with_cold=True)) == 1
    clock.advance_ms(HALF_LIFE_S * 1000)
    parrot = Companion(model, soul, clock, Manner(max_bytes=6, recall_bytes=100))
    list(parrot.hear("the boat"))
    assert soul.crystals()[0].strength == pytest.approx(0.6)


@pytest.mark.parametrize("text", ['"', "' OR 1=1 --", "NEAR(a b)", "*", "a:b^2", "\x00", "-" * 9])
def test_hostile_questions_find_nothing_and_break_nothing(text: str) -> None:
    soul = Soul.in_memory()
    soul.remember("DROP TABLE crystal; --", 0.0)
    assert soul.recall(text, 0.0, 5) == []
    assert len(soul.crystals()) == 1


def test_forgetting_is_for_good_and_numbers_are_not_given_again() -> None:
    soul = Soul.in_memory()
    soul.remember("one apple", 0.0)
    soul.forget(1)
    soul.remember("two apples", 0.0)
    assert [c.id for c in soul.recall("apple", 0.0, 5)] == [2]
    with pytest.raises(ConfigError, match="no crystal 1; see parrot memory list"):
        soul.forget(1)


# What takes a soul back to an older schema.
_BACK = {
    2: """
    DROP INDEX draft_turn; DROP TABLE draft; DROP TABLE diary; DROP TABLE pack;
    ALTER TABLE crystal DROP COLUMN is_pinned;
    ALTER TABLE turn DROP COLUMN dream; ALTER TABLE turn DROP COLUMN pack;
    """,
    1: "DROP TABLE crystal_vocab; DROP TABLE crystal_fts; DROP TABLE crystal;",
}


@pytest.mark.parametrize("version", [1, 2])
def test_a_soul_of_an_older_schema_gains_what_is_new_and_loses_nothing(
    model: Model, tmp_path: Path, version: int
) -> None:
    path = tmp_path / "soul.db"
    with Soul.open(path) as soul:
        parrot = Companion(model, soul, ManualClock(), Manner(max_bytes=6))
        list(parrot.hear("an early talk"))
        lived = parrot.state.to_bytes()
    with sqlite3.connect(path) as database:
        for past in range(len(MIGRATIONS) - 1, version - 1, -1):
            database.executescript(_BACK[past])
        database.execute(f"PRAGMA user_version = {version}")
    database.close()
    with Soul.open(path) as soul:
        assert Companion(model, soul, ManualClock()).state.to_bytes() == lived
        soul.remember("now it has a memory", 0.0)
        assert soul._database.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)


def test_memory_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soul = ["--soul", str(tmp_path / "soul.db")]
    assert main(["memory", "add", "the key is under the\x03 blue pot", *soul]) == 0
    assert main(["memory", "search", "where is the key?", "--json", *soul]) == 0
    (found,) = json.loads(capsys.readouterr().out)["crystals"]
    assert found["text"] == "the key is under the blue pot"
    assert main(["memory", "export", str(tmp_path / "all.jsonl"), *soul]) == 0
    assert json.loads((tmp_path / "all.jsonl").read_text())["id"] == found["id"]
    assert main(["memory", "list", *soul]) == 0
    assert "blue pot" in capsys.readouterr().out
    assert main(["memory", "forget", str(found["id"]), *soul]) == 0
    assert main(["memory", "forget", str(found["id"]), *soul]) == 2
