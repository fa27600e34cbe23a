# SPDX-License-Identifier: Apache-2.0
"""Train the directions along which hormones push the state, and measure them.

    python -m tools.moods [--measure]

Each line of tools/school/mood/moods.jsonl is something said to the parrot and, for each hormone, a
reply when its level is high and one when it is low. A direction D is a difference between states,
trained so that the high reply is likely from S + sD and the low one from S - sD, where S is the
state after some other talk and the words said, and s is drawn from 0.5 … 1. What both kinds of
reply have in common cancels out. D starts at zero and few steps are taken, or it would learn the
replies by heart. Written are MODEL.moods/HORMONE.state, which parrot.mind.moods reads.

Every fifth prompt is held out, in both languages. Printed, through the C engine, for each strength:
the cost of the held-out high and low replies; the share of prompts whose high reply is the likelier
one, a byte; and the cost of the held-out talks of tools/school/hand with every reply pushed, which
is what a mood does to talk that has nothing to do with it. All in bits per byte.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

import parrot
from parrot.base.errors import ParrotError
from parrot.base.files import file_error, read_file
from parrot.base.text import END_OF_DOCUMENT, END_OF_TURN, PARROT, companion_turn
from parrot.mind.hormones import HORMONES
from parrot.mind.moods import PUSH_MAX, SUFFIX
from tools import fused
from tools.adapt import BUNDLED, load_network
from tools.corpus import frame
from tools.corpus_read import Record, read_records
from tools.net import LayerState, Model
from tools.replies import HAND, held_out

MOODS = Path(__file__).parent / "school" / "mood" / "moods.jsonl"
HELD_EVERY = 5
CONTEXTS = 3  # states for each prompt
CONTEXT_BYTES = 1_200  # of other talk before it, at most
ROWS = 8  # prompts to a step, each with both replies
STRENGTHS = tuple(share * PUSH_MAX for share in (-1, -0.5, 0, 0.5, 1))
CHECK_TALKS = 40

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Place:
    """A state in which the parrot is about to speak (the mark of its turn not yet lived), and what
    it would say there, framed, at a high and at a low level of each hormone."""

    state: parrot.State
    replies: dict[str, tuple[bytes, bytes]]


def read_moods(path: Path) -> tuple[list[dict[str, list[str]]], list[dict[str, list[str]]]]:
    """Lines to train on, and held out: the same prompts in English and Chinese, half each."""
    lines = [json.loads(line) for line in read_file(path, 1 << 20).decode().splitlines()]
    half = len(lines) // 2
    held = [line for i, line in enumerate(lines) if i % half % HELD_EVERY == HELD_EVERY - 1]
    return [line for line in lines if line not in held], held


def places(
    engine: parrot.Model, lines: list[dict[str, list[str]]], talks: list[Record], seed: int
) -> list[Place]:
    """CONTEXTS places for each line, after up to two other talks."""
    dice, found = random.Random(seed), []
    for line in lines * CONTEXTS:
        others = b"".join(frame(talk) for talk in dice.sample(talks, dice.randrange(3)))
        before = END_OF_DOCUMENT + (others if len(others) < CONTEXT_BYTES else b"")
        state = engine.new_state()
        engine.forward(before + companion_turn(str(line["prompt"]))[:-1], state)
        replies = {
            name: tuple(text.encode() + END_OF_TURN for text in line[name]) for name in HORMONES
        }
        found.append(Place(state, replies))  # type: ignore[arg-type]
    return found


def layers_of(model: Model, states: list[parrot.State], push: Tensor) -> list[LayerState]:
    """The states in PyTorch, one a row, with push (rows, layers, heads, 64, 64) added."""
    width, rows = model.shape.width, len(states)
    whole = torch.from_numpy(np.stack([state.payload for state in states]))
    parts = whole.view(rows, model.shape.layers, -1)
    return [
        (
            parts[:, i, :width],
            parts[:, i, width : 2 * width],
            parts[:, i, 2 * width :].reshape(push[:, i].shape) + push[:, i],
        )
        for i in range(model.shape.layers)
    ]


def costs(model: Model, states: list[parrot.State], push: Tensor, replies: list[bytes]) -> Tensor:
    """Nats a byte of each reply after its state, pushed."""
    size = max(map(len, replies))
    text = np.zeros((len(replies), size + 1), np.int64)
    for i, reply in enumerate(replies):
        text[i, : len(reply) + 1] = np.frombuffer(PARROT + reply, np.uint8)
    lengths = torch.tensor([len(reply) for reply in replies])
    tokens, said = torch.from_numpy(text), torch.arange(size) < lengths[:, None]
    logits, _ = fused.fastest(model)(tokens[:, :-1], layers_of(model, states, push))
    nats = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
    return (nats.view(said.shape) * said).sum(1) / lengths


def train(model: Model, name: str, found: list[Place], args: argparse.Namespace) -> F32:
    """The direction of one hormone, as a state's numbers. Adam, falling in a line to zero."""
    shape = model.shape
    direction = nn.Parameter(torch.zeros(shape.layers, shape.heads, 64, 64))
    optimizer = torch.optim.Adam([direction], lr=args.rate, betas=(0.9, 0.99))
    dice = random.Random(args.seed)
    bar = tqdm(range(args.steps), unit="step", desc=name)
    for step in bar:
        optimizer.param_groups[0]["lr"] = args.rate * (1 - step / args.steps)
        some = dice.sample(found, ROWS)
        strength = torch.tensor([dice.uniform(0.5, 1) for _ in range(2 * ROWS)])
        strength[ROWS:] *= -1
        replies = [place.replies[name][which] for which in (0, 1) for place in some]
        states = [place.state for place in some] * 2
        loss = costs(model, states, strength.view(-1, 1, 1, 1, 1) * direction, replies).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        bar.set_postfix_str(f"{loss.item() / np.log(2):.3f} bits")
    numbers = np.zeros((shape.layers, 2 * shape.width + direction[0].numel()), np.float32)
    numbers[:, 2 * shape.width :] = direction.detach().flatten(1).numpy()
    return numbers.ravel()


