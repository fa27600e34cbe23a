# SPDX-License-Identifier: Apache-2.0
"""`parrot sim` in a terminal, as a person uses it: typed at through a pty, read off its glass."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from parrot.app.sim_terminal import BLOCKS, N_ROWS
from parrot.faces.framebuffer import HEIGHT, WIDTH
from tools.frames import pixels_from_png

WAIT_S = 60  # a busy machine; a quiet one needs half a second
_LINE = re.compile(f"\x1b\\[(\\d+);1H([{BLOCKS}]{{{WIDTH}}})")


class Person:
    """Someone at a terminal of a given size. `glass` is what they see, as rows of half blocks."""

    def __init__(self, home: Path, size: tuple[int, int] = (40, 130)) -> None:
        self.glass, self.text = [" " * WIDTH] * N_ROWS, ""
        self._rest, self._is_over = b"", False
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
            os.environ["XDG_DATA_HOME"] = str(home)
            os.execv(sys.executable, [sys.executable, "-m", "parrot", "sim", "--language", "zh",
                                      "--threads", "1"])  # fmt: skip

    def type(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def look(self) -> None:
        """Read what has come to the terminal, waiting a moment for the first of it."""
        if not select.select([self._fd], [], [], 0.05)[0]:
            return
        try:
            got = os.read(self._fd, 65536)
        except OSError:  # the program has left
            got = b""
        self._is_over = not got
        text = (self._rest + got).decode(errors="ignore")
        for row, line in _LINE.findall(text):
            self.glass[int(row) - 1] = line
        self.text += got.decode(errors="ignore")
        self._rest = (self._rest + got)[-4 * WIDTH :]  # a line that has not come whole

    def until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not is_so():
            assert time.monotonic() < deadline and not self._is_over, self.text[-9000:]
            self.look()

    def sees(self, picture: str, n_rows: int = HEIGHT) -> bool:
        """Say whether the first rows are the golden screen's, but for the cursor or a digit."""
        approved = pixels_from_png(Path("tests/golden/screens") / f"{picture}.png")
        return sum(
            bool(approved[y, x]) != (BLOCKS.index(self.glass[y // 2][x]) >> y % 2 & 1)
            for y in range(n_rows) for x in range(WIDTH)
        ) <= 30  # fmt: skip

    def leave(self) -> int:
        """Read to the end; return the exit code."""
        while not self._is_over:
            self.look()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        os.close(self._fd)


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    person = Person(tmp_path)
    yield person
    person.close()


def test_a_person_types_chinese_reads_the_reply_and_leaves(person: Person, tmp_path: Path) -> None:
    person.until(lambda: any("█" in line for line in person.glass))
    person.type("\r")
    person.until(lambda: person.sees("composer_empty_zh"))
    person.type("64426")
    person.until(lambda: person.sees("composer_word_zh", 13))  # the model may reorder the rest
    person.type("\r")
    time.sleep(0.2)
    person.type("\r")
    before = list(person.glass)
    person.until(lambda: sum(a != b for a, b in zip(person.glass, before, strict=True)) > 8)
    person.type("m")
    person.until(lambda: person.sees("menu_zh"))
    person.type("\x1b")
    person.type("q")
    assert person.leave() == 0
    assert "\x1b[?25h" in person.text  # the cursor is back
    assert (tmp_path / "parrot" / "soul.db").exists()


def test_small_terminal_is_told_what_to_do(tmp_path: Path) -> None:
    person = Person(tmp_path, (24, 80))
    assert person.leave() == 2
    assert "the terminal has 80 x 24 characters, expected 128 x 33" in person.text
    person.close()
