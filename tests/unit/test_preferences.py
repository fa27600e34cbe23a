# SPDX-License-Identifier: Apache-2.0
"""Preference pairs: what was asked again, blamed or not chosen, each in the right order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from parrot.app.cli import main
from parrot.mind.entry import Entry
from parrot.mind.preferences import pairs_of
from parrot.mind.soul import Soul
from parrot.mind.turn import Turn

LEVELS = {"reward": (0.5, 1.0)}


def add(
    soul: Soul, heard: str, said: str, parent: int | None = None, drafts: tuple[bytes, ...] = ()
) -> int:
    turn = Turn(
        id=soul.next_id,
        parent=soul.tip if parent is None else parent,
        wall_s=1.0,
        model=bytes(8),
        position=9,
        heard=heard.encode(),
        said=said.encode(),
    )
    soul.add(Entry(turn, drafts=tuple((draft, -float(i)) for i, draft in enumerate(drafts))))
    return turn.id


def blame(soul: Soul, turn: int, signal: str) -> None:
    soul.tip = turn
    soul.note((signal,), LEVELS)


def ordered(soul: Soul) -> list[tuple[str, str]]:
    return [(pair.chosen, pair.rejected) for pair in pairs_of(soul)]


def test_what_was_answered_anew_beats_what_was_answered_before() -> None:
    with Soul.in_memory() as soul:
        first = add(soul, "hello", "hi")
        add(soul, "how are you?", "a table")
        add(soul, "how are you?", "well, thank you", parent=first)
        add(soul, "other words", "no pair", parent=first)
        assert ordered(soul) == [("well, thank you", "a table")]
        (pair,) = pairs_of(soul)
        assert pair.context == (("user", "hello"), ("assistant", "hi"), ("user", "how are you?"))


def test_praise_of_the_earlier_answer_turns_the_pair_round() -> None:
    with Soul.in_memory() as soul:
        good = add(soul, "sing", "la la", parent=0)
        add(soul, "sing", "no", parent=0)
        blame(soul, good, "laughter")
        assert ordered(soul) == [("la la", "no")]


def test_a_reply_beats_its_drafts_at_their_length_unless_it_was_blamed() -> None:
    with Soul.in_memory() as soul:
        said = "the sea is wide and blue"
        turn = add(soul, "the sea?", said, drafts=(b"the sea is a chair\x03", b"no\x03"))
        assert ordered(soul) == [("the sea is wide an", "the sea is a chair")]
        blame(soul, turn, "bad")
        assert ordered(soul) == [("the sea is a chair", "the sea is wide an")]


def test_going_on_talking_is_no_praise_and_a_pair_is_given_once() -> None:
    with Soul.in_memory() as soul:
        old = add(soul, "again", "one", parent=0)
        blame(soul, old, "turn")
        add(soul, "again", "two", parent=0)
        add(soul, "again", "two", parent=0)
        assert ordered(soul) == [("two", "one")]


def test_pairs_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "soul.db"
    with Soul.open(path) as soul:
        add(soul, "你好", "桌子", parent=0)
        add(soul, "你好", "你好呀", parent=0)
    assert main(["memory", "pairs", "-", "--soul", str(path)]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "context": [{"role": "user", "text": "你好"}],
        "chosen": "你好呀",
        "rejected": "桌子",
    }