# ---- what it is worth, through the engine


def nats_of(engine: parrot.Model, state: parrot.State, push: F32, reply: bytes) -> float:
    """The cost of `reply` from `state`, pushed before the mark of the turn."""
    twin = state.copy()
    twin.payload += push
    logits = engine.forward(PARROT + reply[:-1], twin, every=True).astype(np.float64)
    logits -= logits.max(-1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return -float(log_p[np.arange(len(reply)), np.frombuffer(reply, np.uint8)].sum())


def spoken(engine: parrot.Model, talks: list[Record]) -> Iterator[tuple[parrot.State, bytes]]:
    """Every reply in `talks`, and the state before the mark of its turn."""
    for talk in talks:
        state = engine.new_state()
        engine.forward(END_OF_DOCUMENT, state)
        for role, text in talk.turns:
            if role == "assistant":
                reply = text.encode() + END_OF_TURN
                yield state, reply
                engine.forward(PARROT + reply, state)
            else:
                engine.forward(companion_turn(text)[:-1], state)


def judge(
    engine: parrot.Model, name: str, direction: F32, held: list[Place], talks: list[Record]
) -> dict[str, dict[str, float]]:
    """The figures by strength."""
    bits = {s: np.zeros(2) for s in STRENGTHS}  # nats and bytes of other talk
    for state, reply in spoken(engine, talks):
        for s in STRENGTHS:
            nats = nats_of(engine, state, np.float32(s) * direction, reply)
            bits[s] += nats / np.log(2), len(reply)
    figures = {}
    for s in STRENGTHS:
        push = np.float32(s) * direction
        both = np.array(
            [
                [nats_of(engine, place.state, push, r) / len(r) for r in place.replies[name]]
                for place in held
            ]
        ) / np.log(2)
        figures[f"{s:+.2f}"] = {
            "high": round(float(both[:, 0].mean()), 3),
            "low": round(float(both[:, 1].mean()), 3),
            "high_likelier": round(float((both[:, 0] < both[:, 1]).mean()), 3),
            "other_talk": round(float(bits[s][0] / bits[s][1]), 4),
        }
    return figures


def write(engine: parrot.Model, direction: F32, path: Path) -> None:
    state = engine.new_state()
    state.payload[:] = direction
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise file_error(path.parent, exc, "written") from exc
    state.save(path)


def run(args: argparse.Namespace) -> None:
    engine = parrot.Model.open(args.model, threads=args.threads)
    lines, held_lines = read_moods(MOODS)
    check = [record for record in held_out() if record.turns]
    held = places(engine, held_lines, check, args.seed)
    folder = engine.path.with_suffix(SUFFIX)
    if not args.measure:
        whole = [r for path in sorted(HAND.glob("*.jsonl")) for r in read_records(path)[0]]
        kept = {frame(record) for record in check}
        talks = [record for record in whole if record.turns and frame(record) not in kept]
        model, found = load_network(engine.path), places(engine, lines, talks, args.seed)
        for name in args.hormones:
            write(engine, train(model, name, found, args), folder / f"{name}.state")
    check = check[:: max(1, len(check) // CHECK_TALKS)][:CHECK_TALKS]
    for name in args.hormones:
        path = folder / f"{name}.state"
        figures = judge(engine, name, engine.load_state(path).payload, held, check)
        print(json.dumps({"file": str(path), "model": engine.id, **figures}), flush=True)


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m tools.moods", description=__doc__)
    p.add_argument("hormones", nargs="*", default=list(HORMONES), help="which to train (all)")
    p.add_argument("--measure", action="store_true", help="what is there; train nothing")
    p.add_argument("--model", type=Path, default=BUNDLED, help="GGUF (the bundled one)")
    p.add_argument("--steps", type=int, default=40, help="of 16 replies each (40)")
    p.add_argument("--rate", type=float, default=0.03)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=1)
    return p


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    args = parser().parse_args(argv)
    torch.set_num_threads(args.threads)
    try:
        run(args)
    except ParrotError as exc:
        print(exc, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
