# SPDX-License-Identifier: Apache-2.0
"""The tables of `soul.db`, how they came about, and what SQLite's refusals mean.

A migration is a script that takes a soul from one schema version to the next, in one transaction.
None is ever edited after a release: souls made by it are out there. Tables are STRICT: a
hostile file cannot put text where bytes or numbers are expected. Reading order: `turn` is the
journal (a tree: each turn knows its parent), `name` points into it, `snapshot` is its cache.

A board may go back to the parrot it had before an update, and that one must live on in the soul.
So a migration adds: tables, and columns that may be absent (NULL or a default is as good as none).
The older parrot neither reads nor fills them. READER says which schema's parrot can still do that;
the soul carries it. Statements name the columns they fill, or an added one would break them.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from parrot.base.errors import CorruptError, FileError, FormatError

APPLICATION_ID = 0x50525253  # "PRRS", at offset 68 of the file
MAGIC = b"SQLite format 3\x00"

_V1 = """
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE turn (
    id INTEGER PRIMARY KEY,
    parent INTEGER NOT NULL,   -- 0: nothing came before
    wall_s REAL NOT NULL,
    model BLOB NOT NULL,       -- who said it; 8 bytes
    position INTEGER NOT NULL, -- bytes (tokens) lived, this turn included
    origin TEXT,               -- an imported state: where it came from; such a turn has no words
    recalled BLOB NOT NULL,    -- memory woven in before it; UTF-8
    heard BLOB NOT NULL,
    said BLOB NOT NULL,
    tokens BLOB,               -- u32 each, when `said` would be cut into other tokens
    seed INTEGER NOT NULL,
    sampling TEXT NOT NULL,    -- JSON
    heard_expected REAL, heard_surprise REAL, -- nats a byte, forecast and found
    said_expected REAL, said_surprise REAL
) STRICT;
CREATE INDEX turn_origin ON turn (origin) WHERE origin IS NOT NULL;
CREATE TABLE name (
    name TEXT PRIMARY KEY, turn INTEGER NOT NULL, is_line INTEGER NOT NULL, wall_s REAL NOT NULL
) WITHOUT ROWID, STRICT;
CREATE TABLE snapshot (
    turn INTEGER NOT NULL, model BLOB NOT NULL, wall_s REAL NOT NULL, state BLOB NOT NULL,
    PRIMARY KEY (turn, model)
) STRICT;
CREATE TABLE hormone (name TEXT PRIMARY KEY, level REAL NOT NULL, wall_s REAL NOT NULL)
    WITHOUT ROWID, STRICT;
