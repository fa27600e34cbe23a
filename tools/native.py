# SPDX-License-Identifier: Apache-2.0
"""The training kernels in C (`tools/kernels`), compiled for this processor when first asked for."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
from pathlib import Path

import torch
from torch import Tensor

SOURCES = Path(__file__).parent / "kernels"
FLAGS = ("-O3", "-march=native", "-ffast-math", "-fopenmp", "-fPIC")
# what passes between matrix products: the type named here, computed with in float or double
DEFINES = {
    torch.float64: ("-DREAL=double", "-DLANES=8"),
    torch.float32: (),
    torch.bfloat16: ("-DIO_BF16",),
}


@functools.cache
def library(name: str, dtype: torch.dtype) -> ctypes.CDLL:
    """kernels/NAME.c for numbers of `dtype`, from the cache folder or compiled into it.

    Raises: RuntimeError without a C compiler, or with what it says against the source.
    """
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise RuntimeError(f"{name}: no C compiler found; install gcc, or set CC to one.")
    command = [compiler, *FLAGS, *DEFINES[dtype], str(SOURCES / f"{name}.c")]
    key = hashlib.sha256(" ".join(command).encode() + _cpu().encode())
    for source in sorted(SOURCES.iterdir()):
        key.update(source.read_bytes())
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "parrot" / "kernels"
    target = home / f"{name}-{key.hexdigest()[:16]}.so"
    if not target.exists():
        home.mkdir(parents=True, exist_ok=True)
        partial, code = (target.with_suffix(f".{os.getpid()}{end}") for end in ("", ".o"))
        _run([*command, "-c", "-o", str(code)])
        # Linked without -ffast-math, which would make the whole process flush denormal numbers.
        _run([compiler, "-shared", "-fopenmp", str(code), "-o", str(partial), "-lm"])
        code.unlink()
        partial.replace(target)
    return ctypes.CDLL(str(target))


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr.strip()[:500]}; see tools/kernels.")


def _cpu() -> str:
    """What -march=native stands for here: two machines may share one cache folder."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def at(*tensors: Tensor | None) -> list[ctypes.c_void_p]:
    """Where each lies, for a call; NULL for None. The tensors must be contiguous, and kept."""
    return [ctypes.c_void_p(None if t is None else t.data_ptr()) for t in tensors]


def pointers(*tensors: Tensor | None) -> ctypes.Array:
    """An array of them: a struct of pointers, as C sees it."""
    return (ctypes.c_void_p * len(tensors))(*(None if t is None else t.data_ptr() for t in tensors))


def sizes(*numbers: int) -> ctypes.Array:
    """A struct of ints."""
    return (ctypes.c_int * len(numbers))(*numbers)
