# SPDX-License-Identifier: Apache-2.0
"""The engine's thread: pieces in order, errors as ends, abort within 100 ms."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from parrot.app.conversation import Conversation, Self
from parrot.app.engine_thread import EngineThread, Job
from parrot.app.run import Faults
from parrot.base.clock import SystemClock
from parrot.base.errors import ConfigError, FileError, ParrotError
from parrot.engine.generate import Abort
from parrot.engine.model import Model
from parrot.mind.companion import Companion, Manner
from parrot.mind.soul import Soul


def wake(abort: Abort) -> Companion:
    manner = Manner(seed=1, max_bytes=100_000)
    return Companion(Model.open(threads=1), Soul.in_memory(), SystemClock(), manner)


def deliver_until(engine: EngineThread, is_done: Callable[[], bool]) -> None:
    for _ in range(30_000):
        engine.deliver()
        if is_done():
            return
        time.sleep(0.001)
    raise AssertionError("nothing came within half a minute")


def test_pieces_come_in_order_and_errors_end_the_job() -> None:
    got: list[object] = []
    engine = EngineThread(wake, got.append)

    def work(companion: Companion, abort: Abort) -> Iterator[object]:
        yield 1
        yield 2
        raise ConfigError("x: 1, expected 2; choose 2.")

    try:
        engine.submit(Job(work, got.append, got.append))
        deliver_until(engine, lambda: len(got) == 4)
        assert got[:3] == [None, 1, 2]
        assert isinstance(got[3], ConfigError)
        assert not engine.is_busy
    finally:
        engine.close()


def test_abort_ends_a_reply_within_100_ms_of_processor_time() -> None:
    said: list[object] = []
    ends: list[ParrotError | None] = []
    engine = EngineThread(wake, lambda error: None)
    try:
        job = Job(lambda c, abort: c.hear("Tell me a story.", abort), said.append, ends.append)
        engine.submit(job)
        deliver_until(engine, lambda: bool(said))
        begun = time.process_time()
        engine.abort()
        deliver_until(engine, lambda: bool(ends))
        assert (time.process_time() - begun) < 0.1
        assert ends == [None]
    finally:
        engine.close()


def test_a_parrot_that_cannot_wake_says_why_to_every_job() -> None:
    ends: list[ParrotError | None] = []

    def fail(abort: Abort) -> Companion:
        raise ConfigError("model: none, expected one; bring one.")

    engine = EngineThread(fail, ends.append)
    try:
        engine.submit(Job(lambda c, abort: c.hear("x", abort), on_end=ends.append))
        deliver_until(engine, lambda: len(ends) == 2)
        assert all("bring one" in str(end) for end in ends)
    finally:
        engine.close()


def test_what_nobody_expects_ends_the_program_on_the_loops_thread() -> None:
    def no_memory(abort: Abort) -> Companion:
        raise MemoryError("a state of 1 GiB")

    def bug(companion: Companion, abort: Abort) -> Iterator[object]:
        yield 1 // 0

    asleep = EngineThread(no_memory, lambda error: None)
    awake = EngineThread(wake, lambda error: None)
    awake.submit(Job(bug))
    for engine, expected in ((asleep, MemoryError), (awake, ZeroDivisionError)):
        with pytest.raises(expected):
            deliver_until(engine, lambda: False)
        engine.close()


def test_what_keeps_the_parrot_from_its_soul_is_told_to_who_sees_no_glass(
    capsys: pytest.CaptureFixture[str],
) -> None:
    talk, faults = Conversation(), Faults()
    faults.tell("soul", talk.trouble)
    talk.awake(FileError("soul.db: cannot be opened: the disk is full; free some space."))
    for _ in range(2):
        faults.tell("soul", talk.trouble)
    assert capsys.readouterr().err == (
        "parrot: soul.db: cannot be opened: the disk is full; free some space.\n"
    )


def test_soul_that_is_kept_again_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    talk, faults = Conversation(), Faults()
    for trouble in ("soul.db: cannot be written: the disk is full; free some space.", None, None):
        talk.me = Self(trouble=trouble)
        faults.tell("soul", talk.trouble)
    assert capsys.readouterr().err.splitlines() == [
        "parrot: soul.db: cannot be written: the disk is full; free some space.",
        "parrot: soul: well again.",
    ]
