# SPDX-License-Identifier: Apache-2.0
"""The GPU: libparrot_cuda.so, loaded when a device "cuda:0" is asked for (native/include/parrot_cuda.h).

The library lies beside the extension, or where PARROT_CUDA says; nothing else needs it. States live on
the GPU and come back when they are looked at. What came back last is what is left of a life whose GPU
is lost: from then on every call is an error, and the state is the one before.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from ctypes import POINTER, byref, c_double, c_float, c_int, c_int32, c_size_t, c_uint32, c_void_p
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from parrot import _native
from parrot.base.errors import (
    ConfigError,
    CorruptError,
    DeviceMissing,
    EngineError,
    FileError,
    FormatError,
    ParrotError,
)
from parrot.engine.state import State

if TYPE_CHECKING:
    from parrot.engine.generate import Sampling

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

ROWS_MAX = 1024  # PARROT_CUDA_ROWS
SAY_MAX = 16  # PARROT_CUDA_SAY
CHOICES_MAX = 1024  # PARROT_CUDA_CHOICES
_VERSION = 1
_PLAIN = 1

_ERRORS: dict[int, type[ParrotError]] = {
    -2: FileError,
    -3: FormatError,
    -4: FormatError,
    -5: CorruptError,
    -9: DeviceMissing,
}


class _Fault(ctypes.Structure):
    _fields_ = (("code", c_int), ("offset", ctypes.c_int64), ("text", ctypes.c_char * 512))


class _Device(ctypes.Structure):
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


class _Sampling(ctypes.Structure):
    _fields_ = (
        ("temperature", c_float),
        ("top_p", c_float),
        ("min_p", c_float),
        ("repetition", c_float),
        ("top_k", c_int32),
    )


class _Sampler(ctypes.Structure):
    _fields_ = (
        ("rng_state", ctypes.c_uint64),
        ("recent_len", c_uint32),
        ("recent_n", c_uint32),
        ("recent", c_int32 * 256),
        ("utf8_need", ctypes.c_uint8),
        ("utf8_low", ctypes.c_uint8),
        ("utf8_high", ctypes.c_uint8),
    )


_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "open": (c_int, [POINTER(c_void_p), ctypes.c_char_p, c_int32, c_uint32, POINTER(_Fault)]),
    "close": (None, [c_void_p]),
    "describe": (None, [c_void_p, POINTER(_Device)]),
    "state_open": (c_int, [c_void_p, POINTER(c_void_p), POINTER(_Fault)]),
    "state_close": (None, [c_void_p]),
    "state_upload": (c_int, [c_void_p, c_void_p, POINTER(_Fault)]),
    "state_download": (c_int, [c_void_p, c_void_p, POINTER(_Fault)]),
    "state_copy": (c_int, [c_void_p, c_void_p, POINTER(_Fault)]),
    "forward": (
        c_int,
        [c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_int, c_void_p, POINTER(_Fault)],
    ),
    "say": (
        c_int,
        [c_void_p, POINTER(_Sampler), POINTER(_Sampling), c_int, c_size_t, c_int32, c_void_p]
        + [c_size_t, c_size_t, c_void_p, c_void_p, POINTER(c_size_t), POINTER(_Fault)],
    ),
    "copy_bandwidth": (c_double, [c_void_p, c_size_t]),
    "steps_us": (c_double, [POINTER(c_void_p), POINTER(c_void_p), c_size_t, c_size_t]),
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
    if version != _VERSION:
        raise DeviceMissing(
            f"{path}: interface {version}, expected {_VERSION}; build it again with: make cuda.",
            device="cuda",
        )
    for name, (result, arguments) in _SIGNATURES.items():
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


class CudaModel:
    """A model on a GPU: what `parrot.engine.model.Model` calls in place of the CPU's engine.

    Threads: may be shared; calls wait for each other.
    Raises: DeviceMissing when there is no GPU that can run it, or it is lost; EngineError when its
            memory is too small; FileError and its kinds for the file.
    """

    def __init__(self, path: Path, device: str, state_len: int, plain: bool = False) -> None:
        self._index, self.state_len = device_index(device), state_len
        self._library = load_library()
        self._handle = c_void_p()
        self._call(
            "open", byref(self._handle), os.fsencode(path), self._index, _PLAIN if plain else 0
        )
        # States close themselves before: each holds this object.
        weakref.finalize(self, self._library.parrot_cuda_close, self._handle)

    def _call(self, name: str, *arguments: Any) -> None:
        fault = _Fault()
        code = getattr(self._library, f"parrot_cuda_{name}")(*arguments, byref(fault))
        if code:
            text = fault.text.decode("utf-8", "replace")
            if (kind := _ERRORS.get(code, EngineError)) is DeviceMissing:
                raise DeviceMissing(text, device="cuda")
            raise kind(text)

    def describe(self) -> dict[str, Any]:
        """Return name, compute capability, driver, memory and L2 of the GPU, and the model's size."""
        about = _Device()
        self._library.parrot_cuda_describe(self._handle, byref(about))
        return {
            "name": about.name.decode("utf-8", "replace"),
            "capability": f"{about.major}.{about.minor}",
            "processors": about.n_processors,
            "driver": f"{about.driver // 1000}.{about.driver % 1000 // 10}",
            "memory_mb": about.memory >> 20,
            "l2_mb": about.l2_size >> 20,
            "model_mb": about.model_size / 1e6,
        }

    def copy_bandwidth(self, size: int) -> float:
        """Return bytes/s of a copy of `size` bytes on the device, read and written counted."""
        return float(self._library.parrot_cuda_copy_bandwidth(self._handle, size))

    # ---- lives

    def new_life(self) -> Life:
        handle = c_void_p()
        self._call("state_open", self._handle, byref(handle))
        return Life(self, handle)

    def forward(self, ids: I32, lives: list[Life], counts: I32, which: int, logits: F32) -> None:
        """Live one call's rows (ROWS_MAX at most). Shapes: as `_native.Model.forward`."""
        handles = (c_void_p * len(lives))(*(life.handle.value for life in lives))
        self._call(
            "forward", self._handle, ids.ctypes.data, handles, counts.ctypes.data, len(lives), which,
            logits.ctypes.data,
        )  # fmt: skip


