# SPDX-License-Identifier: Apache-2.0
"""Numbers ↔ bytes of one tensor, in the three formats that parrot runs: F32, F16 and Q8_0.

Q8_0 cuts each row into groups of 32 weights; a group is one f16 scale and 32 int8, and a weight is
scale · q. It is symmetric, so there is no zero point. Every format is little-endian.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parrot.base.errors import FormatError

F32Array = NDArray[np.float32]

GROUP_SIZE = 32  # weights that share a scale
Q8_MAX = 127

_F32 = np.dtype("<f4")
_F16 = np.dtype("<f2")
_Q8_0 = np.dtype([("scale", "<f2"), ("q", "i1", (GROUP_SIZE,))])


class TensorType(IntEnum):
    """A number format, by its id in GGUF files."""

    F32 = 0
    F16 = 1
    Q8_0 = 8


def byte_size(dims: tuple[int, ...], kind: TensorType) -> int:
    """Return the bytes of a tensor; `dims` slowest first, the last a multiple of 32 for Q8_0."""
    n = math.prod(dims)
    if kind is TensorType.Q8_0:
        return n // GROUP_SIZE * _Q8_0.itemsize
    return n * (4 if kind is TensorType.F32 else 2)


def encode(values: NDArray[Any], kind: TensorType) -> bytes:
    """Return the bytes of `values` in the format `kind`.

    Raises: FormatError when a value is not finite, or becomes infinite in the format.
    """
    values = np.ascontiguousarray(values, dtype=_F32)
    if not np.isfinite(values).all():
        raise FormatError("a weight is not a finite number; the training of this model went wrong.")
    if kind is TensorType.F32:
        return values.tobytes()
    with np.errstate(over="ignore"):  # overflow shows as an infinity, checked below
        coded: NDArray[Any] = (
            encode_q8_0(values) if kind is TensorType.Q8_0 else values.astype(_F16)
        )
    if not np.isfinite(coded["scale"] if kind is TensorType.Q8_0 else coded).all():
        raise FormatError(
            f"a weight of {np.abs(values).max():g} does not fit {kind.name}; write F32 instead."
        )
    return coded.tobytes()


def decode(blob: Any, dims: tuple[int, ...], kind: TensorType) -> F32Array:
    """Return the float32 values of `byte_size(dims, kind)` bytes (any buffer), as a new array."""
    if kind is TensorType.Q8_0:
        groups = np.frombuffer(blob, _Q8_0)
        return (groups["q"] * groups["scale"][:, None].astype(np.float32)).reshape(dims)
    flat = np.frombuffer(blob, _F32 if kind is TensorType.F32 else _F16)
    return flat.astype(np.float32).reshape(dims)


def encode_q8_0(values: F32Array) -> NDArray[np.void]:
    """Return `values`, a multiple of 32 of them, as (groups,) of (scale f16, q int8[32]).

    The arithmetic is that of ggml's reference, to the bit: scale = max|x| / 127 in f32,
    q = x · (1/scale) rounded half away from zero, and only then the scale is rounded to f16.
    """
    x = values.reshape(-1, GROUP_SIZE)
    scale = np.abs(x).max(axis=1) / np.float32(Q8_MAX)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        inverse = np.where(scale > 0, np.float32(1) / scale, np.float32(0))
        # Below 2^-128 the inverse overflows; such a group is zero in f16 whatever q is.
        inverse[~np.isfinite(inverse)] = 0
        magnitude = np.abs(x * inverse[:, None])
    whole = np.floor(magnitude)
    whole += magnitude - whole >= 0.5
    groups = np.empty(len(x), _Q8_0)
    groups["scale"] = scale
    groups["q"] = np.copysign(whole, x)
    return groups
