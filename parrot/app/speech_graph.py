# SPDX-License-Identifier: Apache-2.0
"""Writes ONNX graphs: what the converters of speech weights share.

Matrices are stored as int8 with one scale a column and multiplied as integers, which onnxruntime
fuses into one kernel; everything else stays as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from parrot.base.errors import ConfigError
from parrot.base.files import replace_file

Array = npt.NDArray[Any]
OPSET = 18


def import_onnx() -> Any:
    """Return the package onnx. Raises: ConfigError without it."""
    try:
        import onnx
    except ImportError as exc:
        raise ConfigError(
            "onnx: not installed, expected to convert weights; run: "
            "pip install 'parrot-companion[speech]'."
        ) from exc
    return onnx


def quantized(weight: Array) -> tuple[Array, Array]:
    """Return (int8 (K, N), scale (N,) f32) of `weight` (K, N): one scale a column, symmetric."""
    scale = np.abs(weight).max(axis=0) / 127
    scale[scale == 0] = 1
    return np.rint(weight / scale).astype(np.int8), scale.astype(np.float32)


class Graph:
    """A graph under construction. Tensors are named by strings."""

    def __init__(self) -> None:
        self._onnx = import_onnx()
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._n = 0

    def const(self, values: Any, dtype: Any = None) -> str:
        """Return the name of a constant."""
        array = np.array(values, dtype, order="C")
        name = f"c{len(self._constants)}"
        self._constants[name] = self._onnx.numpy_helper.from_array(array, name)
        return name

    def ints(self, *values: int) -> str:
        return self.const(values, np.int64)

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of one output; return its name."""
        return self.ops(kind, inputs, 1, **attributes)[0]

    def ops(self, kind: str, inputs: Sequence[str], n_outputs: int, **attributes: Any) -> list[str]:
        names = [f"t{self._n + i}" for i in range(n_outputs)]
        self._n += n_outputs
        self._nodes.append(self._onnx.helper.make_node(kind, list(inputs), names, **attributes))
        return names

    def cast(self, name: str, dtype: Any) -> str:
        return self.op("Cast", name, to=self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def linear8(self, x: str, weight: Array, scale: Array, bias: Array | None = None) -> str:
        """Return x @ (weight · scale) + bias, multiplied as 8-bit integers.

        Shapes: weight (K, N) int8, scale (N,) or (1,), bias (N,).
        """
        bytes_x, scale_x, zero_x = self.ops("DynamicQuantizeLinear", [x], 3)
        product = self.op("MatMulInteger", bytes_x, self.const(weight), zero_x)
        scales = self.op("Mul", scale_x, self.const(scale, np.float32))
        y = self.op("Mul", self.cast(product, np.float32), scales)
        return y if bias is None else self.op("Add", y, self.const(bias, np.float32))

    def save(
        self,
        path: Path,
        inputs: Sequence[tuple[str, Any, Sequence[int | str]]],
        outputs: Sequence[tuple[str, str]],
    ) -> None:
        """Write the graph. `inputs` are (name, dtype, shape), `outputs` (tensor, name)."""
        helper = self._onnx.helper
        for tensor, name in outputs:
            self._nodes.append(helper.make_node("Identity", [tensor], [name]))
        graph = helper.make_graph(
            self._nodes,
            path.stem,
            [
                helper.make_tensor_value_info(
                    name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape
                )
                for name, dtype, shape in inputs
            ],
            [helper.make_empty_tensor_value_info(name) for _, name in outputs],
            list(self._constants.values()),
        )
        for info in graph.output:
            info.type.tensor_type.elem_type = self._onnx.TensorProto.FLOAT
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        replace_file(path, model.SerializeToString())
