# SPDX-License-Identifier: Apache-2.0
"""USB number pads and keyboards, through Linux's /dev/input, as they come and go.

The kernel's event is 24 bytes (16 on 32-bit systems), so it is read here without a library: the
Python package evdev has to be compiled, which a router cannot. A device counts as a keypad when
sysfs says that it has the digits 0 to 9 on either block; every such device is merged into one
source. The kernel's own repeats are ignored: `KeyTimer` makes ours.

Source: linux/input.h, linux/input-event-codes.h (Linux 6.1).
"""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path

from parrot.base.errors import DeviceMissing, DeviceRefused
from parrot.senses.key import KeyPress, KeyTimer

_EVENT = struct.Struct("@llHHi")  # struct input_event: two longs of time, type, code, value
_EV_SYN, _EV_KEY, _SYN_DROPPED = 0, 1, 3
_EVENTS_PER_READ = 64
LOOK_AGAIN_MS = 1000

_DIGIT_ROW = {code: str((code - 1) % 10) for code in range(2, 12)}  # KEY_1 .. KEY_9, KEY_0
_NUMBER_PAD = dict(zip((82, 79, 80, 81, 75, 76, 77, 71, 72, 73), "0123456789", strict=True))
_PHONE = {0x200 + i: key for i, key in enumerate("0123456789*#ABCD")}  # KEY_NUMERIC_0 ...
_OTHER = {
    55: "*", 98: "#", 74: "B", 78: "C", 96: "D", 83: "A",  # number pad: * / - + Enter .
    1: "A", 14: "A", 15: "B", 59: "C", 139: "C", 28: "D",  # Esc Backspace Tab F1 Menu Enter
    103: "*", 104: "*", 108: "#", 109: "#",  # up PageUp down PageDown
    30: "A", 48: "B", 46: "C", 32: "D",  # the letters a b c d
}  # fmt: skip
KEY_OF_CODE = {**_DIGIT_ROW, **_NUMBER_PAD, **_PHONE, **_OTHER}
_DIGIT_BLOCKS = (set(_DIGIT_ROW), set(_NUMBER_PAD), {code for code in _PHONE if code < 0x20A})


def _codes(capabilities: str) -> set[int]:
    """Decode sysfs' bitmap: hexadecimal words of one long each, the highest first."""
    bits = 8 * struct.calcsize("@l")
    codes = set()
    for i, word in enumerate(reversed(capabilities.split())):
        value = int(word, 16)
        codes |= {i * bits + bit for bit in range(bits) if value >> bit & 1}
    return codes


class EvdevKeypad:
    """Every keypad and keyboard plugged in, now or later.

    Raises: DeviceMissing from `poll` while there is none, DeviceRefused while none may be read.
    """

    def __init__(
        self, folder: Path = Path("/dev/input"), sysfs: Path = Path("/sys/class/input")
    ) -> None:
        self._folder, self._sysfs = folder, sysfs
        self._open: dict[str, int] = {}  # event name -> file descriptor
        self._tail: dict[str, bytes] = {}  # bytes of an event that has not arrived whole
        self._timers: dict[str, KeyTimer] = {}
        self._look_ms: int | None = None
        self._denied = False

    def poll(self, now_ms: int) -> list[KeyPress]:
        if self._look_ms is None or now_ms >= self._look_ms:
            self._look_ms = now_ms + LOOK_AGAIN_MS
            self._look()
        events: list[KeyPress] = []
        for name in list(self._open):
            events += self._timers[name].tick(now_ms) + self._drain(name, now_ms)
        if not self._open and not events:
            raise self._absence()
        return sorted(events, key=lambda event: event.at_ms)

    def release_all(self, now_ms: int) -> list[KeyPress]:
        timers = self._timers.values()
        return [event for timer in timers for event in timer.release_all(now_ms)]

    def close(self) -> None:
        for name in list(self._open):
            self._forget(name, 0)

    def _absence(self) -> DeviceMissing | DeviceRefused:
        if self._denied:
            return DeviceRefused(
                f"{self._folder}: permission denied; add this user to the group input "
                "and log in again.",
                device="keys",
            )
        return DeviceMissing(
            f"{self._folder}: no keyboard or number pad; plug one in.", device="keys"
        )

    def _look(self) -> None:
        self._denied = False
        for entry in sorted(self._sysfs.glob("event*")):
            if entry.name in self._open or not self._is_keypad(entry):
                continue
            try:
                fd = os.open(self._folder / entry.name, os.O_RDONLY | os.O_NONBLOCK)
            except OSError as exc:  # gone since the listing, or not ours: looked at again later
                self._denied |= exc.errno in (errno.EACCES, errno.EPERM)
                continue
            self._open[entry.name], self._tail[entry.name] = fd, b""
            self._timers[entry.name] = KeyTimer()

    def _is_keypad(self, entry: Path) -> bool:
        try:
            codes = _codes((entry / "device/capabilities/key").read_text())
        except (OSError, ValueError):
            return False  # unplugged while we looked
        return any(block <= codes for block in _DIGIT_BLOCKS)

    def _drain(self, name: str, now_ms: int) -> list[KeyPress]:
        events: list[KeyPress] = []
        while True:
            try:
                chunk = os.read(self._open[name], _EVENT.size * _EVENTS_PER_READ)
            except BlockingIOError:
                return events
            except OSError:  # ENODEV: unplugged
                return events + self._forget(name, now_ms)
            if not chunk:
                return events + self._forget(name, now_ms)
            received = self._tail[name] + chunk
            whole = len(received) - len(received) % _EVENT.size
            self._tail[name] = received[whole:]
            for _, _, kind, code, value in _EVENT.iter_unpack(received[:whole]):
                if kind == _EV_KEY and code in KEY_OF_CODE and value in (0, 1):
                    key = KEY_OF_CODE[code]
                    events += self._timers[name].feed(key, value == 1, now_ms)
                elif kind == _EV_SYN and code == _SYN_DROPPED:  # the kernel's queue ran over
                    events += self._timers[name].release_all(now_ms)

    def _forget(self, name: str, now_ms: int) -> list[KeyPress]:
        os.close(self._open.pop(name))
        del self._tail[name]
        return self._timers.pop(name).release_all(now_ms)
