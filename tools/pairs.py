# SPDX-License-Identifier: Apache-2.0
"""Derive preference pairs for tools.prefer: a person's short reply against the parrot's rambling.

    python -m tools.pairs TALKS.jsonl ... --out PAIRS.jsonl [--model FILE] [--drafts 3] [--seed 1]

For every turn of the parrot in the talks, the model is asked the same, in the same talk, for a few
drafts at temperature 1; the longest is the rejected reply, if it is longer than the one that the
talk has, which is the chosen one.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

import parrot
from parrot.app.options import add_model_options, open_model
from parrot.base.errors import ParrotError
from parrot.base.files import replace_file
from parrot.base.text import END_OF_DOCUMENT, companion_turn
from parrot.engine.generate import Sampling
from tools.corpus import frame
from tools.corpus_read import Record, read_records

BOLD = Sampling(temperature=1.0, top_p=1.0)
DRAFT_BYTES = 240


def pairs(
    model: parrot.Model, record: Record, drafts: int, seed: int
) -> Iterator[dict[str, object]]:
    """One pair for each turn of the parrot in a talk."""
    for i in range(1, len(record.turns), 2):
        (_, asked), (_, chosen) = record.turns[i - 1 : i + 1]
        state = model.new_state()
        model.forward(END_OF_DOCUMENT + frame(Record(None, record.turns[: i - 1])), state)
        said = [
            b"".join(
                model.generate(
                    state.copy(),
                    companion_turn(asked),
                    sampling=BOLD,
                    seed=seed + draft,
                    max_bytes=DRAFT_BYTES,
                )
            ).decode("utf-8", "replace")
            for draft in range(drafts)
        ]
        rejected = max(said, key=lambda text: len(text.encode()))
        if len(rejected.encode()) > len(chosen.encode()):
            turns = [{"role": role, "text": text} for role, text in record.turns[:i]]
            yield {"context": turns, "chosen": chosen, "rejected": rejected}


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.pairs", description=__doc__)
    parser.add_argument("talks", type=Path, nargs="+", metavar="TALKS.jsonl")
    parser.add_argument("--out", type=Path, required=True, metavar="PAIRS.jsonl")
    parser.add_argument("--drafts", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    add_model_options(parser)
    args = parser.parse_args(argv)
    try:
        records = [r for path in args.talks for r in read_records(path)[0] if r.turns]
        model = open_model(args)
        made = [
            pair
            for i, record in enumerate(tqdm(records, unit="talk"))
            for pair in pairs(model, record, args.drafts, args.seed + 1000 * i)
        ]
        lines = (json.dumps(pair, ensure_ascii=False) + "\n" for pair in made)
        replace_file(args.out, "".join(lines).encode())
    except ParrotError as exc:
        print(exc, file=sys.stderr)
        return 1
    print(json.dumps({"pairs": len(made), "file": str(args.out), "model": model.id}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
