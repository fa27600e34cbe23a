# SPDX-License-Identifier: Apache-2.0
"""The companion: a model, a soul and moods, behind the calls that every way of talking uses.

Chat, the handheld, the simulator and the server hold one of these each. It prints nothing, owns no
clock, and survives a disk that refuses: `trouble` then holds the sentence for the owner, and the
turns that could not be committed are committed with the next one that can.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from parrot.base.clock import Clock
from parrot.base.errors import Aborted, ConfigError, EngineError, FileError
from parrot.base.text import COMPANION, clean_text, text_from_bytes
from parrot.engine.generate import Abort, Sampling, new_sampler
from parrot.engine.model import Model
from parrot.engine.state import State
from parrot.mind.entry import Entry, Name
from parrot.mind.feedback import recognise
from parrot.mind.hormones import HORMONES, after, bend, level_at
from parrot.mind.life import Life, Progress
from parrot.mind.memory import RECALL_BYTES, Crystal, crystal_of
from parrot.mind.moods import Voice, moods_of
from parrot.mind.sleep import Sleeper
from parrot.mind.soul import Soul
from parrot.mind.speech import Measure, Speech, Utterance, speak, utter
from parrot.mind.thinking import Draft, Thinker
from parrot.mind.turn import Turn, opening, packed_tokens, stop_of

_RECALL_N = 3
_USUAL_TURNS = 50  # whose surprise is what this companion usually causes
_DRAFT_SEED = 0x9E3779B97F4A7C15  # apart as far as seeds can be; draft 0 has the turn's own
_HEAR_TOKENS = 1_024  # with logits of each in one call: 1 MB for bytes


@dataclass(frozen=True)
class Manner:
    """How it speaks. `seed` None goes on from the soul's own chance; given, it makes the talk
    repeatable: moods are felt then, but bend nothing. `recall_bytes` is what memory may weave in
    before a turn; 0 is for models that were not trained on recalled text (docs/training.md).
    `n_drafts` more than 1 thinks before it speaks (parrot.mind.thinking)."""

    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.7))
    max_bytes: int = 400
    seed: int | None = None
    recall_bytes: int = RECALL_BYTES
    n_drafts: int = 1


class Companion:
    """One parrot, awake. Threads: belongs to one at a time, but for the `Abort` it is given."""

    def __init__(
        self,
        model: Model,
        soul: Soul,
        clock: Clock,
        manner: Manner | None = None,
        progress: Progress | None = None,
        abort: Abort | None = None,
    ) -> None:
        self.model, self.soul, self._clock = model, soul, clock
        self.manner = manner or Manner()
        self.trouble: str | None = None
        self._first_id = soul.next_id
        self._levels = soul.levels()
        self._life = Life(model, soul, clock)
        self._moods, why = moods_of(model)
        self._notice = " ".join(filter(None, (soul.notice, why)))
        self.state: State = self._life.state_at(soul.tip, progress, abort)

    @property
    def position(self) -> int:
        """Bytes (tokens) lived."""
        return self.state.position

    def take_notice(self) -> str:
        """Return what the owner must be told about this start, once; mostly nothing."""
        notice, self._notice = self._notice, ""
        return notice

    def close(self) -> None:
        """Commit what still waits, and let go of the soul."""
        try:
            self._keep_turns()
        finally:
            self.soul.close()

    # ---- the talk

    def hear(self, text: str, abort: Abort | None = None) -> Iterator[str]:
        """Live what the companion said and yield the reply; the turn is committed at its end.

        `abort` ends the reply at the next whole character. Set before the first one was chosen, it
        takes the whole turn back: nothing was heard. So does an error of the engine. A caller that
        leaves early ends the turn as `abort` would.
        """
        heard = clean_text(text).strip().encode()
        before = self.state.copy()
        measure, is_over = Measure(), False
        recalled = self._recall(heard.decode())
        try:
            voice = self._listen(heard, _woven(recalled), measure, abort)
            is_over = True
        except Aborted:
            return
        finally:
            if not is_over:
                self.state.assign(before)
        yield from self._answer(voice, heard, recalled, measure, abort, before)

    def again(self, abort: Abort | None = None) -> Iterator[str]:
        """Take the last turn back and answer it anew, with other chances.

        Raises: ConfigError when there is none.
        """
        last = self.soul.turn(self.soul.tip)
        if last is None or not last.has_words:
            raise ConfigError("again: no reply yet; say something first.")
        self.undo(1)
        return self.hear(last.heard.decode(), abort)

    def undo(self, n_turns: int = 1) -> None:
        """Go back `n_turns` turns. Raises: ConfigError when there are fewer; FileError."""
        self.soul.move(self.soul.ancestor(self.soul.tip, n_turns), self._clock.wall_s())
        self.state = self._life.state_at(self.soul.tip)

    def recent(self, n_turns: int) -> list[Turn]:
        """Return the last turns, oldest first: what a screen shows after a start."""
        turns: list[Turn] = []
        for turn in self.soul.path_to(self.soul.tip):
            if len(turns) == n_turns or turn.origin is not None:
                break
            if turn.has_words:
                turns.append(turn)
        return turns[::-1]

    # ---- moods

    def mood(self) -> dict[str, float]:
        """Return each hormone's level now, 0 … 1."""
        now_s = self._clock.wall_s()
        return {name: level_at(name, self._levels, now_s) for name in HORMONES}

    def feel(self, signal: str) -> None:
        """Take feedback from a key: a name in parrot.mind.feedback.VALUES."""
        self._levels = after(self._levels, (signal,), 0, self._clock.wall_s())
        try:
            self.soul.note((signal,), self._levels)
        except FileError as exc:
            self.trouble = str(exc)

    def sleeper(self) -> Sleeper:
        """Return a night to be slept; the parrot is what its `state` is when it ends."""
        return Sleeper(self.model, self.soul, self._clock, self._life, self.state)

    # ---- named states

    def names(self) -> list[Name]:
        return self.soul.names()

    def save(self, name: str) -> None:
        """Give the present a name that stays."""
        self.soul.save(name, self._clock.wall_s())
        if turn := self.soul.turn(self.soul.tip):
            self._life.keep(self.state, turn)  # so that going there costs no replay

    def branch(self, name: str) -> None:
        """Go on from here along a new line."""
        self.soul.branch(name, self._clock.wall_s())

    def load(self, name: str) -> None:
        """Go to a name. The name `before` leads back."""
        self.soul.load(name, self._clock.wall_s())
        self.state = self._life.state_at(self.soul.tip)

    def import_state(self, state: State, origin: str) -> None:
        """Become `state`, grown elsewhere by this model, without the words that led to it."""
        turn = Turn(
            id=self.soul.next_id,
            parent=0,
            wall_s=self._clock.wall_s(),
            model=bytes.fromhex(self.model.id),
            position=state.position,
            origin=origin,
        )
        self.soul.add_origin(turn, state.to_bytes())
        self.state = self._life.state_at(self.soul.tip)

    def relive(
        self, last_bytes: int | None, progress: Progress | None = None, abort: Abort | None = None
    ) -> None:
        """Live the journal, or its last bytes, again and go on from the state that comes of it."""
        self.state = self._life.state_at(self.soul.tip, progress, abort, last_bytes)

    def state_of(self, name: str) -> State:
        """Return the state that `name` stands for; the parrot stays where it is."""
        return Life(self.model, self.soul, self._clock).state_at(self.soul.named(name).turn)

    # ---- inside

    def _listen(
        self, heard: bytes, recalled: bytes, measure: Measure, abort: Abort | None
    ) -> Voice:
        """Live the opening of the turn, measuring how far what was said was foreseen.

        Return what is to speak. Moods push it before the last token, the mark of its turn, so that
        they bear on its first byte too.
        """
        *tokens, mark = opening(self.model, self.state.position, heard, recalled)
        begun_ms = self._clock.now_ms()
        if self.model.is_bytes:
            first = tokens.index(COMPANION[0]) + 1
            _live_and_measure(self.model, self.state, tokens, first, measure, abort)
        else:
            self.model.forward(tokens, self.state, abort=abort)
        self._life.learn_speed(len(tokens), self._clock.now_ms() - begun_ms)
        is_moved = self.manner.seed is None
        push = self._moods.push(self._levels, self._clock.wall_s()) if is_moved else {}
        voice = self._moods.voice(self.state, push)
        self.model.forward([mark], self.state, abort=abort)
        if voice.state is not self.state:
            self.model.forward([mark], voice.state)
        return voice

    def _answer(
        self,
        voice: Voice,
        heard: bytes,
        recalled: list[Crystal],
        measure: Measure,
        abort: Abort | None,
        before: State,
    ) -> Iterator[str]:
        wall_s, seed = self._clock.wall_s(), self._seed()
        sampling, max_bytes = self._bent(wall_s)
        is_cut = False
        try:
            utterance, dropped = self._think(voice.state, sampling, seed, max_bytes, abort)
            pieces = speak(self.model, voice.state, utterance, abort)
            for piece in text_from_bytes(pieces):
                yield clean_text(piece)
            is_cut = abort is not None and abort.is_set()
        except GeneratorExit:
            is_cut = True
            pieces.close()  # lives the end of the turn
        except BaseException:
            self.state.assign(before)
            raise
        self._live_said(voice, utterance.speech, before)
        if not np.isfinite(self.state.payload).all():
            self.state.assign(before)
            raise EngineError(
                "state: this turn left numbers that are not finite; the turn was taken back, say "
                "it in other words, and if it happens again run: parrot model verify."
            )
        turn = self._turn(heard, utterance.speech, measure, seed, wall_s)
        how = asdict(sampling) | ({"push": voice.push} if voice.push else {})
        entry = Entry(
            replace(turn, recalled=_woven(recalled), sampling=json.dumps(how)),
            ("turn", *recognise(heard.decode()), *(("cut_off",) if is_cut else ())),
            recalled=tuple(recalled),
            drafts=tuple((draft.said, draft.score) for draft in dropped),
        )
        self._commit(entry)

    def _bent(self, wall_s: float) -> tuple[Sampling, int]:
        """Return how to choose the next reply, and its longest, in the present mood."""
        sampling, max_bytes = self.manner.sampling, self.manner.max_bytes
        if self.manner.seed is None:
            sampling, max_bytes = bend(sampling, max_bytes, self._levels, wall_s)
        return sampling, max_bytes

    def _live_said(self, voice: Voice, speech: Speech, before: State) -> None:
        """Live what was said, unless it was the state itself that spoke."""
        if voice.state is self.state:
            return
        try:
            self.model.forward(speech.tokens, self.state)
        except BaseException:
            self.state.assign(before)
            raise

    def _think(
        self, state: State, sampling: Sampling, seed: int, max_bytes: int, abort: Abort | None
    ) -> tuple[Utterance, list[Draft]]:
        """Return the reply under way, and the drafts it won against; `state` has lived it."""
        samplers = [
            new_sampler(
                sampling,
                seed + i * _DRAFT_SEED,
                self.model.n_vocab,
                is_bytes=self.model.is_bytes,
                stop=frozenset(stop_of(self.model)),
            )
            for i in range(self.manner.n_drafts)
        ]
        if len(samplers) == 1:
            return utter(self.model, state, samplers[0], max_bytes), []
        thinker = Thinker(self.model, state, samplers, max_bytes)
        best = thinker.run(abort)
        state.assign(best.state)
        return best.utterance, thinker.dropped

    def _recall(self, heard: str) -> list[Crystal]:
        """Return what memory weaves into this turn, within its budget of bytes."""
        chosen, room = list[Crystal](), self.manner.recall_bytes
        if not room:
            return []
        for crystal in self.soul.recall(heard, self._clock.wall_s(), _RECALL_N):
            size = len(crystal.text.encode()) + 1
            if size <= room:
                room -= size
                chosen.append(crystal)
        return sorted(chosen, key=lambda crystal: crystal.id)  # what was said last holds

    def _seed(self) -> int:
        """Return the chance of the next turn: the same again until that turn is committed."""
        if self.manner.seed is not None:
            return (self.manner.seed + self.soul.next_id - self._first_id) & (1 << 63) - 1
        return self.soul.next_id

    def _turn(
        self,
        heard: bytes,
        speech: Speech,
        measure: Measure,
        seed: int,
        wall_s: float,
    ) -> Turn:
        said = speech.whole.removesuffix(stop_of(self.model))
        heard_expected, heard_surprise = measure.per_byte()
        said_expected, said_surprise = speech.measure.per_byte()
        return Turn(
            id=self.soul.next_id,
            parent=self.soul.tip,
            wall_s=wall_s,
            model=bytes.fromhex(self.model.id),
            position=self.state.position,
            heard=heard,
            said=said,
            tokens=packed_tokens(self.model, said, speech.tokens),
            seed=seed,
            heard_expected=heard_expected,
            heard_surprise=heard_surprise,
            said_expected=said_expected,
            said_surprise=said_surprise,
        )

    def _commit(self, entry: Entry) -> None:
        turn = entry.turn
        n_bytes = len(turn.heard) + len(turn.said)
        self._levels = after(self._levels, entry.signals, n_bytes, turn.wall_s)
        self.trouble = None
        try:
            usual = [t.heard_surprise for t in self.recent(_USUAL_TURNS) if t.heard_surprise]
            crystal = crystal_of(turn.heard.decode(), turn.heard_surprise, usual)
            self.soul.add(replace(entry, levels=self._levels, crystal=crystal))
            if self._life.is_due(self.state, turn.wall_s):
                self._life.keep(self.state, turn)
        except FileError as exc:
            self.trouble = str(exc)

    def _keep_turns(self) -> None:
        try:
            self.soul.flush()
        except FileError as exc:
            self.trouble = str(exc)


def _woven(crystals: list[Crystal]) -> bytes:
    return clean_text("\n".join(crystal.text for crystal in crystals)).encode()


def _live_and_measure(
    model: Model,
    state: State,
    tokens: Sequence[int],
    first: int,
    measure: Measure,
    abort: Abort | None,
) -> None:
    """Live `tokens`; measure those from index `first` on, but for the one that ends the turn."""
    ids = np.array(tokens, np.int64)
    for begin in range(0, len(ids), _HEAR_TOKENS):
        part = ids[begin : begin + _HEAR_TOKENS]
        logits = model.forward(part, state, every=True, abort=abort)
        low, high = max(first, begin + 1), min(len(ids) - 1, begin + len(part))
        if high > low:
            rows = logits[low - 1 - begin : high - 1 - begin]
            measure.add(rows, ids[low:high], high - low)
