# SPDX-License-Identifier: Apache-2.0
"""A 4x4 pad on eight GPIO lines.

Rows are open drain: driven low one at a time, else left floating, so that two keys on one column
can never short a high row to a low one. Columns are inputs with pull-ups and read low where a
contact is closed. `open_gpiod_matrix` works on every board with /dev/gpiochipN and libgpiod 2;
`open_rpi_matrix` is for systems that only have RPi.GPIO or its stand-in rpi-lgpio.
"""

from __future__ import annotations

import errno
import importlib
from collections.abc import Sequence
from typing import Any

from parrot.base.errors import DeviceError, DeviceMissing, DeviceRefused, DeviceTimeout


def _gpio_error(where: str, exc: OSError) -> DeviceError:
    if exc.errno in (errno.EACCES, errno.EPERM):
        return DeviceRefused(
            f"{where}: permission denied; add this user to the group gpio and log in again.",
            device="keys",
        )
    if exc.errno == errno.EBUSY:
        return DeviceRefused(
            f"{where}: a line is busy, another program or driver holds it; free it or choose "
            "other pins in board.toml.",
            device="keys",
        )
    if exc.errno in (errno.ENOENT, errno.ENODEV, errno.ENOTTY):
        return DeviceMissing(
            f"{where}: no such GPIO chip; list the chips with gpiodetect and correct board.toml.",
            device="keys",
        )
    if exc.errno == errno.EINVAL:
        return DeviceMissing(
            f"{where}: the chip has no such line; correct the pins in board.toml.", device="keys"
        )
    return DeviceTimeout(f"{where}: {exc.strerror or exc}; check the wiring.", device="keys")


class GpiodMatrix:
    """Four open-drain rows and four pulled-up columns of one libgpiod request it owns."""

    def __init__(self, request: Any, rows: Sequence[int], columns: Sequence[int]) -> None:
        value = importlib.import_module("gpiod.line").Value
        self._request, self._rows, self._columns = request, list(rows), list(columns)
        self._low, self._high = value.INACTIVE, value.ACTIVE

    def scan(self) -> int:
        closed = 0
        try:
            for row, line in enumerate(self._rows):
                self._request.set_value(line, self._low)
                levels = self._request.get_values(self._columns)
                self._request.set_value(line, self._high)
                for column, level in enumerate(levels):
                    closed |= (level == self._low) << 4 * row + column
        except OSError as exc:
            raise _gpio_error("gpio keypad", exc) from exc
        return closed

    def close(self) -> None:
        self._request.release()


def open_gpiod_matrix(chip: str, rows: Sequence[int], columns: Sequence[int]) -> GpiodMatrix:
    """Take the eight lines of `chip`, such as "/dev/gpiochip0", and return the port.

    Raises: DeviceMissing without gpiod 2, the chip or a line; DeviceRefused when not permitted.
    """
    try:
        gpiod, line = importlib.import_module("gpiod"), importlib.import_module("gpiod.line")
        request_lines = gpiod.request_lines
    except (ImportError, AttributeError) as exc:  # version 1 has another interface
        raise DeviceMissing(
            "gpio keypad: the package gpiod 2 is not installed; run: pip install "
            "'parrot-companion[board]'.",
            device="keys",
        ) from exc
    row = gpiod.LineSettings(
        direction=line.Direction.OUTPUT,
        drive=line.Drive.OPEN_DRAIN,
        output_value=line.Value.ACTIVE,
    )
    column = gpiod.LineSettings(direction=line.Direction.INPUT, bias=line.Bias.PULL_UP)
    try:
        request = request_lines(
            chip, consumer="parrot", config={tuple(rows): row, tuple(columns): column}
        )
    except OSError as exc:
        raise _gpio_error(chip, exc) from exc
    return GpiodMatrix(request, rows, columns)


class RPiMatrix:
    """The same pad through the RPi.GPIO interface; an idle row is an input, which floats."""

    def __init__(self, gpio: Any, rows: Sequence[int], columns: Sequence[int]) -> None:
        self._gpio, self._rows, self._columns = gpio, list(rows), list(columns)
        gpio.setmode(gpio.BCM)
        for line in self._rows:
            gpio.setup(line, gpio.IN)
        for line in self._columns:
            gpio.setup(line, gpio.IN, pull_up_down=gpio.PUD_UP)

    def scan(self) -> int:
        gpio, closed = self._gpio, 0
        for row, line in enumerate(self._rows):
            gpio.setup(line, gpio.OUT, initial=gpio.LOW)
            for column, sense in enumerate(self._columns):
                closed |= (gpio.input(sense) == gpio.LOW) << 4 * row + column
            gpio.setup(line, gpio.IN)
        return closed

    def close(self) -> None:
        self._gpio.cleanup(self._rows + self._columns)


def open_rpi_matrix(rows: Sequence[int], columns: Sequence[int]) -> RPiMatrix:
    """Take eight BCM pins through RPi.GPIO or rpi-lgpio.

    Raises: DeviceMissing when neither package works on this machine.
    """
    try:
        gpio = importlib.import_module("RPi.GPIO")
    except (ImportError, RuntimeError) as exc:  # RuntimeError: "can only be run on a Pi"
        raise DeviceMissing(
            f"gpio keypad: RPi.GPIO does not work here ({exc}); use the gpiod driver in "
            "board.toml, or run: pip install rpi-lgpio.",
            device="keys",
        ) from exc
    return RPiMatrix(gpio, rows, columns)
