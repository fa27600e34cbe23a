# SPDX-License-Identifier: Apache-2.0
"""Record what the PyPI package `rwkv` says about a tiny random model.

    pip install torch rwkv
    PYTHONPATH=. python tests/golden/make_reference.py

writes `tiny.gguf`, a small model in F16 with odd ranks, and `tiny.npz`, the tokens it was fed,
the logits of `rwkv` (cpu, fp32) after each, and where they come from; and `tensors.pth`, a handful
of tensors as torch saves them. It prints how far the logits moved from those that were there.
"""

from __future__ import annotations

import os
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from parrot.model.codec import TensorType
from parrot.model.convert import checkpoint_source
from parrot.model.random_model import random_checkpoint
from parrot.model.shape import Shape
from parrot.model.tokenizer import BYTE_VOCABULARY
from parrot.model.weights import write_model

HERE = Path(__file__).parent
SHAPE = Shape(
    n_layer=3, n_embd=32, head_size=16, n_ffn=64, n_vocab=256,
    rank_w=8, rank_a=4, rank_v=3, rank_g=12,
)  # fmt: skip
TOKENS = list("The parrot says: 你好！\n".encode())


def rwkv_logits(checkpoint: dict[str, Any], tokens: list[int], folder: Path) -> np.ndarray:
    """Return the logits (T, V) of the PyPI package `rwkv` for an official checkpoint."""
    os.environ |= {"RWKV_V7_ON": "1", "RWKV_JIT_ON": "0", "RWKV_CUDA_ON": "0"}
    import torch
    from rwkv.model import RWKV

    torch.set_num_threads(1)
    tensors = {name: torch.from_numpy(value.copy()) for name, value in checkpoint.items()}
    torch.save(tensors, folder / "model.pth")
    model, state, logits = RWKV(model=str(folder / "model"), strategy="cpu fp32"), None, []
    for token in tokens:
        after, state = model.forward([token], state)
        logits.append(after.float().numpy().copy())
    return np.stack(logits)


def tiny_checkpoint() -> dict[str, Any]:
    """Return the weights, matrices already rounded to F16 so that the file holds them exactly."""
    checkpoint = random_checkpoint(SHAPE, seed=26)
    for name, value in checkpoint.items():
        if value.squeeze().ndim == 2 and not name.endswith("r_k"):
            checkpoint[name] = value.astype(np.float16).astype(np.float32)
    return checkpoint


def write_tiny(path: Path) -> None:
    write_model(path, checkpoint_source(tiny_checkpoint(), BYTE_VOCABULARY), TensorType.F16)


def write_pth(path: Path) -> None:
    """Save one tensor in each format we read, a part of a storage, and a module's own names."""
    import torch

    values = torch.arange(6.0).reshape(1, 2, 3) / 4
    tensors = torch.nn.ModuleDict({"module": torch.nn.Linear(3, 2)}).state_dict()
    kinds = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
    tensors.update({name: values.to(kind) for name, kind in kinds.items()}, slice=values[0, 1])
    torch.save(tensors, path)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        logits = rwkv_logits(tiny_checkpoint(), TOKENS, Path(folder))
    write_tiny(HERE / "tiny.gguf")
    write_pth(HERE / "tensors.pth")
    if (HERE / "tiny.npz").exists():
        with np.load(HERE / "tiny.npz") as before:
            print(f"logits moved by at most {np.abs(before['logits'] - logits).max():.1e}")
    made_by = (
        f"PYTHONPATH=. python tests/golden/make_reference.py; rwkv {version('rwkv')}, "
        f"torch {version('torch')}, numpy {np.__version__}, {platform.machine()}"
    )
    np.savez(HERE / "tiny.npz", tokens=np.array(TOKENS), logits=logits, made_by=made_by)
    print(made_by)


if __name__ == "__main__":
    main()
