# SPDX-License-Identifier: Apache-2.0
"""The soul: one file that holds a life.

The journal is a tree of turns, only ever added to. A *line* is a name that moves with the talk, a
*saved* name stays where it was put, and going back (undo, load) moves the line's tip: nothing is
deleted, so everything can be undone. Snapshots of the state hang on turns as a cache; whatever
has none is found by living the journal again from the nearest one (parrot.mind.life).

A disk that refuses does not stop the talk: turns wait in memory and are committed with the next.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from parrot.base.errors import ConfigError, CorruptError
from parrot.mind import memory
from parrot.mind.database import Lock, check_pages, in_memory, open_database
from parrot.mind.entry import Entry, Name
from parrot.mind.memory import Crystal
from parrot.mind.schema import soul_error
from parrot.mind.turn import Turn

MAIN_LINE = "main"
BEFORE = "before"  # where the tip was before the last undo, load or import
_TURN_COLUMNS = ", ".join(column.name for column in fields(Turn))
_TURN_MARKS = ", ".join("?" * len(fields(Turn)))


class Soul:
    """An open `soul.db`. Threads: belongs to one at a time. Use as a context manager, or `close`.

    `notice` is a sentence for the owner when opening had to mend something, else None.
    """

    def __init__(
        self, database: sqlite3.Connection, path: Path, lock: Lock | None, notice: str | None
    ) -> None:
        self._database, self.path, self._lock, self.notice = database, path, lock, notice
        self._waiting: list[Entry] = []
        self.line: str = str(self.setting("line", MAIN_LINE))
        self.tip = self._read_tip()
        newest = self._one("SELECT max(id) FROM turn")
        self._next_id = ((newest and newest[0]) or 0) + 1

    @classmethod
    def open(cls, path: Path) -> Soul:
        """Open the soul at `path`, or make it.

        Raises: SoulBusyError, FormatError, FileError; each says what to do.
        """
        lock = Lock(path)
        try:
            database, notice = open_database(path)
            return cls(database, path, lock, notice)
        except BaseException:
            lock.close()
            raise

    @classmethod
    def in_memory(cls, path: Path | None = None) -> Soul:
        """Return a soul that is kept nowhere, a copy of the one at `path` when given."""
        return cls(in_memory(path), path or Path("soul in memory"), None, None)

    @property
    def is_kept(self) -> bool:
        """True when this soul is a file that holds every turn so far."""
        return self._lock is not None and not self._waiting

    def close(self) -> None:
        """Fold the WAL into the file and let the next parrot in."""
        self._database.close()
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> Soul:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def check(self) -> None:
        """Raise CorruptError when a page of the file is damaged. Cost: reads the whole file."""
        with self._reading():
            check_pages(self._database, self.path)

    # ---- settings

    def setting(self, name: str, default: object = None) -> object:
        row = self._one("SELECT value FROM setting WHERE name = ?", name)
        return json.loads(row[0]) if row else default

    def set_setting(self, name: str, value: object) -> None:
        with self._writing():
            self._set(name, value)

    # ---- the journal

    @property
    def next_id(self) -> int:
        """The id that the next turn will have; an uncommitted turn uses none up."""
        return self._next_id

    def add(self, entry: Entry) -> None:
        """Put a turn after the tip and commit it, with every turn that waited.

        Raises: FileError when the disk refuses: the turn waits in memory for the next `add`.
        """
        self._waiting.append(entry)
        self.tip, self._next_id = entry.turn.id, entry.turn.id + 1
        self.flush()

    def flush(self) -> None:
        """Commit what waits. Raises: FileError when the disk refuses."""
        if not self._waiting:
            return
        with self._writing():
            for entry in self._waiting:
                self._insert(entry)
            self._point(self.line, self.tip, True, self._waiting[-1].turn.wall_s)
        self._waiting.clear()

    def turn(self, id: int) -> Turn | None:
        """Return a turn, or None for 0 and for turns that damage took."""
        for entry in self._waiting:
            if entry.turn.id == id:
                return entry.turn
        row = self._one(f"SELECT {_TURN_COLUMNS} FROM turn WHERE id = ?", id)
        return Turn(*row) if row else None

    def path_to(self, id: int) -> Iterator[Turn]:
        """Yield the turn `id`, its parent, and so on to birth."""
        turn = self.turn(id)
        while turn is not None:
            yield turn
            turn = self.turn(turn.parent)

    def ancestor(self, id: int, n_back: int) -> int:
        """Return the turn `n_back` turns before `id`. Raises: ConfigError when there are fewer."""
        at = id
        for done in range(n_back):
            turn = self.turn(at)
            if turn is None or turn.origin is not None:
                raise ConfigError(f"undo: {n_back} turns, expected at most {done}; undo fewer.")
            at = turn.parent
        return at

    # ---- names

    def names(self) -> list[Name]:
        with self._reading():
            rows = self._database.execute(
                "SELECT name, turn, is_line, wall_s FROM name ORDER BY wall_s, name"
            ).fetchall()
        return [Name(n, t, bool(line), s, n == self.line) for n, t, line, s in rows]

    def named(self, name: str) -> Name:
        """Return one name. Raises: ConfigError, listing those there are."""
        names = {each.name: each for each in self.names()}
        if name not in names:
            known = ", ".join(names) or "none yet"
            raise ConfigError(f"{self.path}: no state named {name!r}; there are: {known}.")
        return names[name]

    def save(self, name: str, wall_s: float) -> None:
        """Give the tip a name that stays. Raises: ConfigError for a line's name."""
        self._check_name(name)
        with self._writing():
            self._point(name, self.tip, False, wall_s)

    def branch(self, name: str, wall_s: float) -> None:
        """Start a new line at the tip and go on along it; the old line stays where it is."""
        self._check_name(name)
        with self._writing():
            self._point(self.line, self.tip, True, wall_s)
            self._point(name, self.tip, True, wall_s)
            self._set("line", name)
        self.line = name

    def load(self, name: str, wall_s: float) -> None:
        """Go to a line and continue it, or move this line's tip to a saved name."""
        target = self.named(name)
        if target.is_line:
            self.flush()
            with self._writing():
                self._set("line", name)
            self.line, self.tip = name, target.turn
        else:
            self.move(target.turn, wall_s)

    def move(self, id: int, wall_s: float) -> None:
        """Move the line's tip to turn `id`; the name `before` keeps where it was."""
        self.flush()
        with self._writing():
            self._point(BEFORE, self.tip, False, wall_s)
            self._point(self.line, id, True, wall_s)
        self.tip = id

    def add_origin(self, turn: Turn, state: bytes) -> None:
        """Begin anew from an imported state, whose snapshot is kept for good."""
        self.flush()
        with self._writing():
            self._point(BEFORE, self.tip, False, turn.wall_s)
            self._insert(Entry(turn))
            self._database.execute(
                "INSERT INTO snapshot VALUES (?, ?, ?, ?)",
                (turn.id, turn.model, turn.wall_s, state),
            )
            self._point(self.line, turn.id, True, turn.wall_s)
        self.tip, self._next_id = turn.id, turn.id + 1

    def origins(self) -> set[int]:
        """Return the turns that are imported states."""
        with self._reading():
            rows = self._database.execute("SELECT id FROM turn WHERE origin IS NOT NULL")
            return {id for (id,) in rows}

    # ---- snapshots

    def snapshots(self, model: bytes) -> set[int]:
        """Return the turns that have a snapshot by `model`."""
        with self._reading():
            rows = self._database.execute("SELECT turn FROM snapshot WHERE model = ?", (model,))
            return {turn for (turn,) in rows}

    def snapshot(self, turn: int, model: bytes) -> bytes:
        row = self._one("SELECT state FROM snapshot WHERE turn = ? AND model = ?", turn, model)
        if row is None:
            raise CorruptError(f"{self.path}: turn {turn} has no snapshot.", path=self.path)
        return bytes(row[0])

    def put_snapshot(self, turn: Turn, model: bytes, state: bytes, drop: set[int]) -> None:
        """Keep `state` as that of `turn`, and forget the snapshots of the turns in `drop`."""
        self.flush()
        with self._writing():
            self._database.execute(
                "INSERT OR REPLACE INTO snapshot VALUES (?, ?, ?, ?)",
                (turn.id, model, turn.wall_s, state),
            )
            self._forget(model, drop)
            self._count(turn.wall_s, snapshot_bytes=len(state))

    def drop_snapshots(self, model: bytes, drop: set[int]) -> None:
        with self._writing():
            self._forget(model, drop)

    # ---- hormones, feedback, statistics

    def levels(self) -> dict[str, tuple[float, float]]:
        """Return each hormone's level and the wall_s at which it had it."""
        with self._reading():
            rows = self._database.execute("SELECT name, level, wall_s FROM hormone").fetchall()
        return {name: (level, wall_s) for name, level, wall_s in rows}

    def note(self, signals: tuple[str, ...], levels: Mapping[str, tuple[float, float]]) -> None:
        """Commit feedback that came outside a turn, and the levels it led to."""
        self.flush()
        with self._writing():
            self._note(self.tip, signals, levels)

    def days(self) -> list[dict[str, object]]:
        """Return the statistics, one row a day (UTC), oldest first."""
        names = ("day", "turns", "heard", "said", "snapshot_bytes")
        with self._reading():
            rows = self._database.execute(f"SELECT {', '.join(names)} FROM day ORDER BY day")
            return [dict(zip(names, row, strict=True)) for row in rows]

    def snapshot_bytes_on(self, wall_s: float) -> int:
        """Return the bytes of snapshots written on that day."""
        row = self._one("SELECT snapshot_bytes FROM day WHERE day = ?", _day(wall_s))
        return int(row[0]) if row else 0

    def feedback(self) -> list[tuple[int, float, str]]:
        """Return (turn, wall_s, signal) of all feedback, oldest first."""
        with self._reading():
            return self._database.execute(
                "SELECT turn, wall_s, signal FROM feedback ORDER BY id"
            ).fetchall()

    # ---- memory

    def recall(self, text: str, wall_s: float, n: int, with_cold: bool = False) -> list[Crystal]:
        """Return at most `n` crystals that resonate with `text`, best first."""
        with self._reading():
            return memory.search(self._database, text, wall_s, n, with_cold)

    def crystals(self) -> list[Crystal]:
        with self._reading():
            return list(memory.every(self._database))

    def remember(self, text: str, wall_s: float) -> None:
        """Keep a text by command, as strong as a crystal can be."""
        with self._writing():
            memory.insert(self._database, wall_s, self.tip, text, 1.0)

    def forget(self, id: int) -> None:
        """Forget a crystal for good. Raises: ConfigError when there is none of that number."""
        with self._writing():
            is_gone = memory.forget(self._database, id)
        if not is_gone:
            raise ConfigError(f"memory: no crystal {id}; see parrot memory list.")

    # ---- inside

    def _insert(self, entry: Entry) -> None:
        turn = entry.turn
        self._database.execute(
            f"INSERT INTO turn ({_TURN_COLUMNS}) VALUES ({_TURN_MARKS})", astuple(turn)
        )
        if turn.origin is None:
            self._count(turn.wall_s, turns=1, heard=len(turn.heard), said=len(turn.said))
        self._note(turn.parent, entry.signals, entry.levels)
        memory.resonate(self._database, entry.recalled, turn.wall_s)
        if entry.crystal is not None:
            memory.insert(self._database, turn.wall_s, turn.id, *entry.crystal)

    def _note(
        self, turn: int, signals: tuple[str, ...], levels: Mapping[str, tuple[float, float]]
    ) -> None:
        for signal in signals:
            wall_s = max(wall for _, wall in levels.values())
            self._database.execute(
                "INSERT INTO feedback (turn, wall_s, signal) VALUES (?, ?, ?)",
                (turn, wall_s, signal),
            )
        for name, (level, wall_s) in levels.items():
            self._database.execute(
                "INSERT OR REPLACE INTO hormone VALUES (?, ?, ?)", (name, level, wall_s)
            )

    def _count(self, wall_s: float, **more: int) -> None:
        self._database.execute("INSERT OR IGNORE INTO day VALUES (?, 0, 0, 0, 0)", (_day(wall_s),))
        for column, n in more.items():
            self._database.execute(
                f"UPDATE day SET {column} = {column} + ? WHERE day = ?", (n, _day(wall_s))
            )

    def _forget(self, model: bytes, drop: set[int]) -> None:
        self._database.executemany(
            "DELETE FROM snapshot WHERE turn = ? AND model = ?", [(t, model) for t in drop]
        )

    def _point(self, name: str, turn: int, is_line: bool, wall_s: float) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO name VALUES (?, ?, ?, ?)", (name, turn, is_line, wall_s)
        )

    def _set(self, name: str, value: object) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, json.dumps(value))
        )

    def _check_name(self, name: str) -> None:
        if not name.strip() or len(name) > 100 or not name.isprintable():
            raise ConfigError(f"name: {name!r}, expected 1 to 100 printable characters.")
        if name == self.line or any(n.is_line for n in self.names() if n.name == name):
            raise ConfigError(f"name: {name!r} is a line of the talk; choose another name.")
        self.flush()

    def _read_tip(self) -> int:
        row = self._one("SELECT turn FROM name WHERE name = ? AND is_line", self.line)
        return int(row[0]) if row else 0

    def _one(self, query: str, *values: object) -> tuple[Any, ...] | None:
        with self._reading():
            row: tuple[Any, ...] | None = self._database.execute(query, values).fetchone()
        return row

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            raise soul_error(self.path, exc, "read") from exc

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction: all of it, durably, or none of it."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
            yield
            self._database.execute("COMMIT")
        except BaseException as exc:
            if self._database.in_transaction:
                with suppress(sqlite3.Error):  # SQLite has rolled back already, or will on opening
                    self._database.execute("ROLLBACK")
            if isinstance(exc, sqlite3.Error):
                raise soul_error(self.path, exc, "written") from exc
            raise


def _day(wall_s: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(wall_s))
