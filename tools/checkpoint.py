# SPDX-License-Identifier: Apache-2.0
"""A training checkpoint: one safetensors file with everything a run needs to go on as if never
stopped.

Tensors are named `model.*` (the official names), `optim.*`, `feed.*` and `state.*`; the header
holds the run's place and recipe. No pickle, and replaced as a whole or not at all.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from parrot.base.errors import CorruptError, FormatError
from parrot.base.files import file_error, replace_file

KIND = "parrot-training-1"
Groups = dict[str, dict[str, Tensor]]  # group -> name -> tensor


def write_checkpoint(path: Path, groups: Groups, place: dict[str, Any]) -> None:
    """Replace `path` with these tensors, and `place` in its header."""
    tensors = {
        f"{group}.{name}": tensor.detach().cpu().contiguous().clone()
        for group, members in groups.items()
        for name, tensor in members.items()
    }
    replace_file(path, save(tensors, {"kind": KIND, "place": json.dumps(place)}))


def read_checkpoint(path: Path) -> tuple[Groups, dict[str, Any]]:
    """The tensors by group, and the place.

    Raises: FormatError for a file of another kind; CorruptError if it is damaged.
    """
    groups: Groups = {}
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            if header.get("kind") != KIND:
                raise FormatError(
                    f"{path}: kind is {header.get('kind')}, expected {KIND}; this is not a "
                    "checkpoint of tools.train.",
                    path=path,
                )
            for key in file.keys():  # noqa: SIM118 - not a dict
                group, _, name = key.partition(".")
                groups.setdefault(group, {})[name] = file.get_tensor(key)
            place = json.loads(header["place"])
    except SafetensorError as exc:
        raise CorruptError(
            f"{path}: {exc}, expected a whole safetensors file; remove it, or take an older one.",
            path=path,
        ) from exc
    except OSError as exc:
        raise file_error(path, exc, "read") from exc
    return groups, place


def model_tensors(path: Path) -> dict[str, Tensor]:
    """The network alone, by official name, in float32."""
    groups, _ = read_checkpoint(path)
    return {name: t.to(torch.float32) for name, t in groups.get("model", {}).items()}
