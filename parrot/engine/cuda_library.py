# SPDX-License-Identifier: Apache-2.0
"""libparrot_cuda.so seen from Python: native/include/parrot_cuda.h, struct for struct.

The library lies beside the extension, or where the environment variable PARROT_CUDA says. It is
loaded when a GPU is asked for; nothing else of parrot needs it.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, c_double, c_float, c_int, c_int32, c_size_t, c_uint32, c_void_p
from pathlib import Path
from typing import Any

from parrot import _native
from parrot.base.errors import ConfigError, DeviceMissing

VERSION = 2  # PARROT_CUDA_VERSION
ROWS_MAX = 1024  # PARROT_CUDA_ROWS
SAY_MAX = 16  # PARROT_CUDA_SAY
PLAIN = 1  # PARROT_CUDA_PLAIN


class Fault(ctypes.Structure):
    _fields_ = (("code", c_int), ("offset", ctypes.c_int64), ("text", ctypes.c_char * 512))


class Device(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char * 256),
        ("major", c_int32),
        ("minor", c_int32),
        ("n_processors", c_int32),
        ("driver", c_int32),
        ("memory", ctypes.c_uint64),
        ("memory_free", ctypes.c_uint64),
        ("l2_size", ctypes.c_uint64),
        ("model_size", ctypes.c_uint64),
    )


class SamplingC(ctypes.Structure):
    _fields_ = (
        ("temperature", c_float),
        ("top_p", c_float),
        ("min_p", c_float),
        ("repetition", c_float),
        ("top_k", c_int32),
    )


class SamplerC(ctypes.Structure):
    _fields_ = (
        ("rng_state", ctypes.c_uint64),
        ("recent_len", c_uint32),
        ("recent_n", c_uint32),
        ("recent", c_int32 * 256),
        ("utf8_need", ctypes.c_uint8),
        ("utf8_low", ctypes.c_uint8),
        ("utf8_high", ctypes.c_uint8),
    )


SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "open": (c_int, [POINTER(c_void_p), ctypes.c_char_p, c_int32, c_uint32, POINTER(Fault)]),
    "close": (None, [c_void_p]),
    "describe": (None, [c_void_p, POINTER(Device)]),
    "state_open": (c_int, [c_void_p, POINTER(c_void_p), POINTER(Fault)]),
    "state_close": (None, [c_void_p]),
    "state_upload": (c_int, [c_void_p, c_void_p, POINTER(Fault)]),
    "state_download": (c_int, [c_void_p, c_void_p, POINTER(Fault)]),
    "state_copy": (c_int, [c_void_p, c_void_p, POINTER(Fault)]),
    "forward": (
        c_int,
        [c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_int, c_void_p, POINTER(Fault)],
    ),
    "say": (
        c_int,
        [
            *(c_void_p, POINTER(SamplerC), POINTER(SamplingC), c_int, c_size_t, c_int32, c_void_p),
            *(c_size_t, c_size_t, c_void_p, c_void_p, POINTER(c_size_t), POINTER(Fault)),
        ],
    ),
    "copy_bandwidth": (c_double, [c_void_p, c_size_t]),
    "probe": (c_int, [c_void_p, ctypes.c_char_p, c_size_t, c_void_p, POINTER(Fault)]),
    "forward_us": (
        c_double,
        [c_void_p, c_size_t, c_void_p, c_void_p, c_void_p, c_size_t, c_size_t],
    ),
}


def library_path() -> Path:
    """Return where libparrot_cuda.so should be: PARROT_CUDA, or beside the extension."""
    asked = os.environ.get("PARROT_CUDA")
    return Path(asked) if asked else Path(_native.__file__).parent / "libparrot_cuda.so"


def load_library() -> ctypes.CDLL:
    """Return the library, its functions typed.

    Raises: DeviceMissing when it is not there, cannot be loaded, or is of another version.
    """
    path = library_path()
    if not path.exists():
        raise DeviceMissing(
            f"{path}: not there, and --device cuda needs it; build it with: make cuda, set "
            "PARROT_CUDA to where it is, or use --device cpu.",
            device="cuda",
        )
    try:
        library = ctypes.CDLL(str(path))
        version = int(library.parrot_cuda_version())
    except (OSError, AttributeError) as exc:
        raise DeviceMissing(
            f"{path}: cannot be loaded: {exc}; build it again with: make cuda.", device="cuda"
        ) from exc
    if version != VERSION:
        raise DeviceMissing(
            f"{path}: interface {version}, expected {VERSION}; build it again with: make cuda.",
            device="cuda",
        )
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(library, f"parrot_cuda_{name}")
        function.restype, function.argtypes = result, arguments
    return library


def device_index(device: str) -> int:
    """Return N of "cuda:N"; "cuda" alone is 0. Raises: ConfigError for anything else."""
    kind, _, number = device.partition(":")
    if kind != "cuda" or not (number.isdecimal() or device == "cuda") or len(number) > 4:
        raise ConfigError(
            f"device: {device}, expected cpu, cuda or cuda:N; choose one of them.", key="device"
        )
    return int(number or 0)
