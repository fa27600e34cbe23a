# SPDX-License-Identifier: Apache-2.0
"""Types of the compiled extension; native/python/_native.c."""

from os import PathLike
from typing import Any, TypedDict, final

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

class Description(TypedDict):
    n_layer: int
    n_embd: int
    head_size: int
    n_ffn: int
    n_vocab: int
    rank_w: int
    rank_a: int
    rank_v: int
    rank_g: int
    id: bytes
    cpu: str
    threads: int
    repacked: bool
    bytes_per_token: int
    state_len: int

@final
class Work: ...

@final
class Abort:
    def set(self) -> None: ...
    def clear(self) -> None: ...
    def is_set(self) -> bool: ...

class Model:
    def __new__(
        cls,
        path: str | PathLike[str],
        threads: int = 0,
        mapped: bool = False,
        cpu: str | None = None,
    ) -> Model: ...
    def describe(self) -> Description: ...
    def work(self, n_rows: int, /) -> Work: ...
    def forward(
        self,
        work: Work,
        tokens: I32,
        payloads: tuple[F32, ...],
        counts: I32,
        which: int,
        logits: F32 | None,
        abort: Abort | None,
        /,
    ) -> int: ...
    def adapt(self, updates: tuple[tuple[int, int, int, F32, F32], ...], /) -> Model: ...
    def state_header(self, payload: F32, position: int, /) -> bytes: ...
    def state_read(self, file: bytes, payload: F32, /) -> int: ...

class Sampler:
    def __new__(cls, n_vocab: int, banned: I32, **settings: Any) -> Sampler: ...
    def choose(self, logits: F32, room: int, /) -> int: ...
    def feed(self, token: int, /) -> None: ...
    def utf8_need(self) -> int: ...

def cpu_names() -> list[str]: ...
def read_bandwidth(threads: int, size: int, /) -> float: ...
