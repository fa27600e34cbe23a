# SPDX-License-Identifier: Apache-2.0
"""Whisper weights as CTranslate2 stores them, made into two ONNX graphs.

The encoder takes any length, not thirty seconds: a padding of a few seconds is enough, and costs a
fifth. The decoder takes the keys and values it made before, so a token costs one step. The file is
a plain list of named tensors (version 6); nothing of it is executed.

    u32 version · string spec · u32 revision · u32 n
    n × ( string name · u8 rank · u32 dims[rank] · u8 dtype · u32 bytes · data )
    string: u16 length, then that many bytes, the last one 0
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any

import numpy as np

from parrot.app.speech_graph import Array, Graph, quantized
from parrot.base.errors import CorruptError
from parrot.base.files import writing

_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
_VERSION = 6


class Weights:
    """The tensors of a CTranslate2 model.bin, read from the mapped file when asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with open(path, "rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._at = 0
        self._places: dict[str, tuple[int, list[int], int]] = {}
        try:
            self._read_names()
        except (struct.error, UnicodeDecodeError, KeyError) as exc:
            raise self._damaged(f"unreadable at byte {self._at:,}") from exc

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def __getitem__(self, name: str) -> Array:
        """Return a tensor as f32."""
        if name not in self._places:
            raise self._damaged(f"no tensor {name}")
        at, dims, dtype = self._places[name]
        n = int(np.prod(dims))
        values = np.frombuffer(self._map, _DTYPES[dtype], n, at).reshape(dims)
        return values.astype(np.float32)

    def half(self, name: str) -> Array:
        return self[name].astype(np.float16)

    def n_layers(self, part: str) -> int:
        marks = {name.split("/")[1] for name in self._places if name.startswith(f"{part}/layer_")}
        return len([mark for mark in marks if mark.removeprefix("layer_").isdigit()])

    def _damaged(self, seen: str) -> CorruptError:
        return CorruptError(
            f"{self._path}: {seen}, expected Whisper weights of CTranslate2 version {_VERSION}; "
            "remove it and run: parrot speech install zh.",
            path=self._path,
        )

    def _take(self, form: str) -> int:
        value: int = struct.unpack_from(form, self._map, self._at)[0]
        self._at += struct.calcsize(form)
        return value

    def _string(self) -> str:
        n = self._take("<H")
        self._at += n
        return self._map[self._at - n : self._at - 1].decode()

    def _read_names(self) -> None:
        version = self._take("<I")
        if version != _VERSION:
            raise self._damaged(f"version {version}")
        self._string()
        self._take("<I")
        for _ in range(self._take("<I")):
            name, rank = self._string(), self._take("<B")
            dims = [self._take("<I") for _ in range(rank)]
            dtype, size = self._take("<B"), self._take("<I")
            n_bytes = int(np.prod(dims, dtype=np.float64)) * np.dtype(_DTYPES[dtype]).itemsize
            if n_bytes != size or self._at + size > len(self._map):
                raise self._damaged(f"tensor {name} of {dims} in {size:,} bytes")
            self._places[name] = (self._at, dims, dtype)
            self._at += size


class _Builder(Graph):
    """A graph in Whisper's own words."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.w = weights
        self.width = len(weights["encoder/conv1/bias"])
        self.heads = int(weights["encoder/num_heads"])
        self.head_size = self.width // self.heads

    def linear(self, x: str, name: str) -> str:
        weight, scale = quantized(self.w[f"{name}/weight"].T)
        has_bias = f"{name}/bias" in self.w  # keys have none
        return self.linear8(x, weight, scale, self.w[f"{name}/bias"] if has_bias else None)

    def norm(self, x: str, name: str) -> str:
        gamma, beta = self.const(self.w[f"{name}/gamma"]), self.const(self.w[f"{name}/beta"])
        return self.op("LayerNormalization", x, gamma, beta, axis=-1, epsilon=1e-5)

    def gelu(self, x: str) -> str:
        half = self.op("Mul", x, self.const(0.5, np.float32))
        erf = self.op("Erf", self.op("Mul", x, self.const(2**-0.5, np.float32)))
        return self.op("Mul", half, self.op("Add", erf, self.const(1, np.float32)))

    def split_heads(self, x: str) -> str:
        shaped = self.op("Reshape", x, self.ints(0, 0, self.heads, self.head_size))
        return self.op("Transpose", shaped, perm=[0, 2, 1, 3])

    def thirds(self, x: str, n: int) -> list[str]:
        return self.ops("Split", [x], n, axis=-1, num_outputs=n)

    def attend(self, query: str, keys: str, values: str, mask: str | None = None) -> str:
        scaled = self.op("Mul", query, self.const(self.head_size**-0.5, np.float32))
        scores = self.op("MatMul", scaled, self.op("Transpose", keys, perm=[0, 1, 3, 2]))
        if mask:
            scores = self.op("Add", scores, mask)
        mixed = self.op("MatMul", self.op("Softmax", scores, axis=-1), values)
        joined = self.op("Transpose", mixed, perm=[0, 2, 1, 3])
        return self.op("Reshape", joined, self.ints(0, 0, self.width))

    def feed_forward(self, x: str, name: str) -> str:
        hidden = self.linear(self.norm(x, f"{name}/layer_norm"), f"{name}/linear_0")
        return self.op("Add", x, self.linear(self.gelu(hidden), f"{name}/linear_1"))

    def stack(self, parts: list[str]) -> str:
        first = self.ints(0)
        return self.op("Concat", *(self.op("Unsqueeze", p, first) for p in parts), axis=0)

    def layer_of(self, stacked: str, i: int) -> str:
        return self.op("Gather", stacked, self.const(i, np.int64), axis=0)

    def conv(self, x: str, name: str, stride: int) -> str:
        weight, bias = self.const(self.w[f"{name}/weight"]), self.const(self.w[f"{name}/bias"])
        y = self.op("Conv", x, weight, bias, pads=[1, 1], strides=[stride], kernel_shape=[3])
        return self.gelu(y)


def write_encoder(weights: Weights, path: Path) -> None:
    """mel (1, 80, T) -> cross_keys, cross_values (L, 1, H, T/2, N)."""
    g = _Builder(weights)
    x = g.conv(g.conv("mel", "encoder/conv1", 1), "encoder/conv2", 2)
    x = g.op("Transpose", x, perm=[0, 2, 1])
    length = g.op("Slice", g.op("Shape", x), g.ints(1), g.ints(2), g.ints(0))
    places = g.const(weights["encoder/position_encodings/encodings"])
    x = g.op("Add", x, g.op("Slice", places, g.ints(0), length, g.ints(0)))
    for i in range(weights.n_layers("encoder")):
        name = f"encoder/layer_{i}/self_attention"
        q, k, v = g.thirds(g.linear(g.norm(x, f"{name}/layer_norm"), f"{name}/linear_0"), 3)
        mixed = g.attend(g.split_heads(q), g.split_heads(k), g.split_heads(v))
        x = g.op("Add", x, g.linear(mixed, f"{name}/linear_1"))
        x = g.feed_forward(x, f"encoder/layer_{i}/ffn")
    x = g.norm(x, "encoder/layer_norm")
    keys, values = [], []
    for i in range(weights.n_layers("decoder")):
        k, v = g.thirds(g.linear(x, f"decoder/layer_{i}/attention/linear_1"), 2)
        keys.append(g.split_heads(k))
        values.append(g.split_heads(v))
    outputs = [(g.stack(keys), "cross_keys"), (g.stack(values), "cross_values")]
    g.save(path, [("mel", np.float32, [1, 80, "T"])], outputs)


def write_decoder(weights: Weights, path: Path) -> None:
    """The next token's logits (1, 1, V) after `embedded` (1, n, C), and keys and values so far."""
    g = _Builder(weights)
    n_layers = weights.n_layers("decoder")
    places = g.const(weights["decoder/position_encodings/encodings"])
    x = g.op("Add", "embedded", g.op("Gather", places, "position"))
    keys, values = [], []
    for i in range(n_layers):
        name = f"decoder/layer_{i}/self_attention"
        q, k, v = g.thirds(g.linear(g.norm(x, f"{name}/layer_norm"), f"{name}/linear_0"), 3)
        keys.append(g.op("Concat", g.layer_of("keys", i), g.split_heads(k), axis=2))
        values.append(g.op("Concat", g.layer_of("values", i), g.split_heads(v), axis=2))
        mixed = g.attend(g.split_heads(q), keys[-1], values[-1], "mask")
        x = g.op("Add", x, g.linear(mixed, f"{name}/linear_1"))
        name = f"decoder/layer_{i}/attention"
        query = g.split_heads(g.linear(g.norm(x, f"{name}/layer_norm"), f"{name}/linear_0"))
        mixed = g.attend(query, g.layer_of("cross_keys", i), g.layer_of("cross_values", i))
        x = g.op("Add", x, g.linear(mixed, f"{name}/linear_2"))
        x = g.feed_forward(x, f"decoder/layer_{i}/ffn")
    last = g.op("Slice", g.norm(x, "decoder/layer_norm"), g.ints(-1), g.ints(2**31), g.ints(1))
    logits = g.linear8(last, *quantized(weights["decoder/embeddings/weight"].T))
    cache: list[int | str] = [n_layers, 1, g.heads, "n_past", g.head_size]
    cross: list[int | str] = [n_layers, 1, g.heads, "n_frames", g.head_size]
    inputs: list[tuple[str, Any, list[int | str]]] = [
        ("embedded", np.float32, [1, "n", g.width]),
        ("position", np.int64, ["n"]),
        ("mask", np.float32, ["n", "n_all"]),
        ("keys", np.float32, cache),
        ("values", np.float32, cache),
        ("cross_keys", np.float32, cross),
        ("cross_values", np.float32, cross),
    ]
    outputs = [(logits, "logits"), (g.stack(keys), "keys_out"), (g.stack(values), "values_out")]
    g.save(path, inputs, outputs)


def convert_whisper(source: Path, folder: Path) -> None:
    """Write encoder.onnx, decoder.onnx and embedding.npy into `folder`."""
    weights = Weights(source)
    write_encoder(weights, folder / "encoder.onnx")
    write_decoder(weights, folder / "decoder.onnx")
    with writing(folder / "embedding.npy") as file:
        np.save(file, weights.half("decoder/embeddings/weight"))
