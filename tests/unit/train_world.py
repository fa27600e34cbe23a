# SPDX-License-Identifier: Apache-2.0
"""A corpus of a few kilobytes and a run of a few seconds, for the tests of training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

NAMES = ("Mina", "Karl", "Bea", "Piers", "Nell", "Anders", "小满", "乔乔")
THINGS = ("a red ball", "two pears", "a wet dog", "warm bread", "一只猫", "三个苹果")

RECIPE = """
seed = 3
slow = 2
[model]
width = 64
layers = 3
[batch]
rows = 4
length = 48
reset = 0.2
[rates]
muon = 0.02
adam = 4e-3
[schedule]
steps = {steps}
warmup = 3
decay = 0.5
[mix]
tales = 0.6
talk = 0.4
"""


def write_shards(folder: Path, size: int = 20_000) -> Path:
    """Two shards and two held-out ones, as tools.corpus writes them."""
    dice = np.random.default_rng(5)
    (folder / "heldout").mkdir(parents=True)
    for name, lead in (
        ("tales", "Once {n} had {t}."),
        ("talk", "\x02I have {t}\x03\x06Hi {n}!\x03"),
    ):
        for path, n_bytes in ((folder, size), (folder / "heldout", 1500)):
            text = b""
            while len(text) < n_bytes:
                n, t = dice.choice(NAMES), dice.choice(THINGS)
                text += lead.format(n=n, t=t).encode() + b"\0"
            (path / f"{name}.bin").write_bytes(text)
    return folder


def write_recipe(folder: Path, steps: int = 20) -> Path:
    path = folder / "run.toml"
    path.write_text(RECIPE.format(steps=steps))
    return path


def write_jsonl(path: Path, items: list[dict]) -> None:
    path.write_text("".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items), "utf-8")
