# SPDX-License-Identifier: Apache-2.0
"""Models and states on a GPU.

States live there and come back when they are looked at. What came back last is what is left of a
life whose GPU is lost: from then on every call is an error, and the state is the one before.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from ctypes import byref, c_size_t, c_void_p
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from parrot import _native
from parrot.base.errors import (
    CorruptError,
    DeviceMissing,
    EngineError,
    FileError,
    FormatError,
    ParrotError,
)
from parrot.engine import cuda_library
from parrot.engine.cuda_library import ROWS_MAX, SAY_MAX, device_index, load_library
from parrot.engine.state import State

if TYPE_CHECKING:
    from parrot.engine.generate import Sampling

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

_ENDS, _ALL = 1, 2  # parrot_logits
_ERRORS: dict[int, type[ParrotError]] = {
    -2: FileError,
    -3: FormatError,
    -4: FormatError,
    -5: CorruptError,
    -9: DeviceMissing,
}


class CudaModel:
    """A model on a GPU: what `parrot.engine.model.Model` calls in place of the CPU's engine.

    Threads: may be shared; calls wait for each other.
    Raises: DeviceMissing when there is no GPU that can run it, or it is lost; EngineError when its
            memory is too small; FileError and its kinds for the file.
    """

    def __init__(self, path: Path, device: str, plain: bool = False) -> None:
        index = device_index(device)
        self.library = load_library()
        self.handle = c_void_p()
        self.is_lost = False  # from then on nothing more can be lived
        flags = cuda_library.PLAIN if plain else 0
        self.call("open", byref(self.handle), os.fsencode(path), index, flags)
        # States close themselves before: each holds this object.
        weakref.finalize(self, self.library.parrot_cuda_close, self.handle)

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function of the library; its fault becomes the exception of that code."""
        fault = cuda_library.Fault()
        code = getattr(self.library, f"parrot_cuda_{name}")(*arguments, byref(fault))
        if code:
            text = fault.text.decode("utf-8", "replace")
            if (kind := _ERRORS.get(code, EngineError)) is DeviceMissing:
                self.is_lost = True
                raise DeviceMissing(text, device="cuda")
            raise kind(text)

    def describe(self) -> dict[str, Any]:
        """Return name, capability, driver and memory of the GPU, and the model's size."""
        about = cuda_library.Device()
        self.library.parrot_cuda_describe(self.handle, byref(about))
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
        return float(self.library.parrot_cuda_copy_bandwidth(self.handle, size))

    def probe(self, stage: str, n: int) -> F32:
        """Return `n` floats of the work memory after a forward call; for tests (parrot_cuda.h)."""
        floats = np.empty(n, np.float32)
        self.call("probe", self.handle, stage.encode(), n, floats.ctypes.data)
        return floats

    # ---- lives

    def new_life(self) -> Life:
        handle = c_void_p()
        self.call("state_open", self.handle, byref(handle))
        return Life(self, handle)

    def run(
        self,
        ids: I32,
        states: Sequence[CudaState],
        counts: I32,
        logits: F32,
        abort: _native.Abort | None,
    ) -> int:
        """Live rows as `_native.Model.forward`; logits of all rows or of each state's last.

        `abort` is looked at between calls of at most ROWS_MAX rows. Returns rows lived. When the
        GPU is lost the states become what was last brought back.
        """
        every, n_done, n_out = len(logits) == len(ids), 0, 0
        try:
            # All of them first: a lack of memory must show before anybody has lived.
            homes = [state.board().handle.value for state in states]
            for part, sizes, is_cut in _parts(counts):
                if abort is not None and abort.is_set():
                    break
                n = int(sizes.sum())
                lives = np.array([homes[i] for i in part], np.uintp)
                n_rows = n if every else len(lives)
                out = np.empty((n_rows, logits.shape[1]), np.float32) if is_cut else logits[n_out:]
                self._forward(ids[n_done : n_done + n], lives, sizes, _ALL if every else _ENDS, out)
                n_kept = n_rows if every else n_rows - is_cut
                if is_cut:
                    logits[n_out : n_out + n_kept] = out[:n_kept]
                n_out, n_done = n_out + n_kept, n_done + n
        except DeviceMissing:
            for state in states:
                state.fall_back()
            raise
        return n_done

    def _forward(
        self, ids: I32, lives: NDArray[np.uintp], counts: I32, which: int, logits: F32
    ) -> None:
        self.call(
            "forward", self.handle, ids.ctypes.data, lives.ctypes.data, counts.ctypes.data,
            len(lives), which, logits.ctypes.data,
        )  # fmt: skip


