# SPDX-License-Identifier: Apache-2.0
"""Talk about nothing in particular, for benchmarks: from the school's held-out split."""

from __future__ import annotations

import random
from itertools import pairwise

from tools.school.families_recall import Memory
from tools.school.world import teller


def chatter(n_bytes: int, chance: random.Random) -> list[tuple[str, str]]:
    """Return about n bytes of held-out talk about nothing that was told, as (heard, said)."""
    turns: list[tuple[str, str]] = []
    size = 0
    while size < n_bytes:
        talk = Memory(teller(chance.choice(("en", "zh")), chance, heldout=True))
        talk.chat(1_000)
        said = [(turn.role, " ".join(t for _, t in turn.parts)) for turn in talk.teller.turns]
        for (first, heard), (second, reply) in pairwise(said):
            if (first, second) == ("U", "P"):
                turns.append((heard, reply))
                size += len(heard.encode()) + len(reply.encode())
    return turns
