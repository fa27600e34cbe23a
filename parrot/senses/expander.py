# SPDX-License-Identifier: Apache-2.0
"""Keypads on an I²C bus they borrow: two port expanders, a keypad controller, a finished pad.

PCF8574   rows P0-P3, columns P4-P7. No registers: a written 1 is a weak pull-up, a 0 pulls down.
MCP23017  rows GPA0-GPA3, columns GPB0-GPB3 with its own pull-ups.
TCA8418   scans and debounces by itself and queues ten events.
Pad 0x27  a microcontroller with 16 keys: write 03, read 0-15 (a key) or 16 (none).

The first two are `MatrixPort`s for `MatrixKeypad`; the other two are whole `KeySource`s. Each has a
register-level model in `parrot.senses.keypad_model`.
"""

from __future__ import annotations

from parrot.base.errors import DeviceMissing
from parrot.base.i2c import I2CBus
from parrot.senses.key import HOLD_MS, KEYS, PAD_4X4, Debounce, KeyPress, KeyTimer


class PCF8574:
    """A matrix on the eight quasi-bidirectional pins of a PCF8574.

    Source: PCF8574 data sheet (TI SCPS068J) §8.3: read the pins after writing 1 to inputs.
    Cost:   2 transactions when no key is down, 10 when one is.
    """

    def __init__(self, bus: I2CBus, address: int = 0x20) -> None:
        self._bus, self._address = bus, address

    def scan(self) -> int:
        if self._columns(driven=0x0F) == 0:
            return 0
        return sum(self._columns(driven=1 << row) << 4 * row for row in range(4))

    def close(self) -> None:
        self._bus.write(self._address, b"\xff")  # every pin floats

    def _columns(self, driven: int) -> int:
        self._bus.write(self._address, bytes([0xFF & ~driven]))
        return ~self._bus.read(self._address, 1)[0] >> 4 & 0x0F


class MCP23017:
    """A matrix on an MCP23017 in its power-on register layout (IOCON.BANK = 0).

    A row that is not driven is an input, so rows never push against each other. The registers are
    written at each scan: a chip that lost power and came back works at once.

    Source: MCP23017 data sheet (Microchip DS20001952C), table 3-1.
    """

    IODIRA, GPPUB, GPIOB, OLATA = 0x00, 0x0D, 0x13, 0x14

    def __init__(self, bus: I2CBus, address: int = 0x20) -> None:
        self._bus, self._address = bus, address

    def scan(self) -> int:
        self._bus.write(self._address, bytes([self.OLATA, 0x00]))
        self._bus.write(self._address, bytes([self.GPPUB, 0x0F]))
        if self._columns(driven=0x0F) == 0:
            return 0
        return sum(self._columns(driven=1 << row) << 4 * row for row in range(4))

    def close(self) -> None:
        self._bus.write(self._address, bytes([self.IODIRA, 0xFF]))  # every row floats

    def _columns(self, driven: int) -> int:
        self._bus.write(self._address, bytes([self.IODIRA, 0xFF & ~driven]))
        return ~self._bus.write_read(self._address, bytes([self.GPIOB]), 1)[0] & 0x0F


