# SPDX-License-Identifier: Apache-2.0
"""What can be trained on top of a finished model, whose weights stay as they are: the state that a
talk begins with (a persona), or a LoRA beside the large matrices.

Both start from a GGUF file, the very file that the engine runs, and become files of the engine.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import parrot
from parrot.base.errors import FormatError
from parrot.base.text import END_OF_TURN, PARROT
from parrot.model.lora import MATRICES, RANK_MAX, Update, write_lora
from parrot.model.weights import ModelFile, open_model
from tools.net import LayerState, Model, Shape

BUNDLED = Path(parrot.__file__).parent / "assets" / "parrot.gguf"

_TOP = {
    "emb": "token_embd",
    "blocks.0.ln0": "token_embd_norm",
    "ln_out": "output_norm",
    "head": "output",
}
_NORMS = {"ln1": "attn_norm", "ln2": "attn_norm_2", "att.ln_x": "time_mix_ln"}
_LERPS = {f"x_{c}": i for i, c in enumerate("rwkvag")}  # their places in the fused tensor


def load_network(path: Path) -> Model:
    """The network of a GGUF file in PyTorch, frozen.

    Raises: FormatError for a shape that tools.net does not build; what open_model raises.
    """
    file = open_model(path)
    shape = Shape(file.shape.n_embd, file.shape.n_layer, file.shape.n_vocab)
    model = Model(shape)
    wanted = model.state_dict()
    try:
        tensors = {name: _tensor(file, name, like.shape) for name, like in wanted.items()}
    except (ValueError, KeyError) as exc:
        raise FormatError(
            f"{path}: {exc}, expected the ranks and head size of tools.net; this model cannot be "
            "trained here.",
            path=path,
        ) from exc
    model.load_state_dict(tensors)
    return model.requires_grad_(False).eval()


def _tensor(file: ModelFile, name: str, dims: torch.Size) -> Tensor:
    """One parameter under its official name."""
    stem, _, last = name.rpartition(".")
    if stem in _TOP:
        return torch.from_numpy(file.array(f"{_TOP[stem]}.{last}")).reshape(dims)
    _, layer, rest = name.split(".", 2)
    inner = rest.removesuffix(f".{last}") if last in ("weight", "bias") else rest
    if inner in _NORMS:
        return torch.from_numpy(file.array(f"blk.{layer}.{_NORMS[inner]}.{last}")).reshape(dims)
    part, _, short = inner.partition(".")
    prefix = f"blk.{layer}." + {"att": "time_mix", "ffn": "channel_mix"}[part]
    if part == "att" and short in _LERPS:
        return torch.from_numpy(file.array(f"{prefix}_lerp_fused.weight"))[_LERPS[short]].view(dims)
    source = file.array(f"{prefix}_{'lerp_k' if short == 'x_k' else short}.weight")
    if re.fullmatch("[wavg][12]", short):
        source = source.T.copy()
    return torch.from_numpy(source).reshape(dims)


class Persona:
    """The wkv matrices that a talk begins with, instead of zeros."""

    suffix = ".state"

    def __init__(self, model: Model) -> None:
        self.model = model
        H = model.shape.heads
        self.wkv = nn.Parameter(torch.zeros(model.shape.layers, H, 64, 64))
        self.parameters = [self.wkv]

    def start(self, rows: int) -> list[LayerState]:
        """The state before the first byte, for each of `rows` rows."""
        return [
            (shift, other, self.wkv[i].expand(rows, -1, -1, -1))
            for i, (shift, other, _) in enumerate(self.model.new_state(rows))
        ]

    def write(self, path: Path, engine: parrot.Model) -> None:
        """As a state file of `engine`'s model, at position 0."""
        state = engine.new_state()
        layers = state.payload.reshape(self.model.shape.layers, -1)
        width = self.model.shape.width
        layers[:, 2 * width :] = self.wkv.detach().flatten(1).numpy()
        state.save(path)


class LoraLinear(nn.Module):
    """y = W x + B (A x); W is frozen, B begins at zero."""

    def __init__(self, linear: nn.Linear, rank: int) -> None:
        super().__init__()
        self.weight = linear.weight
        n_out, n_in = linear.weight.shape
        self.a = nn.Parameter(torch.randn(rank, n_in) / n_in**0.5)
        self.b = nn.Parameter(torch.zeros(n_out, rank))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight) + F.linear(F.linear(x, self.a), self.b)


class Lora:
    """Low-rank updates of the six large matrices of every layer."""

    suffix = ".lora"

    def __init__(self, model: Model, rank: int) -> None:
        if not 1 <= rank <= RANK_MAX:
            raise FormatError(f"--lora {rank}: expected a rank of 1 to {RANK_MAX}; choose another.")
        self.model = model
        self.places: dict[tuple[int, str], LoraLinear] = {}
        for i, block in enumerate(model.blocks):
            for matrix in MATRICES:
                half, _, short = matrix.partition("_mix_")
                home = block.att if half == "time" else block.ffn
                made = LoraLinear(getattr(home, short), rank)
                setattr(home, short, made)
                self.places[i, matrix] = made
        self.parameters = [p for place in self.places.values() for p in (place.a, place.b)]

    def start(self, rows: int) -> list[LayerState]:
        return self.model.new_state(rows)

    def write(self, path: Path, engine: parrot.Model) -> None:
        write_lora(path, engine.id, self.updates())

    def updates(self) -> list[Update]:
        return [
            Update(layer, matrix, _numpy(place.a), _numpy(place.b))
            for (layer, matrix), place in self.places.items()
        ]


Adapter = Persona | Lora


def adapter_for(model: Model, lora_rank: int | None) -> Adapter:
    """A persona, or a LoRA of that rank."""
    return Persona(model) if lora_rank is None else Lora(model, lora_rank)


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().numpy()


def worn(engine: parrot.Model, path: Path) -> tuple[parrot.Model, parrot.State]:
    """The engine's model and first state with an adapter's file."""
    if path.suffix == Lora.suffix:
        return engine.with_lora(path), engine.new_state()
    return engine, engine.load_state(path)


def said_by_parrot(text: bytes) -> np.ndarray:
    """For each byte but the first: is it the parrot's, words or the end of its turn?"""
    inside, now = [], False
    for byte in text:
        inside.append(now)
        now = byte == PARROT[0] or (now and byte != END_OF_TURN[0])
    return np.array(inside[1:])


def engine_bits(engine: parrot.Model, first: parrot.State, texts: list[bytes]) -> float:
    """Bits per byte of what the parrot says in `texts`, each from the state `first`."""
    nats, n = 0.0, 0
    for text in texts:
        logits = engine.forward(text[:-1], first.copy(), every=True).astype(np.float64)
        logits -= logits.max(-1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        wanted = np.frombuffer(text[1:], np.uint8)
        mask = said_by_parrot(text)
        nats -= float(log_p[np.arange(len(wanted)), wanted][mask].sum())
        n += int(mask.sum())
    return nats / n / np.log(2)
