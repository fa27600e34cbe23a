# SPDX-License-Identifier: Apache-2.0
"""What the life so far says about which of two replies was better.

Three sources, all in the soul already:

- a reply that was asked for again, or taken back and answered anew: the last answer to the same
  words at the same place in the tree beats those before it;
- a reply that the companion praised or blamed, beside another answer to the same words;
- a draft that thinking did not choose, beside the reply that was said.

Blame turns a pair round. A pair is never made across different words: what was better must have
been an answer to the same thing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from parrot.mind.feedback import VALUES
from parrot.mind.soul import Soul
from parrot.mind.turn import Turn

CONTEXT_TURNS = 4  # before the one that was answered
_DRAFT_BYTES_MIN = 8  # a draft that left the race before it said anything teaches nothing


@dataclass(frozen=True)
class Pair:
    """Two replies to the last of `context`, which is (role, text) of turns, oldest first."""

    context: tuple[tuple[str, str], ...]
    chosen: str
    rejected: str

    def as_json(self) -> dict[str, object]:
        turns = [{"role": role, "text": text} for role, text in self.context]
        return {"context": turns, "chosen": self.chosen, "rejected": self.rejected}


def pairs_of(soul: Soul) -> Iterator[Pair]:
    """Yield every preference in `soul`, in the order of the journal, each once."""
    values: dict[int, float] = {}
    for turn_id, _, signal in soul.feedback():
        if signal != "turn":  # that the talk went on says nothing about this reply
            values[turn_id] = values.get(turn_id, 0.0) + VALUES.get(signal, 0.0)
    drafts = soul.drafts()
    answers: dict[tuple[int, bytes], list[Turn]] = {}
    seen: set[tuple[str, str]] = set()
    for turn in soul.turns():
        if not turn.has_words:
            continue
        rivals = answers.setdefault((turn.parent, turn.heard), [])
        for rival in rivals:
            yield from _ordered(soul, turn, rival, values, seen)
        rivals.append(turn)
        for draft in drafts.get(turn.id, ()):
            yield from _over_draft(soul, turn, draft, values.get(turn.id, 0.0), seen)


def _ordered(
    soul: Soul, turn: Turn, rival: Turn, values: dict[int, float], seen: set[tuple[str, str]]
) -> Iterator[Pair]:
    """Yield the pair of two answers to the same words; the later one was wanted instead."""
    better, worse = turn, rival
    if values.get(rival.id, 0.0) > values.get(turn.id, 0.0):
        better, worse = rival, turn
    yield from _pair(soul, turn, _text(better.said), _text(worse.said), seen)


def _over_draft(
    soul: Soul, turn: Turn, draft: bytes, value: float, seen: set[tuple[str, str]]
) -> Iterator[Pair]:
    """Yield the reply over a draft: cut to its length, for the race cut the draft there."""
    draft = draft.rstrip(b"\x03")
    if len(draft) < _DRAFT_BYTES_MIN:
        return
    said, other = _text(turn.said[: len(draft)]), _text(draft)
    chosen, rejected = (other, said) if value < 0 else (said, other)
    yield from _pair(soul, turn, chosen, rejected, seen)


def _pair(
    soul: Soul, turn: Turn, chosen: str, rejected: str, seen: set[tuple[str, str]]
) -> Iterator[Pair]:
    if not chosen or not rejected or chosen == rejected or (chosen, rejected) in seen:
        return
    seen.add((chosen, rejected))
    yield Pair(_context(soul, turn), chosen, rejected)


def _context(soul: Soul, turn: Turn) -> tuple[tuple[str, str], ...]:
    context = [("user", _text(turn.heard))]
    for before in soul.path_to(turn.parent):
        if not before.has_words or len(context) > 2 * CONTEXT_TURNS:
            break
        context += [("assistant", _text(before.said)), ("user", _text(before.heard))]
    return tuple(context[::-1])


def _text(blob: bytes) -> str:
    return blob.decode(errors="ignore").strip()
