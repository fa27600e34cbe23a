# SPDX-License-Identifier: Apache-2.0
"""Model files: look inside, convert, quantize, verify.

examples:
  parrot model info parrot.gguf
  parrot model import RWKV-x070-World-0.1B.pth world.gguf --vocab rwkv_vocab_v20230424.txt
  parrot model quantize world.gguf world.q8.gguf
  parrot model verify world.q8.gguf --against world.gguf
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from parrot.engine.model import BUNDLED


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    info = commands.add_parser("info", help="both sizes: of the description and of the weights")
    info.add_argument("file", nargs="?", type=Path, default=BUNDLED, metavar="FILE")
    verify = commands.add_parser("verify", help="check structure and every weight")
    verify.add_argument("file", nargs="?", type=Path, default=BUNDLED, metavar="FILE")
    verify.add_argument("--against", type=Path, metavar="FILE", help="the float file it came from")
    convert = commands.add_parser("import", help="official .pth or .safetensors -> GGUF")
    convert.add_argument("--vocab", type=Path, metavar="FILE", help="World vocabulary text")
    convert.add_argument("--type", default="F16", choices=("F32", "F16", "Q8_0"))
    quantize = commands.add_parser("quantize", help="float GGUF -> Q8_0")
    quantize.add_argument(
        "--lora", default="F16", choices=("F32", "F16", "Q8_0"), help="type of the LoRA matrices"
    )
    for command in (convert, quantize):
        command.add_argument("source", type=Path, metavar="SOURCE")
        command.add_argument("target", type=Path, metavar="TARGET")
    for command in (info, verify):
        command.add_argument("--json", action="store_true", help="print one JSON object")


def _print(facts: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(facts))
        return
    for name, value in facts.items():
        if isinstance(value, dict):
            value = ", ".join(f"{k} {v}" for k, v in value.items())
        print(f"{name:>18}  {value:,}" if isinstance(value, int) else f"{name:>18}  {value}")


def run(args: argparse.Namespace) -> int:
    from parrot.model.codec import TensorType
    from parrot.model.convert import import_model
    from parrot.model.quantize import model_info, quantize_model, verify_model

    if args.action == "info":
        _print(model_info(args.file), args.json)
    elif args.action == "verify":
        _print(verify_model(args.file, args.against), args.json)
    elif args.action == "import":
        import_model(args.source, args.target, TensorType[args.type], args.vocab)
        print(f"{args.target}: written, {args.target.stat().st_size:,} bytes.")
    else:
        quantize_model(args.source, args.target, TensorType[args.lora])
        print(f"{args.target}: written, {args.target.stat().st_size:,} bytes.")
    return 0
