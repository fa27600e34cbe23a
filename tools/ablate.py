# SPDX-License-Identifier: Apache-2.0
"""Short runs that differ in one thing each, at the same number of bytes: what is worth its minutes.

    python -m tools.ablate --data DIR --out results.json [--only NAME ...] [--kb 700]

Every run begins from the same seed and ends its decay; the figures are bits per byte of each
held-out shard, their mean, and that of the training mixture's last tenth. With --keep the trained
networks stay, for tools.export and what reads its files.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from parrot.base.errors import ConfigError, ParrotError
from parrot.base.files import replace_file
from tools import probe
from tools.machine import Machine, pick_machine
from tools.net import Model, Shape
from tools.recipe import Recipe, Schedule, load_recipe
from tools.train import Trainer

HELDOUT_BYTES = 16 << 10
Change = Callable[[Recipe], Recipe]


def rates(**values: float) -> Change:
    return lambda r: replace(r, rates=replace(r.rates, **values))


def batch(**values: float) -> Change:
    return lambda r: replace(r, batch=replace(r.batch, **values))


def shape(width: int, layers: int) -> Change:
    return lambda r: replace(r, model=Shape(width, layers))


def school(share: float) -> Change:
    """So much of the bytes from the school; the rest keeps its proportions."""

    def change(r: Recipe) -> Recipe:
        ours = sum(w for name, w in r.mix.items() if name.startswith("school"))
        rest = sum(r.mix.values()) - ours
        mix = {
            name: w * (share / ours if name.startswith("school") else (1 - share) / rest)
            for name, w in r.mix.items()
        }
        return replace(r, mix={name: w for name, w in mix.items() if w})

    return change


CHANGES: dict[str, Change] = {
    "base": lambda r: r,
    "init: normal 0.02": lambda r: r,  # see `naive`
    "init: no slow channels": lambda r: replace(r, slow=0),
    "optimizer: AdamW alone": rates(muon=0.0),
    "muon 0.01": rates(muon=0.01),
    "muon 0.04": rates(muon=0.04),
    "adam 1.5e-3": rates(adam=1.5e-3),
    "adam 6e-3": rates(adam=6e-3),
    "batch: half": batch(rows=2),
    "batch: double": batch(rows=8),
    "state: not passed on": batch(reset=1.0),
    "shape: wide and shallow": shape(192, 2),
    "shape: narrow and deep": shape(64, 12),
    "mixture: no school": school(0.0),
    "mixture: a fifth of school": school(0.2),
    "mixture: nine tenths of school": school(0.9),
}


@torch.no_grad()
def naive(model: Model) -> None:
    """The start that most code has: every matrix normal with deviation 0.02, mixes at a half."""
    for name, p in model.named_parameters():
        if p.ndim == 2 and not name.endswith("r_k"):
            nn.init.normal_(p, std=0.02)
        elif ".x_" in name:
            p.fill_(0.5)
        elif name.endswith(("w0", "a0", "v0")):
            p.zero_()


def run(
    name: str, base: Recipe, data: Path, kb: int, machine: Machine, keep: Path | None
) -> dict[str, object]:
    """Train one variant to the end; its figures."""
    recipe = CHANGES[name](base)
    steps = (kb << 10) // (recipe.batch.rows * recipe.batch.length)
    recipe = replace(recipe, schedule=Schedule(steps=steps, warmup=20, decay=0.6))
    with tempfile.TemporaryDirectory() as temporary:
        out = keep / "".join(c if c.isalnum() else "_" for c in name) if keep else Path(temporary)
        out.mkdir(parents=True, exist_ok=True)
        (out / "last.safetensors").unlink(missing_ok=True)  # each run begins anew
        trainer = Trainer(recipe, data, out, machine)
        if name == "init: normal 0.02":
            naive(trainer.model)
        begun, bits = time.monotonic(), []
        for step in range(steps):
            bits.append(trainer.advance(recipe.schedule.scale(step, 0.0))[0])
        seconds = time.monotonic() - begun
        with machine.autocast():
            held = probe.heldout_bits(trainer.twin(), data / "heldout", HELDOUT_BYTES)
        if keep:
            trainer.save()
    last = bits[-max(1, steps // 10) :]
    return {
        "weights": trainer.optim.flat.numel(),
        "steps": steps,
        "bytes_per_s": round(trainer.seen / seconds),
        "mixture": round(sum(last) / len(last), 4),
        "heldout": round(sum(held.values()) / len(held), 4) if held else None,
        "splits": {name: round(bits, 4) for name, bits in held.items()},
    }


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.ablate", description=__doc__)
    parser.add_argument("--recipe", type=Path, default=Path("tools/runs/ablate.toml"))
    parser.add_argument("--data", type=Path, required=True, help="folder that tools.corpus wrote")
    parser.add_argument(
        "--out", type=Path, required=True, help="results as JSON; kept between calls"
    )
    parser.add_argument("--only", action="append", metavar="NAME", help="this variant (all)")
    parser.add_argument("--kb", type=int, default=700, help="kilobytes each run sees (700)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave the networks here")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    try:
        base = load_recipe(args.recipe)
        machine = pick_machine("auto", "auto", args.compile)
        results = json.loads(args.out.read_text("utf-8")) if args.out.exists() else {}
        for name in args.only or CHANGES:
            if name not in CHANGES:
                raise ConfigError(f"--only {name}: expected one of {', '.join(CHANGES)}.")
            results[name] = run(name, base, args.data, args.kb, machine, args.keep)
            replace_file(args.out, json.dumps(results, indent=1).encode())
            print(f"{name:26} {results[name]}", flush=True)
    except ParrotError as exc:
        print(exc, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
