# SPDX-License-Identifier: Apache-2.0
"""How moods push the state: directions, one a hormone, along which the parrot is moved to speak.

    S' = S + sum over hormones h of strength(h) · direction(h)

S' is a twin that says the reply; S then lives the words that were said. So the state stays what the
journal says, a mood passes without a trace of its own, and nothing adds up over a life.

A direction is a state file at position 0 (docs/formats.md) whose numbers are a difference between
states; `tools.moods` trains it from contrasting talk. MODEL.gguf has its directions in the folder
MODEL.moods beside it, HORMONE.state each, and like every state they belong to that one model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parrot.base.errors import FileError, MismatchError
from parrot.engine.model import Model
from parrot.engine.state import State
from parrot.mind.hormones import HORMONES, level_at

PUSH_MAX = 0.7  # of all strengths together: more harms talk in general (docs/mind.md)
SUFFIX = ".moods"


@dataclass(frozen=True)
class Voice:
    """What says a reply: `state`, and how far along each hormone's direction it was pushed."""

    state: State
    push: Mapping[str, float]


class Moods:
    """The directions of one model; with none, every voice is the state itself."""

    def __init__(self, directions: Mapping[str, NDArray[np.float32]]) -> None:
        self._directions = directions

    def push(self, levels: Mapping[str, tuple[float, float]], wall_s: float) -> Mapping[str, float]:
        """Return each strength: how far a hormone is from its baseline to its end, in hundredths.

        More than PUSH_MAX together is scaled down to it; those of no strength are left out.
        """
        found = {}
        for name in self._directions:
            baseline = HORMONES[name].baseline
            way = level_at(name, levels, wall_s) - baseline
            found[name] = way / (1 - baseline) if way >= 0 else way / baseline
        scale = PUSH_MAX / max(PUSH_MAX, sum(map(abs, found.values())))
        rounded = {name: round(strength * scale, 2) for name, strength in found.items()}
        return {name: strength for name, strength in rounded.items() if strength}

    def voice(self, state: State, push: Mapping[str, float]) -> Voice:
        """Return what speaks after `state`: a twin pushed, or without a push `state` itself."""
        if not push:
            return Voice(state, push)
        twin = state.copy()
        for name, strength in push.items():
            twin.payload += np.float32(strength) * self._directions[name]
        return Voice(twin, push)


def moods_of(model: Model) -> tuple[Moods, str | None]:
    """Return the directions beside a model's file, and what is wrong with them, if anything.

    Most models have none. Those that cannot be used are not used: talk goes on without.
    """
    folder = model.path.with_suffix(SUFFIX)
    directions = {}
    try:
        for name in HORMONES:
            if (path := folder / f"{name}.state").exists():
                directions[name] = model.load_state(path).payload
    except MismatchError:
        return Moods({}), (
            f"{path}: trained for another model, expected one for {model.path.name}; moods bend "
            "no more than sampling until they are trained again: python -m tools.moods."
        )
    except FileError as exc:
        return Moods({}), str(exc)
    return Moods(directions), None
