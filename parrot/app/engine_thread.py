# SPDX-License-Identifier: Apache-2.0
"""Where the parrot thinks: one thread that owns the companion, so that no key waits for a byte.

A job is a function of the companion that yields pieces (of a reply, or one result). The loop
submits jobs and, every tick, asks `deliver` to hand it what came: pieces to `on_piece`, the end to
`on_end`, all on the loop's own thread. `StepEngine` is the same thing in virtual time.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from parrot.base.clock import Clock
from parrot.base.errors import Aborted, ParrotError
from parrot.engine.generate import Abort
from parrot.mind.companion import Companion

Work = Callable[[Companion, Abort], Iterator[object]]
Waker = Callable[[Abort], Companion]  # opens the model and wakes the parrot; may take seconds


def _ignore(_: object) -> None:
    """Nobody waits for this."""


@dataclass(frozen=True)
class Job:
    """What to do, and who hears of it. `on_end` gets the error that ended it, or None."""

    work: Work
    on_piece: Callable[[object], None] = _ignore
    on_end: Callable[[ParrotError | None], None] = _ignore


class Engine(Protocol):
    """Does jobs one after another, in the order they came."""

    @property
    def is_busy(self) -> bool: ...

    def submit(self, job: Job) -> None: ...

    def abort(self) -> None:
        """End the present job at its next piece, and drop those that wait."""

    def deliver(self) -> bool:
        """Call back for all that happened since; say whether anything did.

        Raises what no job expects, a bug or MemoryError: whoever runs the loop ends of it.
        """

    def close(self) -> None: ...


class EngineThread:
    """An Engine on a thread of its own. The companion lives and dies on that thread."""

    def __init__(self, wake: Waker, on_awake: Callable[[ParrotError | None], None]) -> None:
        self._wake = wake
        self._jobs: queue.SimpleQueue[tuple[Job, Abort] | None] = queue.SimpleQueue()
        self._news: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._aborts: deque[Abort] = deque()  # of jobs that have not ended, oldest first
        self._on_awake = on_awake
        self._waking = Abort()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def is_busy(self) -> bool:
        return bool(self._aborts)

    def submit(self, job: Job) -> None:
        abort = Abort()
        self._aborts.append(abort)
        self._jobs.put((job, abort))

    def abort(self) -> None:
        for abort in self._aborts:
            abort.set()

    def deliver(self) -> bool:
        has_news = False
        while not self._news.empty():
            self._news.get()()
            has_news = True
        return has_news

    def close(self) -> None:
        """End the present job, commit what waits and let go of the soul."""
        self._waking.set()
        self.abort()
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._live()
        except Exception as exc:
            fault = exc  # a bug, or no memory: the program ends of it, on the loop's thread

            def fail() -> None:
                raise fault

            self._news.put(fail)

    def _live(self) -> None:
        try:
            companion = self._wake(self._waking)
        except ParrotError as exc:
            error = exc  # `exc` is gone when the loop hears of it
            self._news.put(lambda: self._on_awake(error))
            self._refuse(error)
            return
        self._news.put(lambda: self._on_awake(None))
        try:
            while (item := self._jobs.get()) is not None:
                self._do(companion, *item)
        finally:
            companion.close()

    def _do(self, companion: Companion, job: Job, abort: Abort) -> None:
        error: ParrotError | None = None
        try:
            if not abort.is_set():
                for piece in job.work(companion, abort):
                    self._news.put(lambda piece=piece: job.on_piece(piece))  # type: ignore[misc]
        except Aborted:
            error = None  # the owner asked for it
        except ParrotError as exc:
            error = exc
        self._end(job, error)

    def _refuse(self, error: ParrotError) -> None:
        """Without a parrot, every job ends with the reason why there is none."""
        while (item := self._jobs.get()) is not None:
            self._end(item[0], error)

    def _end(self, job: Job, error: ParrotError | None) -> None:
        def end() -> None:
            self._aborts.popleft()
            job.on_end(error)

        self._news.put(end)


class StepEngine:
    """An Engine in the time of `clock`: one piece each `step_ms`, the same on every run."""

    def __init__(self, companion: Companion, clock: Clock, step_ms: int = 20) -> None:
        self._companion, self._clock, self._step_ms = companion, clock, step_ms
        self._jobs: deque[tuple[Job, Abort]] = deque()
        self._pieces: Iterator[object] | None = None
        self._due_ms = 0

    @property
    def is_busy(self) -> bool:
        return bool(self._jobs)

    def submit(self, job: Job) -> None:
        if not self._jobs:
            self._due_ms = self._clock.now_ms() + self._step_ms
        self._jobs.append((job, Abort()))

    def abort(self) -> None:
        for _, abort in self._jobs:
            abort.set()

    def deliver(self) -> bool:
        has_news = False
        while self._jobs and self._clock.now_ms() >= self._due_ms:
            self._step()
            self._due_ms += self._step_ms
            has_news = True
        return has_news

    def close(self) -> None:
        self.abort()
        while self._jobs:
            self._step()
        self._companion.close()

    def _step(self) -> None:
        job, abort = self._jobs[0]
        if self._pieces is None:
            self._pieces = iter(()) if abort.is_set() else job.work(self._companion, abort)
        error: ParrotError | None = None
        try:
            job.on_piece(next(self._pieces))
            return
        except (StopIteration, Aborted):
            error = None
        except ParrotError as exc:
            error = exc
        self._jobs.popleft()
        self._pieces = None
        job.on_end(error)
