# SPDX-License-Identifier: Apache-2.0
"""What a service tells systemd: that it is ready, and again and again that it still turns.

Without systemd (the variable NOTIFY_SOCKET) every call does nothing.
Source: sd_notify(3), systemd.service(5).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

_PER_S = 1_000_000


class Service:
    """Call `turn` from the loop that must never stop; systemd restarts a loop that stays silent.

    Units: `now_s` is monotonic. A message costs one datagram, sent twice per watchdog interval.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "").replace("@", "\0", 1)
        self._pause_s = int(environ.get("WATCHDOG_USEC") or 0) / _PER_S / 2
        self._due_s: float | None = None
        self._is_ready = False

    def turn(self, now_s: float) -> None:
        """Say that the loop has turned once more."""
        if not self._address:
            return
        if not self._is_ready:
            self._is_ready = True
            self._say("READY=1")
        if self._pause_s and (self._due_s is None or now_s >= self._due_s):
            self._due_s = now_s + self._pause_s
            self._say("WATCHDOG=1")

    def _say(self, word: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.connect(self._address)
            line.send(word.encode())
