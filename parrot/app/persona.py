# SPDX-License-Identifier: Apache-2.0
"""Personas: first states that a life begins with. Each that was ever chosen has a life of its own.

A persona is a line of the soul whose first turn is the persona's state, so nothing is lost by
changing: the others stay where they were, and go on from there when they are chosen again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from parrot.base.errors import ConfigError

if TYPE_CHECKING:
    from parrot.engine.model import Model
    from parrot.engine.state import State
    from parrot.mind.companion import Companion

FOLDER = Path(__file__).parents[1] / "assets" / "personas"


def names() -> list[str]:
    """Return the bundled personas."""
    return sorted(path.stem for path in FOLDER.glob("*.state"))


def line_of(persona: str) -> str:
    """Return the line that a persona lives on, and what its origin is called."""
    return f"persona {persona}"


def add_persona_option(parser: argparse.ArgumentParser) -> None:
    """Add --persona."""
    parser.add_argument(
        "--persona",
        metavar="FILE",
        help="a state that a new life begins with, or the name of a bundled one: "
        + ", ".join(names()),
    )


def begin_as(companion: Companion, persona: str) -> None:
    """Let a parrot that has lived nothing begin as a persona; one that began so goes on.

    Raises: ConfigError for a life that began otherwise, and for a state that is no beginning;
            FileError, CorruptError, MismatchError for a file that cannot be used.
    """
    path, soul = _path_of(persona), companion.soul
    origin = line_of(path.stem)
    if soul.tip:
        begun = [turn for id in soul.origins() if (turn := soul.turn(id)) is not None]
        if any(turn.origin == origin for turn in begun):
            return
        raise ConfigError(
            f"--persona {persona}: this parrot has lived {companion.position:,} bytes already, "
            "expected a new life; add --fresh, or name another --soul."
        )
    companion.import_state(_first_state(companion.model, path), origin)


def become(companion: Companion, persona: str) -> None:
    """Go on as a bundled persona, "" as the parrot that was born here.

    Raises: as begin_as, but for a life that began otherwise.
    """
    from parrot.mind.soul import MAIN_LINE

    lines = {name.name for name in companion.names() if name.is_line}
    if not persona:
        if companion.soul.line != MAIN_LINE:
            companion.load(MAIN_LINE)
        return
    line, state = line_of(persona), _first_state(companion.model, _path_of(persona))
    if line not in lines:
        companion.branch(line)
    elif line != companion.soul.line:
        companion.load(line)
    if all(turn.origin != line for turn in companion.soul.path_to(companion.soul.tip)):
        companion.import_state(state, line)


def _path_of(persona: str) -> Path:
    path = Path(persona)
    if path.exists():
        return path
    if persona not in names():
        raise ConfigError(
            f"--persona {persona}: no such file, expected one, or one of {', '.join(names())}; "
            "choose another."
        )
    return FOLDER / f"{persona}.state"


def _first_state(model: Model, path: Path) -> State:
    state = model.load_state(path)
    if state.position:
        raise ConfigError(
            f"{path}: this state has lived {state.position:,} bytes, expected a persona, which has "
            "lived none; go on from it with: parrot state import."
        )
    return state