def _parts(counts: I32) -> Iterator[tuple[list[int], I32, bool]]:
    """Yield calls of at most ROWS_MAX rows: which states, rows of each, is the last one cut off."""
    part: list[int] = []
    sizes: list[int] = []
    room = ROWS_MAX
    for i, count in enumerate(counts.tolist()):
        while count > 0:
            n = min(count, room)
            part.append(i)
            sizes.append(n)
            room, count = room - n, count - n
            if room == 0:
                yield part, np.array(sizes, np.int32), count > 0
                part, sizes, room = [], [], ROWS_MAX
    if part:
        yield part, np.array(sizes, np.int32), False


class Life:
    """The payload of one state on the GPU."""

    def __init__(self, model: CudaModel, handle: c_void_p) -> None:
        self.model, self.handle = model, handle
        weakref.finalize(self, model.library.parrot_cuda_state_close, handle)

    def upload(self, payload: F32) -> None:
        self.model.call("state_upload", self.handle, payload.ctypes.data)

    def download(self, payload: F32) -> None:
        self.model.call("state_download", self.handle, payload.ctypes.data)

    def copy_from(self, other: Life) -> None:
        self.model.call("state_copy", self.handle, other.handle)


class CudaState(State):
    """A state that lives on the GPU.

    Invariant: truth is in one place. Looking at `payload` brings it to the host, where the caller
               may change it; the next forward call takes it back to the GPU. Meanwhile the host
               keeps what it had, and `_kept_position` says how long that had lived.
    """

    __slots__ = ("_cuda", "_host", "_is_here", "_kept_position", "_life", "_lock")

    def __init__(
        self, model: _native.Model, cuda: CudaModel, payload: F32, position: int = 0
    ) -> None:
        self._cuda, self._lock = cuda, threading.Lock()
        self._life: Life | None = None
        self._is_here, self._kept_position = True, position
        super().__init__(model, payload, position)

    @property
    def payload(self) -> F32:
        """Bring the floats here. Raises: DeviceMissing when the GPU is lost; then this is the state
        that last came back."""
        with self._lock:
            if not self._is_here and self._life is not None:
                try:
                    self._life.download(self._host)
                except DeviceMissing:
                    self._fall_back()
                    raise
                self._is_here = True
            return self._host

    @payload.setter
    def payload(self, payload: F32) -> None:
        self._host, self._is_here = payload, True

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
        if self._life is not None and not self._is_here:
            return self._life
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
        if not self._is_here:
            self.position = self._kept_position
        self._is_here, self._life, self.logits = True, None, None


class Speech:
    """Choosing on the GPU: one stream of choices, as `_native.Sampler` is on the host."""

    def __init__(
        self, sampling: Sampling, seed: int, banned: I32, stop: int, is_utf8: bool
    ) -> None:
        self._sampler = cuda_library.SamplerC(
            rng_state=seed & (1 << 64) - 1, recent_len=sampling.window
        )
        self._how = cuda_library.SamplingC(
            sampling.temperature,
            sampling.top_p,
            sampling.min_p,
            sampling.repetition,
            sampling.top_k,
        )
        self._banned, self._stop, self._is_utf8 = banned, stop, is_utf8

    def utf8_need(self) -> int:
        """Continuation bytes due before text is whole."""
        return int(self._sampler.utf8_need)

    def say(self, state: CudaState, n_max: int, room: int, logits: F32) -> list[int]:
        """Choose and live up to `n_max` tokens; `logits`, the last ones, become the new last."""
        tokens, n_said = np.zeros(SAY_MAX, np.int32), c_size_t()
        life = state.board()
        try:
            life.model.call(
                "say", life.handle, byref(self._sampler), byref(self._how), int(self._is_utf8),
                room, self._stop, self._banned.ctypes.data, len(self._banned), n_max,
                logits.ctypes.data, tokens.ctypes.data, byref(n_said),
            )  # fmt: skip
        except DeviceMissing:
            state.fall_back()
            raise
        finally:
            state.position += n_said.value
        said: list[int] = tokens[: n_said.value].tolist()
        return said
