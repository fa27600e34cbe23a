# SPDX-License-Identifier: Apache-2.0
"""The soul: one file that holds a life.

The journal is a tree of turns, only ever added to. A *line* is a name that moves with the talk, a
*saved* name stays where it was put, and going back (undo, load) moves the line's tip: nothing is
deleted, so everything can be undone. Snapshots of the state hang on turns as a cache; whatever
has none is found by living the journal again from the nearest one (parrot.mind.life).

A disk that refuses does not stop the talk: turns wait in memory and are committed with the next.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import astuple, fields
from pathlib import Path

from parrot.base.errors import ConfigError, CorruptError
from parrot.mind import memory
from parrot.mind.crystals import Crystals
from parrot.mind.database import Lock, in_memory, open_database
from parrot.mind.entry import Entry, Name
from parrot.mind.nights import Nights
from parrot.mind.turn import Turn

MAIN_LINE = "main"
BEFORE = "before"  # where the tip was before the last undo, load or import
_TURN_COLUMNS = ", ".join(column.name for column in fields(Turn))
_TURN_MARKS = ", ".join("?" * len(fields(Turn)))


class Soul(Crystals, Nights):
    """An open `soul.db`: the journal and its names, memory, and nights."""

    def __init__(
        self, database: sqlite3.Connection, path: Path, lock: Lock | None, notice: str | None
    ) -> None:
        super().__init__(database, path, lock, notice)
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
        row = self._one(f"SELECT {_TURN_COLUMNS}, pack FROM turn WHERE id = ?", id)
        if row is None:
            return None
        turn, pack = Turn(*row[:-1]), row[-1]
        return turn if pack is None else self._unpacked(turn, pack)

    def turns(self) -> Iterator[Turn]:
        """Yield every turn of the journal in the order of committing, abandoned ones included."""
        with self._reading():
            ids = [id for (id,) in self._database.execute("SELECT id FROM turn ORDER BY id")]
        for id in ids:
            if turn := self.turn(id):
                yield turn

    def drafts(self) -> dict[int, list[bytes]]:
        """Return what was drafted and not said, by turn, the best first."""
        with self._reading():
            rows = self._database.execute(
                "SELECT turn, said FROM draft ORDER BY turn, score DESC, id"
            ).fetchall()
        drafts: dict[int, list[bytes]] = {}
        for turn, said in rows:
            drafts.setdefault(turn, []).append(said)
        return drafts

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
            while turn is not None and turn.dream is not None:  # goes with the talk it followed
                turn = self.turn(turn.parent)
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
                "INSERT INTO snapshot (turn, model, wall_s, state) VALUES (?, ?, ?, ?)",
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
                "INSERT OR REPLACE INTO snapshot (turn, model, wall_s, state) VALUES (?, ?, ?, ?)",
                (turn.id, model, turn.wall_s, state),
            )
            self._forget(model, drop)
            self._count(turn.wall_s, snapshot_bytes=len(state))

    def drop_snapshots(self, model: bytes, drop: set[int]) -> None:
        with self._writing():
            self._forget(model, drop)

    # ---- feedback

    def note(self, signals: tuple[str, ...], levels: Mapping[str, tuple[float, float]]) -> None:
        """Commit feedback that came outside a turn, and the levels it led to."""
        self.flush()
        with self._writing():
            self._note(self.tip, signals, levels)

    # ---- inside

    def _insert(self, entry: Entry) -> None:
        turn = entry.turn
        self._database.execute(
            f"INSERT INTO turn ({_TURN_COLUMNS}) VALUES ({_TURN_MARKS})", astuple(turn)
        )
        if turn.origin is None and turn.dream is None:
            self._count(turn.wall_s, turns=1, heard=len(turn.heard), said=len(turn.said))
        self._note(turn.parent, entry.signals, entry.levels)
        memory.resonate(self._database, entry.recalled, turn.wall_s)
        if entry.crystal is not None:
            memory.insert(self._database, turn.wall_s, turn.id, *entry.crystal)
        self._database.executemany(
            "INSERT INTO draft (turn, said, score) VALUES (?, ?, ?)",
            [(turn.id, *draft) for draft in entry.drafts],
        )

    def _forget(self, model: bytes, drop: set[int]) -> None:
        self._database.executemany(
            "DELETE FROM snapshot WHERE turn = ? AND model = ?", [(t, model) for t in drop]
        )

    def _point(self, name: str, turn: int, is_line: bool, wall_s: float) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO name (name, turn, is_line, wall_s) VALUES (?, ?, ?, ?)",
            (name, turn, is_line, wall_s),
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