class TCA8418:
    """A TI keypad controller: it debounces and queues, we empty the queue.

    After an overflow nobody knows which keys are down, so all are let go; `n_overflow` counts it.

    Source: TCA8418 data sheet (TI SCPS222C) §8.6: table 4 (registers), KEY_EVENT_A.
    """

    CFG, INT_STAT, KEY_LCK_EC, KEY_EVENT_A, KP_GPIO1 = 0x01, 0x02, 0x03, 0x04, 0x1D
    OVERFLOW, COLUMNS_PER_ROW = 0x08, 10

    def __init__(self, bus: I2CBus, address: int = 0x34, layout: str = PAD_4X4) -> None:
        self._bus, self._address, self._layout = bus, address, layout
        self._timer = KeyTimer()
        self._is_set_up = False
        self._events: list[KeyPress] = []  # taken from the chip, not yet from us
        self.n_overflow = 0

    def poll(self, now_ms: int) -> list[KeyPress]:
        if not self._is_set_up:
            self._set_up()
        self._events += self._timer.tick(now_ms)
        if self._read(self.INT_STAT) & self.OVERFLOW:
            self._start_over(now_ms)
        for _ in range(self._read(self.KEY_LCK_EC) & 0x0F):
            # one at a time: when the bus fails here, what was taken waits for the next poll
            self._events += self._event(self._read(self.KEY_EVENT_A), now_ms)
        events, self._events = self._events, []
        return events

    def release_all(self, now_ms: int) -> list[KeyPress]:
        self._is_set_up = False
        events, self._events = self._events + self._timer.release_all(now_ms), []
        return events

    def close(self) -> None:
        self._bus.write(self._address, bytes([self.KP_GPIO1, 0x00]))  # rows become plain pins

    def _start_over(self, now_ms: int) -> None:
        self._events += self._timer.release_all(now_ms)
        while self._read(self.KEY_EVENT_A):
            pass
        self._bus.write(self._address, bytes([self.INT_STAT, self.OVERFLOW]))
        self.n_overflow += 1

    def _set_up(self) -> None:
        # rows 0-3 and columns 0-3 belong to the matrix, the rest stay plain pins
        self._bus.write(self._address, bytes([self.KP_GPIO1, 0x0F]))
        self._bus.write(self._address, bytes([self.KP_GPIO1 + 1, 0x0F]))
        self._bus.write(self._address, bytes([self.CFG, 0x00]))
        self._is_set_up = True

    def _event(self, code: int, now_ms: int) -> list[KeyPress]:
        row, column = divmod((code & 0x7F) - 1, self.COLUMNS_PER_ROW)
        if not (0 <= row < 4 and column < 4):
            return []  # a plain pin's event
        return self._timer.feed(self._layout[4 * row + column], bool(code & 0x80), now_ms)

    def _read(self, register: int) -> int:
        return self._bus.write_read(self._address, bytes([register]), 1)[0]


class I2CPad:
    """The finished 16-key pad at 0x27: one key at a time, key number = index in `KEYS`.

    Its firmware needs about a millisecond between being asked and answering, so each poll reads the
    answer to the question of the poll before, and nobody waits.
    """

    ADDRESS, REGISTER, IDLE = 0x27, 0x03, 16

    def __init__(self, bus: I2CBus, address: int = ADDRESS, hold_ms: int = HOLD_MS) -> None:
        self._bus, self._address, self._hold_ms = bus, address, hold_ms
        self._timer = KeyTimer()
        self._debounce: dict[str, Debounce] = {}
        self._is_asked = False

    def poll(self, now_ms: int) -> list[KeyPress]:
        code = self._bus.read(self._address, 1)[0] if self._is_asked else self.IDLE
        self._bus.write(self._address, bytes([self.REGISTER]))
        self._is_asked = True
        if code > self.IDLE:
            raise DeviceMissing(
                f"i2c address 0x{self._address:02x}: answered {code}, expected 0 to 16; this is "
                "another chip, correct the keypad address in board.toml.",
                device="keys",
            )
        down = KEYS[code] if code < self.IDLE else None
        if not self._debounce:
            self._debounce = {key: Debounce(now_ms, self._hold_ms) for key in KEYS}
        events = self._timer.tick(now_ms)
        edges = {key: bounce.feed(key == down, now_ms) for key, bounce in self._debounce.items()}
        for is_down in (False, True):  # the key let go comes before the next one
            for key, edge in edges.items():
                if edge is is_down:
                    events += self._timer.feed(key, is_down, now_ms)
        return events

    def release_all(self, now_ms: int) -> list[KeyPress]:
        self._debounce, self._is_asked = {}, False
        return self._timer.release_all(now_ms)

    def close(self) -> None:
        """The bus is borrowed and the pad has nothing to put back."""
