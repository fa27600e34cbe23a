# SPDX-License-Identifier: Apache-2.0
"""Train a persona on a dialogue file, and leave the model as it is.

    python -m tools.tune DIALOGUE.jsonl ... --out DIR [--lora RANK]

Each DIALOGUE.jsonl has one talk a line, {"turns": [{"role": "user", "text": ...}, {"role":
"assistant", "text": ...}]}. What comes out is DIR/DIALOGUE.state, the state that a talk begins
with (`parrot chat --fresh --persona FILE`), or with --lora DIR/DIALOGUE.lora, low-rank updates
(`parrot chat --lora FILE`). Both belong to the model file they were trained on. Every tenth talk is
held out; its bits per byte through the C engine, before and after, are printed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

import parrot
from parrot.base.errors import CorruptError, ParrotError
from parrot.base.files import file_error
from parrot.base.text import END_OF_DOCUMENT
from tools import fused
from tools.adapt import (
    BUNDLED,
    Adapter,
    adapter_for,
    engine_bits,
    load_network,
    said_by_parrot,
    worn,
)
from tools.corpus import frame
from tools.corpus_read import read_records
from tools.machine import pick_machine

ROW = 384  # bytes of talk in a row, about: a persona must last over several turns
ROWS = 4
HELD_EVERY = 10
TALKS_MIN = 10


def read_talks(path: Path) -> tuple[list[bytes], list[bytes]]:
    """Framed talks to train on, and held out. Raises: CorruptError if there are too few."""
    records, _ = read_records(path)
    talks = [frame(record) for record in records if record.turns]
    if len(talks) < TALKS_MIN:
        raise CorruptError(
            f"{path}: holds {len(talks)} talks, expected at least {TALKS_MIN}; write more.",
            path=path,
        )
    held = talks[HELD_EVERY - 1 :: HELD_EVERY]
    return [t for i, t in enumerate(talks) if i % HELD_EVERY != HELD_EVERY - 1], held


def rows_of(talks: list[bytes], dice: np.random.Generator) -> Iterator[bytes]:
    """All talks once, in a new order, several to a row as one long talk has them."""
    row = END_OF_DOCUMENT
    for i in dice.permutation(len(talks)):
        row += talks[i]
        if len(row) >= ROW:
            yield row
            row = END_OF_DOCUMENT
    if len(row) > 1:
        yield row


def batches(
    talks: list[bytes], steps: int, seed: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """`steps` times (bytes (rows, n), what to learn (rows, n - 1)); short rows end in zeros."""
    dice, waiting = np.random.default_rng(seed), list[bytes]()
    for _ in range(steps):
        while len(waiting) < ROWS:
            waiting += rows_of(talks, dice)
        rows, waiting = waiting[:ROWS], waiting[ROWS:]
        n = max(map(len, rows))
        text, mask = np.zeros((ROWS, n), np.int64), np.zeros((ROWS, n - 1), bool)
        for i, row in enumerate(rows):
            text[i, : len(row)] = np.frombuffer(row, np.uint8)
            mask[i, : len(row) - 1] = said_by_parrot(row)
        yield torch.from_numpy(text), torch.from_numpy(mask)


def train(adapter: Adapter, talks: list[bytes], steps: int, rate: float, seed: int) -> None:
    """Adam, at a rate that falls in a line to zero."""
    machine = pick_machine("cpu", "auto", False)
    optimizer = torch.optim.Adam(adapter.parameters, lr=rate, betas=(0.9, 0.99))
    bar = tqdm(batches(talks, steps, seed), total=steps, unit="step")
    for step, (text, mask) in enumerate(bar):
        optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
        with machine.autocast():
            logits, _ = fused.fastest(adapter.model)(text[:, :-1], adapter.start(len(text)))
        loss = F.cross_entropy(logits[mask].float(), text[:, 1:][mask])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(adapter.parameters, 1.0)
        optimizer.step()
        bar.set_postfix_str(f"{loss.item() / np.log(2):.3f} bits")


def tune(path: Path, args: argparse.Namespace, engine: parrot.Model) -> dict[str, object]:
    """Train on one dialogue file and write the result; its figures."""
    talks, held = read_talks(path)
    torch.manual_seed(args.seed)
    adapter = adapter_for(load_network(engine.path), args.lora)
    rate = args.rate or (RATE_STATE if args.lora is None else RATE_LORA)
    texts = [END_OF_DOCUMENT + talk for talk in held]
    before = engine_bits(engine, engine.new_state(), texts)
    train(adapter, talks, args.steps, rate, args.seed)
    out = args.out / (path.stem + adapter.suffix)
    adapter.write(out, engine)
    model, first = worn(engine, out)
    after = engine_bits(model, first, texts)
    return {
        "file": str(out),
        "model": engine.id,
        "talks": len(talks),
        "heldout_talks": len(held),
        "bits_before": round(before, 4),
        "bits_after": round(after, 4),
    }


RATE_STATE, RATE_LORA = 0.1, 3e-3


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m tools.tune", description=__doc__)
    p.add_argument("dialogues", nargs="+", type=Path, metavar="DIALOGUE.jsonl")
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the results")
    p.add_argument("--model", type=Path, default=BUNDLED, help="GGUF to train on (the bundled one)")
    p.add_argument("--lora", type=int, metavar="RANK", help="train a LoRA instead of a state")
    p.add_argument("--steps", type=int, default=40, help="of about 1.5 kB each (40)")
    p.add_argument("--rate", type=float, help=f"{RATE_STATE} for a state, {RATE_LORA} for a LoRA")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=1)
    return p


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    args = parser().parse_args(argv)
    torch.set_num_threads(args.threads)
    try:
        engine = parrot.Model.open(args.model, threads=args.threads)
        for path in args.dialogues:
            read_talks(path)  # all of them, before any minute is spent
        try:
            args.out.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise file_error(args.out, exc, "written") from exc
        for path in args.dialogues:
            print(json.dumps(tune(path, args, engine)), flush=True)
    except ParrotError as exc:
        print(exc, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
