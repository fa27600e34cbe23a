# SPDX-License-Identifier: Apache-2.0
"""The hidden state: the parrot itself, a fixed number of floats that every byte updates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parrot import _native
from parrot.base.errors import CorruptError, FormatError, MismatchError
from parrot.base.files import read_file, replace_file

_SIZE_MAX = 1 << 31


class State:
    """Everything that one life has left in the model's recurrence, and how long it has lasted.

    Shapes:    `payload` (n_layer · (2 C + H N²),) f32, per layer shift_att (C), shift_ffn (C),
               wkv (H, N, N) with row = value channel, column = key channel.
    Units:     `position` is bytes (tokens) lived.
    Invariant: INV-2, a state loads only into the model that grew it.
    Threads:   belongs to one call at a time.

    `logits` are those after the last token lived, None when the state comes from a file.
    """

    __slots__ = ("_model", "logits", "payload", "position")

    def __init__(
        self, model: _native.Model, payload: NDArray[np.float32], position: int = 0
    ) -> None:
        self._model, self.payload, self.position = model, payload, position
        self.logits: NDArray[np.float32] | None = None

    def copy(self) -> State:
        """Return a twin that lives on by itself."""
        twin = State(self._model, self.payload.copy(), self.position)
        twin.logits = self.logits
        return twin

    def assign(self, other: State) -> None:
        """Become what `other` is; both belong to the same model."""
        np.copyto(self.payload, other.payload)
        self.position, self.logits = other.position, other.logits

    def to_bytes(self) -> bytes:
        """Return the state file (docs/formats.md) as bytes."""
        return self._model.state_header(self.payload, self.position) + self.payload.tobytes()

    def save(self, path: str | Path) -> None:
        """Write the state file; after a power cut it is the old one or the new one (INV-1).

        Raises: FileError, with what to do, when the disk refuses.
        """
        replace_file(Path(path), self.to_bytes())


def state_from_bytes(model: _native.Model, state_len: int, blob: bytes, where: str) -> State:
    """Return the state in `blob`, a whole state file.

    Raises: FormatError, CorruptError, MismatchError (another model), prefixed with `where`.
    """
    payload = np.zeros(state_len, np.float32)
    try:
        position = model.state_read(blob, payload)
    except (FormatError, CorruptError, MismatchError) as exc:
        raise type(exc)(f"{where}: {exc}", path=Path(where)) from exc
    return State(model, payload, position)


def load_state(model: _native.Model, state_len: int, path: Path) -> State:
    """Return the state that `path` holds. Raises: FileError and what `state_from_bytes` raises."""
    return state_from_bytes(model, state_len, read_file(path, _SIZE_MAX), str(path))
