# SPDX-License-Identifier: Apache-2.0
"""A training checkpoint: one safetensors file with everything a run needs to go on as if never
stopped.

Tensors are named `model.*` (the official names), `optim.*`, `feed.*` and `state.*`; the header
holds the run's place and recipe, and a checksum of it all. No pickle, and replaced as a whole or
not at all.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor, nn

from parrot.base.errors import CorruptError, FormatError, MismatchError
from parrot.base.files import file_error, replace_file

KIND = "parrot-training-2"
UNCHECKED = "parrot-training-1"  # the same without a checksum
Groups = dict[str, dict[str, Tensor]]  # group -> name -> tensor


def write_checkpoint(path: Path, groups: Groups, place: dict[str, Any]) -> None:
    """Replace `path` with these tensors, and `place` in its header."""
    tensors = {
        f"{group}.{name}": tensor.detach().cpu().contiguous().clone()
        for group, members in groups.items()
        for name, tensor in members.items()
    }
    header = {"kind": KIND, "place": json.dumps(place)}
    replace_file(path, save(tensors, header | {"crc32": _checksum(header, tensors)}))


def _checksum(header: dict[str, str], tensors: dict[str, Tensor]) -> str:
    crc = zlib.crc32((header["kind"] + header["place"]).encode())
    for name in sorted(tensors):
        crc = zlib.crc32(tensors[name].numpy().tobytes(), zlib.crc32(name.encode(), crc))
    return f"{crc:08x}"


def read_checkpoint(path: Path) -> tuple[Groups, dict[str, Any]]:
    """The tensors by group, and the place.

    Raises: FormatError for a file of another kind; CorruptError if it is damaged.
    """
    groups: Groups = {}
    tensors: dict[str, Tensor] = {}
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            if header.get("kind") not in (KIND, UNCHECKED):
                raise FormatError(
                    f"{path}: kind is {header.get('kind')}, expected {KIND}; this is not a "
                    "checkpoint of tools.train.",
                    path=path,
                )
            for key in file.keys():  # noqa: SIM118 - not a dict
                tensors[key] = file.get_tensor(key)
        if header["kind"] == KIND and header.get("crc32") != _checksum(header, tensors):
            raise ValueError("the checksum is another one")
        place = json.loads(header["place"])
    except (SafetensorError, ValueError, KeyError) as exc:
        raise CorruptError(
            f"{path}: {exc}, expected a whole safetensors file; remove it, or take an older one.",
            path=path,
        ) from exc
    except OSError as exc:
        raise file_error(path, exc, "read") from exc
    for key, tensor in tensors.items():
        group, _, name = key.partition(".")
        groups.setdefault(group, {})[name] = tensor
    return groups, place


def model_tensors(path: Path) -> dict[str, Tensor]:
    """The network alone, by official name, in float32."""
    groups, _ = read_checkpoint(path)
    return {name: t.to(torch.float32) for name, t in groups.get("model", {}).items()}


def load_weights(model: nn.Module, path: Path) -> None:
    """Give `model` the weights of a safetensors file with the official names.

    Raises: FormatError if it is another kind of file; MismatchError if it is of another network.
    """
    try:
        tensors = load(path.read_bytes())
    except OSError as exc:
        raise file_error(path, exc, "read") from exc
    except SafetensorError as exc:
        raise FormatError(
            f"{path}: {exc}, expected a safetensors file; take one of tools.export.", path=path
        ) from exc
    own = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    if own != {name: tuple(t.shape) for name, t in tensors.items()}:
        raise MismatchError(
            f"{path}: its tensors are not those of this network; take the recipe it was made by.",
            path=path,
        )
    model.load_state_dict({name: t.float() for name, t in tensors.items()})
