# SPDX-License-Identifier: Apache-2.0
"""Networks of others, run by onnxruntime: ears and voices open theirs here.

onnxruntime is an extra. Two settings matter on small boards: threads that wait must not spin (two
threads were slower than one where they did), and the arena, which keeps memory it once used.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from parrot.base.errors import CorruptError, EngineError, FileError

Tensor = npt.NDArray[Any]


class Session(Protocol):
    """What is used of `onnxruntime.InferenceSession`."""

    def run(self, names: Sequence[str] | None, feeds: Mapping[str, Tensor]) -> list[Tensor]: ...

    def get_inputs(self) -> list[Any]: ...

    def get_outputs(self) -> list[Any]: ...

    def get_modelmeta(self) -> Any: ...


def _malloc_trim() -> Callable[[int], int] | None:
    """Return glibc's malloc_trim; None for a C library that gives memory back by itself (musl)."""
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim


_TRIM = _malloc_trim()


def give_back() -> None:
    """Return freed memory to the system: networks need a hundred megabytes for a moment.

    Cost: about 5 ms after a long utterance.
    """
    if _TRIM is not None:
        _TRIM(0)


def open_session(path: Path, n_threads: int = 1) -> Session:
    """Open the network at `path`.

    Raises: EngineError without onnxruntime, FileError without the file, CorruptError when
    onnxruntime cannot read it.
    """
    try:
        import onnxruntime
    except ImportError as exc:
        raise EngineError(
            "onnxruntime: not installed, expected for ears and voices; run: "
            "pip install 'parrot-companion[speech]'."
        ) from exc
    if not path.is_file():
        raise FileError(
            f"{path}: no such file; fetch the weights with: parrot speech install.", path=path
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session: Session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as exc:  # onnxruntime raises a class of its own for each status code
        said = str(exc).splitlines()[0][:120]
        raise CorruptError(
            f"{path}: onnxruntime cannot read it ({said}); install it again with: "
            "parrot speech install.",
            path=path,
        ) from exc
    return session


def run_session(
    session: Session, feeds: Mapping[str, Tensor], names: Sequence[str] | None = None
) -> list[Tensor]:
    """Run a network. Raises: EngineError in words for what onnxruntime refuses."""
    try:
        return session.run(names, feeds)
    except Exception as exc:  # as above
        said = str(exc).splitlines()[0][:120]
        shapes = ", ".join(f"{name} {np.shape(feed)}" for name, feed in feeds.items())
        raise EngineError(
            f"onnxruntime: refused {shapes} ({said}); check that the weights belong together."
        ) from exc
