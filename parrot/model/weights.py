# SPDX-License-Identifier: Apache-2.0
"""A parrot's model file: which metadata and tensors a GGUF must have to be an RWKV-7 network.

`docs/formats.md` describes the file; llama.cpp runs it too. Reading means: the architecture is
`rwkv7`, the metadata gives a `Shape`, and the tensors are exactly those that the shape implies, in
name, dimensions and format. Writing is the same table read the other way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parrot.base.errors import CorruptError, FormatError
from parrot.base.text import END_OF_TURN
from parrot.model.codec import F32Array, TensorType
from parrot.model.gguf import GGUF, TensorSource, Value, read_gguf, write_gguf
from parrot.model.shape import Kind, Shape, TensorSpec, tensor_specs
from parrot.model.tokenizer import BYTE_VOCABULARY, Vocabulary, escape_token, unescape_token

ARCHITECTURE = "rwkv7"
LAYER_NORM_EPS = 1e-5  # of every published RWKV-7; the group norm's 64e-5 has no key

# Shape field -> metadata key. The vocabulary's size is the length of its token list.
SHAPE_KEYS = {
    "n_layer": "rwkv7.block_count",
    "n_embd": "rwkv7.embedding_length",
    "head_size": "rwkv7.wkv.head_size",
    "n_ffn": "rwkv7.feed_forward_length",
    "rank_w": "rwkv7.attention.decay_lora_rank",
    "rank_a": "rwkv7.attention.iclr_lora_rank",
    "rank_v": "rwkv7.attention.value_residual_mix_lora_rank",
    "rank_g": "rwkv7.attention.gate_lora_rank",
}
_TOKENS, _TOKEN_TYPES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"
_NORMAL, _CONTROL, _UNUSED = 1, 3, 5  # llama.cpp's token types
_FILE_TYPES = {TensorType.F32: 0, TensorType.F16: 1, TensorType.Q8_0: 7}


@dataclass(frozen=True)
class ModelFile:
    """An open model file whose structure has been checked; weights stay on disk until read."""

    path: Path
    shape: Shape
    vocabulary: Vocabulary
    specs: Mapping[str, TensorSpec]
    gguf: GGUF

    def array(self, name: str) -> F32Array:
        """Return one tensor, by its GGUF name, as float32, with the dimensions of its spec."""
        return self.gguf.array(name).reshape(self.specs[name].dims)

    def weights(self) -> dict[str, F32Array]:
        """Return every tensor as float32. Cost: four bytes of memory a weight."""
        return {name: self.array(name) for name in self.gguf.tensors}


@dataclass(frozen=True)
class ModelSource:
    """A model about to be written: `load` returns a tensor's values by its GGUF name."""

    shape: Shape
    vocabulary: Vocabulary
    load: Callable[[str], NDArray[Any]]
    metadata: Mapping[str, Value] = field(default_factory=dict)  # more keys: a name, a licence


def open_model(path: Path) -> ModelFile:
    """Open a model file and check its structure; weights are not read.

    Raises: FormatError if it is no RWKV-7 GGUF; CorruptError if it is damaged, or a tensor is
            missing, unknown or misshaped; FileError if it cannot be read.
    """
    gguf = read_gguf(path)
    architecture = gguf.metadata.get("general.architecture")
    if architecture != ARCHITECTURE:
        raise FormatError(
            f"{path}: architecture {architecture!r}, expected {ARCHITECTURE!r}; parrot runs "
            "RWKV-7 models only.",
            path=path,
        )
    vocabulary = _read_vocabulary(gguf)
    shape = _read_shape(gguf, len(vocabulary))
    specs = {spec.name: spec for spec in tensor_specs(shape)}
    _check_tensors(gguf, specs)
    return ModelFile(path, shape, vocabulary, specs, gguf)


def write_model(
    path: Path, source: ModelSource, matrix: TensorType, lora: TensorType | None = None
) -> None:
    """Write a model file, matrices as `matrix` and the thin LoRA ones as `lora`.

    `lora` is by default F16 beside Q8_0 matrices, like llama.cpp's own files, else `matrix`.
    Raises: FormatError naming a tensor that does not fit; FileError from the disk.
    """
    if lora is None:
        lora = TensorType.F16 if matrix is TensorType.Q8_0 else matrix
    types = {Kind.VECTOR: TensorType.F32, Kind.MATRIX: matrix, Kind.LORA: lora}
    tensors = [
        TensorSource(spec.name, spec.dims, types[spec.kind], partial(source.load, spec.name))
        for spec in tensor_specs(source.shape)
    ]
    write_gguf(path, _metadata(source, matrix), tensors)


