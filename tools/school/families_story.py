# SPDX-License-Identifier: Apache-2.0
"""Stories the parrot tells on request: in one go or bit by bit, then questions about them."""

from __future__ import annotations

import random

from tools.school import families_script, world
from tools.school.document import Document, finish
from tools.school.grammar import Teller, Turn


def say(teller: Teller, role: str, rule: str) -> None:
    """One turn from a rule."""
    alt = teller.choose(teller.book.rules[rule])
    teller.turn(role, alt.tid, teller.expand(alt.nodes))


def in_bits(teller: Teller, parts: list[tuple[str, str]]) -> None:
    """The parts of a story as one to three turns of the parrot, with the companion between."""
    turns = teller.rng.choice((1, 2, 2, 3))
    size = -(-len(parts) // turns)
    for start in range(0, len(parts), size):
        if start:
            say(teller, "U", "story.goon")
        teller.turns.append(Turn("P", parts[start : start + size]))


def story(lang: str, rng: random.Random, heldout: bool) -> Document:
    """The companion asks for a story, hears it, and often asks about it or wants it short."""
    teller = world.teller(lang, rng, heldout)
    scripts = world.book(lang).scripts
    tales = [s for s in scripts.values() if s.family == "story" and f"_qa_{s.name}" in scripts]
    tale = rng.choice(tales)
    say(teller, "U", "story.ask")
    mark = len(teller.turns)
    families_script.perform(teller, tale)
    parts = [part for turn in teller.turns[mark:] for part in turn.parts]
    del teller.turns[mark:]
    in_bits(teller, parts)
    if rng.random() < 0.75:
        teller.play(f"_qa_{tale.name}")
    if rng.random() < 0.5:
        say(teller, "U", "story.after")
        say(teller, "P", "story.close")
    return finish(teller, "storytelling")
