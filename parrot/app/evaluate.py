# SPDX-License-Identifier: Apache-2.0
"""Bits per byte of the model on files: how well it predicts them; lower is better.

Each file is read as it is, after one end-of-document byte, from a fresh state; with --state-carry
the state lives on from file to file.

examples:
  parrot eval book.txt
  parrot eval --json --model my.gguf held_out/*.txt
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from parrot.app.options import add_model_options, open_model
from parrot.base.errors import FileError
from parrot.base.files import read_file
from parrot.base.text import END_OF_DOCUMENT
from parrot.engine.model import Model
from parrot.engine.state import State

_FILE_SIZE_MAX = 4 << 30
_LOGITS_MAX = 1 << 21  # floats of one chunk's logits: 8 MB


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", type=Path)
    parser.add_argument("--state-carry", action="store_true", help="one life over all the files")
    parser.add_argument("--max-bytes", type=int, metavar="N", help="of each file; default: all")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_model_options(parser)


def bits_of(model: Model, text: bytes, state: State, progress: bool = False) -> float:
    """Live END_OF_DOCUMENT and `text`; return -log2 p(text), in bits."""
    tokens = model.tokenizer.encode(END_OF_DOCUMENT) + model.tokenizer.encode(text)
    chunk = max(64, _LOGITS_MAX // model.n_vocab)
    nats, begun = 0.0, time.monotonic()
    for at in range(0, len(tokens) - 1, chunk):
        inputs = tokens[at : min(at + chunk, len(tokens) - 1)]
        logits = model.forward(inputs, state, every=True).astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        targets = np.array(tokens[at + 1 : at + 1 + len(inputs)])
        picked = logits[np.arange(len(inputs)), targets]
        nats += float((np.log(np.exp(logits).sum(axis=1)) - picked).sum())
        if progress:
            _draw_progress(at + len(inputs), len(tokens) - 1, time.monotonic() - begun)
    model.forward(tokens[-1:], state)  # the last byte is lived too
    return nats / math.log(2)


def _draw_progress(done: int, total: int, seconds: float) -> None:
    filled = 30 * done // total
    left = seconds * (total - done) / done
    end = "\r\x1b[K" if done == total else f" {done / total:4.0%}, {left:.0f} s left"
    sys.stderr.write(f"\r[{'#' * filled}{'.' * (30 - filled)}]{end}")
    sys.stderr.flush()


def run(args: argparse.Namespace) -> int:
    model = open_model(args)
    state, rows = model.new_state(), list[dict[str, Any]]()
    for path in args.files:
        text = read_file(path, _FILE_SIZE_MAX)[: args.max_bytes]
        if not text:
            raise FileError(f"{path}: empty, expected text; pass another file.", path=path)
        if not args.state_carry:
            state = model.new_state()
        bits = bits_of(model, text, state, progress=sys.stderr.isatty())
        rows.append({"path": str(path), "bytes": len(text), "bits_per_byte": bits / len(text)})
        if not args.json:
            print(f"{bits / len(text):8.4f} bits per byte  {len(text):>12,} bytes  {path}")
    total = sum(row["bytes"] for row in rows)
    mean = sum(row["bits_per_byte"] * row["bytes"] for row in rows) / total
    if args.json:
        print(json.dumps({"files": rows, "bits_per_byte": mean}))
    elif len(rows) > 1:
        print(f"{mean:8.4f} bits per byte  {total:>12,} bytes  all")
    return 0
