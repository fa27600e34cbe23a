# SPDX-License-Identifier: Apache-2.0
"""Train a parrot.

    python -m tools.train tools/runs/cpu.toml --data DIR --out DIR --minutes 120 --threads 1
    torchrun --nproc-per-node 2 -m tools.train ...

DIR of --data is what `tools.corpus` wrote. The run leaves `last.safetensors` (replaced as a whole
every few minutes), `curve.csv`, `heldout.csv`, `curve.png` and `samples.txt` in --out. Started
again with the same --out it goes on from its checkpoint: on a CPU, with a schedule in steps, to
the very same numbers as if never stopped. A resumed run may change its mixture, its rates and its
length, not the network. Ctrl-C pauses it: the step is ended and a checkpoint written.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from parrot.base.errors import EngineError, FileError, MismatchError, ParrotError
from parrot.base.files import file_error
from tools import fused, probe, ranks
from tools.checkpoint import load_weights, read_checkpoint, write_checkpoint
from tools.feed import Feed
from tools.journal import Journal
from tools.machine import Machine, long_run, pick_machine, signals
from tools.net import Model
from tools.optim import Optimizer
from tools.recipe import Recipe, load_recipe

GOOD_STEPS = 200  # between two copies in memory that a rollback returns to
ROLLBACKS_MAX = 5
LOOK_EVERY = 4  # checkpoints between two looks at held-out text and samples
HELDOUT_BYTES = 8 << 10  # of each held-out shard, read at each look
HELDOUT_BYTES_LAST = 64 << 10  # and at the end
ROOM = 16 << 20  # bytes of disk for curves, samples and pictures


class Trainer:
    """One process of a run. All processes hold the same network and optimizer, each its share of
    the rows.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: Path,
        out: Path,
        machine: Machine,
        place: tuple[int, int] = (0, 1),
        weights: Path | None = None,
    ) -> None:
        """`place`: this process's number, and how many there are; `weights`: what a new run
        begins with (safetensors, official names), else the initial values.
        """
        self.recipe, self.out, self.machine = recipe, out, machine
        self.data, (self.rank, self.world) = data, place
        rank, world = place
        rows = recipe.batch.rows
        if rows % world:
            raise EngineError(f"batch.rows: {rows}, expected a multiple of {world} processes.")
        torch.manual_seed(recipe.seed)
        self.model = Model(recipe.model, recipe.slow).to(machine.device)
        if weights is not None:
            load_weights(self.model, weights)
        self.optim = Optimizer(self.model, recipe.rates)
        self.feed = Feed(data, recipe.mix, rows, recipe.batch.length, recipe.seed)
        self.mine = slice(rank * rows // world, (rank + 1) * rows // world)
        self.state = self.model.new_state(rows // world)
        self.step = self.seen = self.saves = self.rollbacks = 0
        self.seconds = self.saved_at = 0.0
        self.good: dict[str, Any] = {}
        if (out / "last.safetensors").exists():
            self._resume(out / "last.safetensors")
        self._remember()
        self.forward = fused.fastest(self.model)
        if machine.compile:
            for block in self.model.blocks:
                block.compile(dynamic=False)

    # ---- one step

    def advance(self, scale: float) -> tuple[float, float]:
        """Take one step; (bits per byte, norm of the gradient). A step that blew up is undone."""
        text = torch.from_numpy(self.feed.next()[self.mine].astype(np.int64))
        text = text.to(self.machine.device)
        self._forget_some()
        with self.machine.autocast():
            logits, after = self.forward(text[:, :-1], self.state)
        loss = F.cross_entropy(logits.float().flatten(0, 1), text[:, 1:].flatten())
        loss.backward()
        ranks.mean(self.optim.grad)
        bits = ranks.mean(loss.detach().clone()).item() / math.log(2)
        norm = self.optim.norm().item()
        self.step += 1
        self.seen += text[:, 1:].numel() * self.world
        if not (math.isfinite(bits) and math.isfinite(norm)):
            self._roll_back(bits)
            return bits, norm
        self.optim.step(scale, norm)
        self.state = [tuple(x.detach().float() for x in layer) for layer in after]
        if self.step % GOOD_STEPS == 0:
            self.rollbacks = 0
            self._remember()
        return bits, norm

    def _forget_some(self) -> None:
        """Zero the state of a few rows, so that the network also learns to begin."""
        batch = self.recipe.batch
        dice = np.random.default_rng((self.recipe.seed, self.step))
        keep = torch.from_numpy((dice.random(batch.rows) >= batch.reset)[self.mine])
        if not keep.all():
            kept = keep.float().to(self.machine.device)
            self.state = [tuple(_rows(x, kept) for x in layer) for layer in self.state]

    def _remember(self) -> None:
        self.good = {
            "flat": self.optim.flat.clone(),
            "optim": {k: v.clone() for k, v in self.optim.state().items()},
        }

    def _roll_back(self, bits: float) -> None:
        """To the last good copy, with empty states; the text moves on, so the same bytes do not
        come again.
        """
        self.rollbacks += 1
        if self.rollbacks > ROLLBACKS_MAX:
            raise EngineError(
                f"step {self.step}: the loss is {bits} for the {self.rollbacks}th time, expected a "
                "number; lower rates.muon and rates.adam."
            )
        self.optim.grad.zero_()
        self.optim.flat.copy_(self.good["flat"])
        self.optim.restore(self.good["optim"])
        self.state = self.model.new_state(len(self.state[0][0]))

    # ---- checkpoints

    def save(self) -> None:
        """Write the checkpoint; only process 0 does, with the rows of all."""
        state = {
            f"{i}.{j}": ranks.together(x)
            for i, layer in enumerate(self.state)
            for j, x in enumerate(layer)
        }
        if self.rank:
            return
        groups = {
            "model": self.model.state_dict(),
            "optim": self.optim.state(),
            "feed": {k: torch.from_numpy(np.array(v)) for k, v in self.feed.state().items()},
            "state": state,
        }
        place = {
            "step": self.step,
            "seen": self.seen,
            "seconds": self.seconds,
            "recipe": self.recipe.table(),
            "commit": commit(),
            "data": data_hashes(self.data),
        }
        write_checkpoint(self.out / "last.safetensors", groups, place)

    def check_room(self) -> None:
        """Raise FileError if the disk will not hold two checkpoints, the old and the new."""
        numbers = 3 * self.optim.flat.numel() + sum(x.numel() for s in self.state for x in s)
        need, free = 2 * 4 * numbers + ROOM, shutil.disk_usage(self.out).free
        if free < need:
            raise FileError(
                f"{self.out}: {free >> 20} MB are free, expected {need >> 20} MB for checkpoints; "
                "free some space, or choose another --out.",
                path=self.out,
            )

    def _resume(self, path: Path) -> None:
        groups, place = read_checkpoint(path)
        shape = place["recipe"]["model"]
        if shape != self.recipe.table()["model"]:
            raise MismatchError(
                f"{path}: holds a network of {shape}, expected {self.recipe.table()['model']}; "
                "take another --out, or the recipe it was begun with.",
                path=path,
            )
        self.model.load_state_dict(groups["model"])
        self.optim.restore(groups["optim"])
        self.feed.restore({k: v.numpy() for k, v in groups["feed"].items()})
        self.step, self.seen = place["step"], place["seen"]
        self.seconds = self.saved_at = place["seconds"]
        saved = groups["state"]
        if len(saved["0.0"]) == self.recipe.batch.rows:
            device = self.machine.device
            self.state = [
                tuple(saved[f"{i}.{j}"][self.mine].to(device) for j in range(3))
                for i in range(self.recipe.model.layers)
            ]

    # ---- the run

    def twin(self) -> Model:
        """A copy of the network to ask questions; its shapes vary, so it is never compiled."""
        model = Model(self.recipe.model).to(self.machine.device)
        model.load_state_dict(self.model.state_dict())
        return model

    def look(self, journal: Journal | None, size: int) -> None:
        """Held-out bits, samples and the picture; process 0 only."""
        if journal is None:
            return
        twin = self.twin()
        with self.machine.autocast():
            bits = probe.heldout_bits(twin, self.data / "heldout", size)
            said = probe.replies(twin, probe.PROMPTS, self.step)
        if bits:
            journal.heldout(self.step, self.seen, bits)
        journal.samples(self.step, list(zip(probe.PROMPTS, said, strict=True)))
        journal.draw()

    def run(self, stop_after: float, stop: threading.Event) -> bool:
        """Train to the end, for `stop_after` seconds or until `stop`; True if it is complete."""
        self.check_room()
        journal = None if self.rank else Journal(self.out, self.step)
        schedule, begun, before = self.recipe.schedule, time.monotonic(), self.seconds
        bar = tqdm(total=1.0, disable=None if not self.rank else True, bar_format=BAR)
        over = schedule.share(self.step, self.seconds) >= 1
        while not over:
            spent = math.inf if stop.is_set() else time.monotonic() - begun
            if ranks.from_first(spent) >= stop_after:
                break
            scale = schedule.scale(self.step, self.seconds)
            bits, norm = self.advance(scale)
            self.seconds = ranks.from_first(before + time.monotonic() - begun)
            if journal is not None:
                self._note(journal, bits, norm, scale)
            share = schedule.share(self.step, self.seconds)
            over = share >= 1
            bar.update(share - bar.n)
            bar.set_postfix_str(f"{bits:.3f} bits {self.seen / 1e6:.2f} MB")
            if self._due() and not over:
                self.save()
                self.saves += 1
                if self.saves % LOOK_EVERY == 1:
                    self.look(journal, HELDOUT_BYTES)
        bar.close()
        self.save()
        self.look(journal, HELDOUT_BYTES_LAST if over else HELDOUT_BYTES)
        return over

    def _note(self, journal: Journal, bits: float, norm: float, scale: float) -> None:
        row = {"step": self.step, "bytes": self.seen, "seconds": self.seconds}
        journal.step(row | {"bits": bits, "norm": norm, "rate": scale})

    def _due(self) -> bool:
        """Whether a checkpoint falls due: by the clock, or every tenth of a run in steps."""
        schedule = self.recipe.schedule
        if schedule.steps:
            return self.step % max(1, schedule.steps // 10) == 0
        every = 60 * self.recipe.save_minutes
        if self.seconds - self.saved_at < every:
            return False
        self.saved_at = self.seconds
        return True


BAR = "{percentage:3.0f}% |{bar:24}| {elapsed} left {remaining} {postfix}"


def _rows(x: Tensor, kept: Tensor) -> Tensor:
    """x with the rows zeroed where kept is 0."""
    return x * kept.view(-1, *([1] * (x.ndim - 1)))


def commit() -> str:
    """The revision of this code, or nothing outside a repository."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def data_hashes(data: Path) -> dict[str, str]:
    """sha256 of each shard, as the manifest of the corpus says."""
    manifest = data / "manifest.json"
    if not manifest.exists():
        return {}
    shards = json.loads(manifest.read_text("utf-8"))["shards"]
    return {s["file"]: s["sha256"] for s in shards}


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m tools.train", description=__doc__)
    p.add_argument("recipe", type=Path, help="TOML file of the run")
    p.add_argument("--data", type=Path, required=True, help="folder that tools.corpus wrote")
    p.add_argument("--out", type=Path, required=True, help="folder of the run")
    p.add_argument("--minutes", type=float, help="length on the clock, in place of the recipe's")
    p.add_argument(
        "--stop-after",
        type=float,
        default=math.inf,
        metavar="SECONDS",
        help="pause then, with a checkpoint; the same command goes on",
    )
    p.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    p.add_argument("--precision", default="auto", choices=("auto", "bf16", "f32"))
    p.add_argument(
        "--from",
        dest="weights",
        type=Path,
        metavar="FILE",
        help="weights that a new run begins with (tools.export --safetensors)",
    )
    p.add_argument("--compile", action="store_true", help="GPU: let torch.compile fuse the blocks")
    p.add_argument("--threads", type=int, default=0, help="CPU threads (all)")
    return p


def main(argv: list[str] | None = None) -> int:
    """The command line. 0: complete; 3: paused by --stop-after; 1: an error, in one sentence."""
    args = parser().parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        recipe = load_recipe(args.recipe, args.minutes)
        machine = pick_machine(args.device, args.precision, args.compile)
        args.out.mkdir(parents=True, exist_ok=True)
        with long_run(), ranks.ranks(machine.device) as place:
            trainer = Trainer(recipe, args.data, args.out, machine, place, args.weights)
            with signals() as stop:
                return 0 if trainer.run(args.stop_after, stop) else 3
    except ParrotError as exc:
        print(exc, file=sys.stderr)
        return 1
    except OSError as exc:  # a curve that could not be appended to
        print(file_error(Path(exc.filename or args.out), exc, "written"), file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
