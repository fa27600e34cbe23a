# SPDX-License-Identifier: Apache-2.0
"""Measure recall: a fact is told, other talk follows, then the parrot is asked.

    python -m tools.recall [--model FILE] [--n 100] [--bytes 0 1024 4096 16384] [--json]

The items are the held-out ones of the school (names, values and phrasings that no training text
has; `python -m tools.school --recall-eval`), half English and half Chinese. Two figures for each
distance, through the C engine from a new state:

    said    the reply, greedy, holds the answer
    chosen  of the right answer and three others of its kind, the talk raises the right one most
            against the same question asked out of the blue; chance is a quarter
"""

from __future__ import annotations

import argparse
import functools
import json
import random
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from tqdm import tqdm

import parrot
from parrot.app.options import add_model_options, open_model
from parrot.base.errors import ParrotError
from parrot.base.text import END_OF_DOCUMENT, END_OF_TURN, companion_turn
from parrot.engine.generate import Sampling
from tools.school.families_recall import recall_item

LANGS = ("en", "zh")
DISTANCES = (0, 1024, 4096, 16384)
GREEDY = Sampling(temperature=0.0)
CHOICES = 4
MAX_BYTES = 120
SPARE = 400  # items drawn to know what other answers there are


@dataclass(frozen=True)
class Item:
    lang: str
    kind: str
    talk: bytes  # framed, up to where the parrot answers
    question: str
    answer: str
    others: tuple[str, ...]


def items(n: int, distance: int, langs: list[str], seed: int) -> list[Item]:
    """The same `n` items for one seed, the languages in turn."""
    made = [
        recall_item(langs[i % len(langs)], random.Random(f"recall {seed} {distance} {i}"), distance)
        for i in range(n)
    ]
    spare = _spare(seed)
    out = []
    for i, item in enumerate(made):
        answer, kind, lang = str(item["answers"][0]), str(item["kind"]), str(item["lang"])
        pool = [other for other in spare[lang, kind] if other != answer]
        others = random.Random(f"others {seed} {i}").sample(pool, min(CHOICES - 1, len(pool)))
        talk = _framed(item["turns"])
        out.append(Item(lang, kind, talk, str(item["question"]), answer, tuple(others)))
    return out


def _framed(turns: list[dict[str, str]]) -> bytes:
    talk = END_OF_DOCUMENT
    for turn in turns:
        text = turn["text"]
        if turn["role"] == "user":
            talk += companion_turn(text)
        else:
            talk += text.encode() + END_OF_TURN
    return talk


@functools.cache
def _spare(seed: int) -> dict[tuple[str, str], list[str]]:
    """Answers of every kind, in both languages."""
    found: dict[tuple[str, str], list[str]] = {}
    for i in range(SPARE):
        item = recall_item(LANGS[i % 2], random.Random(f"spare {seed} {i}"), 0)
        answers = found.setdefault((str(item["lang"]), str(item["kind"])), [])
        if item["answers"][0] not in answers:
            answers.append(str(item["answers"][0]))
    return found


def says(reply: str, answer: str) -> bool:
    """Whether a reply holds the answer, as a word of its own where words have spaces."""
    inside = re.escape(answer.lower())
    if answer.isascii():
        inside = rf"(?<![a-z0-9]){inside}(?![a-z0-9])"
    return re.search(inside, reply.lower()) is not None


def ask(model: parrot.Model, item: Item) -> tuple[bool, bool | None, str]:
    """(said, chosen, reply); chosen is None where there are no others of the kind."""
    state = model.new_state()
    model.forward(item.talk, state)
    chosen = _chosen(model, state, item) if item.others else None
    pieces = model.generate(state, sampling=GREEDY, seed=1, max_bytes=MAX_BYTES)
    reply = b"".join(pieces).decode("utf-8", "replace")
    return says(reply, item.answer), chosen, reply


def _chosen(model: parrot.Model, state: parrot.State, item: Item) -> bool:
    texts = [answer.encode() for answer in (item.answer, *item.others)]
    blank = model.new_state()
    model.forward(END_OF_DOCUMENT + companion_turn(item.question), blank)
    told, untold = model.score(texts, state), model.score(texts, blank)
    raised = [a - b for a, b in zip(told, untold, strict=True)]
    return raised[0] > max(raised[1:])


def measure(
    model: parrot.Model, n: int, distance: int, langs: list[str], seed: int
) -> dict[str, float]:
    """The figures for one distance."""
    said, chosen, size = [], [], 0
    rows = items(n, distance, langs, seed)
    for item in tqdm(rows, desc=f"{distance:,} bytes", unit="item"):
        has_said, has_chosen, _ = ask(model, item)
        said.append((item.lang, has_said))
        chosen += [] if has_chosen is None else [has_chosen]
        size += len(item.talk)
    by_lang = {
        lang: sum(ok for other, ok in said if other == lang)
        / max(1, sum(other == lang for other, _ in said))
        for lang in LANGS
    }
    return {
        "distance": distance,
        "items": n,
        "mean_talk_bytes": size / n,
        "said": sum(ok for _, ok in said) / n,
        "said_en": by_lang["en"],
        "said_zh": by_lang["zh"],
        "chosen": sum(chosen) / max(1, len(chosen)),
    }


def table(rows: list[dict[str, float]]) -> Iterator[str]:
    yield f"{'bytes between':>13} {'items':>6} {'said':>7} {'en':>7} {'zh':>7} {'chosen of 4':>12}"
    for r in rows:
        yield (
            f"{r['distance']:13,} {r['items']:6} {r['said']:7.1%} {r['said_en']:7.1%} "
            f"{r['said_zh']:7.1%} {r['chosen']:12.1%}"
        )


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m tools.recall",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--n", type=int, default=100, help="items for each distance (100)")
    p.add_argument("--bytes", type=int, nargs="+", default=list(DISTANCES), metavar="N")
    p.add_argument("--lang", nargs="+", choices=LANGS, default=list(LANGS))
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--json", action="store_true", help="print one JSON object")
    add_model_options(p)
    return p


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    args = parser().parse_args(argv)
    try:
        model = open_model(args)
        rows = [measure(model, max(2, args.n), size, args.lang, args.seed) for size in args.bytes]
    except ParrotError as exc:
        print(exc, file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps({"model": model.id, "recall": rows}))
    else:
        print("\n".join(table(rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
