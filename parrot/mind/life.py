# SPDX-License-Identifier: Apache-2.0
"""From the journal to the state: the nearest snapshot, and the turns since lived again.

Living is deterministic (INV-8) and the engine's prefill gives the bits of its single steps, so a
state found this way is the state that was. A model that has no snapshot yet, because it is new,
lives the whole journal: the parrot outlives its model. That may take long, so it reports progress
and leaves snapshots behind; an interrupted replay goes on from the last one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from parrot.base.clock import Clock
from parrot.base.errors import CorruptError, FileError, FormatError, MismatchError
from parrot.base.text import END_OF_DOCUMENT
from parrot.engine.generate import Abort
from parrot.engine.model import Model
from parrot.engine.state import State
from parrot.mind.soul import Soul
from parrot.mind.turn import Turn, dream_of, tokens_of

Progress = Callable[[int, int], None]  # bytes lived again, of how many

REPLAY_MS_MAX = 400  # a start that replays longer than this is felt
DAY_BYTES = 50_000_000  # of snapshots; the disk sees 1.5 times that, in the WAL and in the file
_RATE_TOKENS_MIN = 32  # fewer tokens than this time too coarsely to learn a speed from
_REPLAY_TOKENS = 2_048  # in one call of the engine
_LEAVE_MS = 10_000  # between two snapshots that a long replay leaves behind
_KEEP_NEWEST = 4


class Life:
    """Finds and keeps states: the cache of the journal for one model."""

    def __init__(self, model: Model, soul: Soul, clock: Clock) -> None:
        self._model, self._soul, self._clock = model, soul, clock
        self._id = bytes.fromhex(model.id)
        self._ms_per_token = 0.0
        self._kept_at = 0  # position of the snapshot that a start would begin from

    def state_at(
        self,
        turn_id: int,
        progress: Progress | None = None,
        abort: Abort | None = None,
        last_bytes: int | None = None,
    ) -> State:
        """Return the state after turn `turn_id`.

        With `last_bytes`, no snapshot is used and at most so many bytes of talk are lived again.
        Raises: Aborted; the next call goes on from the last snapshot that this one left.
        """
        state, turns = self._nearest(turn_id, last_bytes)
        total = sum(len(turn.heard) + len(turn.said) for turn in turns)
        self._kept_at = state.position
        is_long = self._replay(state, turns, total, progress, abort)
        if turns and (is_long or last_bytes is not None):
            self._leave(state, turns[-1])
        return state

    def learn_speed(self, n_tokens: int, ms: int) -> None:
        """Note how fast the engine lives tokens that are given; a replay will be as fast."""
        if n_tokens >= _RATE_TOKENS_MIN and ms > 0:
            rate = ms / n_tokens
            self._ms_per_token = (
                rate if not self._ms_per_token else 0.7 * self._ms_per_token + 0.3 * rate
            )

    def is_due(self, state: State, wall_s: float) -> bool:
        """Say whether a start would replay too long.

        From three quarters of the day's budget of snapshot bytes on, what is too long doubles with
        every thirty-second of the budget, so a talkative day on a slow board does not wear the
        flash out.
        """
        used = self._soul.snapshot_bytes_on(wall_s) / DAY_BYTES
        limit_ms = REPLAY_MS_MAX * 2 ** max(0.0, 32 * (used - 0.75))
        return (state.position - self._kept_at) * self._ms_per_token > limit_ms

    def keep(self, state: State, turn: Turn) -> None:
        """Take a snapshot and thin the older ones. Raises: FileError when the disk refuses."""
        drop = self._superfluous(turn.id)
        self._soul.put_snapshot(turn, self._id, state.to_bytes(), drop)
        self._kept_at = state.position

    # ---- inside

    def _nearest(self, turn_id: int, last_bytes: int | None) -> tuple[State, list[Turn]]:
        """Return a state to begin from, and the turns from there to `turn_id`, oldest first."""
        kept = self._soul.snapshots(self._id) if last_bytes is None else set()
        turns: list[Turn] = []
        n_bytes = 0
        for turn in self._soul.path_to(turn_id):
            if turn.id in kept and (state := self._read(turn.id)) is not None:
                return state, turns[::-1]
            if turn.origin is not None:  # another model's state, without the words that led to it
                return self._newborn(turn.position), turns[::-1]
            n_bytes += len(turn.heard) + len(turn.said)
            if last_bytes is not None and n_bytes > last_bytes:
                return self._newborn(turn.position), turns[::-1]
            turns.append(turn)
        if turns and turns[-1].parent != 0:  # damage took what was before
            return self._newborn(turns[-1].position), turns[::-1]
        return self._model.new_state(), turns[::-1]

    def _read(self, turn_id: int) -> State | None:
        try:
            blob = self._soul.snapshot(turn_id, self._id)
            return self._model.state_from_bytes(blob, f"{self._soul.path}, turn {turn_id}")
        except (CorruptError, FormatError, MismatchError):
            # A cache entry with a broken checksum; the journal has the same state further back.
            self._soul.drop_snapshots(self._id, {turn_id})
            return None

    def _newborn(self, position: int) -> State:
        """Return the state of a parrot that lived `position` bytes and remembers none of them."""
        state = self._model.new_state()
        self._model.forward(self._model.tokenizer.encode(END_OF_DOCUMENT), state)
        state.position = position
        return state

    def _replay(
        self,
        state: State,
        turns: list[Turn],
        total: int,
        progress: Progress | None,
        abort: Abort | None,
    ) -> bool:
        """Live `turns` again; return whether that took too long to do at every start."""
        done, run, first_ms = 0, list[int](), self._clock.now_ms()
        left_ms = first_ms
        for i, turn in enumerate(turns):
            run += self._tokens(state.position + len(run), turn)
            done += len(turn.heard) + len(turn.said)
            if run and (len(run) >= _REPLAY_TOKENS or i == len(turns) - 1):
                before_ms = self._clock.now_ms()
                self._model.forward(run, state, abort=abort)
                self.learn_speed(len(run), self._clock.now_ms() - before_ms)
                run.clear()
                if progress is not None:
                    progress(done, total)
                if self._clock.now_ms() - left_ms > _LEAVE_MS:
                    self._leave(state, turn)
                    left_ms = self._clock.now_ms()
        return self._clock.now_ms() - first_ms > REPLAY_MS_MAX

    def _tokens(self, position: int, turn: Turn) -> list[int]:
        """Return the tokens of a turn; those of a dream are the turns it lived again."""
        tokens = tokens_of(self._model, position, turn)
        for id in dream_of(turn):
            if again := self._soul.turn(id):
                tokens += tokens_of(self._model, position + len(tokens), again)
        return tokens

    def _leave(self, state: State, turn: Turn) -> None:
        """Keep a state that can be found again: a disk that refuses costs time, not bytes."""
        with suppress(FileError):
            self.keep(state, turn)

    def _superfluous(self, newest: int) -> set[int]:
        """Return snapshots to drop so that the kept ones lie ever further apart with age.

        Never a named or an imported one, never the newest few. Of three neighbours the middle one
        goes while the oldest is no more than four times as far back as the newest of them.
        """
        named = {name.turn for name in self._soul.names()} | self._soul.origins()
        ids = sorted((self._soul.snapshots(self._id) | {newest}), reverse=True)
        loose = [id for id in ids if id not in named][_KEEP_NEWEST - 1 :]
        drop: set[int] = set()
        i = 1
        while i < len(loose) - 1:
            younger, older = newest - loose[i - 1], newest - loose[i + 1]
            if older <= 4 * younger:
                drop.add(loose.pop(i))
            else:
                i += 1
        return drop
