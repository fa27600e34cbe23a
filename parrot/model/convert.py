# SPDX-License-Identifier: Apache-2.0
"""Training checkpoint → model file: names, transpositions, and a check that nothing is amiss.

The official names stay in checkpoints (`blocks.3.att.x_r`) and become llama.cpp's in model files
(`blk.3.time_mix_lerp_fused`). Three things change besides: the six lerp vectors are stacked in the
order r w k v a g; LoRA matrices, stored (in, out) by the trainer, are transposed to (out, in) like
all others; and layer 0 gets zeros for the value residual it never mixes.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from parrot.base.errors import ConfigError, CorruptError, FormatError
from parrot.base.files import file_error
from parrot.model.codec import TensorType
from parrot.model.pth import read_pth
from parrot.model.safetensors import read_safetensors
from parrot.model.shape import Shape, tensor_specs
from parrot.model.tokenizer import BYTE_VOCABULARY, Vocabulary, read_vocabulary
from parrot.model.weights import ModelSource, write_model

Array = NDArray[Any]
Dims = tuple[int, ...]

_LERPS = tuple(f"x_{c}" for c in "rwkvag")

# Model-file name inside a layer -> checkpoint name inside a block, where they differ by more than
# a prefix.
_NORMS = {"attn_norm": "ln1", "attn_norm_2": "ln2", "time_mix_ln": "att.ln_x"}
_TOP = {
    "token_embd.weight": "emb.weight",
    "token_embd_norm.weight": "blocks.0.ln0.weight",
    "token_embd_norm.bias": "blocks.0.ln0.bias",
    "output_norm.weight": "ln_out.weight",
    "output_norm.bias": "ln_out.bias",
    "output.weight": "head.weight",
}


WORLD_FILE = "rwkv_vocab_v20230424.txt"


class CheckpointTensor(Protocol):
    """A tensor of a checkpoint on disk."""

    @property
    def dims(self) -> Dims: ...

    def array(self) -> Array: ...


def import_model(
    src: Path, dst: Path, matrix: TensorType = TensorType.F16, vocabulary: Path | None = None
) -> None:
    """Convert an official RWKV-7 checkpoint, `.pth` or `.safetensors`, to a model file.

    A model of 256 tokens reads bytes. For any other, `vocabulary` is RWKV's text file of tokens;
    when None, the one inside the installed PyPI package `rwkv`.
    Raises: FormatError or CorruptError, naming what is wrong with `src`; ConfigError if no
            vocabulary is at hand; FileError from the disk.
    Cost:   memory for a few tensors of the checkpoint, whatever its size.
    """
    checkpoint = open_checkpoint(src)
    shapes = {name: tensor.dims for name, tensor in checkpoint.items()}
    try:
        n_vocab = checkpoint_shape(shapes).n_vocab
        tokens = BYTE_VOCABULARY
        if n_vocab != len(BYTE_VOCABULARY):
            tokens = read_vocabulary(vocabulary or _world_file(src, n_vocab), n_vocab)
        source = lazy_source(shapes, lambda name: checkpoint[name].array(), tokens)
    except (FormatError, CorruptError) as exc:
        raise type(exc)(f"{src}: {exc}", path=src) from exc
    write_model(dst, source, matrix)


def open_checkpoint(path: Path) -> Mapping[str, CheckpointTensor]:
    """Return the tensors of a `.pth` or `.safetensors` file, told apart by their first bytes."""
    try:
        with open(path, "rb") as file:
            head = file.read(9)
    except OSError as exc:
        raise file_error(path, exc, "read") from exc
    if head.startswith(b"PK\3\4"):
        return read_pth(path)
    if head[8:] == b"{":
        return read_safetensors(path)
    hint = "this is a model file already" if head.startswith(b"GGUF") else "pass a checkpoint"
    raise FormatError(
        f"{path}: first bytes are {head[:4].hex(' ') or 'missing'}, expected a .pth (50 4b 03 04) "
        f"or a .safetensors; {hint}.",
        path=path,
    )


def _world_file(src: Path, n_vocab: int) -> Path:
    spec = importlib.util.find_spec("rwkv")
    for folder in spec.submodule_search_locations or [] if spec else []:
        if (Path(folder) / WORLD_FILE).is_file():
            return Path(folder) / WORLD_FILE
    raise ConfigError(
        f"{src}: {n_vocab:,} tokens, expected a vocabulary beside it; pass {WORLD_FILE} with "
        "--vocabulary, or: pip install rwkv.",
        path=src,
        key="vocabulary",
    )


def checkpoint_source(checkpoint: Mapping[str, Array], vocabulary: Vocabulary) -> ModelSource:
    """Return a checkpoint, official names to float arrays, as a model ready to be written.

    Raises: CorruptError naming tensors that are missing, unknown or misshaped.
    """
    shapes = {name: tuple(value.shape) for name, value in checkpoint.items()}
    return lazy_source(shapes, checkpoint.__getitem__, vocabulary)


def lazy_source(
    shapes: Mapping[str, Dims], load: Callable[[str], Array], vocabulary: Vocabulary
) -> ModelSource:
    """Like `checkpoint_source`, for tensors that `load` fetches by name when they are written."""
    shape = checkpoint_shape(shapes)
    if len(vocabulary) != shape.n_vocab:
        raise FormatError(
            f"vocabulary: {len(vocabulary):,} tokens, expected {shape.n_vocab:,}; pass the "
            "vocabulary this model was trained with."
        )
    _check_names(shapes, shape)
    dims = {spec.name: spec.dims for spec in tensor_specs(shape)}

    def load_as(name: str) -> Array:
        if _is_unread(name):
            return np.zeros(dims[name], np.float32)
        parts = [load(source) for source in _sources(name)]
        if _is_lora(name):
            return parts[0].reshape(dims[name][::-1]).T
        return np.stack(parts).reshape(dims[name])

    return ModelSource(shape, vocabulary, load_as)


def checkpoint_shape(shapes: Mapping[str, Dims]) -> Shape:
    """Return the shape of the network in a checkpoint, from the dimensions of its tensors."""
    layers = {int(m[1]) for name in shapes if (m := re.match(r"blocks\.(\d{1,4})\.", name))}
    n_layer = max(layers, default=0) + 1
    att = "blocks.0.att."

    def dims(name: str) -> Dims:
        found = shapes.get(name)
        if found is None or len(found) < 2:
            raise CorruptError(
                f"checkpoint: tensor {name} is {found or 'missing'}, expected a matrix; this is "
                "not an RWKV-7 checkpoint."
            )
        return found[-2:]

    n_vocab, n_embd = dims("emb.weight")
    rank_a = dims(att + "a1")[1]
    return Shape(
        n_layer=n_layer,
        n_embd=n_embd,
        head_size=dims(att + "r_k")[1],
        n_ffn=dims("blocks.0.ffn.key.weight")[0],
        n_vocab=n_vocab,
        rank_w=dims(att + "w1")[1],
        rank_a=rank_a,
        rank_v=dims("blocks.1.att.v1")[1] if n_layer > 1 else rank_a,
        rank_g=dims(att + "g1")[1],
    )


def checkpoint_dims(shape: Shape) -> dict[str, Dims]:
    """Return the official names that a checkpoint of this shape has, with their dimensions."""
    dims: dict[str, Dims] = {}
    for spec in tensor_specs(shape):
        if _is_unread(spec.name):
            continue
        for source in _sources(spec.name):
            if source.endswith("r_k"):
                dims[source] = (shape.n_head, shape.head_size)
            elif source.rpartition(".")[2] in _LERPS:
                dims[source] = (shape.n_embd,)
            else:
                dims[source] = spec.dims[::-1] if _is_lora(spec.name) else spec.dims
    return dims


def _check_names(shapes: Mapping[str, Dims], shape: Shape) -> None:
    expected = checkpoint_dims(shape)
    unread = {f"blocks.0.att.v{i}" for i in range(3)}  # trainers store them; nothing reads them
    missing = [name for name in expected if name not in shapes]
    unknown = [name for name in shapes if name not in expected and name not in unread]
    misshaped = [
        f"{name} {shapes[name]} instead of {dims}"
        for name, dims in expected.items()
        if name in shapes and _squeezed(shapes[name]) != _squeezed(dims)
    ]
    for names, what in ((missing, "missing"), (unknown, "unknown"), (misshaped, "misshaped")):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise CorruptError(
                f"checkpoint: tensor {', '.join(names[:3])}{more} {what}, expected RWKV-7's set; "
                "this is another architecture, or the file is damaged."
            )


def _sources(name: str) -> list[str]:
    """Return the official names of what a tensor of the model file is made of."""
    if name in _TOP:
        return [_TOP[name]]
    _, layer, rest = name.split(".", 2)
    block = f"blocks.{layer}."
    stem, _, suffix = rest.rpartition(".")
    if stem in _NORMS:
        return [f"{block}{_NORMS[stem]}.{suffix}"]
    part, _, short = stem.partition("_mix_")
    home = block + {"time": "att.", "channel": "ffn."}[part]
    if short == "lerp_fused":
        return [home + lerp for lerp in _LERPS]
    if short == "lerp_k":
        return [home + "x_k"]
    if short in ("receptance", "key", "value", "output"):
        return [f"{home}{short}.weight"]
    return [home + short]


def _is_lora(name: str) -> bool:
    return re.search(r"time_mix_[wavg][12]\.", name) is not None


def _is_unread(name: str) -> bool:
    return re.match(r"blk\.0\.time_mix_v[012]\.", name) is not None


def _squeezed(dims: Dims) -> Dims:
    return tuple(n for n in dims if n != 1)
