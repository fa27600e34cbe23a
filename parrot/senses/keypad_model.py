# SPDX-License-Identifier: Apache-2.0
"""Keypads made of Python: a contact matrix with real ghosts, and the chips that read it.

For the simulator and for tests. Each chip answers on a `ScriptedBus` register for register as its
data sheet says, so the drivers above cannot tell; press keys on `Contacts` (or on the pad itself)
and poll the driver. The models know nothing of parrot's drivers.
"""

from __future__ import annotations

from collections import deque

from parrot.senses.key import KEYS, PAD_4X4


class Contacts:
    """A 4x4 pad without diodes. `layout` names the keys row by row."""

    def __init__(self, layout: str = PAD_4X4) -> None:
        self._layout = layout
        self.down: set[str] = set()

    def press(self, key: str) -> None:
        self.down.add(key)

    def release(self, key: str) -> None:
        self.down.discard(key)

    def columns_low(self, rows_low: int) -> int:
        """Return the mask of columns that a low row pulls down, by any path of closed contacts."""
        closed = [divmod(self._layout.index(key), 4) for key in self.down]
        rows, columns = rows_low, 0
        for _ in range(8):  # the longest path crosses every line once
            for row, column in closed:
                if rows >> row & 1 or columns >> column & 1:
                    rows |= 1 << row
                    columns |= 1 << column
        return columns


class ContactsPort:
    """The `MatrixPort` of a pad that is wired straight to the processor."""

    def __init__(self, contacts: Contacts) -> None:
        self._contacts = contacts

    def scan(self) -> int:
        return sum(self._contacts.columns_low(1 << row) << 4 * row for row in range(4))

    def close(self) -> None:
        """Python contacts need no care."""


class PCF8574Model:
    """Eight quasi-bidirectional pins: rows on P0-P3, columns on P4-P7; all 1 at power-on."""

    def __init__(self, contacts: Contacts) -> None:
        self._contacts, self._latch = contacts, 0xFF

    def write(self, payload: bytes) -> None:
        if payload:
            self._latch = payload[-1]

    def read(self, n_bytes: int) -> bytes:
        low = self._contacts.columns_low(~self._latch & 0x0F) << 4
        return bytes([self._latch & ~low & 0xFF]) * n_bytes


class MCP23017Model:
    """Registers in the BANK = 0 layout with a pointer that walks; rows on A, columns on B."""

    N_REGISTERS = 0x16
    IODIRA, GPPUB, GPIOA, GPIOB, OLATA = 0x00, 0x0D, 0x12, 0x13, 0x14

    def __init__(self, contacts: Contacts) -> None:
        self._contacts, self._pointer = contacts, 0
        self._registers = bytearray(self.N_REGISTERS)
        self._registers[0x00:0x02] = b"\xff\xff"  # every pin an input at power-on

    def write(self, payload: bytes) -> None:
        if not payload:
            return
        self._pointer = payload[0] % self.N_REGISTERS
        for value in payload[1:]:
            latch = self.OLATA - self.GPIOA if self._pointer in (self.GPIOA, self.GPIOB) else 0
            self._registers[self._pointer + latch] = value
            self._pointer = (self._pointer + 1) % self.N_REGISTERS

    def read(self, n_bytes: int) -> bytes:
        answer = bytearray()
        for _ in range(n_bytes):
            is_b = self._pointer == self.GPIOB
            answer.append(self._port_b() if is_b else self._registers[self._pointer])
            self._pointer = (self._pointer + 1) % self.N_REGISTERS
        return bytes(answer)

    def _port_b(self) -> int:
        rows_low = ~self._registers[self.IODIRA] & ~self._registers[self.OLATA] & 0x0F
        low = self._contacts.columns_low(rows_low)
        return self._registers[self.GPPUB] & ~low & 0xFF  # an input without pull-up reads low


class TCA8418Model:
    """The event queue of a TCA8418; press and release keys on the model itself.

    In its default mode the eleventh event is lost and the overflow flag set.
    """

    CFG, INT_STAT, KEY_LCK_EC, KEY_EVENT_A, KP_GPIO1 = 0x01, 0x02, 0x03, 0x04, 0x1D
    KEY_FLAG, OVERFLOW_FLAG, QUEUE_LEN = 0x01, 0x08, 10

    def __init__(self, layout: str = PAD_4X4) -> None:
        self._layout, self._pointer = layout, 0
        self._registers = bytearray(0x2F)
        self._queue: deque[int] = deque()

    def press(self, key: str) -> None:
        self._push(key, 0x80)

    def release(self, key: str) -> None:
        self._push(key, 0x00)

    def write(self, payload: bytes) -> None:
        if not payload:
            return
        self._pointer = payload[0] % len(self._registers)
        for value in payload[1:]:
            if self._pointer == self.INT_STAT:
                self._registers[self.INT_STAT] &= ~value  # write 1 to clear
            else:
                self._registers[self._pointer] = value

    def read(self, n_bytes: int) -> bytes:
        if self._pointer == self.KEY_LCK_EC:
            return bytes([len(self._queue)]) * n_bytes
        if self._pointer == self.KEY_EVENT_A:
            return bytes(self._queue.popleft() if self._queue else 0 for _ in range(n_bytes))
        return bytes([self._registers[self._pointer]]) * n_bytes

    def _push(self, key: str, is_press: int) -> None:
        row, column = divmod(self._layout.index(key), 4)
        rows, columns = self._registers[self.KP_GPIO1 : self.KP_GPIO1 + 2]
        if not rows >> row & columns >> column & 1:
            return  # the row or column is still a plain pin
        if len(self._queue) == self.QUEUE_LEN:
            self._registers[self.INT_STAT] |= self.OVERFLOW_FLAG
            return
        self._queue.append(is_press | (row * 10 + column + 1))
        self._registers[self.INT_STAT] |= self.KEY_FLAG


class I2CPadModel:
    """The finished pad: after 03 it answers the number of the one key that is down, or 16."""

    REGISTER, IDLE = 0x03, 16

    def __init__(self) -> None:
        self.down: str | None = None
        self._answer = 0

    def write(self, payload: bytes) -> None:
        if payload == bytes([self.REGISTER]):
            self._answer = self.IDLE if self.down is None else KEYS.index(self.down)

    def read(self, n_bytes: int) -> bytes:
        return bytes([self._answer]) * n_bytes
