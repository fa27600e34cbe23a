# SPDX-License-Identifier: Apache-2.0
"""Rows of bytes for training: documents drawn from several shards by weight, in an order that a
seed fixes.

Each row is an endless text of its own. Two chunks of a row that follow each other overlap by one
byte (the last target of one is the first input of the next), so the network's state can be carried
from chunk to chunk.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from parrot.base.errors import CorruptError
from parrot.base.files import file_error

END = 0  # ends a document


def mapped(path: Path) -> np.ndarray:
    """The bytes of a shard, not read yet.

    Raises: FileError if it is missing; CorruptError if it does not end as a shard does.
    """
    try:
        size = path.stat().st_size
        text = np.memmap(path, np.uint8, "r") if size else np.zeros(0, np.uint8)
    except OSError as exc:
        raise file_error(path, exc, "read") from exc
    if not size or text[-1] != END:
        raise CorruptError(
            f"{path}: holds {size:,} bytes and does not end with 0x00, expected a shard of "
            "tools.corpus; build the corpus again.",
            path=path,
        )
    return text


@dataclass
class Shard:
    """Documents that each end with 0x00, and where in their shuffled order we are."""

    name: str
    text: np.ndarray  # uint8, mapped
    seed: int
    epoch: int = 0
    cursor: int = 0
    bounds: np.ndarray = field(init=False)
    order: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        ends = np.flatnonzero(self.text == END) + 1
        self.bounds = np.concatenate(([0], ends))
        self.seek(self.epoch, self.cursor)

    def seek(self, epoch: int, cursor: int) -> None:
        self.epoch, self.cursor = epoch, cursor
        name = int.from_bytes(self.name.encode()[:8], "little")
        rng = np.random.default_rng((self.seed, name, epoch))
        self.order = rng.permutation(len(self.bounds) - 1)

    def next(self) -> np.ndarray:
        if self.cursor == len(self.order):
            self.seek(self.epoch + 1, 0)
        i = self.order[self.cursor]
        self.cursor += 1
        return self.text[self.bounds[i] : self.bounds[i + 1]]


class Feed:
    """`next()` gives (rows, length + 1) bytes. `state()` and `restore()` make it go on exactly
    where it was.
    """

    def __init__(
        self, root: Path, weights: dict[str, float], rows: int, length: int, seed: int
    ) -> None:
        self.names = sorted(weights)
        self.weights = np.array([weights[n] for n in self.names], dtype=np.float64)
        self.weights /= self.weights.sum()
        self.shards = [Shard(n, mapped(root / f"{n}.bin"), seed) for n in self.names]
        self.given = np.zeros(len(self.names))  # bytes taken from each shard
        self.rows, self.length = rows, length
        self.held = [
            np.zeros(1, np.uint8) for _ in range(rows)
        ]  # not yet given; begins at a boundary

    def next(self) -> np.ndarray:
        return np.stack([self._row(i) for i in range(self.rows)])

    def _row(self, i: int) -> np.ndarray:
        parts, size = [self.held[i]], len(self.held[i])
        while size < self.length + 1:
            which = int(np.argmax(self.weights * (self.given.sum() + 1) - self.given))
            document = self.shards[which].next()
            self.given[which] += len(document)
            parts.append(document)
            size += len(document)
        text = np.concatenate(parts)
        self.held[i] = text[self.length :].copy()
        return text[: self.length + 1]

    def state(self) -> dict[str, np.ndarray]:
        """Everything that decides which byte comes next."""
        out = {f"held.{i}": held for i, held in enumerate(self.held)}
        for shard, weight, given in zip(self.shards, self.weights, self.given, strict=True):
            out[f"at.{shard.name}"] = np.array([shard.epoch, shard.cursor, len(shard.order)])
            out[f"given.{shard.name}"] = np.array([given, weight])
        return out

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """A shard that is new here begins at its start; new weights count from now on."""
        saved = {k.removeprefix("given."): v for k, v in state.items() if k.startswith("given.")}
        for shard in self.shards:
            at = state.get(f"at.{shard.name}")
            if at is not None and at[2] == len(shard.order):
                shard.seek(int(at[0]), int(at[1]))
        same = set(saved) == set(self.names) and all(
            saved[n][1] == weight for n, weight in zip(self.names, self.weights, strict=True)
        )
        # What another mixture gave is no debt of this one: paid back, it would starve some shards.
        self.given = np.array([saved[n][0] if same else 0.0 for n in self.names])
        held = [state[f"held.{i}"] for i in range(self.rows) if f"held.{i}" in state]
        self.held[: len(held)] = held
