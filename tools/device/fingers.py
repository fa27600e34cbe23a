# SPDX-License-Identifier: Apache-2.0
"""Keypads that are pressed from outside, at the pace at which the guest looks at them.

A key is held until the guest has read its keypad a number of times more, and let go for as many: no
fixed pause, so that a slow machine loses no key.
"""

from __future__ import annotations

import time
from typing import Protocol

from parrot.base.i2c import I2CChip
from tools.device.machine import Machine, PowerLost

N_READS = 32  # eight scans of four rows: 40 ms at least, far from a long press
HOLD = 12  # times a tap: 480 ms at least
TIMEOUT_S = 120.0


class Pad(Protocol):
    def press(self, key: str) -> None: ...

    def release(self, key: str) -> None: ...


class Watched:
    """A chip on the bus that counts how often it was read."""

    def __init__(self, chip: I2CChip) -> None:
        self._chip, self.n_reads = chip, 0

    def write(self, payload: bytes) -> None:
        self._chip.write(payload)

    def read(self, n_bytes: int) -> bytes:
        self.n_reads += 1
        return self._chip.read(n_bytes)


class Finger:
    """Taps on `pad`, which the guest reads through `chip`."""

    def __init__(self, machine: Machine, pad: Pad, chip: Watched, n_reads: int = N_READS) -> None:
        self._machine, self._pad, self._chip, self._n_reads = machine, pad, chip, n_reads

    def tap(self, keys: str) -> None:
        for key in keys:
            self._press(key, self._n_reads)

    def hold(self, key: str) -> None:
        """Hold `key` for a long press."""
        self._press(key, self._n_reads * HOLD)

    def _press(self, key: str, n_reads: int) -> None:
        self._pad.press(key)
        self._wait(n_reads)
        self._pad.release(key)
        self._wait(self._n_reads)

    def _wait(self, n_reads: int) -> None:
        wanted, end = self._chip.n_reads + n_reads, time.monotonic() + TIMEOUT_S
        while self._chip.n_reads < wanted:
            if not self._machine.is_on:
                raise PowerLost("the guest ended under the finger")
            if time.monotonic() > end:
                raise TimeoutError(f"the keypad was not read for {TIMEOUT_S} s")
            time.sleep(0.005)


class FinishedPad:
    """`I2CPadModel` with the two movements of a pad."""

    def __init__(self, model: object) -> None:
        self._model = model

    def press(self, key: str) -> None:
        self._model.down = key  # type: ignore[attr-defined]

    def release(self, key: str) -> None:
        self._model.down = None  # type: ignore[attr-defined]
