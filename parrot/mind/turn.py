# SPDX-License-Identifier: Apache-2.0
"""One turn of the talk: what was heard and said, and the tokens that living it means.

The journal keeps words, not frames: a turn can be lived again by a model with another vocabulary.
Which tokens it becomes is decided here and nowhere else, so living and replaying are the same.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from parrot.base.errors import CorruptError
from parrot.base.text import (
    COMPANION,
    END_OF_DOCUMENT,
    END_OF_TURN,
    PARROT,
    RECALLED,
)
from parrot.engine.model import Model

WORLD_STOP = b"\n\n"


@dataclass(frozen=True)
class Turn:
    """One row of the journal. `id` counts from 1 in the order of committing; parent 0 is birth.

    Units: `position` tokens lived, this turn included; the four measures nats a byte, None when
           nothing was measured.

    `origin` is set for an imported state, `dream` for a sleep: the turns lived again (their ids,
    JSON). Neither has words of its own.
    """

    id: int
    parent: int
    wall_s: float
    model: bytes
    position: int
    heard: bytes = b""
    said: bytes = b""
    recalled: bytes = b""
    origin: str | None = None
    tokens: bytes | None = None
    seed: int = 0
    sampling: str = "{}"
    heard_expected: float | None = None
    heard_surprise: float | None = None
    said_expected: float | None = None
    said_surprise: float | None = None
    dream: str | None = None

    @property
    def has_words(self) -> bool:
        """False for an imported state and for a dream: nothing was heard and said."""
        return self.origin is None and self.dream is None


def stop_of(model: Model) -> bytes:
    """Return the bytes that end the parrot's turn in this model's framing."""
    return END_OF_TURN if model.is_bytes else WORLD_STOP


def opening(model: Model, position: int, heard: bytes, recalled: bytes) -> list[int]:
    """Return the tokens from the border before a turn up to where the parrot begins to speak."""
    if not model.is_bytes:
        memory = b"System: " + recalled + b"\n\n" if recalled else b""
        return model.tokenizer.encode(memory + b"User: " + heard + b"\n\nAssistant:")
    begin = END_OF_DOCUMENT if position == 0 else b""
    memory = RECALLED + recalled + END_OF_TURN if recalled else b""
    return list(begin + memory + COMPANION + heard + END_OF_TURN + PARROT)


def begun(model: Model, position: int, line: str) -> list[int]:
    """Return the tokens from the border up to what follows `line`, the turn being written."""
    if not model.is_bytes:
        return model.tokenizer.encode(b"User: " + line.encode())
    begin = END_OF_DOCUMENT if position == 0 else b""
    return list(begin + COMPANION + line.encode())


def closing(model: Model, turn: Turn) -> list[int]:
    """Return the tokens of what the parrot said in `turn`, the end of its turn included."""
    whole = turn.said + stop_of(model)
    if turn.tokens is not None:
        tokens: list[int] = np.frombuffer(turn.tokens, "<u4").tolist()
        is_ours = max(tokens, default=0) < model.n_vocab
        if is_ours and model.tokenizer.decode(tokens) == whole:
            return tokens
    return model.tokenizer.encode(whole)


def packed_tokens(model: Model, said: bytes, tokens: list[int]) -> bytes | None:
    """Return `tokens` for the journal, or None when encoding `said` gives them back anyway."""
    if model.tokenizer.encode(said + stop_of(model)) == tokens:
        return None
    return np.array(tokens, "<u4").tobytes()


def dream_of(turn: Turn) -> list[int]:
    """Return the turns lived again in a dream. Raises: CorruptError when that is no list of ids."""
    try:
        ids = json.loads(turn.dream or "[]")
    except ValueError:
        ids = None
    if not isinstance(ids, list) or not all(isinstance(id, int) for id in ids):
        raise CorruptError(
            f"turn {turn.id}: its dream is no list of turns; run: parrot state undo 1."
        )
    return ids


def tokens_of(model: Model, position: int, turn: Turn) -> list[int]:
    """Return the tokens that living a turn of words at `position` means; others have none."""
    if not turn.has_words:
        return []
    return opening(model, position, turn.heard, turn.recalled) + closing(model, turn)