CREATE TABLE feedback (
    id INTEGER PRIMARY KEY, turn INTEGER NOT NULL, wall_s REAL NOT NULL, signal TEXT NOT NULL
) STRICT;
CREATE TABLE day (
    day TEXT PRIMARY KEY, turns INTEGER NOT NULL, heard INTEGER NOT NULL, said INTEGER NOT NULL,
    snapshot_bytes INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
"""

_V2 = """
CREATE TABLE crystal (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- a forgotten number is not given away again
    wall_s REAL NOT NULL, turn INTEGER NOT NULL, text TEXT NOT NULL,
    strength REAL NOT NULL, resonated_s REAL NOT NULL
) STRICT;
CREATE VIRTUAL TABLE crystal_fts USING fts5 (terms, tokenize = 'unicode61');
CREATE VIRTUAL TABLE crystal_vocab USING fts5vocab (crystal_fts, row);
"""

_V3 = """
ALTER TABLE turn ADD COLUMN dream TEXT;   -- a sleep: ids of the turns lived again, JSON; no words
ALTER TABLE turn ADD COLUMN pack INTEGER; -- where its words are since they were compressed
CREATE TABLE pack (id INTEGER PRIMARY KEY, words BLOB NOT NULL) STRICT;
ALTER TABLE crystal ADD COLUMN is_pinned INTEGER NOT NULL DEFAULT 0;
CREATE TABLE draft (
    id INTEGER PRIMARY KEY, turn INTEGER NOT NULL, said BLOB NOT NULL, score REAL NOT NULL
) STRICT;
CREATE INDEX draft_turn ON draft (turn);
CREATE TABLE diary (id INTEGER PRIMARY KEY, wall_s REAL NOT NULL, figures TEXT NOT NULL) STRICT;
"""

MIGRATIONS = (_V1, _V2, _V3)
# The oldest schema whose parrot can live on in a soul of ours. A migration that does not merely add
# raises it to its own number, and updates across it are then refused (parrot.app.release).
READER = 3

_READER_SETTING = "schema_reader"

_HINTS = {
    "SQLITE_FULL": "the disk is full; free some space",
    "SQLITE_READONLY": "the file or its folder is read-only; remount it or choose another --soul",
    "SQLITE_CANTOPEN": "it cannot be opened; check the path and its rights",
    "SQLITE_PERM": "permission denied; choose a --soul you may write",
    "SQLITE_IOERR": "the disk reported a read or write error; check it before trusting it again",
    "SQLITE_BUSY": "another program holds it; close that program",
    "SQLITE_TOOBIG": "one entry is too large for the database; say less at once",
}


def soul_error(path: Path, exc: sqlite3.Error, doing: str) -> FileError:
    """Turn SQLite's refusal while `doing` ("read", …) into one sentence with a next step."""
    code = getattr(exc, "sqlite_errorname", "")
    if code.startswith("SQLITE_CORRUPT"):
        return CorruptError(
            f"{path}: a part of it is damaged; leave, and the next start mends what can be read.",
            path=path,
        )
    if code == "SQLITE_NOTADB":
        return FormatError(f"{path}: not a soul; pass another --soul.", path=path)
    family = "_".join(code.split("_")[:2])
    hint = _HINTS.get(family, f"{exc}; check the disk and the path")
    return FileError(f"{path}: cannot be {doing}: {hint}.", path=path)


def check_header(path: Path, head: bytes) -> None:
    """Raise FormatError unless `head`, the first 100 bytes of `path`, may be a soul's."""
    if head[:4] == b"PST1":
        raise FormatError(
            f"{path}: first bytes are 50 53 54 31, a state file, expected a soul; pass another "
            f"--soul and run: parrot state import {path}.",
            path=path,
        )
    if head[:16] != MAGIC:
        raise FormatError(
            f"{path}: first bytes are {head[:4].hex(' ')}, expected {MAGIC[:4].hex(' ')}; this is "
            "no soul, pass another --soul.",
            path=path,
        )
    found = int.from_bytes(head[68:72], "big")
    if found not in (0, APPLICATION_ID):
        raise FormatError(
            f"{path}: a database of another program (id {found:#x}), expected a soul; pass another "
            "--soul.",
            path=path,
        )


def migrate(database: sqlite3.Connection, path: Path) -> None:
    """Bring an open database to this build's schema, each step whole or not at all.

    Raises: FormatError for a soul of a newer parrot or a database of another program.
    """
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (owner,) = database.execute("PRAGMA application_id").fetchone()
    (n_tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if owner == 0 and n_tables:
        raise FormatError(
            f"{path}: a database of another program, expected a soul; pass another --soul.",
            path=path,
        )
    if version > len(MIGRATIONS):
        if _reader(database) <= len(MIGRATIONS):
            return
        raise FormatError(
            f"{path}: schema version {version}, this build reads up to {len(MIGRATIONS)}; install "
            "a newer parrot.",
            path=path,
        )
    for number in range(version + 1, len(MIGRATIONS) + 1):
        database.executescript(
            f"BEGIN IMMEDIATE; {MIGRATIONS[number - 1]} PRAGMA application_id = {APPLICATION_ID};"
            "INSERT OR REPLACE INTO setting (name, value)"
            f" VALUES ('{_READER_SETTING}', '{READER}');"
            f"PRAGMA user_version = {number}; COMMIT;"
        )


def _reader(database: sqlite3.Connection) -> float:
    """Return the oldest schema whose parrot can live on in this soul, which a newer one wrote."""
    row = database.execute(
        "SELECT value FROM setting WHERE name = ?", (_READER_SETTING,)
    ).fetchone()
    return int(row[0]) if row and row[0].isdecimal() and len(row[0]) < 10 else float("inf")
