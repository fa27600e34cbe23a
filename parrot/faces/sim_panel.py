# SPDX-License-Identifier: Apache-2.0
"""A model of the panel's controller: I²C bytes in, a picture out.

It sits on a `ScriptedBus` and understands what the real chips understand: control bytes, commands
with their arguments, page and horizontal and vertical addressing, remapped segments and rows,
start line and offset. It is the judge of `OLEDPanel`, so it shares no code with it, and it keeps
what it did not understand in `unknown`, where a test can see it.
"""

from __future__ import annotations

import random

import numpy as np

from parrot.faces.framebuffer import HEIGHT, N_PAGES, WIDTH, Framebuffer, words_from_mask

# Arguments after each command byte; those not listed take none.
# SSD1306 datasheet rev 1.1, table 9-1; SSD1309 adds 0xFD; SH1106 datasheet v2.3, section 10.
_N_ARGS_SSD = {
    0x20: 1, 0x21: 2, 0x22: 2, 0x26: 6, 0x27: 6, 0x29: 5, 0x2A: 5, 0x81: 1, 0x8D: 1, 0xA3: 2,
    0xA8: 1, 0xD3: 1, 0xD5: 1, 0xD9: 1, 0xDA: 1, 0xDB: 1, 0xFD: 1,
}  # fmt: skip
_N_ARGS_SH = {0x81: 1, 0xA8: 1, 0xAD: 1, 0xD3: 1, 0xD5: 1, 0xD9: 1, 0xDA: 1, 0xDB: 1}
_HORIZONTAL, _VERTICAL, _PAGE = 0, 1, 2


