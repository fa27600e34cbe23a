# SPDX-License-Identifier: Apache-2.0
"""Turn a training checkpoint into files that people use.

    python -m tools.export RUN/last.safetensors --safetensors parrot.safetensors --gguf parrot.gguf

The safetensors file has the official names in f16; the GGUF is Q8_0. Before the command says 0,
the C engine has read the GGUF and its logits were compared with PyTorch's; what quantising cost is
printed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

import parrot
from parrot.base.errors import MismatchError, ParrotError
from parrot.base.files import file_error, replace_file
from parrot.model.codec import TensorType
from parrot.model.convert import import_model
from parrot.model.quantize import quantize_model
from tools.checkpoint import read_checkpoint
from tools.net import Model, Shape

PROOF = "\x00\x02Hello, parrot! 你好，鹦鹉！\x03\x06I am here. 我在呢。\x03".encode()
FLOAT_ERROR = 2e-3  # largest difference of a logit, engine on F32 against PyTorch
Q8_ERROR = 0.05  # mean difference of a logit that Q8_0 may make, in units of their spread


def official(tensors: dict[str, Tensor], half: bool = True) -> dict[str, Tensor]:
    """The network under its official names, as published checkpoints store it."""
    kind = torch.float16 if half else torch.float32
    return {name: t.to(kind).contiguous() for name, t in tensors.items()}


def torch_logits(tensors: dict[str, Tensor], shape: Shape, tokens: bytes) -> np.ndarray:
    """After each byte, from an empty state, in float32."""
    model = Model(shape)
    model.load_state_dict({name: t.float() for name, t in tensors.items()})
    with torch.no_grad():
        logits, _ = model(torch.tensor([list(tokens)]), model.new_state(1))
    return logits[0].numpy()


def engine_logits(path: Path, tokens: bytes) -> np.ndarray:
    """The same from the C engine."""
    model = parrot.Model.open(path)
    return np.asarray(model.forward(tokens, model.new_state(), every=True))


def write_gguf(tensors: dict[str, Tensor], shape: Shape, path: Path) -> dict[str, float]:
    """Write the Q8_0 file; how far the engine is from PyTorch with F32 weights and with Q8_0.

    Raises: MismatchError, and leaves `path` alone, if the engine computes something else.
    """
    expected = torch_logits(tensors, shape, PROOF)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        source, plain = Path(folder, "f32.safetensors"), Path(folder, "f32.gguf")
        replace_file(source, save(official(tensors, half=False)))
        import_model(source, plain, TensorType.F32)
        exact = float(np.abs(engine_logits(plain, PROOF) - expected).max())
        quantised = Path(folder, "q8.gguf")
        quantize_model(plain, quantised, TensorType.Q8_0)
        spread = float(expected.std())
        q8 = float(np.abs(engine_logits(quantised, PROOF) - expected).mean()) / spread
        if exact > FLOAT_ERROR or q8 > Q8_ERROR:
            raise MismatchError(
                f"{path}: the engine's logits differ by {exact:.2g} (F32) and {q8:.2g} of their "
                f"spread (Q8_0), expected at most {FLOAT_ERROR} and {Q8_ERROR}; nothing written.",
                path=path,
            )
        replace_file(path, quantised.read_bytes())
    return {"f32_max": exact, "q8_mean": q8}


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.export", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="last.safetensors of a run")
    parser.add_argument("--safetensors", type=Path, help="write the network in f16 here")
    parser.add_argument("--gguf", type=Path, help="write the network in Q8_0 here")
    args = parser.parse_args(argv)
    if not (args.safetensors or args.gguf):
        parser.error("nothing to write; give --safetensors or --gguf")
    try:
        groups, place = read_checkpoint(args.checkpoint)
        tensors, shape = groups["model"], Shape(**place["recipe"]["model"])
        if args.safetensors:
            replace_file(args.safetensors, save(official(tensors)))
        errors = write_gguf(tensors, shape, args.gguf) if args.gguf else {}
    except ParrotError as exc:
        print(exc, file=sys.stderr)
        return 1
    except OSError as exc:  # no folder for the files in between
        print(file_error(args.gguf, exc, "written"), file=sys.stderr)
        return 1
    print(json.dumps({"step": place["step"], "bytes_seen": place["seen"], **errors}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
