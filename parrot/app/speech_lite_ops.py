# SPDX-License-Identifier: Apache-2.0
"""TensorFlow Lite operators as ONNX nodes, one method each, and the conversion of a whole model.

Three things differ. Lite keeps channels last, so convolutions are wrapped in transposes, which
onnxruntime removes again in pairs. Lite computes shapes in int32, ONNX wants int64. Lite's "same"
padding of a transposed convolution is written out. Numbers of operators are those of the schema.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from parrot.app.speech_graph import Array, Graph
from parrot.app.speech_tflite import LiteModel, LiteOperator, LiteTensor, Table
from parrot.base.errors import FormatError

_END = 2**31 - 1
_SAME, _RELU = 0, 1
_CUSTOM = 32

# number -> ONNX operator of the same inputs
_PLAIN = {7: "Floor", 28: "Tanh", 47: "Exp", 55: "Maximum", 58: "Less", 62: "GreaterEqual",
          72: "NotEqual", 73: "Log", 95: "FloorMod", 116: "Round"}  # fmt: skip
_PLAIN_ONNX = {"Maximum": "Max", "GreaterEqual": "GreaterOrEqual", "FloorMod": "Mod"}
_FUSED = {0: "Add", 18: "Mul", 41: "Sub"}
_REDUCE = {40: "ReduceMean", 74: "ReduceSum", 81: "ReduceProd", 82: "ReduceMax"}


class Converter(Graph):
    """Builds the ONNX graph of one Lite model."""

    def __init__(self, model: LiteModel, path: Path) -> None:
        super().__init__()
        self._model, self._path = model, path
        self._names: dict[int, str] = {}
        self._chances: set[int] = set()  # tensors that hold chance
        self._methods: dict[int, Callable[[LiteOperator], str]] = {
            2: self._concatenation, 3: self._conv, 6: self._dequantize, 9: self._fully_connected,
            22: self._reshape, 25: self._softmax, 34: self._pad, 36: self._gather,
            37: self._batch_to_space, 38: self._space_to_batch, 39: self._transpose,
            43: self._squeeze, 45: self._strided_slice, 53: self._cast, 67: self._transpose_conv,
            69: self._tile, 70: self._expand_dims, 76: self._rsqrt, 77: self._shape,
            83: self._pack, 94: self._fill, 96: self._range, 98: self._leaky_relu,
            99: self._squared_difference, 100: self._mirror_pad, 109: self._where,
            114: self._quantize, 126: self._batch_matmul, _CUSTOM: self._random,
        }  # fmt: skip

    # ---- the walk

    def convert(self, output: int, inputs: Sequence[str], output_name: str, path: Path) -> None:
        """Write the graph that computes output number `output` from the model's inputs.

        Operators that it does not need are left out.
        """
        wanted = {self._model.outputs[output]}
        chosen = []
        for op in reversed(self._model.operators):
            if wanted & set(op.outputs):
                chosen.append(op)
                wanted |= set(op.inputs)
        described = []
        for index, name in zip(self._model.inputs, inputs, strict=True):
            tensor = self._model.tensors[index]
            self._names[index] = name
            shape = [f"{name}_{i}" if n == 1 else n for i, n in enumerate(tensor.shape)]
            described.append((name, np.dtype(tensor.dtype), shape))
        for op in reversed(chosen):
            self._names[op.outputs[0]] = self._converted(op)
        self.save(path, described, [(self._names[self._model.outputs[output]], output_name)])

    def _converted(self, op: LiteOperator) -> str:
        if op.code in _FUSED:
            return self._fused(op, self.op(_FUSED[op.code], *self._ins(op)), 0)
        if op.code in _REDUCE:
            keep = self._keep(op)
            return self.op(_REDUCE[op.code], self._in(op, 0), self._axes(op), keepdims=keep)
        if op.code in _PLAIN:
            return self._plain(op, _PLAIN[op.code])
        if op.code not in self._methods:
            raise self._unknown(f"operator {op.code}")
        return self._methods[op.code](op)

    def _plain(self, op: LiteOperator, name: str) -> str:
        if name == "GreaterEqual" and op.inputs[0] in self._chances:
            return self._dropout(op)
        if name == "NotEqual":
            return self.op("Not", self.op("Equal", *self._ins(op)))
        return self.op(_PLAIN_ONNX.get(name, name), *self._ins(op))

    def _unknown(self, seen: str) -> FormatError:
        return FormatError(
            f"{self._path}: {seen}, which this converter does not know; install the pinned "
            "version of its package.",
            path=self._path,
        )

    # ---- inputs and options

    def _tensor(self, op: LiteOperator, i: int) -> LiteTensor:
        return self._model.tensors[op.inputs[i]]

    def _values(self, op: LiteOperator, i: int) -> Array:
        """Return a constant input."""
        values = self._tensor(op, i).values
        if values is None:
            raise self._unknown(f"{self._tensor(op, i).name} is computed, expected a constant")
        return values

    def _in(self, op: LiteOperator, i: int) -> str:
        index = op.inputs[i]
        if index not in self._names:
            self._names[index] = self.const(self._values(op, i))
        return self._names[index]

    def _ins(self, op: LiteOperator) -> list[str]:
        return [self._in(op, i) for i in range(len(op.inputs))]

    def _long(self, op: LiteOperator, i: int) -> str:
        """Return an input as int64."""
        if self._tensor(op, i).values is not None:
            return self.const(self._values(op, i), np.int64)
        return self.cast(self._in(op, i), np.int64)

    def _axes(self, op: LiteOperator) -> str:
        return self.const(np.atleast_1d(self._values(op, 1)), np.int64)

    def _options(self, op: LiteOperator) -> Table:
        if op.options is None:
            raise self._unknown(f"operator {op.code} has no options")
        return op.options

    def _keep(self, op: LiteOperator) -> int:
        return int(self._options(op).value(0, "<b", 0))

    def _fused(self, op: LiteOperator, y: str, index: int) -> str:
        return self.op("Relu", y) if self._options(op).value(index, "<b", 0) == _RELU else y

    def _dequantized(self, op: LiteOperator, i: int) -> str:
        """Return input `i` as f32; int8 weights stay int8 in the file."""
        tensor = self._tensor(op, i)
        return self._as_float(self._in(op, i), tensor) if tensor.dtype == "i1" else self._in(op, i)

    def _as_float(self, name: str, tensor: LiteTensor) -> str:
        scale = self.const(tensor.scale, np.float32)
        return self.op("DequantizeLinear", name, scale, self.const(tensor.zero_point, np.int8))

    # ---- operators

    def _concatenation(self, op: LiteOperator) -> str:
        return self.op("Concat", *self._ins(op), axis=self._options(op).value(0, "<i", 0))

    def _weights(self, op: LiteOperator, perm: tuple[int, ...]) -> str:
        """Return the kernel of a convolution with its axes as ONNX wants them."""
        tensor = self._tensor(op, 1)
        if tensor.values is None:
            return self.op("Transpose", self._dequantized(op, 1), perm=list(perm))
        name = self.const(tensor.values.transpose(perm))
        return self._as_float(name, tensor) if tensor.dtype == "i1" else name

    def _conv(self, op: LiteOperator) -> str:
        options = self._options(op)
        is_same = options.value(0, "<b", 0) == _SAME
        x = self.op("Transpose", self._in(op, 0), perm=[0, 3, 1, 2])
        y = self.op(
            "Conv",
            x,
            self._weights(op, (0, 3, 1, 2)),
            self._in(op, 2),
            strides=[options.value(2, "<i", 1), options.value(1, "<i", 1)],
            dilations=[options.value(5, "<i", 1), options.value(4, "<i", 1)],
            auto_pad="SAME_UPPER" if is_same else "VALID",
        )
        return self._fused(op, self.op("Transpose", y, perm=[0, 2, 3, 1]), 3)

    def _transpose_conv(self, op: LiteOperator) -> str:
        options, kernel = self._options(op), self._tensor(op, 1).shape[1:3]
        if options.value(0, "<b", 0) != _SAME:
            raise self._unknown("a transposed convolution is not padded to the same size")
        strides = [options.value(2, "<i", 1), options.value(1, "<i", 1)]
        # the output is input · stride long: what the kernel adds is cut, the larger half at the end
        more = [max(0, k - s) for k, s in zip(kernel, strides, strict=True)]
        missing = [max(0, s - k) for k, s in zip(kernel, strides, strict=True)]
        x = self.op("Transpose", self._in(op, 2), perm=[0, 3, 1, 2])
        y = self.op(
            "ConvTranspose",
            x,
            self._weights(op, (3, 0, 1, 2)),
            strides=strides,
            pads=[m // 2 for m in more] + [m - m // 2 for m in more],
            output_padding=missing,
        )
        return self.op("Transpose", y, perm=[0, 2, 3, 1])

    def _dequantize(self, op: LiteOperator) -> str:
        return self._as_float(self._in(op, 0), self._tensor(op, 0))

    def _quantize(self, op: LiteOperator) -> str:
        tensor = self._model.tensors[op.outputs[0]]
        scale = self.const(tensor.scale, np.float32)
        zero = self.const(tensor.zero_point, np.int8)
        return self.op("QuantizeLinear", self._in(op, 0), scale, zero)

    def _fully_connected(self, op: LiteOperator) -> str:
        """Multiply in f32: these matrices are small, and 8-bit integers were slower here."""
        weight = self._tensor(op, 1)
        values = self._values(op, 1).T.astype(np.float32) * np.float32(weight.scale or 1)
        y = self.op("MatMul", self._in(op, 0), self.const(values))
        if len(op.inputs) > 2 and op.inputs[2] >= 0:
            y = self.op("Add", y, self._in(op, 2))
        return self._fused(op, y, 0)

    def _reshape(self, op: LiteOperator) -> str:
        return self.op("Reshape", self._in(op, 0), self._long(op, 1))

    def _softmax(self, op: LiteOperator) -> str:
        return self.op("Softmax", self._in(op, 0), axis=-1)

    def _pads(self, op: LiteOperator) -> str:
        """ONNX lists all beginnings, then all ends."""
        if self._tensor(op, 1).values is not None:
            return self.const(self._values(op, 1).T.reshape(-1), np.int64)
        pairs = self.op("Transpose", self._long(op, 1), perm=[1, 0])
        return self.op("Reshape", pairs, self.ints(-1))

    def _pad(self, op: LiteOperator) -> str:
        return self.op("Pad", self._in(op, 0), self._pads(op))

    def _mirror_pad(self, op: LiteOperator) -> str:
        return self.op("Pad", self._in(op, 0), self._pads(op), mode="reflect")

    def _gather(self, op: LiteOperator) -> str:
        axis = self._options(op).value(0, "<i", 0)
        taken = self.op("Gather", self._in(op, 0), self._in(op, 1), axis=axis)
        tensor = self._tensor(op, 0)
        if tensor.dtype == "i1" and self._model.tensors[op.outputs[0]].dtype == "<f4":
            return self._as_float(taken, tensor)
        return taken

    def _transpose(self, op: LiteOperator) -> str:
        return self.op("Transpose", self._in(op, 0), perm=self._values(op, 1).tolist())

    def _space_to_batch(self, op: LiteOperator) -> str:
        """(1, T, C) -> (d, T/d, C): every d-th frame together, after padding T."""
        (block,), channels = self._values(op, 1), self._tensor(op, 0).shape[2]
        zero = self.ints(0)
        begin, end = self._crops(op)
        pads = self.op("Concat", zero, begin, zero, zero, end, zero, axis=0)
        x = self.op("Pad", self._in(op, 0), pads)
        x = self.op("Reshape", x, self.ints(-1, int(block), channels))
        return self.op("Transpose", x, perm=[1, 0, 2])

    def _batch_to_space(self, op: LiteOperator) -> str:
        """The way back, then frames cut from both ends."""
        channels = self._tensor(op, 0).shape[2]
        x = self.op("Transpose", self._in(op, 0), perm=[1, 0, 2])
        x = self.op("Reshape", x, self.ints(1, -1, channels))
        begin, end = self._crops(op)
        length = self.op("Slice", self.op("Shape", x), self.ints(1), self.ints(2), self.ints(0))
        return self.op("Slice", x, begin, self.op("Sub", length, end), self.ints(1))

    def _crops(self, op: LiteOperator) -> list[str]:
        """Return the two numbers of the third input, each a vector of one."""
        flat = self.op("Reshape", self._long(op, 2), self.ints(-1))
        return self.ops("Split", [flat], 2, axis=0, num_outputs=2)

    def _squeeze(self, op: LiteOperator) -> str:
        axes = self._options(op).array(0, "<i4").tolist()
        return self.op("Squeeze", self._in(op, 0), self.ints(*axes))

    def _strided_slice(self, op: LiteOperator) -> str:
        options = self._options(op)
        begin_mask, end_mask = options.value(0, "<i", 0), options.value(1, "<i", 0)
        shrink = options.value(4, "<i", 0)
        begins, ends, steps = (self._values(op, i).tolist() for i in (1, 2, 3))
        axes = range(len(begins))
        for i in axes:
            if shrink >> i & 1:
                ends[i] = begins[i] + 1 if begins[i] != -1 else _END
            elif begin_mask >> i & 1:
                begins[i] = 0
            if end_mask >> i & 1 and not shrink >> i & 1:
                ends[i] = _END
        parts = [self.ints(*v) for v in (begins, ends, axes, steps)]
        y = self.op("Slice", self._in(op, 0), *parts)
        dropped = [i for i in axes if shrink >> i & 1]
        return self.op("Squeeze", y, self.ints(*dropped)) if dropped else y

    def _cast(self, op: LiteOperator) -> str:
        dtype = np.dtype(self._model.tensors[op.outputs[0]].dtype)
        return self.cast(self._in(op, 0), dtype)

    def _tile(self, op: LiteOperator) -> str:
        return self.op("Tile", self._in(op, 0), self._long(op, 1))

    def _expand_dims(self, op: LiteOperator) -> str:
        return self.op("Unsqueeze", self._in(op, 0), self._axes(op))

    def _rsqrt(self, op: LiteOperator) -> str:
        return self.op("Reciprocal", self.op("Sqrt", self._in(op, 0)))

    def _shape(self, op: LiteOperator) -> str:
        return self.cast(self.op("Shape", self._in(op, 0)), np.int32)

    def _pack(self, op: LiteOperator) -> str:
        axis = self._options(op).value(1, "<i", 0)
        parts = [self.op("Unsqueeze", name, self.ints(axis)) for name in self._ins(op)]
        return self.op("Concat", *parts, axis=axis)

    def _fill(self, op: LiteOperator) -> str:
        return self.op("Expand", self._in(op, 1), self._long(op, 0))

    def _range(self, op: LiteOperator) -> str:
        return self.op("Range", *self._ins(op))

    def _leaky_relu(self, op: LiteOperator) -> str:
        return self.op("LeakyRelu", self._in(op, 0), alpha=self._options(op).value(0, "<f", 0.0))

    def _squared_difference(self, op: LiteOperator) -> str:
        difference = self.op("Sub", *self._ins(op))
        return self.op("Mul", difference, difference)

    def _where(self, op: LiteOperator) -> str:
        return self.op("Transpose", self.op("NonZero", self._in(op, 0)), perm=[1, 0])

    def _batch_matmul(self, op: LiteOperator) -> str:
        x, y = self._ins(op)
        if self._options(op).value(1, "<b", 0):
            y = self.op("Transpose", y, perm=[0, 1, 3, 2])
        return self.op("MatMul", x, y)

    def _random(self, op: LiteOperator) -> str:
        """Chance in a given shape: this voice keeps its dropout when it speaks.

        The zeros returned here stand for that chance; see `_dropout`.
        """
        if op.custom != "FlexRandomUniform":
            raise self._unknown(f"operator {op.custom}")
        self._chances.add(op.outputs[0])
        return self.op("ConstantOfShape", self._long(op, 0))

    def _dropout(self, op: LiteOperator) -> str:
        """chance ≥ rate, a mask of zeros and ones, becomes its mean: the same voice every time."""
        rate = float(self._values(op, 1))
        return self.op("Add", self._in(op, 0), self.const(1 - rate, np.float32))
