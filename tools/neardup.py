# SPDX-License-Identifier: Apache-2.0
"""Find documents that repeat held-out text: the share of their 32-byte windows that occur in it.

A window is hashed by doubling (1, 2, 4 ... 32 bytes), the whole text at once. Where the hash ends
in zeros the window counts: the same windows are chosen wherever a sentence stands.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

WINDOW = 32  # bytes: about six English words or ten hanzi
CHOSEN = 8  # one window in so many
BLOCK = 8 << 20  # bytes hashed at a time
PRIME = 0x9E3779B97F4A7C15


def hashes(text: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Of the window that begins at each byte; the last 31 begin none."""
    h = text.astype(np.uint64) + np.uint64(1)
    factor = PRIME
    size = 1
    while size < WINDOW:
        h = h[:-size] * np.uint64(factor) + h[size:]
        h ^= h >> np.uint64(29)
        factor = factor * PRIME & 0xFFFFFFFFFFFFFFFF | 1
        size *= 2
    return h * np.uint64(PRIME)


def chosen(h: NDArray[np.uint64]) -> NDArray[np.bool_]:
    return (h >> np.uint64(40)) % np.uint64(CHOSEN) == 0


class Windows:
    """The windows of a set of documents."""

    def __init__(self, documents: Iterable[bytes]) -> None:
        found = [np.zeros(0, np.uint64)]
        for document in documents:
            if len(document) >= WINDOW:
                h = hashes(np.frombuffer(document, np.uint8))
                found.append(h[chosen(h)])
        self.known = np.unique(np.concatenate(found))

    def share_of(self, documents: list[bytes]) -> list[float]:
        """For each document, how much of it is known: 0 to 1."""
        return [share for block in _blocks(documents) for share in self._shares(block)]

    def _shares(self, documents: list[bytes]) -> list[float]:
        text = np.frombuffer(b"".join(documents) + bytes(WINDOW), np.uint8)
        h = hashes(text)
        ends = np.cumsum([len(d) for d in documents])
        starts = np.concatenate(([0], ends[:-1]))
        at = np.flatnonzero(chosen(h))
        owner = np.searchsorted(ends, at, side="right")
        whole = owner < len(documents)
        at, owner = at[whole], owner[whole]
        whole = (at >= starts[owner]) & (at + WINDOW <= ends[owner])
        at, owner = at[whole], owner[whole]
        place = np.searchsorted(self.known, h[at])
        place[place == len(self.known)] = 0
        known = self.known[place] == h[at] if len(self.known) else np.zeros(len(at), bool)
        hit = np.bincount(owner, known, len(documents))
        count = np.bincount(owner, minlength=len(documents))
        return list(hit / np.maximum(1, count))


def _blocks(documents: list[bytes]) -> Iterable[list[bytes]]:
    block: list[bytes] = []
    size = 0
    for document in documents:
        block.append(document)
        size += len(document)
        if size >= BLOCK:
            yield block
            block, size = [], 0
    if block:
        yield block
