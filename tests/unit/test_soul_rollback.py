# SPDX-License-Identifier: Apache-2.0
"""A soul that a newer parrot has written is lived on in by the one before it, and back again."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from parrot.engine.model import Model
from parrot.mind import nights, schema, sleep
from parrot.mind.companion import Companion
from parrot.mind.soul import Soul
from tools.kill_soul import ScriptClock, talk_script, tiny_model, wake

N_TURNS = 14
_TABLES = (
    "setting", "turn", "name", "snapshot", "hormone", "feedback", "day", "crystal", "pack", "draft",
    "diary",
)  # fmt: skip
# What a later release may do: a column that may be absent on every table there is, and a new table.
ADDED = (
    "".join(f"ALTER TABLE {table} ADD COLUMN later TEXT;" for table in _TABLES)
    + "CREATE TABLE later (id INTEGER PRIMARY KEY, turn INTEGER NOT NULL) STRICT;"
)


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Make this build that of the next schema, or itself again."""
    now = schema.MIGRATIONS

    def become(is_newer: bool) -> None:
        monkeypatch.setattr(schema, "MIGRATIONS", (*now, ADDED) if is_newer else now)

    return become


@pytest.fixture(autouse=True)
def _short_days(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sleep, "_CYCLE_BYTES", 300)
    monkeypatch.setattr(nights, "PACK_TURNS", 3)
    monkeypatch.setattr(nights, "AWAKE_TURNS", 3)


def live(model: Model, path: Path, exported: Path, change: Callable[[int], None]) -> bytes:
    """Live the script of `tools.kill_soul`, with a waking every few steps; return the state."""
    steps = talk_script(N_TURNS, exported)
    for first in range(0, len(steps), 4):
        change(first // 4)
        clock = ScriptClock()
        parrot = wake(model, path, clock)
        for i in range(first, min(first + 4, len(steps))):
            clock.wall = 1.7e9 + 60 * i
            steps[i](parrot)
            assert parrot.trouble is None
        lived = parrot.state.to_bytes()
        parrot.close()
    return lived


def test_every_table_is_among_those_that_gain_a_column(tmp_path: Path) -> None:
    with Soul.open(tmp_path / "soul.db") as soul:
        rows = soul._database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE '%VIRTUAL%'"
            " AND name NOT LIKE 'crystal_%' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
    assert sorted(name for (name,) in rows) == sorted(_TABLES)


def test_a_life_through_updates_and_rollbacks_is_the_life_without_them(
    tmp_path: Path, newer: Callable[[bool], None]
) -> None:
    model = Model.open(tiny_model(tmp_path), threads=1)
    state = model.new_state()
    model.forward(b"\x00once upon a time", state)
    exported = tmp_path / "exported.state"
    state.save(exported)
    plain = live(model, tmp_path / "plain" / "soul.db", exported, lambda leg: None)
    path = tmp_path / "moved" / "soul.db"
    assert live(model, path, exported, lambda leg: newer(leg % 2 == 1)) == plain
    newer(False)
    with Soul.open(path) as soul:
        assert soul.notice is None
        soul.check()
        (version,) = soul._database.execute("PRAGMA user_version").fetchone()
        assert version == len(schema.MIGRATIONS) + 1
        assert Companion(model, soul, ScriptClock()).state.to_bytes() == plain


def test_a_damaged_soul_of_a_newer_parrot_is_mended_by_the_older_one(
    tmp_path: Path, newer: Callable[[bool], None]
) -> None:
    model = Model.open(tiny_model(tmp_path), threads=1)
    path = tmp_path / "soul.db"
    newer(True)
    parrot = wake(model, path, ScriptClock())
    list(parrot.hear("words to keep"))
    parrot.close()
    newer(False)
    with sqlite3.connect(path) as database:
        (page,) = database.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'turn_origin'"
        ).fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
    database.close()
    blob = bytearray(path.read_bytes())
    blob[(page - 1) * size : page * size] = b"\xff" * size
    path.write_bytes(blob)
    path.with_name("soul.db-wal").write_bytes(b"cut")
    with Soul.open(path) as soul:
        assert "1 turns that can still be read" in (soul.notice or "")
        turn = soul.turn(soul.tip)
        assert turn is not None and turn.heard == b"words to keep"
