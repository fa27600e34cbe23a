# SPDX-License-Identifier: Apache-2.0
"""What nine keys may mean: Chinese candidates for the digits of a phone's keys, best first.

Type pinyin as on a phone, 64426 for "ni hao"; a last syllable may be unfinished. With --context the
language model ranks the sentences too, after what was said before. What uses up all digits stands
first, then what uses up the first ones. A score is the log probability of the text alone.

examples:
  parrot t9 64426
  parrot t9 96636826 -n 20 --json
  parrot t9 94664486 --context 你想吃什么？
"""

from __future__ import annotations

import argparse
import json

from parrot.app.assemble import PINYIN_PATH
from parrot.app.conversation import likelihoods
from parrot.app.options import add_model_options, open_model
from parrot.base.errors import ConfigError
from parrot.base.text import clean_text
from parrot.mind.turn import opening, stop_of
from parrot.senses.pinyin_table import PinyinTable
from parrot.senses.t9 import Rescore, t9

N_MAX = 1_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("digits", metavar="DIGITS", help="1 to 64 digits, 2 to 9")
    parser.add_argument("-n", type=int, default=10, metavar="N", help="candidates (default: 10)")
    parser.add_argument("--context", metavar="TEXT", help="what the parrot said just before")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_model_options(parser)


def _ranker(args: argparse.Namespace) -> Rescore:
    """Return what asks the model how likely each text is as an answer to the context."""
    model = open_model(args)
    state, said = model.new_state(), clean_text(args.context).encode()
    before = opening(model, 0, b"", b"") + model.tokenizer.encode(said + stop_of(model))
    model.forward(before, state)
    return lambda texts: likelihoods(model, state, "", texts)


def run(args: argparse.Namespace) -> int:
    if not 1 <= args.n <= N_MAX:
        raise ConfigError(f"t9: -n {args.n}, expected 1 to {N_MAX}; choose another.", key="n")
    rescore = None if args.context is None else _ranker(args)
    found = t9(PinyinTable(PINYIN_PATH), args.digits, args.n, rescore)
    if args.json:
        print(json.dumps(found, ensure_ascii=False))
        return 0
    for candidate in found["candidates"]:
        print(f"{candidate['score']:8.2f}  {candidate['text']}")
    return 0
