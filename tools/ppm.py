# SPDX-License-Identifier: Apache-2.0
"""Prediction by partial matching, order 6, method C with full exclusion: the yardstick of the
model card.

    python -m tools.ppm DATA --mb 8 --heldout-kb 16

Trains on a sample of each shard's beginning, in the shares of a recipe's mixture, then prices
held-out text and goes on learning from it, as PPM does. Plain Python, so the sample is bounded,
and the report says how large it was.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np

from parrot.base.errors import ParrotError
from tools.feed import mapped
from tools.recipe import load_recipe

ORDER = 6


class PPM:
    """Counts of what followed each context of 0 to ORDER bytes."""

    def __init__(self, order: int = ORDER) -> None:
        self.order = order
        # a context of n bytes as one number -> {byte: count}; most contexts have seen one kind of
        # byte only, and hold it as count * 256 + byte
        self.tables: list[dict[int, int | dict[int, int]]] = [{} for _ in range(order + 1)]

    def price(self, context: int, byte: int) -> float:
        """Bits of `byte` after the bytes in `context` (its last ORDER bytes, newest lowest)."""
        excluded: set[int] = set()
        bits = 0.0
        for n in range(self.order, -1, -1):
            seen = self.tables[n].get(context & ((1 << 8 * n) - 1))
            if not seen:
                continue
            if isinstance(seen, int):
                seen = {seen & 255: seen >> 8}
            live = {b: c for b, c in seen.items() if b not in excluded} if excluded else seen
            if not live:
                continue
            total = sum(live.values()) + len(live)  # method C: escapes count the kinds seen
            count = live.get(byte)
            if count:
                return bits - math.log2(count / total)
            bits -= math.log2(len(live) / total)
            excluded.update(live)
        return bits + math.log2(256 - len(excluded))

    def learn(self, context: int, byte: int) -> None:
        """Count `byte` in the contexts down to the longest that knew it (update exclusion)."""
        for n in range(self.order, -1, -1):
            key = context & ((1 << 8 * n) - 1)
            table = self.tables[n]
            seen = table.get(key)
            if seen is None:
                table[key] = 256 + byte
            elif isinstance(seen, int):
                if seen & 255 == byte:
                    table[key] = seen + 256
                    return
                table[key] = {seen & 255: seen >> 8, byte: 1}
            elif byte in seen:
                seen[byte] += 1
                return
            else:
                seen[byte] = 1

    def train(self, text: bytes) -> None:
        context, mask = 0, (1 << 8 * self.order) - 1
        for byte in text:
            self.learn(context, byte)
            context = (context << 8 | byte) & mask

    def bits_per_byte(self, text: bytes) -> float:
        """Mean price of `text`, learning as it reads."""
        context, mask, bits = 0, (1 << 8 * self.order) - 1, 0.0
        for byte in text:
            bits += self.price(context, byte)
            self.learn(context, byte)
            context = (context << 8 | byte) & mask
        return bits / len(text)


def sample(data: Path, mix: dict[str, float], size: int) -> bytes:
    """About `size` bytes: of each shard its share, whole documents from its beginning."""
    total = sum(mix.values())
    parts = []
    for name, weight in sorted(mix.items()):
        text = mapped(data / f"{name}.bin")
        part = np.asarray(text[: round(size * weight / total)])
        ends = np.flatnonzero(part == 0)
        parts.append(part[: ends[-1] + 1].tobytes() if len(ends) else b"")
    return b"".join(parts)


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.ppm", description=__doc__)
    parser.add_argument("data", type=Path, help="folder that tools.corpus wrote")
    parser.add_argument("--recipe", type=Path, default=Path("tools/runs/cpu.toml"))
    parser.add_argument("--mb", type=float, default=8.0, help="megabytes to train on (8)")
    parser.add_argument("--heldout-kb", type=int, default=16, help="kilobytes of each split (16)")
    args = parser.parse_args(argv)
    try:
        text = sample(args.data, load_recipe(args.recipe).mix, round(args.mb * 1e6))
        model = PPM()
        model.train(text)
        report = {"order": ORDER, "trained_bytes": len(text), "bits_per_byte": {}}
        for path in sorted((args.data / "heldout").glob("*.bin")):
            held = mapped(path)[: args.heldout_kb << 10].tobytes()
            report["bits_per_byte"][path.stem] = round(model.bits_per_byte(held), 4)
    except ParrotError as exc:
        print(exc, file=sys.stderr)
        return 1
    print(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
