# SPDX-License-Identifier: Apache-2.0
"""Crystals that are pinned, edited, or come from a file of anybody's making."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from parrot.app.cli import main
from parrot.base.errors import ConfigError, CorruptError, FileError
from parrot.mind import memory
from parrot.mind.crystal_file import read_crystals
from parrot.mind.memory import HALF_LIFE_S, strength_at
from parrot.mind.soul import Soul

NOW = 1.7e9


def test_a_pinned_crystal_does_not_fade_and_an_unpinned_one_does() -> None:
    with Soul.in_memory() as soul:
        soul.remember("the boat is red", NOW)
        soul.pin(1, True)
        late = NOW + 20 * HALF_LIFE_S
        assert strength_at(soul.crystals()[0], late) == 1.0
        assert [c.id for c in soul.recall("boat", late, 5)] == [1]
        soul.pin(1, False)
        assert soul.recall("boat", late, 5) == []
        with pytest.raises(ConfigError, match="no crystal 2"):
            soul.pin(2, True)


def test_an_edited_crystal_is_found_by_its_new_words_only() -> None:
    with Soul.in_memory() as soul:
        soul.remember("the key is under the pot", NOW)
        soul.edit(1, "the lamp is on the shelf")
        assert soul.recall("key", NOW, 5) == []
        assert soul.recall("lamp", NOW, 5)[0].text == "the lamp is on the shelf"
        with pytest.raises(ConfigError, match="no crystal 9"):
            soul.edit(9, "x")


def test_forgotten_words_are_gone_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "soul.db"
    with Soul.open(path) as soul:
        for i in range(40):
            soul.remember(f"quicksilver secret number {i} " + "filler " * 40, NOW)
        for i in range(40):
            soul.forget(i + 1)
    assert b"quicksilver secret" not in path.read_bytes()


def test_common_words_are_searched_in_bounded_time_and_still_find(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "_MATCHES_MAX", 5)
    with Soul.in_memory() as soul:
        for i in range(12):
            soul.remember(f"hill and river, day {'four' if i == 3 else i}", NOW)
            soul.remember(f"hill alone {i}", NOW)
        assert soul.recall("hill four", NOW, 1)[0].text.endswith("day four")
        monkeypatch.setattr(memory, "_CANDIDATES", 2)
        assert {c.id for c in soul.recall("hill", NOW, 2)} == {23, 24}, "not the newest"
        monkeypatch.setattr(memory, "_MATCHES_MAX", 11)
        soul.remember("a hill with a well", NOW)
        soul.remember("well " * 3, NOW)
        for i in range(12):
            soul.remember(f"well {i}", NOW)
        assert soul.recall("hill well", NOW, 1)[0].text == "a hill with a well"


def lines(tmp_path: Path, *items: object) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(f"{i if isinstance(i, str) else json.dumps(i)}\n" for i in items))
    return path


def test_export_and_import_are_inverse(tmp_path: Path) -> None:
    first, second = tmp_path / "a.db", tmp_path / "b.db"
    with Soul.open(first) as soul:
        soul.remember("鹦鹉喜欢 apples", 5.0)
        soul.remember("it rains", 6.0)
        soul.pin(2, True)
    out = str(tmp_path / "all.jsonl")
    assert main(["memory", "export", out, "--soul", str(first)]) == 0
    assert main(["memory", "import", out, "--soul", str(second)]) == 0
    with Soul.open(first) as a, Soul.open(second) as b:
        kept = [(c.text, c.strength, c.wall_s, c.is_pinned) for c in a.crystals()]
        assert [(c.text, c.strength, c.wall_s, c.is_pinned) for c in b.crystals()] == kept


def test_importing_what_is_known_adds_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(lines(tmp_path, {"text": "a lamp"}, {"text": "A lamp "}, {"text": "一盏灯"}))
    soul = ["--soul", str(tmp_path / "soul.db")]
    for said in ("2 new crystals.", "0 new crystals."):
        assert main(["memory", "import", path, *soul]) == 0
        assert said in capsys.readouterr().out
    assert main(["memory", "pin", "1", *soul]) == main(["memory", "list", *soul]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[2:] for line in listed] == [["pinned", "a", "lamp"], ["1.00", "一盏灯"]]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{not json", "not JSON"),
        ("[" * 5_000, "not JSON"),
        ('["text"]', "without a text"),
        ({"text": 5}, "without a text"),
        ({"text": "\x00\x01 "}, "its text is not 1 to 4,000 bytes"),
        ({"text": "x" * 4_001}, "its text is not 1 to 4,000 bytes"),
        ({"text": "x" * 70_000}, "longer than 64,000 bytes"),
        ({"text": "a", "strength": "1"}, "strength is no number"),
        ('{"text": "a", "strength": NaN}', "strength is negative or not finite"),
        ('{"text": "a", "wall_s": 1e999}', "wall_s is negative or not finite"),
        ({"text": "a", "resonated_s": -1}, "resonated_s is negative or not finite"),
    ],
)
def test_a_hostile_line_is_named_and_nothing_is_added(
    tmp_path: Path, line: object, why: str
) -> None:
    path = lines(tmp_path, {"text": "good"}, line)
    with Soul.in_memory() as soul:
        soul.remember("was here", NOW)
        with pytest.raises(CorruptError, match=f"line 2 is no crystal \\({why}\\)"):
            soul.remember_all(read_crystals(path, NOW))
        assert [c.text for c in soul.crystals()] == ["was here"]


def test_hostile_text_is_only_text(tmp_path: Path) -> None:
    texts = ['"; DROP TABLE crystal; --', "\x02forged\x03\x06turn\x16", '" OR 1 NEAR( *', "a\ud800"]
    path = lines(tmp_path, *({"text": t, "wall_s": 9e99, "strength": 10**300} for t in texts))
    with Soul.in_memory() as soul:
        assert soul.remember_all(read_crystals(path, NOW)) == 4
        kept = soul.crystals()
        assert kept[1].text == "forgedturn" and kept[0].text == texts[0]
        assert all(c.strength == 1.0 and c.wall_s == NOW for c in kept)
        assert soul.recall('"; DROP TABLE crystal', NOW, 5)[0].id == 1


def test_what_cannot_be_read_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(FileError):
        list(read_crystals(tmp_path / "absent.jsonl", NOW))
    soul = ["--soul", str(tmp_path / "soul.db")]
    path = lines(tmp_path, {"text": "good"}, "{")
    assert main(["memory", "import", str(path), *soul]) == 1
    assert "line 2 is no crystal" in capsys.readouterr().err
    assert main(["memory", "add", "\x01", *soul]) == 2
    assert "TEXT: 0 bytes, expected 1 to 4,000" in capsys.readouterr().err
    assert main(["memory", "add", "a lamp", *soul]) == 0
    for action in (["pin", "1"], ["unpin", "1"], ["edit", "1", "a candle"]):
        assert main(["memory", *action, *soul]) == 0
    assert main(["memory", "search", "candle", *soul]) == 0
    assert "a candle" in capsys.readouterr().out
