# SPDX-License-Identifier: Apache-2.0
"""Run by test_soul_disk.py with fail_write.so preloaded: fail every write of a life in turn.

    LD_PRELOAD=fail_write.so python -m tests.fault.soul_disk fail_write.so FOLDER [STRIDE]

A short life (birth, turns, snapshots, a saved name, a night, closing) is lived with the disk
failing at its k-th write, for every k; each life is a forked child, so that a cut ends only that
one. STRIDE n tries every n-th write of the slow kinds. A migration is cut at every write, too.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

from parrot.base.errors import FileError
from parrot.engine.model import Model
from parrot.mind.companion import Companion
from parrot.mind.schema import APPLICATION_ID, MIGRATIONS
from parrot.mind.soul import Soul
from parrot.mind.turn import Turn
from tools.kill_soul import ScriptClock, fingerprint, tiny_model, wake

ONCE, FROM_THEN_ON, CUT, LOSE = 0, 1, 2, 3
WORDS = [
    "Hello there, little parrot.",
    "How was your day? 哈哈",
    "Tell me about the sea and the ships.",
]
NIGHT = 5  # the step that is a night
STRANGE = 3  # exit code of a child whose soul is not what it must be


class Disk:
    """The preloaded shim."""

    def __init__(self, library: str) -> None:
        self._shim = ctypes.CDLL(library)

    def fail(self, k: int, code: int, mode: int) -> None:
        self._shim.fail_write_arm(b"soul.db", ctypes.c_long(k), code, mode)

    def heal(self) -> None:
        self._shim.fail_write_disarm()

    def n_writes(self) -> int:
        return int(self._shim.fail_write_seen())


def steps() -> list[Callable[[Companion], object]]:
    def say(text: str) -> Callable[[Companion], object]:
        return lambda parrot: list(parrot.hear(text))

    return [
        say(WORDS[0]),
        say(WORDS[1]),
        lambda parrot: parrot.save("a name"),
        say(WORDS[2]),
        lambda parrot: parrot.undo(1),
        lambda parrot: list(parrot.sleeper().run(False, True, None)),
        say("And now good night, sleep well."),
    ]


def live(model: Model, path: Path, after: Callable[[Companion], object], first: int = 0) -> None:
    clock = ScriptClock(1.7e9 + 60 * first, tick_ms=2_000)  # slow: a snapshot nearly every turn
    parrot = wake(model, path, clock)
    after(parrot)
    todo = steps()
    for i in range(first, len(todo)):
        clock.wall = 1.7e9 + 60 * i
        todo[i](parrot)
        after(parrot)
    parrot.close()


def in_child(act: Callable[[], object]) -> int:
    """Run `act` in a fork; return its exit code."""
    child = os.fork()
    if child == 0:
        try:
            act()
            os._exit(0)
        except AssertionError as exc:
            print(f"strange: {exc}", file=sys.stderr, flush=True)
            os._exit(STRANGE)
        except FileError as exc:
            assert str(exc).endswith(".") and "soul.db" in str(exc), exc
            os._exit(1)
        except BaseException as exc:
            print(f"unforeseen: {exc!r}", file=sys.stderr, flush=True)
            os._exit(STRANGE)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def reference(model: Model, disk: Disk, folder: Path) -> tuple[list[str], int]:
    """Return the fingerprints of an undisturbed life, and how many writes it takes."""
    prints: list[str] = []
    disk.fail(1 << 40, errno.EIO, ONCE)
    live(model, folder / "soul.db", lambda parrot: prints.append(fingerprint(parrot.soul)))
    disk.heal()
    shutil.rmtree(folder)
    return prints, disk.n_writes()


def acknowledged_until_cut(model: Model, disk: Disk, path: Path, k: int, mode: int) -> int:
    """Live in a child whose power is cut at write `k`; return the steps it acknowledged."""
    listen, tell = os.pipe()

    def until_cut() -> None:
        disk.fail(k, 0, mode)
        live(model, path, lambda parrot: os.write(tell, b"."))

    code = in_child(until_cut)
    os.close(tell)
    with open(listen, "rb") as ears:
        heard = ears.read()
    assert code == 137, f"cut {k}: the life ended with {code}"
    return max(0, len(heard) - 1)  # the first was for waking


def cut_everywhere(
    model: Model, disk: Disk, folder: Path, prints: list[str], ks: range, mode: int
) -> None:
    """A power cut in the middle of each write: what is found is a step of the life, whole, and no
    earlier than the last that was acknowledged."""
    for k in ks:
        path = folder / "soul.db"
        acknowledged = acknowledged_until_cut(model, disk, path, k, mode)
        with Soul.open(path) as soul:
            assert soul.notice is None, f"cut {k}: {soul.notice}"
            soul.check()
            seen = fingerprint(soul)
        # A night has several commits; one that was cut goes on.
        found = prints.index(seen) if seen in prints or acknowledged != NIGHT else NIGHT
        assert found - acknowledged in (0, 1), f"cut {k}: {acknowledged} steps, {found} found"
        live(model, path, lambda parrot: None, found)
        with Soul.open(path) as soul:
            assert fingerprint(soul) == prints[-1], f"cut {k}: the rest of the life differs"
        shutil.rmtree(folder)


def cut_migration(model: Model, disk: Disk, folder: Path) -> int:
    """A power cut at each write of the way from schema 1: afterwards the soul is whole and new, and
    the state is what it was. Returns the number of writes."""
    path = folder / "soul.db"
    live(model, path, lambda parrot: None)
    with Soul.open(path) as soul:
        lived = Companion(model, soul, ScriptClock()).state.to_bytes()
        turns = list(soul.turns())
    old = folder.with_name("old.db")
    age(path, old, turns)
    for mode in (CUT, LOSE):
        for k in range(1, 1_000):
            shutil.rmtree(folder)
            folder.mkdir()
            shutil.copyfile(old, path)

            def migrate(k: int = k, mode: int = mode) -> None:
                disk.fail(k, 0, mode)
                Soul.open(path).close()

            code = in_child(migrate)
            with Soul.open(path) as soul:
                assert soul.notice is None, f"migration cut at {k}: {soul.notice}"
                soul.check()
                assert list(soul.turns()) == turns, f"migration cut at {k}"
                assert Companion(model, soul, ScriptClock()).state.to_bytes() == lived
            if code == 0:
                break
            assert code == 137
    shutil.rmtree(folder)
    return k - 1


def age(path: Path, old: Path, turns: list[Turn]) -> None:
    """Write to `old` the soul at `path` as schema 1 had it: no memory, nothing packed."""
    database = sqlite3.connect(old)
    database.executescript(MIGRATIONS[0])
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    database.execute("PRAGMA user_version = 1")
    database.execute("ATTACH ? AS new", (str(path),))
    columns = [row[1] for row in database.execute("PRAGMA table_info(turn)")]
    names = ", ".join(columns)
    assert not any(turn.dream for turn in turns), "schema 1 knows no dreams"
    database.execute(f"INSERT INTO turn ({names}) SELECT {names} FROM new.turn")
    for table in ("name", "setting", "hormone", "feedback", "day", "snapshot"):
        database.execute(f"INSERT INTO main.{table} SELECT * FROM new.{table}")
    database.commit()
    database.close()


def refuse_everywhere(
    model: Model, disk: Disk, folder: Path, ks: range, code: int, mode: int
) -> tuple[int, int]:
    """A disk that says no at write k: the talk goes on, and what it kept is what was lived.

    Returns how many lives never woke (the error was clear) and how many had to hold turns back.
    """
    n_unborn = n_held = 0
    for k in ks:
        path = folder / "soul.db"

        def talk(path: Path = path, k: int = k) -> None:
            disk.fail(k, code, mode)
            parrot = wake(model, path, ScriptClock(tick_ms=2_000))
            held = 0
            for text in WORDS:
                assert list(parrot.hear(text)), "no reply"
                held += parrot.trouble is not None
            disk.heal()
            assert list(parrot.hear("Is the disk well again?"))
            assert parrot.trouble is None, f"write {k}: {parrot.trouble}"
            lived = parrot.state.to_bytes()
            parrot.close()
            with Soul.open(path) as soul:
                heard = [turn.heard.decode() for turn in soul.path_to(soul.tip)]
            assert heard[::-1] == [*WORDS, "Is the disk well again?"], f"write {k}: {heard}"
            again = wake(model, path, ScriptClock())
            assert again.state.to_bytes() == lived, f"write {k}: another state"
            again.close()
            os._exit(2 if held else 0)

        ended = in_child(talk)
        assert ended in (0, 1, 2), f"write {k}: ended with {ended}"
        n_unborn, n_held = n_unborn + (ended == 1), n_held + (ended == 2)
        shutil.rmtree(folder, ignore_errors=True)
    return n_unborn, n_held


def main(library: str, place: str, stride: str = "1") -> None:
    folder = Path(place) / "life"
    model = Model.open(tiny_model(Path(place)), threads=1)
    disk = Disk(library)
    prints, n = reference(model, disk, folder)
    assert n > 30 and len(set(prints)) == len(prints), (n, prints)
    some = range(1, n + 1, int(stride))
    cut_everywhere(model, disk, folder, prints, some, CUT)
    print(f"cut at each of {len(some)} of {n} writes")
    others = range(1 + int(stride) // 2, n + 1, int(stride))
    cut_everywhere(model, disk, folder, prints, others, LOSE)
    print(f"unsynced writes lost, torn and kept at random at each of {len(others)} writes")
    print(f"migration cut at each of {cut_migration(model, disk, folder)} writes")
    refusals = (
        ("EIO once", errno.EIO, ONCE),
        ("full", errno.ENOSPC, FROM_THEN_ON),
        ("read-only", errno.EROFS, FROM_THEN_ON),
    )
    for name, code, mode in refusals:
        unborn, held = refuse_everywhere(model, disk, folder, some, code, mode)
        print(f"{name}: {unborn} never woke, {held} held turns back")
        assert held, "no life met the refusal"


if __name__ == "__main__":
    main(*sys.argv[1:])
