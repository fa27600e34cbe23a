# SPDX-License-Identifier: Apache-2.0
"""The talk as the screens see it: what was said, what is being said, how the parrot feels.

Everything here runs on the loop's thread and returns at once; the companion itself is reached only
through jobs. What fails leaves its sentence in `notice`, which the app shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from parrot.app.engine_thread import Engine, Job
from parrot.app.persona import become
from parrot.base.errors import ParrotError
from parrot.base.text import clean_text
from parrot.engine.generate import Abort, Sampling
from parrot.engine.model import Model
from parrot.engine.state import State
from parrot.mind.companion import Companion, Manner
from parrot.mind.confidence import RECENT_TURNS, sureness
from parrot.mind.entry import Name
from parrot.mind.memory import Crystal
from parrot.mind.turn import Turn, begun

if TYPE_CHECKING:
    from parrot.app.mouth import Mouth

N_RECENT = 200  # turns a screen can scroll back through
N_NIGHTS = 30  # that the diary shows
N_MEMORIES = 200
TIRED = 0.5  # tiredness from which an idle parrot falls asleep


@dataclass(frozen=True)
class Self:
    """A picture of the companion at the end of a job."""

    turns: tuple[Turn, ...] = ()
    names: tuple[Name, ...] = ()
    nights: tuple[tuple[float, dict[str, object]], ...] = ()  # (wall_s, figures), oldest first
    mood: dict[str, float] = field(default_factory=dict)
    sureness: float | None = None  # of the newest reply, 0 … 1
    model: str = ""
    position: int = 0
    line: str = ""
    is_kept: bool = False
    sampling: Sampling = field(default_factory=Sampling)
    settings: dict[str, object] = field(default_factory=dict)
    trouble: str | None = None


SETTINGS = ("hand.language", "hand.contrast", "hand.sampling", "hand.words", "hand.voice")


def picture_of(companion: Companion) -> Self:
    soul = companion.soul
    return Self(
        turns=tuple(companion.recent(N_RECENT)),
        names=tuple(companion.names()),
        nights=tuple(soul.diary()[-N_NIGHTS:]),
        mood=companion.mood(),
        sureness=sureness(companion.recent(RECENT_TURNS)[::-1]),
        model=f"{companion.model.path.name} {companion.model.id}",
        position=companion.position,
        line=soul.line,
        is_kept=soul.is_kept,
        sampling=companion.manner.sampling,
        settings={name: value for name in SETTINGS if (value := soul.setting(name)) is not None},
        trouble=companion.trouble or companion.take_notice(),
    )


class Conversation:
    """Asks the engine and remembers its answers. Set `engine` before the first call."""

    engine: Engine
    mouth: Mouth | None = None  # what says the replies aloud

    def __init__(self) -> None:
        self.me = Self()
        self.heard = self.said = ""
        self.is_awake = self.is_answering = self.is_asleep = False
        self.slept_share = 0.0  # of the night under way
        self.memories: tuple[Crystal, ...] = ()  # as `look_back` found them, oldest first
        self._slept_on: int | None = None  # the turn after which it slept
        self.notice: str | None = None
        self._unborn: str | None = None  # why it cannot wake
        self.n_pieces = 0  # of text since the start: what views compare to know of news

    @property
    def is_tired(self) -> bool:
        return self.me.mood.get("tiredness", 0.0) >= TIRED

    @property
    def trouble(self) -> str | None:
        """What is wrong with model or soul now, for those who see no glass."""
        return self._unborn or self.me.trouble or None

    @property
    def is_thinking(self) -> bool:
        return self.is_answering and not self.said

    def awake(self, error: ParrotError | None) -> None:
        """The engine says that the parrot woke, or why it cannot."""
        if error:
            self.notice = self._unborn = str(error)
            return
        self.is_awake = True
        self._do(lambda companion: None)

    # ---- talk

    def say(self, text: str) -> None:
        self._answer(text, lambda companion, abort: companion.hear(text, abort))

    def again(self) -> None:
        if self.me.turns:
            heard = self.me.turns[-1].heard.decode(errors="replace")
            self._answer(heard, lambda companion, abort: companion.again(abort))

    def stop(self) -> None:
        """Fall silent now; the reply ends at its next character."""
        if self.mouth is not None:
            self.mouth.hush()
        if self.is_answering:
            self.engine.abort()

    def undo(self) -> None:
        self._leave()
        self._do(lambda companion: companion.undo(1))

    def feel(self, signal: str) -> None:
        self._do(lambda companion: companion.feel(signal))

    def score(self, line: str, texts: list[str], then: Callable[[list[float]], None]) -> None:
        """Ask how likely the companion is to go on from `line` with each text, in nats."""

        def work(companion: Companion, abort: Abort) -> Iterator[object]:
            yield likelihoods(companion.model, companion.state, line, texts)

        def take(result: object) -> None:
            if isinstance(result, list):
                then(result)

        if self.is_awake and not self.engine.is_busy:
            self.engine.submit(Job(work, take))

    def rest(self) -> None:
        """Sleep, if tired and not done so since the last turn; what comes next wakes it."""
        turns = self.me.turns
        if not turns or turns[-1].id == self._slept_on or not self.is_awake:
            return
        if self.is_tired and not self.engine.is_busy:
            self.sleep()

    def sleep(self) -> None:
        """Sleep until the night is over, or until `wake`; the next night goes on from there."""
        self.stop()
        self.is_asleep, self.slept_share = True, 0.0
        self._slept_on = self.me.turns[-1].id if self.me.turns else None

        def work(companion: Companion, abort: Abort) -> Iterator[object]:
            for done, total in companion.sleeper().run(False, False, None, abort):
                yield done / total
            yield picture_of(companion)

        def ended(error: ParrotError | None) -> None:
            self.is_asleep = False
            self._ended(error)

        self.engine.submit(Job(work, self._take, ended))

    def wake(self) -> None:
        if self.is_asleep:
            self.engine.abort()

    # ---- memory

    def look_back(self) -> None:
        """Ask for the memories."""
        self._remember(lambda companion: None)

    def pin(self, crystal: int, is_pinned: bool) -> None:
        self._remember(lambda companion: companion.soul.pin(crystal, is_pinned))

    def forget(self, crystal: int) -> None:
        self._remember(lambda companion: companion.soul.forget(crystal))

    def _remember(self, change: Callable[[Companion], None]) -> None:
        def work(companion: Companion, abort: Abort) -> Iterator[object]:
            change(companion)
            yield tuple(companion.soul.crystals()[-N_MEMORIES:])

        def take(found: object) -> None:
            if isinstance(found, tuple):
                self.memories = found

        self.engine.submit(Job(work, take, self._ended))

    # ---- states and settings

    def save(self, name: str) -> None:
        self._do(lambda companion: companion.save(name))

    def branch(self, name: str) -> None:
        self._do(lambda companion: companion.branch(name))

    def load(self, name: str) -> None:
        self._leave()
        self._do(lambda companion: companion.load(name))

    def become(self, persona: str) -> None:
        """Go on as a persona, "" as the parrot it was born; each has a line of its own."""
        self._leave()
        self._do(lambda companion: become(companion, persona))

    def set_sampling(self, sampling: Sampling) -> None:
        def change(companion: Companion) -> None:
            companion.manner = replace(companion.manner, sampling=sampling)
            kept = {name: getattr(sampling, name) for name in ("temperature", "top_p")}
            companion.soul.set_setting("hand.sampling", kept)

        self.me = replace(self.me, sampling=sampling)
        self._do(change)

    def set_setting(self, name: str, value: object) -> None:
        self.me = replace(self.me, settings={**self.me.settings, name: value})
        self._do(lambda companion: companion.soul.set_setting(name, value))

    # ---- inside

    def _leave(self) -> None:
        """What is said now belongs to the place that is being left."""
        self.stop()
        self.heard = self.said = ""

    def _answer(self, heard: str, reply: Callable[[Companion, Abort], Iterator[str]]) -> None:
        self.wake()
        self.heard, self.said = heard, ""
        self.is_answering = True
        self.n_pieces += 1
        before, mouth = self.me.turns, self.mouth
        number = mouth.begin() if mouth else 0

        def work(companion: Companion, abort: Abort) -> Iterator[object]:
            for piece in reply(companion, abort):
                yield piece
                if mouth:
                    mouth.feed(piece, number)  # waits while too much is yet to be said
            if mouth:
                mouth.finish(number)
            yield picture_of(companion)

        def ended(error: ParrotError | None) -> None:
            self.is_answering = False
            self.n_pieces += 1
            self._ended(error)
            if self.me.turns != before:
                self.heard = self.said = ""  # they are the last turn now

        self.engine.submit(Job(work, self._take, ended))

    def _take(self, piece: object) -> None:
        if isinstance(piece, str):
            self.said += piece
            self.n_pieces += 1
        elif isinstance(piece, float):
            self.slept_share = piece
        elif isinstance(piece, Self):
            self.me = piece
            if piece.trouble:
                self.notice = piece.trouble

    def _do(self, change: Callable[[Companion], None]) -> None:
        self.wake()

        def work(companion: Companion, abort: Abort) -> Iterator[object]:
            change(companion)
            yield picture_of(companion)

        self.engine.submit(Job(work, self._take, self._ended))

    def _ended(self, error: ParrotError | None) -> None:
        self.n_pieces += 1
        if error:
            self.notice = str(error)


def likelihoods(model: Model, state: State, line: str, texts: list[str]) -> list[float]:
    """Return ln p of each text after `line`, the turn that is written after `state`, at a border.

    `state` does not move."""
    twin = state.copy()
    model.forward(begun(model, state.position, clean_text(line)), twin)
    return model.score([clean_text(text).encode() for text in texts], twin)


def manner_from(settings: dict[str, object], manner: Manner) -> Manner:
    """Return `manner` with the sampling the owner chose in the hand."""
    kept = settings.get("hand.sampling")
    if not isinstance(kept, dict):
        return manner
    changes = {n: float(kept[n]) for n in ("temperature", "top_p") if n in kept}
    return replace(manner, sampling=manner.sampling.with_(**changes))
