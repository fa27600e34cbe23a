# SPDX-License-Identifier: Apache-2.0
"""An I²C bus that panels and keypads borrow.

`SMBusI2C` speaks to Linux's /dev/i2c-N through the package smbus2; `ScriptedBus` is the same
protocol with chips made of Python, for the simulator and for tests, and it can be told to fail.
"""

from __future__ import annotations

import errno
from typing import Any, Protocol

from parrot.base.errors import (
    DeviceError,
    DeviceMissing,
    DeviceRefused,
    DeviceSilent,
    DeviceTimeout,
)


class I2CBus(Protocol):
    """A bus master. Raises DeviceSilent, DeviceMissing, DeviceRefused or DeviceTimeout."""

    def write(self, address: int, payload: bytes) -> None:
        """Send `payload` to the 7-bit `address` in one transaction."""

    def read(self, address: int, n_bytes: int) -> bytes:
        """Read `n_bytes` from the 7-bit `address` in one transaction."""

    def write_read(self, address: int, payload: bytes, n_bytes: int) -> bytes:
        """Send `payload`, then read after a repeated start: how registers are read."""


class I2CChip(Protocol):
    """What answers at one address of a `ScriptedBus`."""

    def write(self, payload: bytes) -> None: ...

    def read(self, n_bytes: int) -> bytes: ...


def _device_error(where: str, exc: OSError) -> DeviceError:
    """The kernel says ENXIO or EREMOTEIO when no chip acknowledges the address."""
    if exc.errno in (errno.ENXIO, errno.EREMOTEIO):
        return DeviceSilent(
            f"{where}: no answer; check SDA, SCL and power, then run: parrot doctor.", device=where
        )
    if exc.errno == errno.ETIMEDOUT:
        return DeviceTimeout(
            f"{where}: the bus timed out; check pull-ups and cable length.", device=where
        )
    if exc.errno in (errno.EACCES, errno.EPERM):
        return DeviceRefused(
            f"{where}: permission denied; add this user to the group i2c and log in again.",
            device=where,
        )
    if exc.errno == errno.EBUSY:
        return DeviceRefused(
            f"{where}: busy, another driver holds it; stop that driver.", device=where
        )
    return DeviceTimeout(f"{where}: {exc.strerror or exc}; check the wiring.", device=where)


class SMBusI2C:
    """Linux I²C adapter number `port`, through smbus2. Owns the file descriptor until `close`.

    Raises: DeviceMissing when the adapter or the package is absent, DeviceRefused without rights.
    """

    def __init__(self, port: int) -> None:
        try:
            import smbus2
        except ImportError as exc:
            raise DeviceMissing(
                "i2c: the package smbus2 is not installed; run: pip install "
                "'parrot-companion[board]'.",
                device="i2c",
            ) from exc
        self._where = f"i2c-{port}"
        self._msg = smbus2.i2c_msg
        try:
            self._bus = smbus2.SMBus(port)
        except FileNotFoundError as exc:
            raise DeviceMissing(
                f"/dev/i2c-{port}: not there; enable I2C for this board (docs/hardware.md).",
                device=self._where,
            ) from exc
        except OSError as exc:
            raise _device_error(f"/dev/i2c-{port}", exc) from exc

    def write(self, address: int, payload: bytes) -> None:
        self._transfer(address, self._msg.write(address, payload))

    def read(self, address: int, n_bytes: int) -> bytes:
        message = self._msg.read(address, n_bytes)
        self._transfer(address, message)
        return bytes(message)

    def write_read(self, address: int, payload: bytes, n_bytes: int) -> bytes:
        answer = self._msg.read(address, n_bytes)
        self._transfer(address, self._msg.write(address, payload), answer)
        return bytes(answer)

    def close(self) -> None:
        self._bus.close()

    def _transfer(self, address: int, *messages: Any) -> None:
        try:
            self._bus.i2c_rdwr(*messages)
        except OSError as exc:
            raise _device_error(f"{self._where} address 0x{address:02x}", exc) from exc


class ScriptedBus:
    """An I²C bus made of Python objects: `chips` maps an address to what answers there.

    `unplug(address)` makes an address silent until `plug(address)`; `fail_every(k)` refuses every
    k-th transaction on the whole bus, as a bad contact would. `n_transactions` counts attempts.
    """

    def __init__(self, chips: dict[int, I2CChip]) -> None:
        self.chips = dict(chips)
        self.n_transactions = 0
        self._silent: set[int] = set()
        self._fail_every = 0

    def plug(self, address: int) -> None:
        self._silent.discard(address)

    def unplug(self, address: int) -> None:
        self._silent.add(address)

    def fail_every(self, k: int) -> None:
        """Refuse every k-th transaction; 0 refuses none, 1 refuses all."""
        self._fail_every = k

    def write(self, address: int, payload: bytes) -> None:
        self._chip(address).write(payload)

    def read(self, address: int, n_bytes: int) -> bytes:
        return self._chip(address).read(n_bytes)

    def write_read(self, address: int, payload: bytes, n_bytes: int) -> bytes:
        chip = self._chip(address)
        chip.write(payload)
        return chip.read(n_bytes)

    def _chip(self, address: int) -> I2CChip:
        self.n_transactions += 1
        refused = self._fail_every and self.n_transactions % self._fail_every == 0
        if refused or address in self._silent or address not in self.chips:
            raise _device_error(
                f"i2c-scripted address 0x{address:02x}", OSError(errno.ENXIO, "no acknowledge")
            )
        return self.chips[address]