class SimulatedSSD1306:
    """An SSD1306, SSD1309 or SH1106 at one address of a ScriptedBus, with its 128×64 glass.

    Units: `n_bytes` counts every byte on the bus, the address byte included.
    """

    def __init__(self, chip: str = "ssd1306", seed: int = 1) -> None:
        self.chip = chip
        self._is_sh1106 = chip == "sh1106"
        self._n_columns = 132 if self._is_sh1106 else WIDTH
        self._noise = random.Random(seed)
        self.n_bytes = self.n_transactions = 0
        self.unknown: list[int] = []
        self.cut_power()

    def cut_power(self) -> None:
        """Forget everything, as the chip does: its RAM holds noise, its display is off."""
        self.ram = bytearray(self._noise.randbytes(N_PAGES * self._n_columns))
        self.is_on = self.is_inverted = self.is_all_on = self.has_pump = False
        self.is_flipped_x = self.is_flipped_y = False
        self.contrast, self.n_rows = 0x7F, HEIGHT
        self.start_line = self.offset = 0
        self._mode = _PAGE
        self._page = self._column = 0
        self._columns, self._pages = (0, WIDTH - 1), (0, N_PAGES - 1)
        self._pending: list[int] = []

    def bus_ms(self, rate_hz: int = 400_000) -> float:
        """Return the time the bus was busy: nine bits a byte, two for start and stop."""
        return 1000 * (9 * self.n_bytes + 2 * self.n_transactions) / rate_hz

    # The bus

    def write(self, payload: bytes) -> None:
        self.n_transactions += 1
        self.n_bytes += 1 + len(payload)
        i = 0
        while i < len(payload):
            control = payload[i]
            if control & 0x3F:
                self.unknown.append(control)
            is_last = not control & 0x80  # Co = 0: all that follows is of one kind
            run = payload[i + 1 :] if is_last else payload[i + 1 : i + 2]
            for byte in run:
                if control & 0x40:
                    self._take_data(byte)
                else:
                    self._take_command(byte)
            i += 1 + len(run)

    def read(self, n_bytes: int) -> bytes:
        """Return the status byte: bit 6 says that the display is off."""
        return bytes([0x00 if self.is_on else 0x40]) * n_bytes

    # Commands

    def _take_command(self, byte: int) -> None:
        self._pending.append(byte)
        n_args = (_N_ARGS_SH if self._is_sh1106 else _N_ARGS_SSD).get(self._pending[0], 0)
        if len(self._pending) > n_args:
            code, *args = self._pending
            self._pending = []
            if args:
                self._do_with_args(code, args)
            else:
                self._do(code)

    def _do(self, code: int) -> None:
        if code < 0x10:
            self._column = self._column & 0xF0 | code
        elif code < 0x20:
            self._column = self._column & 0x0F | (code & 0x0F) << 4
        elif 0x40 <= code < 0x80:
            self.start_line = code & 0x3F
        elif 0xB0 <= code < 0xB8:
            self._page = code & 7
        elif code in (0xA0, 0xA1):
            self.is_flipped_x = code == 0xA1
        elif code in (0xC0, 0xC8):
            self.is_flipped_y = code == 0xC8
        elif code in (0xA4, 0xA5):
            self.is_all_on = code == 0xA5
        elif code in (0xA6, 0xA7):
            self.is_inverted = code == 0xA7
        elif code in (0xAE, 0xAF):
            self.is_on = code == 0xAF
        elif not (code in (0x2E, 0x2F, 0xE3) or (self._is_sh1106 and 0x20 <= code < 0x40)):
            self._do_known_nothing(code)

    def _do_known_nothing(self, code: int) -> None:
        # luma sends the SSD1306's charge pump command to the SH1106 too, which ignores it
        if not (self._is_sh1106 and code in (0x8D, 0x14)):
            self.unknown.append(code)

    def _do_with_args(self, code: int, args: list[int]) -> None:
        if code == 0x20:
            self._mode = args[0] & 3
        elif code == 0x21:
            self._columns = (args[0] & 0x7F, args[1] & 0x7F)
            self._column = self._columns[0]
        elif code == 0x22:
            self._pages = (args[0] & 7, args[1] & 7)
            self._page = self._pages[0]
        elif code == 0x81:
            self.contrast = args[0]
        elif code == 0x8D:
            self.has_pump = bool(args[0] & 4)
        elif code == 0xA8:
            self.n_rows = (args[0] & 0x3F) + 1
        elif code == 0xD3:
            self.offset = args[0] & 0x3F

    # Data

    def _take_data(self, byte: int) -> None:
        if self._column < self._n_columns:
            self.ram[self._page * self._n_columns + self._column] = byte
        if self._is_sh1106:
            self._column = min(self._column + 1, self._n_columns)
        elif self._mode == _PAGE:
            self._column = (self._column + 1) % WIDTH
        elif self._mode == _HORIZONTAL:
            if self._step_column():
                self._step_page()
        elif self._step_page():
            self._step_column()

    def _step_column(self) -> bool:
        """Advance inside the column window; say whether it wrapped."""
        wraps = self._column == self._columns[1]
        self._column = self._columns[0] if wraps else (self._column + 1) % WIDTH
        return wraps

    def _step_page(self) -> bool:
        wraps = self._page == self._pages[1]
        self._page = self._pages[0] if wraps else (self._page + 1) % N_PAGES
        return wraps

    # The glass

    def glass(self) -> Framebuffer:
        """Return what a person sees of a module mounted as luma expects, both axes remapped."""
        frame = Framebuffer()
        if not self.is_on or not (self.has_pump or self.chip != "ssd1306"):
            return frame  # only the SSD1306 makes its own high voltage, and only when told to
        ram = np.frombuffer(bytes(self.ram), dtype=np.uint8).reshape(N_PAGES, self._n_columns)
        bits = np.unpackbits(ram, axis=0, bitorder="little").astype(np.bool_)
        y, x = np.arange(HEIGHT), np.arange(WIDTH)
        rows = y if self.is_flipped_y else self.n_rows - 1 - y
        columns = x if self.is_flipped_x else WIDTH - 1 - x
        rows = (rows + self.start_line + self.offset) % HEIGHT
        columns = columns + (2 if self._is_sh1106 else 0)
        lit = bits[rows][:, columns] | self.is_all_on
        frame.columns[:] = words_from_mask(lit != self.is_inverted)
        return frame
