# SPDX-License-Identifier: Apache-2.0
"""The root shell that an image has on its serial console, for questions to a running board."""

from __future__ import annotations

import base64
from itertools import count

from tools.device.fast import GUEST
from tools.device.machine import Machine

ANSWER_S = 900.0
_LINE = 76  # characters of a typed line: a terminal takes 4,095


class Console:
    """Waits for the login and talks to its shell. Borrows `machine`."""

    def __init__(self, machine: Machine, timeout_s: float) -> None:
        self._machine, self._numbers = machine, count(1)
        machine.wait_line(r"^Linux parrot .* aarch64", timeout_s)  # what comes before the prompt
        machine.type("exec sh")
        machine.type("PS1= PS2=; stty -echo")
        self.ask("true")

    def ask(self, command: str, timeout_s: float = ANSWER_S) -> str:
        """Run `command`; return what it printed, with whatever else came to the console."""
        number = next(self._numbers)
        self._machine.type(f"echo; echo begin-{number}; {command}\necho; echo end-{number}")
        self._machine.wait_line(f"^end-{number}$", timeout_s)
        lines = [line for _, line in list(self._machine.lines)]
        return "\n".join(lines[lines.index(f"begin-{number}") + 1 : lines.index(f"end-{number}")])

    def observe(self) -> None:
        """Let the guest print every turn of its soul, for `Machine.turns`."""
        text = base64.b64encode((GUEST / "observe.py").read_bytes()).decode()
        typed = "\n".join(text[i : i + _LINE] for i in range(0, len(text), _LINE))
        self.ask(f"base64 -d >/run/observe.py <<END\n{typed}\nEND")
        self.ask("python3 -u /run/observe.py >/dev/console 2>&1 &")
