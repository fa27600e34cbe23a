# SPDX-License-Identifier: Apache-2.0
"""Learn from preferences: of two replies to the same words, which one the companion liked better.

    python -m tools.prefer PAIRS.jsonl --out FILE.lora [--reference-free] [--check TALKS.jsonl ...]

Each line of PAIRS.jsonl is {"context": ..., "chosen": ..., "rejected": ...}; the context is what
the companion said, or a list of turns as in a dialogue file that ends with the companion's. Trained
is a LoRA (or, for FILE.state, a first state) by direct preference optimisation (arXiv:2305.18290):
the chosen reply is to gain on the rejected one against the model as it was. --reference-free
compares mean log-likelihoods a byte with a margin instead (SimPO, arXiv:2405.14734). Either loss
has the chosen reply's own cost added, so that likelihood does not leave both.

Every fifth pair is held out. Printed are, through the C engine, the share of held-out pairs in
which the chosen reply is the likelier one, and bits per byte of the --check talks (the held-out
ones of tools/school/hand), before and after.
Only FILE is written: not to pass it to `parrot chat --lora` undoes everything.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

import parrot
from parrot.base.errors import ConfigError, CorruptError, ParrotError
from parrot.base.files import read_file
from parrot.base.text import END_OF_DOCUMENT, END_OF_TURN, clean_text, companion_turn
from tools import fused
from tools.adapt import (
    BUNDLED,
    Adapter,
    Lora,
    Persona,
    adapter_for,
    engine_bits,
    load_network,
    worn,
)
from tools.corpus import frame
from tools.corpus_read import Record, read_records
from tools.machine import pick_machine
from tools.replies import held_out

FILE_BYTES_MAX = 64 << 20
HELD_EVERY = 5
PAIRS_MIN = 10
ROWS = 8  # pairs to a step
CHECK_TALKS = 60
SIMPO_BETA, SIMPO_MARGIN = 2.0, 0.5  # on nats a byte


@dataclass(frozen=True)
class Pair:
    """Framed: context up to where the parrot speaks, and two replies with the end of the turn."""

    context: bytes
    chosen: bytes
    rejected: bytes


def read_pairs(path: Path) -> tuple[list[Pair], list[Pair]]:
    """Pairs to train on, and held out.

    Raises: CorruptError naming the line that is no pair; FileError.
    """
    text = read_file(path, FILE_BYTES_MAX)
    pairs = []
    for number, line in enumerate(text.split(b"\n"), 1):
        if line.strip():
            try:
                pairs.append(_pair(json.loads(line)))
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
                raise CorruptError(
                    f"{path}: line {number} is no pair ({exc!r}), expected context, chosen and "
                    "rejected; mend the line.",
                    path=path,
                ) from exc
    if len(pairs) < PAIRS_MIN:
        raise CorruptError(
            f"{path}: holds {len(pairs)} pairs, expected at least {PAIRS_MIN}; collect more.",
            path=path,
        )
    held = pairs[HELD_EVERY - 1 :: HELD_EVERY]
    return [p for i, p in enumerate(pairs) if i % HELD_EVERY != HELD_EVERY - 1], held


def _pair(item: dict[str, Any]) -> Pair:
    context = item["context"]
    if isinstance(context, str):
        framed = companion_turn(context)
    else:
        *before, last = [(turn["role"], clean_text(turn["text"])) for turn in context]
        if last[0] != "user":
            raise ValueError("the context does not end with the companion's turn")
        framed = frame(Record(None, before)) + companion_turn(last[1])
    replies = [clean_text(item[key]).encode() + END_OF_TURN for key in ("chosen", "rejected")]
    if replies[0] == replies[1]:
        raise ValueError("chosen and rejected are the same")
    return Pair(END_OF_DOCUMENT + framed, *replies)


def log_likelihoods(adapter: Adapter, pairs: list[Pair]) -> tuple[Tensor, Tensor]:
    """ln p of each reply after its context, chosen ones first: (2, n); and their lengths."""
    rows = [(p.context, p.chosen) for p in pairs] + [(p.context, p.rejected) for p in pairs]
    size = max(len(context) + len(reply) for context, reply in rows)
    text = np.zeros((len(rows), size), np.int64)
    mask = np.zeros((len(rows), size - 1), bool)
    for i, (context, reply) in enumerate(rows):
        whole = context + reply
        text[i, : len(whole)] = np.frombuffer(whole, np.uint8)
        mask[i, len(context) - 1 : len(whole) - 1] = True
    tokens, wanted = torch.from_numpy(text), torch.from_numpy(mask)
    with pick_machine("cpu", "auto", False).autocast():
        logits, _ = fused.fastest(adapter.model)(tokens[:, :-1], adapter.start(len(rows)))
    cost = F.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
    nats = -(cost.view(wanted.shape) * wanted).sum(1)
    return nats.view(2, -1), wanted.sum(1).view(2, -1)


def loss_of(
    now: Tensor, lengths: Tensor, before: Tensor | None, args: argparse.Namespace
) -> Tensor:
    """`before`: log-likelihoods under the model as it was; None: without a reference."""
    if before is None:
        mean = now / lengths
        margin = SIMPO_BETA * (mean[0] - mean[1]) - SIMPO_MARGIN
    else:
        margin = args.beta * ((now[0] - before[0]) - (now[1] - before[1]))
    own = -(now[0] / lengths[0]).mean()
    return -F.logsigmoid(margin).mean() + args.keep * own


def train(adapter: Adapter, pairs: list[Pair], args: argparse.Namespace) -> None:
    """Adam, at a rate that falls in a line to zero."""
    dice = np.random.default_rng(args.seed)
    optimizer = torch.optim.Adam(adapter.parameters, lr=args.rate, betas=(0.9, 0.99))
    reference = None
    if not args.reference_free:
        with torch.no_grad():
            parts = [pairs[i : i + ROWS] for i in range(0, len(pairs), ROWS)]
            reference = torch.cat([log_likelihoods(adapter, part)[0] for part in parts], 1)
    bar = tqdm(range(args.steps), unit="step")
    for step in bar:
        optimizer.param_groups[0]["lr"] = args.rate * (1 - step / args.steps)
        picked = dice.choice(len(pairs), min(ROWS, len(pairs)), replace=False)
        now, lengths = log_likelihoods(adapter, [pairs[i] for i in picked])
        loss = loss_of(now, lengths, None if reference is None else reference[:, picked], args)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(adapter.parameters, 1.0)
        optimizer.step()
        bar.set_postfix_str(f"loss {loss.item():.3f}")


def accuracy(model: parrot.Model, first: parrot.State, pairs: list[Pair]) -> dict[str, float]:
    """Share of pairs whose chosen reply is likelier, as a whole and a byte, through the engine."""
    whole = byte = 0
    for pair in pairs:
        state = first.copy()
        model.forward(pair.context, state)
        chosen, rejected = model.score([pair.chosen, pair.rejected], state)
        whole += chosen > rejected
        byte += chosen / len(pair.chosen) > rejected / len(pair.rejected)
    return {"pairs_right": whole / len(pairs), "pairs_right_per_byte": byte / len(pairs)}


def check_talks(paths: list[Path]) -> list[bytes]:
    """Talks whose cost must not rise: an even choice of those in the files, or of the held-out ones
    of the text written by hand.
    """
    records = [r for path in paths for r in read_records(path)[0]] if paths else held_out()
    found = [END_OF_DOCUMENT + frame(record) for record in records if record.turns]
    return found[:: max(1, len(found) // CHECK_TALKS)][:CHECK_TALKS]


def prefer(args: argparse.Namespace) -> dict[str, object]:
    """Train and write; the figures before and after."""
    pairs, held = read_pairs(args.pairs)
    talks = check_talks(args.check)
    if args.out.suffix not in (Lora.suffix, Persona.suffix):
        raise ConfigError(f"--out {args.out}: expected a name that ends in .lora or .state.")
    if not args.out.parent.is_dir():
        raise ConfigError(f"--out {args.out}: expected a folder that is there; make it first.")
    engine = parrot.Model.open(args.model, threads=args.threads)
    torch.manual_seed(args.seed)
    rank = args.rank if args.out.suffix == Lora.suffix else None
    adapter = adapter_for(load_network(engine.path), rank)
    report: dict[str, object] = {"pairs": len(pairs), "heldout_pairs": len(held)}
    report["before"] = _judged(engine, engine.new_state(), held, talks)
    train(adapter, pairs, args)
    adapter.write(args.out, engine)
    model, first = worn(engine, args.out)
    report["after"] = _judged(model, first, held, talks)
    return report | {"file": str(args.out), "model": engine.id}


def _judged(
    model: parrot.Model, first: parrot.State, held: list[Pair], talks: list[bytes]
) -> dict[str, float]:
    found = accuracy(model, first, held)
    found["chosen_bits"] = engine_bits(model, first, [p.context + p.chosen for p in held])
    found["check_bits"] = engine_bits(model, first, talks)
    return {name: round(value, 4) for name, value in found.items()}


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m tools.prefer", description=__doc__)
    p.add_argument("pairs", type=Path, metavar="PAIRS.jsonl")
    p.add_argument("--out", type=Path, required=True, metavar="FILE", help=".lora or .state")
    p.add_argument("--model", type=Path, default=BUNDLED, help="GGUF to train on (the bundled one)")
    p.add_argument("--check", type=Path, nargs="+", default=[], metavar="TALKS.jsonl")
    p.add_argument("--reference-free", action="store_true", help="SimPO instead of DPO")
    p.add_argument("--beta", type=float, default=0.1, help="of DPO: the smaller the bolder (0.1)")
    p.add_argument("--keep", type=float, default=0.2, help="weight of the chosen's own cost (0.2)")
    p.add_argument("--rank", type=int, default=8, help="of the LoRA (8)")
    p.add_argument("--steps", type=int, default=60, help="of 8 pairs each (60)")
    p.add_argument("--rate", type=float, default=1e-3)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=1)
    return p


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    args = parser().parse_args(argv)
    torch.set_num_threads(args.threads)
    try:
        print(json.dumps(prefer(args)))
    except ParrotError as exc:
        print(exc, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