def _metadata(source: ModelSource, matrix: TensorType) -> dict[str, Value]:
    shape = source.shape
    metadata: dict[str, Value] = {
        "general.architecture": ARCHITECTURE,
        "general.name": f"rwkv7-L{shape.n_layer}-D{shape.n_embd}-V{shape.n_vocab}",
        "rwkv7.context_length": 1 << 20,  # llama.cpp wants a number; there is no limit
        "rwkv7.attention.head_count": 0,  # likewise, and unused
        "rwkv7.attention.layer_norm_epsilon": LAYER_NORM_EPS,
    }
    metadata |= {key: getattr(shape, name) for name, key in SHAPE_KEYS.items()}
    metadata |= _vocabulary_metadata(source.vocabulary)
    metadata |= source.metadata
    metadata.pop("general.alignment", None)  # the writer has its own
    metadata["general.file_type"] = _FILE_TYPES[matrix]
    return metadata


def _vocabulary_metadata(vocabulary: Vocabulary) -> dict[str, Value]:
    types = [_NORMAL if token is not None else _UNUSED for token in vocabulary]
    if vocabulary[0] is None:
        types[0] = _CONTROL  # the World vocabulary ends a document with it
    names = [
        escape_token(token) if token is not None else f"[PAD{i}]"
        for i, token in enumerate(vocabulary)
    ]
    metadata: dict[str, Value] = {
        "tokenizer.ggml.model": "rwkv",
        _TOKENS: names,
        _TOKEN_TYPES: np.array(types, "<i4"),
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 0,  # 0 ends a document in both vocabularies
    }
    end_of_turn = END_OF_TURN if list(vocabulary) == BYTE_VOCABULARY else b"\n\n"
    if end_of_turn in vocabulary:
        metadata["tokenizer.ggml.eot_token_id"] = vocabulary.index(end_of_turn)
    return metadata


def _read_shape(gguf: GGUF, n_vocab: int) -> Shape:
    numbers: dict[str, int] = {"n_vocab": n_vocab}
    for name, key in SHAPE_KEYS.items():
        value = gguf.metadata.get(key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise CorruptError(
                f"{gguf.path}: {key} is {value!r}, expected an integer; convert the model again.",
                path=gguf.path,
            )
        numbers[name] = value
    eps = gguf.metadata.get("rwkv7.attention.layer_norm_epsilon")
    if not isinstance(eps, float) or abs(eps - LAYER_NORM_EPS) > 1e-3 * LAYER_NORM_EPS:
        raise FormatError(
            f"{gguf.path}: layer_norm_epsilon is {eps!r}, expected {LAYER_NORM_EPS}; convert the "
            "model again.",
            path=gguf.path,
        )
    try:
        return Shape(**numbers)
    except FormatError as exc:
        raise FormatError(f"{gguf.path}: {exc}", path=gguf.path) from exc


def _read_vocabulary(gguf: GGUF) -> Vocabulary:
    kind = gguf.metadata.get("tokenizer.ggml.model")
    names, types = gguf.metadata.get(_TOKENS), gguf.metadata.get(_TOKEN_TYPES)
    if kind != "rwkv":
        raise FormatError(
            f"{gguf.path}: tokenizer is {kind!r}, expected 'rwkv'; convert the model again.",
            path=gguf.path,
        )
    if not isinstance(names, list) or not isinstance(types, np.ndarray) or len(names) != len(types):
        raise CorruptError(
            f"{gguf.path}: {_TOKENS} and {_TOKEN_TYPES} are not two lists of one length; convert "
            "the model again.",
            path=gguf.path,
        )
    try:
        return [
            unescape_token(name) if kind == _NORMAL else None
            for name, kind in zip(names, types.tolist(), strict=True)
        ]
    except FormatError as exc:
        raise CorruptError(f"{gguf.path}: {exc}", path=gguf.path) from exc


def _check_tensors(gguf: GGUF, specs: Mapping[str, TensorSpec]) -> None:
    """Raise unless the file has exactly the tensors of its shape."""
    entries, path = gguf.tensors, gguf.path
    for problem, names in (
        ("lacks", [name for name in specs if name not in entries][:3]),
        ("has unknown", [name for name in entries if name not in specs][:3]),
    ):
        if names:
            raise CorruptError(
                f"{path}: {problem} tensor {', '.join(names)}; convert the model again.", path=path
            )
    for name, spec in specs.items():
        entry = entries[name]
        if _trimmed(entry.dims) != _trimmed(spec.dims):
            raise CorruptError(
                f"{path}: tensor {name} is {entry.dims}, expected {spec.dims}; convert the model "
                "again.",
                path=path,
                offset=entry.offset,
            )
        if spec.kind is Kind.VECTOR and entry.type is not TensorType.F32:
            raise FormatError(
                f"{path}: tensor {name} is {entry.type.name}, expected F32; convert the model "
                "again.",
                path=path,
                offset=entry.offset,
            )


def _trimmed(dims: tuple[int, ...]) -> tuple[int, ...]:
    """GGUF may leave out slowest axes of length one."""
    while len(dims) > 1 and dims[0] == 1:
        dims = dims[1:]
    return dims
