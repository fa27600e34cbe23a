# SPDX-License-Identifier: Apache-2.0
"""The soul's file as a ledger: transactions, settings, and what is counted and felt.

Everything durable in a life is written inside `_writing`: all of it, or none. The journal is kept
by parrot.mind.soul, crystals by parrot.mind.crystals, nights by parrot.mind.nights.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from parrot.mind.database import Lock, check_pages
from parrot.mind.schema import soul_error


class Ledger:
    """An open file. Threads: belongs to one at a time. Use as a context manager, or `close`.

    `notice` is a sentence for the owner when opening had to mend something, else None.
    """

    def __init__(
        self, database: sqlite3.Connection, path: Path, lock: Lock | None, notice: str | None
    ) -> None:
        self._database, self.path, self._lock, self.notice = database, path, lock, notice
        self.tip = 0

    def close(self) -> None:
        """Fold the WAL into the file and let the next parrot in."""
        self._database.close()
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> Self:
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

    # ---- hormones, feedback, statistics

    def levels(self) -> dict[str, tuple[float, float]]:
        """Return each hormone's level and the wall_s at which it had it."""
        with self._reading():
            rows = self._database.execute("SELECT name, level, wall_s FROM hormone").fetchall()
        return {name: (level, wall_s) for name, level, wall_s in rows}

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

    # ---- inside

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
                "INSERT OR REPLACE INTO hormone (name, level, wall_s) VALUES (?, ?, ?)",
                (name, level, wall_s),
            )

    def _count(self, wall_s: float, **more: int) -> None:
        self._database.execute(
            "INSERT OR IGNORE INTO day (day, turns, heard, said, snapshot_bytes)"
            " VALUES (?, 0, 0, 0, 0)",
            (_day(wall_s),),
        )
        for column, n in more.items():
            self._database.execute(
                f"UPDATE day SET {column} = {column} + ? WHERE day = ?", (n, _day(wall_s))
            )

    def _set(self, name: str, value: object) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO setting (name, value) VALUES (?, ?)", (name, json.dumps(value))
        )

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
