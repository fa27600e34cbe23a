# SPDX-License-Identifier: Apache-2.0
"""The glass in a terminal: two pixels a character, and the PC's keyboard for the sixteen keys."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from types import TracebackType

from parrot.base.errors import ConfigError
from parrot.faces.framebuffer import HEIGHT, WIDTH, Framebuffer
from parrot.senses.key import KEYS, LONG_PRESS_MS
from parrot.senses.live_keypad import LiveKeypad

N_ROWS = HEIGHT // 2
BLOCKS = " ▀▄█"
HELP = "0-9 * #  Enter D  Esc A  Tab B  m C  L long  q leave"
SPECIAL = {
    "\r": "D", "\n": "D", "\x7f": "A", "\x08": "A", "\x1b": "A", "\t": "B", "m": "C", "M": "C",
    "\x1b[A": "*", "\x1b[B": "#", "\x1b[D": "4", "\x1b[C": "6",
}  # fmt: skip
_HIDE, _SHOW, _HOME, _CLEAR = "\x1b[?25l", "\x1b[?25h", "\x1b[H", "\x1b[2J"


def half_blocks(frame: Framebuffer) -> list[str]:
    """Return the frame as 32 lines of 128 characters."""
    pixels = frame.pixels()
    rows = pixels[0::2] + 2 * pixels[1::2].astype(int)
    return ["".join(BLOCKS[cell] for cell in row) for row in rows]


def keys_of(typed: str) -> list[str]:
    """Return what a burst of typed characters means: keys, "L" for long, "q" to leave."""
    found = []
    while typed:
        arrow = typed[:3] if typed[:3] in SPECIAL else typed[:1]
        typed = typed[len(arrow) :]
        key = SPECIAL.get(arrow, arrow.upper() if arrow in "abcd" else arrow)
        if key in KEYS or key in "Lq":
            found.append(key)
    return found


class Terminal:
    """This process's terminal in raw mode while the block runs. Raises: ConfigError."""

    def __init__(self, keypad: LiveKeypad) -> None:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise ConfigError(
                "sim: no terminal to draw in; run it in one, or use --web, or --script with "
                "--frames."
            )
        size = os.get_terminal_size(sys.stdout.fileno())
        if size.columns < WIDTH or size.lines < N_ROWS + 1:
            raise ConfigError(
                f"sim: the terminal has {size.columns} x {size.lines} characters, expected "
                f"{WIDTH} x {N_ROWS + 1}; enlarge it or choose a smaller type, or use --web."
            )
        self._keypad = keypad
        self._shown: list[str] = []
        self._is_long = False

    def __enter__(self) -> Terminal:
        self._before = termios.tcgetattr(sys.stdin)
        tty.setcbreak(sys.stdin)
        self._write(_HIDE + _CLEAR + f"\x1b[{N_ROWS + 1};1H{HELP}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)
        self._write(f"{_SHOW}\x1b[{N_ROWS + 1};1H\r\n")

    def show(self, frame: Framebuffer) -> None:
        """Rewrite the lines that changed."""
        lines = half_blocks(frame)
        if lines == self._shown:
            return
        old = self._shown or [""] * N_ROWS
        changed = [
            f"\x1b[{i + 1};1H{line}"
            for i, (line, before) in enumerate(zip(lines, old, strict=True))
            if line != before
        ]
        self._write("".join(changed) + _HOME)
        self._shown = lines

    def read_keys(self) -> bool:
        """Hand on what was typed since; say whether the owner wants to leave."""
        if not select.select([sys.stdin], [], [], 0)[0]:
            return False
        for key in keys_of(os.read(sys.stdin.fileno(), 256).decode("utf-8", "ignore")):
            if key == "q":
                return True
            if key == "L":
                self._is_long = True
            else:
                self._keypad.tap(key, LONG_PRESS_MS + 60 if self._is_long else 60)
                self._is_long = False
        return False

    @staticmethod
    def _write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
