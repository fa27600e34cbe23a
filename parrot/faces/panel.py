# SPDX-License-Identifier: Apache-2.0
"""Framebuffer onto glass.

`luma.oled` knows how each controller is woken, but importing it costs a small board seconds, and it
sends whole frames, 23 ms of a 400 kHz bus. So its wake-up sequences are kept here (a test compares
them with luma's), and only the bytes that changed are sent: page by page, in runs of columns.

A panel on loose wires is the rule. Each transaction is tried three times; after that the glass is
marked stale (INV-6), `show` raises once per attempt, and every RETRY_MS the panel is woken again
and given the whole picture. A cut so short that no transaction met it leaves no trace on the bus:
therefore, in the background, the wake-up sequence and one page after another are repeated, so that
whatever happened to the controller is healed within two seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from parrot.base.errors import ConfigError, DeviceError, DeviceMissing, DeviceTimeout
from parrot.base.i2c import I2CBus
from parrot.faces.framebuffer import N_PAGES, WIDTH, Framebuffer

N_TRIES = 3
RETRY_MS = 500
HEAL_MS = 200  # one page each; all eight and the wake-up sequence in 1.6 s
RUN_GAP = 10  # columns: a new run costs ten bytes on the bus, so a smaller gap is sent along
CONTRAST_DIM = 8
ADDRESS = 0x3C

_SSD = "ae d5 80 a8 3f d3 00 40 8d 14 20 00 a1 c8 da 12 d9 f1 db 40 a4 a6"
WAKE = {
    "ssd1306": _SSD,
    "ssd1309": _SSD,
    "sh1106": "ae 20 10 b0 c8 00 10 40 a1 a6 a8 3f a4 d3 00 d5 f0 d9 22 da 12 db 20 8d 14",
}  # luma.oled 3.16
CHIPS = tuple(WAKE)

COMMAND, DATA = b"\x00", b"\x40"  # control bytes of the I²C interface
DISPLAY_OFF, DISPLAY_ON, SET_CONTRAST, NORMAL, INVERSE = 0xAE, 0xAF, 0x81, 0xA6, 0xA7


class Light(Enum):
    """How much of the owner's attention the glass asks for."""

    FULL = "full"
    DIM = "dim"
    OFF = "off"


@dataclass(frozen=True)
class Look:
    """Everything about the glass that is not the picture. Units: contrast 0…255, not linear."""

    contrast: int = 0xCF
    is_inverted: bool = False
    light: Light = Light.FULL

    @property
    def contrast_now(self) -> int:
        return self.contrast if self.light is Light.FULL else min(self.contrast, CONTRAST_DIM)


class Panel(Protocol):
    """A glass of 128×64 pixels. Set `look` at any time; `show` brings it to the glass.

    Invariant: INV-6. The glass shows the last frame presented, or `is_stale` is true.
    """

    look: Look
    is_stale: bool

    def show(self, frame: Framebuffer, now_ms: int) -> bool:
        """Bring `frame` to the glass and say whether it is there.

        Call it every tick, changed or not: a call without changes costs less than 0.1 ms, and it
        is what finds a panel that came back. False: absent, the next attempt is not due yet.
        Raises: DeviceMissing if it never answered, DeviceTimeout if it stopped answering.
        """


class RecordingPanel:
    """A glass made of memory: `frames` holds each new frame's 1024 bytes, `looks` each new look."""

    def __init__(self) -> None:
        self.look = Look()
        self.is_stale = True
        self.frames: list[bytes] = []
        self.looks: list[Look] = []

    def show(self, frame: Framebuffer, now_ms: int) -> bool:
        blob = frame.to_bytes()
        if not self.frames or self.frames[-1] != blob:
            self.frames.append(blob)
        if not self.looks or self.looks[-1] != self.look:
            self.looks.append(self.look)
        self.is_stale = False
        return True


