# SPDX-License-Identifier: Apache-2.0
"""What stands around a virtual board: glass, keypads and a card that outlive each power-on."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from parrot.base.i2c import I2CChip, ScriptedBus
from parrot.faces.framebuffer import Box
from parrot.faces.sim_panel import SimulatedSSD1306
from parrot.senses.keypad_model import (
    Contacts,
    I2CPadModel,
    MCP23017Model,
    PCF8574Model,
    TCA8418Model,
)
from tools.device.disk import FickleCard
from tools.device.fast import Bootable
from tools.device.fingers import Finger, Watched
from tools.device.glass import CHAT_BOX, read_lines
from tools.device.machine import Machine, PowerLost
from tools.device.usbredir import TinyUsbI2C

PANEL, PCF8574, MCP23017, I2C_PAD, TCA8418 = 0x3C, 0x20, 0x21, 0x27, 0x34
FACE = 200  # lit pixels: more than the words "no answer" would have
STILL_S = 0.5


class Bench:
    """A glass, keypads and a card that outlive the machines they are plugged into."""

    def __init__(self, folder: Path, files: Bootable, card: FickleCard) -> None:
        self._folder, self._files, self.card, self._n_boots = folder, files, card, 0
        self.glass, self.contacts, self.other = SimulatedSSD1306(), Contacts(), Contacts()
        self.finished, self.queue = I2CPadModel(), TCA8418Model()
        chips: dict[int, I2CChip] = {
            PCF8574: PCF8574Model(self.contacts),
            MCP23017: MCP23017Model(self.other),
            I2C_PAD: self.finished,
            TCA8418: self.queue,
        }
        self.chips = {address: Watched(chip) for address, chip in chips.items()}
        self.bus = ScriptedBus({PANEL: self.glass, **self.chips})
        self.adapter = TinyUsbI2C(self.bus)
        folder.mkdir()
        self.machine: Machine | None = None

    def power_on(self, append: str = "") -> Machine:
        self._n_boots += 1
        self.glass.cut_power()
        place = self._folder / f"boot{self._n_boots}"
        self.machine = Machine(place, self._files, self.adapter, self.card, append)
        return self.machine

    def cut_power(self) -> int:
        """Pull the plug; return how many unflushed writes were lost."""
        machine, self.machine = self.machine, None
        return machine.cut_power() if machine else 0

    def finger(self, machine: Machine) -> Finger:
        return Finger(machine, self.contacts, self.chips[PCF8574])

    def lit(self) -> int:
        with self.adapter.lock:
            return int(self.glass.glass().pixels().sum())

    def lines(self, box: Box = CHAT_BOX) -> list[str]:
        with self.adapter.lock:
            return read_lines(self.glass.glass(), box)

    def still(self) -> list[str]:
        """Return the lines on the glass once they have stood for half a second."""
        seen, since = self.lines(), time.monotonic()
        while time.monotonic() - since < STILL_S:
            now = self.lines()
            if now != seen:
                seen, since = now, time.monotonic()
            time.sleep(0.05)
        return seen

    def wait_face(self, machine: Machine, timeout_s: float) -> None:
        until(machine, "a face", lambda: self.lit() > FACE, timeout_s)

    def read_chat(self, finger: Finger) -> str:
        """Open the chat and read it from its last line up to the line that begins with ▸."""
        finger.hold("*")
        rows: list[str] = []
        for _ in range(60):
            seen = self.still()
            fresh = seen if not rows else seen[:1]
            rows = [*fresh, *rows]
            if "▸" in "".join(rows):
                return "".join(rows)
            finger.tap("*")
        raise AssertionError(f"the chat has no beginning: {rows}")


def until(machine: Machine, what: str, is_so: Callable[[], bool], timeout_s: float) -> None:
    """Wait for `is_so`. Raises: PowerLost when QEMU ends first, TimeoutError."""
    end = time.monotonic() + timeout_s
    while not is_so():
        if not machine.is_on:
            raise PowerLost(f"QEMU ended before {what}: {machine.tail()}")
        if time.monotonic() > end:
            raise TimeoutError(f"{timeout_s} s without {what}: {machine.tail()}")
        time.sleep(0.05)


def turn_number(machine: Machine, n: int, timeout_s: float) -> dict[str, Any]:
    """Return the n-th turn with words that the guest's soul holds, waiting for it."""

    def talk() -> list[dict[str, Any]]:
        return [turn for turn in machine.turns() if turn["heard"]]

    until(machine, f"turn {n}", lambda: len(talk()) >= n, timeout_s)
    return talk()[n - 1]
