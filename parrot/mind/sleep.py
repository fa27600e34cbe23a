# SPDX-License-Identifier: Apache-2.0
"""Sleep: what the day leaves behind is put in order while nobody talks.

A night has four parts, each made of small steps that are committed whole or not at all, so it may
be cut anywhere and the next night goes on:

1. *Replay* (asked for; docs/mind.md says why it is not the default): the day's turns are lived
   again, the most surprising first, a few kilobytes a cycle. A cycle that does not raise the
   measured recall of the day is forgotten, and the replay ends. A kept one is a turn in the
   journal, so the state stays what the journal says.
2. *Words*: old turns are packed.
3. *State*: a snapshot, so that the morning starts at once.
4. *Crystals*: the day's most surprising statements are kept, twins become one; with that the night
   is over, and its diary is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice

from parrot.base.clock import Clock
from parrot.engine.generate import Abort
from parrot.engine.model import Model
from parrot.engine.state import State
from parrot.mind.entry import Entry
from parrot.mind.life import Life
from parrot.mind.memory import is_statement
from parrot.mind.soul import Soul
from parrot.mind.turn import Turn, dream_of, opening, tokens_of

_DAY_TURNS_MAX = 2_000
_PROBES = 16  # statements that recall of the day is measured by
_CYCLE_BYTES = 2_000
_MORNING_BYTES = 2_000  # of older talk between a replay and the question whether it helped
_MORNING = "Good morning! 早上好！".encode()
_NEW_CRYSTALS = 3  # a night


@dataclass
class Night:
    """What a sleep did. Units: recall in nats a byte of the day's statements, less is better; None
    when nothing was replayed."""

    day_turns: int = 0
    dreamt_turns: int = 0
    recall_before: float | None = None
    recall_after: float | None = None
    crystals_new: int = 0
    crystals_merged: int = 0
    packed_turns: int = 0
    packed_from: int = 0
    packed_to: int = 0
    seconds: float = 0.0

    def sentence(self) -> str:
        """Say what was kept, for the diary."""
        parts = [f"{self.day_turns} turn{'s' * (self.day_turns != 1)} today"]
        if self.recall_before is not None:
            to = "" if self.recall_after is None else f" to {self.recall_after:.3f}"
            kept = f"{self.dreamt_turns} lived again" if self.dreamt_turns else "no replay kept"
            parts.append(f"{kept}, recall {self.recall_before:.3f}{to} nats a byte")
        if self.crystals_new or self.crystals_merged:
            kept = f"{self.crystals_new} crystal{'s' * (self.crystals_new != 1)} kept"
            parts.append(f"{kept}, {self.crystals_merged} merged")
        if self.packed_turns:
            kb = f"{self.packed_from / 1e3:.1f} kB to {self.packed_to / 1e3:.1f}"
            parts.append(f"{self.packed_turns} old turns packed from {kb}")
        return "; ".join(parts) + "."


class Sleeper:
    """One night of one parrot. Iterate `run` for (done, total) steps; `night` and `state` grow."""

    def __init__(self, model: Model, soul: Soul, clock: Clock, life: Life, state: State) -> None:
        self._model, self._soul, self._clock, self._life = model, soul, clock, life
        self.state, self.night = state, Night()
        self._begun_ms = clock.now_ms()

    def run(
        self, is_dry: bool, with_replay: bool, ms_max: int | None, abort: Abort | None = None
    ) -> Iterator[tuple[int, int]]:
        """Sleep. Yields after every step. Dry: nothing is committed, and no words are packed.

        Raises: Aborted, FileError; what was done until then stays.
        """
        day, dreamt = self._day()
        self.night.day_turns = len(day)
        total = (len(day) - len(dreamt) if with_replay else 0) + self._soul.n_unpacked() + 1
        done = 0
        if with_replay:
            for n_lived in self._replay(day, dreamt, is_dry, ms_max, abort):
                done += n_lived
                yield done, total
        while not is_dry and not (abort and abort.is_set()) and (sizes := self._soul.pack_some()):
            self.night.packed_turns += sizes[0]
            self.night.packed_from += sizes[1]
            self.night.packed_to += sizes[2]
            yield min(done + self.night.packed_turns, total - 1), total
        if not (abort and abort.is_set()):
            self._wake(self._statements(day), is_dry)
        yield total, total

    # ---- inside

    def _day(self) -> tuple[list[Turn], set[int]]:
        """Return the turns since the last whole night, newest first, and those dreamt since."""
        slept = int(str(self._soul.setting("slept", 0)))
        turns: list[Turn] = []
        dreamt: set[int] = set()
        for turn in self._soul.path_to(self._soul.tip):
            if turn.id <= slept or turn.origin or len(turns) == _DAY_TURNS_MAX:
                break
            dreamt |= set(dream_of(turn))
            if turn.has_words:
                turns.append(turn)
        return turns, dreamt

    def _replay(
        self,
        day: list[Turn],
        dreamt: set[int],
        is_dry: bool,
        ms_max: int | None,
        abort: Abort | None,
    ) -> Iterator[int]:
        """Live the day again by surprise while recall of it rises; yield turns lived a cycle.

        Probes and morning are those of the whole day, so a night that was cut goes on as it would
        have.
        """
        probes = [turn for turn in by_surprise(day) if is_statement(_told(turn))]
        probes = probes[:_PROBES]
        if not probes:
            return
        morning = self._morning(day[-1])
        self.night.recall_before = recall = self._recall(self.state, probes, morning, abort)
        for cycle in _cycles([turn for turn in by_surprise(day) if turn.id not in dreamt]):
            if ms_max is not None and self._clock.now_ms() - self._begun_ms > ms_max:
                return
            trial = self.state.copy()
            for turn in cycle:
                tokens = tokens_of(self._model, trial.position, turn)
                self._model.forward(tokens, trial, abort=abort)
            found = self._recall(trial, probes, morning, abort)
            if found >= recall:
                yield len(cycle)
                return
            self.night.recall_after = recall = found
            self._keep(trial, cycle, is_dry)
            yield len(cycle)

    def _keep(self, trial: State, cycle: list[Turn], is_dry: bool) -> None:
        self.state.assign(trial)
        self.night.dreamt_turns += len(cycle)
        if not is_dry:
            dream = Turn(
                id=self._soul.next_id,
                parent=self._soul.tip,
                wall_s=self._clock.wall_s(),
                model=bytes.fromhex(self._model.id),
                position=trial.position,
                dream=json.dumps([turn.id for turn in cycle]),
            )
            self._soul.add(Entry(dream))

    def _recall(
        self, state: State, probes: list[Turn], morning: list[int], abort: Abort | None
    ) -> float:
        """Return nats a byte of the second halves of what was heard, told the first halves."""
        twin = state.copy()
        self._model.forward(morning, twin, abort=abort)
        framed = [
            self._model.tokenizer.decode(opening(self._model, 1, turn.heard, b""))
            for turn in probes
        ]
        cues = [words[: len(words) // 2] for words in framed]
        ln_p = self._model.score(framed + cues, twin)
        n_bytes = sum(map(len, framed)) - sum(map(len, cues))
        return -(sum(ln_p[: len(framed)]) - sum(ln_p[len(framed) :])) / n_bytes

    def _morning(self, first: Turn) -> list[int]:
        """Return tokens of other talk: what was said before this day, or a greeting."""
        tokens = opening(self._model, 1, _MORNING, b"")
        for turn in self._soul.path_to(first.parent):
            if not turn.has_words or len(tokens) > _MORNING_BYTES:
                break
            tokens += tokens_of(self._model, 1, turn)
        return tokens

    def _statements(self, day: list[Turn]) -> list[Turn]:
        """Return what was told today that deserves a crystal and has none."""
        known = self._soul.turns_kept(min((turn.id for turn in day), default=0))
        told = (turn for turn in by_surprise(day) if is_statement(_told(turn)))
        return list(islice((turn for turn in told if turn.id not in known), _NEW_CRYSTALS))

    def _wake(self, statements: list[Turn], is_dry: bool) -> None:
        """Leave the night behind: a snapshot, then crystals, diary and the mark, all at once."""
        self.night.crystals_new = len(statements)
        self.night.seconds = round((self._clock.now_ms() - self._begun_ms) / 1e3, 1)
        if is_dry:
            return
        if turn := self._soul.turn(self._soul.tip):
            self._life.keep(self.state, turn)
        kept = [(turn.id, turn.wall_s, _told(turn)) for turn in statements]
        self.night.crystals_merged = self._soul.end_night(
            self._clock.wall_s(), asdict(self.night), kept
        )


def sentence_of(figures: Mapping[str, object]) -> str:
    """Return the diary's sentence for the figures that a soul kept of a night."""
    known = {name: figures[name] for name in Night.__dataclass_fields__ if name in figures}
    return Night(**known).sentence()  # type: ignore[arg-type]


def _told(turn: Turn) -> str:
    return turn.heard.decode(errors="replace")


def by_surprise(day: list[Turn]) -> list[Turn]:
    """Return turns by what they told that was not foreseen, in nats, most first."""

    def weight(turn: Turn) -> float:
        return ((turn.heard_surprise or 0.0) - (turn.heard_expected or 0.0)) * len(turn.heard)

    return sorted(day, key=lambda turn: (-weight(turn), turn.id))


def _cycles(turns: list[Turn]) -> Iterator[list[Turn]]:
    """Yield `turns` in runs of about _CYCLE_BYTES."""
    cycle: list[Turn] = []
    for turn in turns:
        cycle.append(turn)
        if sum(len(each.heard) + len(each.said) for each in cycle) >= _CYCLE_BYTES:
            yield cycle
            cycle = []
    if cycle:
        yield cycle
