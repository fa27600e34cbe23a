# SPDX-License-Identifier: Apache-2.0
"""Families that are plain scripts: one alone, or several in a row as one long talk."""

from __future__ import annotations

import random
from functools import cache

from tools.school import world
from tools.school.document import Document, finish
from tools.school.grammar import SkipScript, Teller
from tools.school.notation import Script

PROSE = frozenset({"story", "describe", "diary"})  # families told without a companion


@cache
def scripts(lang: str, prose: bool, heldout: bool) -> tuple[list[Script], list[float]]:
    """The scripts of a language and their weights; `_name` is only for `&` calls."""
    found = [
        script
        for script in world.book(lang).scripts.values()
        if script.name[0] != "_"
        and (script.family in PROSE) == prose
        and (script.binds or not heldout)
    ]
    return found, [script.weight for script in found]


def perform(teller: Teller, script: Script) -> None:
    """Play one script whose facts belong to the teller's split, drawing until they do."""
    for _ in range(400):
        mark, slots = len(teller.turns), dict(teller.slots)
        teller.drawn = []
        teller.play(script.name)
        try:
            teller.check_split(script)
        except SkipScript:
            del teller.turns[mark:]
            teller.slots = slots
            continue
        return
    raise SkipScript


def single(lang: str, rng: random.Random, heldout: bool, prose: bool = False) -> Document:
    """One script, one document."""
    found, weights = scripts(lang, prose, heldout)
    teller = world.teller(lang, rng, heldout)
    script = rng.choices(found, weights)[0]
    perform(teller, script)
    return finish(teller, script.family)


def prose(lang: str, rng: random.Random, heldout: bool) -> Document:
    """A story or a description."""
    return single(lang, rng, heldout, prose=True)


def chain(lang: str, rng: random.Random, heldout: bool) -> Document:
    """Two to five scripts in a row: the talk wanders, the companion and the day stay."""
    found, weights = scripts(lang, False, heldout)
    teller = world.teller(lang, rng, heldout)
    kept = dict(teller.slots)
    opener = "opening" in world.book(lang).scripts and rng.random() < 0.4
    names: set[str] = set()
    for _ in range(rng.randint(2, 4)):
        script = rng.choices(found, weights)[0]
        if script.name in names or (names and script.family in ("greeting", "farewell")):
            continue
        names.add(script.name)
        teller.slots = dict(kept)
        if opener and len(names) == 1 and script.family != "greeting":
            teller.play("opening")
        perform(teller, script)
    return finish(teller, "talk")
