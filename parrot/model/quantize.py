# SPDX-License-Identifier: Apache-2.0
"""What is done to finished model files: quantise, describe, verify.

Quantising rewrites the matrices as Q8_0 and leaves vectors alone. The thin LoRA matrices stay F16
unless asked for: they are an eighth of the bytes read per token, and the decay is the one place
where a small error lasts.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from parrot.base.errors import CorruptError, FormatError, MismatchError
from parrot.model import reference
from parrot.model.codec import TensorType
from parrot.model.shape import Kind
from parrot.model.tokenizer import BYTE_VOCABULARY
from parrot.model.weights import ModelFile, ModelSource, open_model, write_model

# Largest root-mean-square error of a tensor, as a share of its size, that the number format can
# explain. Normal weights give 0.5 % in Q8_0 and 0.02 % in F16.
ERROR_MAX = 0.02


def quantize_model(src: Path, dst: Path, lora: TensorType = TensorType.F16) -> None:
    """Write the float model `src` as Q8_0 to `dst`; LoRA matrices as `lora`.

    Raises: FormatError if `src` is quantised already, or rows are not a multiple of 32 long.
    """
    model = open_model(src)
    if model.gguf.tensors["output.weight"].type is TensorType.Q8_0:
        raise FormatError(
            f"{src}: weights are Q8_0 already, expected F32 or F16; quantise the float file it "
            "was made from.",
            path=src,
        )
    source = ModelSource(model.shape, model.vocabulary, model.array, model.gguf.metadata)
    write_model(dst, source, TensorType.Q8_0, lora)


def model_info(path: Path) -> dict[str, Any]:
    """Describe a model file: its shape, and how small the description is beside the weights.

    The description is the network as code (`reference.py`) and the file's metadata.
    Units: bytes, where a name ends in `_bytes`.
    """
    model = open_model(path)
    code_bytes = Path(reference.__file__).stat().st_size
    metadata_bytes = min(entry.offset for entry in model.gguf.tensors.values())
    return {
        "path": str(path),
        "name": str(model.gguf.metadata.get("general.name", path.stem)),
        "shape": vars(model.shape) | {"n_head": model.shape.n_head},
        "vocabulary": "bytes" if model.vocabulary == BYTE_VOCABULARY else "world",
        "types": _types(model),
        "n_weights": model.shape.n_weights,
        "code_bytes": code_bytes,
        "metadata_bytes": metadata_bytes,
        "description_bytes": code_bytes + metadata_bytes,
        "weights_bytes": sum(entry.size for entry in model.gguf.tensors.values()),
        "file_bytes": len(model.gguf.blob),
        "state_bytes": 4 * model.shape.state_len,
    }


def verify_model(path: Path, against: Path | None = None) -> dict[str, Any]:
    """Check a model file to its last weight, and against the float file it came from, if given.

    Raises: what `open_model` raises; CorruptError naming a tensor with a value that is no finite
            number; MismatchError naming a tensor that `against` does not explain.
    Cost:   reads the whole file; memory for one tensor of each.
    """
    model = open_model(path)
    origin = open_model(against) if against else None
    if origin and origin.shape != model.shape:
        raise MismatchError(
            f"{path}: shape {model.shape}, expected {origin.shape} as in {against}; compare it "
            "with the file it was made from.",
            path=path,
        )
    worst_error, worst_name = 0.0, ""
    for name in model.specs:
        values = model.array(name)
        if not np.isfinite(values).all():
            raise CorruptError(
                f"{path}: tensor {name} holds a value that is no finite number; copy the file "
                "again, or train again.",
                path=path,
                offset=model.gguf.tensors[name].offset,
            )
        if origin:
            error = _error(values, origin.array(name))
            if not error <= ERROR_MAX:  # also when `against` holds no finite numbers
                raise MismatchError(
                    f"{path}: tensor {name} differs by {error:.1%} from {against}, expected at "
                    f"most {ERROR_MAX:.0%}; it was made from another file.",
                    path=path,
                )
            worst_error, worst_name = max((worst_error, worst_name), (error, name))
    report = {
        "path": str(path),
        "sha256": hashlib.sha256(model.gguf.blob).hexdigest(),
        "tensors": len(model.specs),
        "types": _types(model),
    }
    return report | ({"worst_tensor": worst_name, "worst_error": worst_error} if origin else {})


def _error(values: Any, expected: Any) -> float:
    """Return the root-mean-square error as a share of the root mean square of `expected`."""
    size = float(np.sqrt(np.mean(np.square(expected, dtype=np.float64))))
    error = float(np.sqrt(np.mean(np.square(values - expected, dtype=np.float64))))
    return error / size if size else error


def _types(model: ModelFile) -> dict[str, list[str]]:
    """Return the number formats in use, by kind of tensor."""
    types: dict[Kind, set[str]] = {kind: set() for kind in Kind}
    for name, spec in model.specs.items():
        types[spec.kind].add(model.gguf.tensors[name].type.name)
    return {kind.value: sorted(names) for kind, names in types.items()}