class Life:
    """The payload of one state on the GPU."""

    def __init__(self, model: CudaModel, handle: c_void_p) -> None:
        self.model, self.handle = model, handle
        self._close = weakref.finalize(self, model._library.parrot_cuda_state_close, handle)

    def upload(self, payload: F32) -> None:
        self.model._call("state_upload", self.handle, payload.ctypes.data)

    def download(self, payload: F32) -> None:
        self.model._call("state_download", self.handle, payload.ctypes.data)

    def copy_from(self, other: Life) -> None:
        self.model._call("state_copy", self.handle, other.handle)


class CudaState(State):
    """A state that lives on the GPU.

    Invariant: truth is in one place. Looking at `payload` brings it to the host, where the caller may
               change it; the next forward call takes it back to the GPU.
    """

    __slots__ = ("_cuda", "_host", "_is_here", "_kept_position", "_life", "_lock")

    def __init__(
        self, model: _native.Model, cuda: CudaModel, payload: F32, position: int = 0
    ) -> None:
        self._cuda, self._lock = cuda, threading.Lock()
        self._life: Life | None = None
        super().__init__(model, payload, position)

    @property  # type: ignore[override]
    def payload(self) -> F32:
        """Shapes: as State's. Raises: DeviceMissing when the GPU is lost; then the state is the last
        one that came back."""
        with self._lock:
            if not self._is_here and self._life is not None:
                try:
                    self._life.download(self._host)
                except DeviceMissing:
                    self._fall_back()
                    raise
                self._is_here, self._kept_position = True, self.position
            return self._host

    @payload.setter
    def payload(self, payload: F32) -> None:
        self._host, self._is_here = payload, True

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "position" and self._is_here:
            self._kept_position = value

    def copy(self) -> CudaState:
        """Return a twin that lives on by itself, copied on the GPU if that is where this one is."""
        if self._is_here or self._life is None:
            twin = CudaState(self._model, self._cuda, self.payload.copy(), self.position)
        else:
            twin = CudaState(self._model, self._cuda, self._host.copy(), self._kept_position)
            life = self._cuda.new_life()
            life.copy_from(self._life)
            twin._life, twin._is_here, twin.position = life, False, self.position
        twin.logits = self.logits
        return twin

    def board(self) -> Life:
        """Return the life on the GPU, taken there if it is not; what the host has is then old."""
        with self._lock:
            if self._life is None:
                self._life = self._cuda.new_life()
            if self._is_here:
                self._life.upload(self._host)
                self._kept_position = self.position
                self._is_here = False
            return self._life

    def fall_back(self) -> None:
        """The GPU is lost: become the state that was last brought back."""
        with self._lock:
            self._fall_back()

    def _fall_back(self) -> None:
        self._is_here, self._life = True, None
        self.position, self.logits = self._kept_position, None


class Speech:
    """Choosing on the GPU: one stream of choices, as `_native.Sampler` is on the host."""

    def __init__(
        self, sampling: Sampling, seed: int, banned: I32, stop: int, is_utf8: bool
    ) -> None:
        self._sampler = _Sampler(rng_state=seed & (1 << 64) - 1, recent_len=sampling.window)
        self._how = _Sampling(
            sampling.temperature, sampling.top_p, sampling.min_p, sampling.repetition, sampling.top_k
        )
        self._banned, self._stop, self._is_utf8 = banned, stop, is_utf8

    def utf8_need(self) -> int:
        """Continuation bytes due before text is whole."""
        return int(self._sampler.utf8_need)

    def say(self, state: CudaState, n_max: int, room: int, logits: F32) -> list[int]:
        """Choose and live up to `n_max` tokens; `logits`, the last ones, become those after them."""
        tokens, n_said = np.zeros(SAY_MAX, np.int32), c_size_t()
        life = state.board()
        life.model._call(
            "say", life.handle, byref(self._sampler), byref(self._how), int(self._is_utf8), room,
            self._stop, self._banned.ctypes.data, len(self._banned), n_max, logits.ctypes.data,
            tokens.ctypes.data, byref(n_said),
        )  # fmt: skip
        state.position += n_said.value
        return tokens[: n_said.value].tolist()
