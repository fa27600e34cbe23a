# SPDX-License-Identifier: Apache-2.0
"""A keypad on a serial line: a microcontroller that sends what its keys do as ASCII.

    5      key 5 was tapped          for pads that only report presses
    +5     key 5 went down           for pads that report both, so that long presses work
    -5     key 5 came up

Letters may be lower case. Every other byte is line noise: it is counted, never guessed at.
"""

from __future__ import annotations

import importlib
from typing import Protocol

from parrot.base.errors import DeviceMissing, DeviceRefused
from parrot.senses.key import KEYS, KeyPress, KeyTimer

_BYTES_PER_POLL = 256


class SerialPort(Protocol):
    """What is needed of `serial.Serial` with timeout 0."""

    def read(self, size: int) -> bytes: ...

    def close(self) -> None: ...


class SerialKeypad:
    """A keypad behind an open serial port it owns. `n_noise` counts bytes that mean nothing."""

    def __init__(self, port: SerialPort) -> None:
        self._port, self._timer, self._sign = port, KeyTimer(), ""
        self.n_noise = 0

    def poll(self, now_ms: int) -> list[KeyPress]:
        try:
            received = self._port.read(_BYTES_PER_POLL)
        except OSError as exc:  # SerialException is one
            raise DeviceMissing(
                f"serial keypad: the port went away ({exc}); plug it in again.", device="keys"
            ) from exc
        events = self._timer.tick(now_ms)
        for char in received.decode("ascii", "replace").upper():
            events += self._feed(char, now_ms)
        return events

    def release_all(self, now_ms: int) -> list[KeyPress]:
        self._sign = ""
        return self._timer.release_all(now_ms)

    def close(self) -> None:
        self._port.close()

    def _feed(self, char: str, now_ms: int) -> list[KeyPress]:
        sign, self._sign = self._sign, ""
        if char in KEYS:
            if sign:
                return self._timer.feed(char, sign == "+", now_ms)
            down = self._timer.feed(char, True, now_ms)
            return down + self._timer.feed(char, False, now_ms)
        if char in "+-":
            self._sign = char
        elif char not in "\r\n":
            self.n_noise += 1
        return []


def open_serial_keypad(path: str, baud: int = 115200) -> SerialKeypad:
    """Open the serial port at `path`, such as "/dev/ttyUSB0".

    Raises: DeviceMissing without pyserial or the port, DeviceRefused without permission.
    """
    try:
        serial = importlib.import_module("serial")
    except ImportError as exc:
        raise DeviceMissing(
            "serial keypad: the package pyserial is not installed; "
            "run: pip install 'parrot-companion[board]'.",
            device="keys",
        ) from exc
    try:
        return SerialKeypad(serial.Serial(path, baud, timeout=0))
    except (OSError, ValueError) as exc:
        if "ermission" in str(exc):
            raise DeviceRefused(
                f"{path}: permission denied; add this user to the group dialout and log in again.",
                device="keys",
            ) from exc
        raise DeviceMissing(
            f"{path}: cannot be opened ({exc}); check the cable and the port in board.toml.",
            device="keys",
        ) from exc
