# SPDX-License-Identifier: Apache-2.0
"""Opening `soul.db`: one writer at a time, checked after a power cut, mended when damaged.

SQLite keeps a commit whole (WAL, synchronous=FULL). What it does not do is here: saying who holds
the file, refusing files that are no souls, and going on with what a damaged one still holds.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import tempfile
from contextlib import suppress
from pathlib import Path

from parrot.base.errors import CorruptError, FileError
from parrot.base.files import file_error, sync_folder
from parrot.mind import memory
from parrot.mind.schema import check_header, migrate, soul_error

_PAGE_SIZE = 1_024  # a turn touches five pages: small ones wear the flash less
_WAL_MAX = 4 << 20  # bytes the WAL keeps between checkpoints
_UNBORN_MAX = 64 << 10  # bytes; a file of zeros that is larger was something once
_CHECK_MAX = 64 << 20  # larger souls are checked by the doctor, not at the start


class Lock:
    """The right to write one soul: an flock on a file beside it, freed by the kernel at death.

    Not on the soul itself: closing a second descriptor of a file drops SQLite's own locks on it.
    """

    def __init__(self, path: Path) -> None:
        where = path.with_name(f"{path.name}.lock")
        try:
            where.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(where, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise file_error(path, exc, "opened") from exc
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = os.read(self._fd, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise SoulBusyError(
                f"{path}: in use by process {holder}, expected one parrot at a time; leave that "
                "one first, or pass another --soul.",
                path=path,
            ) from exc
        with suppress(OSError):  # a full disk: the lock holds, only its holder stays unnamed
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        os.close(self._fd)


class SoulBusyError(FileError):
    """Another process holds the soul."""


def connect(path: Path | str) -> sqlite3.Connection:
    """Return a connection that commits durably. Raises: sqlite3.Error."""
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=2.0)
    try:
        database.execute(f"PRAGMA page_size = {_PAGE_SIZE}")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute(f"PRAGMA journal_size_limit = {_WAL_MAX}")
        # Pages of dropped snapshots need not be overwritten with zeros before they are used again,
        # and those used again between two checkpoints go to the file once.
        database.execute("PRAGMA secure_delete = OFF")
        database.execute(f"PRAGMA wal_autocheckpoint = {_WAL_MAX // _PAGE_SIZE}")
    except sqlite3.Error:
        database.close()
        raise
    return database


def open_database(path: Path) -> tuple[sqlite3.Connection, str | None]:
    """Return an open soul and, when it had to be mended, a sentence that says so.

    The caller holds the `Lock`. A soul whose last life was cut (its WAL is still there) is checked
    page by page first, unless that would take long.
    Raises: FormatError for what is no soul or too new; FileError when the disk refuses.
    """
    try:
        _clear_unborn(path)
        head = _head(path)
        if head:
            check_header(path, head)
        was_cut = _size(path.with_name(f"{path.name}-wal")) > 0 and _size(path) <= _CHECK_MAX
        database = connect(path)
        try:
            if was_cut:
                check_pages(database, path)
            migrate(database, path)
        except BaseException:
            database.close()
            raise
        return database, None
    except OSError as exc:
        raise file_error(path, exc, "opened") from exc
    except sqlite3.DatabaseError as exc:
        error = soul_error(path, exc, "opened")
        if not isinstance(error, CorruptError):
            raise error from exc
        return _mend(path, str(exc))
    except CorruptError as exc:
        return _mend(path, str(exc))


def _clear_unborn(path: Path) -> None:
    """Remove a soul whose birth was cut before its first page reached the disk.

    A file system may keep such a file's size and not its bytes. Nothing was ever committed to it:
    SQLite syncs the first page before it begins to keep a WAL.
    """
    if not 0 < _size(path) <= _UNBORN_MAX or any(path.read_bytes()):
        return
    for tail in ("-journal", "-wal", "-shm", ""):
        path.with_name(path.name + tail).unlink(missing_ok=True)


def check_pages(database: sqlite3.Connection, path: Path) -> None:
    """Raise CorruptError, naming what `PRAGMA integrity_check` found first."""
    (found,) = database.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise CorruptError(found.split("\n")[-1].strip(), path=path)


def in_memory(path: Path | None) -> sqlite3.Connection:
    """Return a soul that lives in memory: a copy of the one at `path`, or a new one.

    For talks that are not to be kept, for places that cannot be written, and for looking at a soul
    that another process holds.
    """
    database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    try:
        if path is not None and _size(path) > 0:
            check_header(path, _head(path))
            _copy_into(database, path)
        migrate(database, path or Path("soul"))
    except OSError as exc:
        raise file_error(path or Path("soul"), exc, "read") from exc
    except sqlite3.Error as exc:
        raise soul_error(path or Path("soul"), exc, "read") from exc
    return database


def _copy_into(database: sqlite3.Connection, path: Path) -> None:
    """Fill `database` with the soul at `path`, which another process may be writing."""
    try:
        _back_up(f"{path.absolute().as_uri()}?mode=ro", database)
    except sqlite3.OperationalError:
        # SQLite reads no WAL where it cannot write; and where it cannot, nobody else is writing.
        with tempfile.TemporaryDirectory() as folder:
            twin = Path(folder) / "soul.db"
            for tail in ("", "-wal"):
                if _size(path.with_name(path.name + tail)) > 0:
                    shutil.copyfile(path.with_name(path.name + tail), f"{twin}{tail}")
            _back_up(twin.as_uri(), database)


def _back_up(uri: str, database: sqlite3.Connection) -> None:
    source = sqlite3.connect(uri, uri=True)
    try:
        (page_size,) = source.execute("PRAGMA page_size").fetchone()
        database.execute(f"PRAGMA page_size = {page_size}")  # or SQLite refuses the copy
        source.backup(database)
    finally:
        source.close()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _head(path: Path) -> bytes:
    if not path.exists():
        return b""
    try:
        with open(path, "rb") as file:
            return file.read(100)
    except OSError as exc:
        raise file_error(path, exc, "read") from exc


# ---- mending


def _mend(path: Path, found: str) -> tuple[sqlite3.Connection, str]:
    """Copy what can be read into a new soul; the damaged one is set aside, never deleted."""
    aside = _free_name(path)
    mended = path.with_name(f"{path.name}.mended")
    try:
        for tail in ("", "-wal", "-shm"):
            mended.with_name(mended.name + tail).unlink(missing_ok=True)
        n_turns = _salvage(path, mended)
        # The WAL first: SQLite would play it into whatever bears the soul's name.
        for tail in ("-wal", "-shm"):
            if path.with_name(path.name + tail).exists():
                os.replace(path.with_name(path.name + tail), aside.with_name(aside.name + tail))
        os.link(path, aside)
        os.replace(mended, path)
        sync_folder(path.parent)
    except OSError as exc:
        raise file_error(path, exc, "mended") from exc
    except sqlite3.Error as exc:
        raise soul_error(path, exc, "mended") from exc
    return connect(path), (
        f"{path}: integrity check found: {found}; the file was set aside as {aside.name}, and "
        f"{n_turns:,} turns that can still be read are in use."
    )


def _free_name(path: Path) -> Path:
    names = (path.with_name(f"{path.name}.damaged{n or ''}") for n in range(1000))
    return next(name for name in names if not name.exists())


def _salvage(path: Path, mended: Path) -> int:
    """Copy every readable row of the soul at `path` to a new one; return how many turns came."""
    source = sqlite3.connect(path, isolation_level=None)
    target = connect(mended)
    try:
        migrate(target, mended)
        target.execute("BEGIN")
        tables = target.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE '%VIRTUAL%'"
            " AND name NOT LIKE 'crystal_fts%' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        for (table,) in tables:
            _salvage_table(source, target, table)
        _heal(target)
        target.execute("COMMIT")
        (n_turns,) = target.execute("SELECT count(*) FROM turn").fetchone()
    finally:
        source.close()
        target.close()  # the last connection: the WAL is folded in and gone
    return int(n_turns)


def _salvage_table(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> None:
    """Copy rows from the front until damage, then from the back until damage."""
    about = target.execute(f"PRAGMA table_info({table})").fetchall()
    keys = [row[1] for row in about if row[5]]
    for order in ("ASC", "DESC"):
        by = ", ".join(f"{key} {order}" for key in keys)
        try:
            known = {row[1] for row in source.execute(f"PRAGMA table_info({table})")}
            if not known:  # an older soul has fewer tables, and fewer columns
                return
            columns = [row[1] for row in about if row[1] in known]
            names, marks = ", ".join(columns), ", ".join("?" * len(columns))
            for row in source.execute(f"SELECT {names} FROM {table} ORDER BY {by}"):
                target.execute(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})", row)
        except sqlite3.DatabaseError as exc:
            code = getattr(exc, "sqlite_errorname", "")
            if code.startswith(("SQLITE_FULL", "SQLITE_IOERR_WRITE")):
                raise


def _heal(database: sqlite3.Connection) -> None:
    """Point names whose turn was lost at the newest turn before it."""
    database.execute(
        "UPDATE name SET turn = coalesce((SELECT max(id) FROM turn WHERE id <= name.turn), 0)"
    )
    database.execute(
        "INSERT INTO name (name, turn, is_line, wall_s)"
        " SELECT 'main', max(id), 1, max(wall_s) FROM turn"
        " WHERE NOT EXISTS (SELECT 1 FROM name WHERE name = 'main') HAVING max(id) > 0"
    )
    database.execute("DELETE FROM snapshot WHERE turn NOT IN (SELECT id FROM turn)")
    for crystal in list(memory.every(database)):
        memory.index(database, crystal.id, crystal.text)
