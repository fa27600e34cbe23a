# SPDX-License-Identifier: Apache-2.0
"""All kinds of documents and how often each is made."""

from __future__ import annotations

import random
from collections.abc import Callable

from tools.school import (
    families_memory,
    families_number,
    families_recall,
    families_script,
    families_story,
)
from tools.school.document import Document

Maker = Callable[[str, random.Random, bool], Document]

# How often each; recall documents are several times longer than the others.
MAKERS: tuple[tuple[float, Maker], ...] = (
    (52, families_script.single),
    (16, families_script.chain),
    (24, families_script.prose),
    (4, families_recall.recall),
    (14, families_memory.lesson),
    (10, families_memory.woven),
    (9, families_story.story),
    (9, families_number.number),
)


def make(lang: str, rng: random.Random, heldout: bool) -> Document:
    """One document of any kind."""
    maker = rng.choices([m for _, m in MAKERS], [w for w, _ in MAKERS])[0]
    return maker(lang, rng, heldout)