class OLEDPanel:
    """An SSD1306, SSD1309 or SH1106 on an I²C bus that it borrows.

    Units:     address 7-bit; now_ms monotonic.
    Invariant: INV-6, see Panel.
    Raises:    ConfigError for an unknown chip; the bus is first touched by `show`.
    Source:    SSD1306 datasheet rev 1.1, §8.1.5 (I²C), §10; SH1106 datasheet v2.3 (132 columns).
    """

    def __init__(self, bus: I2CBus, chip: str = "ssd1306", address: int = ADDRESS) -> None:
        self.look = Look()
        self.is_stale = True
        self._bus, self._address, self._chip = bus, address, chip
        self._wake = wake_sequence(chip)
        self._shown = Framebuffer()
        self._look_shown = self.look
        self._has_answered = False
        self._retry_at_ms: int | None = None
        self._heal_at_ms = 0
        self._heal_page = 0

    def show(self, frame: Framebuffer, now_ms: int) -> bool:
        """See Panel.show."""
        if self._retry_at_ms is not None and now_ms < self._retry_at_ms:
            return False
        try:
            self._bring(frame, now_ms)
        except DeviceError:
            self.is_stale = True
            self._retry_at_ms = now_ms + RETRY_MS
            raise
        self._retry_at_ms = None
        return True

    def _bring(self, frame: Framebuffer, now_ms: int) -> None:
        look = self.look
        if look.light is Light.OFF:
            if self.is_stale or self._look_shown.light is not Light.OFF:
                self._command(bytes([DISPLAY_OFF]))
                self._look_shown, self.is_stale = look, False
            return
        if self.is_stale or self._look_shown.light is Light.OFF:
            self._command(self._wake)
            for page in range(N_PAGES):
                self._send_run(frame, page, 0, WIDTH)
            self._send_look(look)
            self._heal_at_ms, self.is_stale = now_ms + HEAL_MS, False
        elif look != self._look_shown:
            self._send_look(look)
        if not np.array_equal(frame.columns, self._shown.columns):
            for page, first, end in _dirty_runs(self._shown.pages(), frame.pages()):
                self._send_run(frame, page, first, end)
        if now_ms >= self._heal_at_ms:
            self._heal(frame, now_ms)

    def _heal(self, frame: Framebuffer, now_ms: int) -> None:
        """Repeat what the controller should know already, a little at a time."""
        if self._heal_page == 0:
            self._command(self._wake[1:])  # all but "display off"
            self._send_look(self.look)
        self._send_run(frame, self._heal_page, 0, WIDTH)
        self._heal_page = (self._heal_page + 1) % N_PAGES
        self._heal_at_ms = now_ms + HEAL_MS

    def _send_run(self, frame: Framebuffer, page: int, first: int, end: int) -> None:
        run = frame.pages()[page, first:end]
        self._command(_address_bytes(self._chip, page, first, end))
        self._write(DATA + run.tobytes())
        self._shown.pages()[page, first:end] = run

    def _send_look(self, look: Look) -> None:
        inverse = INVERSE if look.is_inverted else NORMAL
        self._command(bytes([SET_CONTRAST, look.contrast_now, inverse, DISPLAY_ON]))
        self._look_shown = look

    def _command(self, commands: bytes) -> None:
        self._write(COMMAND + commands)

    def _write(self, payload: bytes) -> None:
        for i in range(N_TRIES):
            try:
                self._bus.write(self._address, payload)
            except (DeviceMissing, DeviceTimeout) as exc:
                if i == N_TRIES - 1:
                    raise self._no_answer(exc) from exc
            else:
                self._has_answered = True
                return

    def _no_answer(self, cause: DeviceError) -> DeviceError:
        """Return what the bus said, as the panel's fault."""
        if self._has_answered:
            return DeviceTimeout(
                f"panel {self._chip} stopped answering, {N_TRIES} tries; {cause}", device="panel"
            )
        return DeviceMissing(f"panel {self._chip}: {cause}", device="panel")


def _address_bytes(chip: str, page: int, first: int, end: int) -> bytes:
    """Return the commands that point the controller at columns first … end - 1 of `page`."""
    if chip == "sh1106":
        column = first + 2  # its RAM is 132 columns, the glass shows columns 2 … 129
        return bytes([0xB0 | page, column & 0x0F, 0x10 | column >> 4])
    return bytes([0x21, first, end - 1, 0x22, page, page])


def _dirty_runs(
    shown: NDArray[np.uint8], wanted: NDArray[np.uint8]
) -> Iterator[tuple[int, int, int]]:
    """Yield (page, first, end) of the column runs in which `wanted` differs from `shown`."""
    differs = shown != wanted
    for page in np.flatnonzero(differs.any(axis=1)):
        columns = np.flatnonzero(differs[page])
        breaks = np.flatnonzero(np.diff(columns) > RUN_GAP)
        firsts = [columns[0], *columns[breaks + 1]]
        lasts = [*columns[breaks], columns[-1]]
        for first, last in zip(firsts, lasts, strict=True):
            yield int(page), int(first), int(last) + 1


def wake_sequence(chip: str) -> bytes:
    """Return the commands, "display off" first, with which luma.oled prepares `chip`.

    Raises: ConfigError for a chip that has no page diff here.
    """
    if chip not in WAKE:
        raise ConfigError(
            f"panel chip: {chip!r}, expected one of {', '.join(CHIPS)}; any other luma device "
            "goes through LumaPanel.",
            key="panel.chip",
        )
    return bytes.fromhex(WAKE[chip])
