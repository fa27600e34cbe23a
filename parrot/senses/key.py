# SPDX-License-Identifier: Apache-2.0
"""What a keypad says, whatever it is made of.

Sixteen keys, four kinds of event, one protocol. Hardware gives levels (a contact is closed or
open); `Debounce` turns a bouncing level into edges; `KeyTimer` turns edges and time into the
events the rest of parrot reads. Time is always an argument, so a test holds it in its hand.

    contacts ── Debounce ──> edges ── KeyTimer ──> press · long_press · repeat · release

INV-7: no key event is lost or reordered. Every press is followed by exactly one release.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

KEYS = "0123456789ABCD*#"
PAD_4X4 = "123A456B789C*0#D"  # the usual 4x4 pad, row by row
LONG_PRESS_MS = 360
REPEAT_MS = 120
HOLD_MS = 20

KeyKind = Literal["press", "long_press", "repeat", "release"]


@dataclass(frozen=True, slots=True)
class KeyPress:
    """One thing that happened to one key. Units: at_ms monotonic milliseconds."""

    key: str
    kind: KeyKind
    at_ms: int


class KeySource(Protocol):
    """A keypad: asked often, it answers what happened since it was last asked, in order.

    Raises: DeviceError when the hardware does not answer; ask again later, nothing is stuck.
    """

    def poll(self, now_ms: int) -> list[KeyPress]: ...

    def release_all(self, now_ms: int) -> list[KeyPress]:
        """Let go of every key that is down: what was held when the pad went away."""

    def close(self) -> None: ...


class Debounce:
    """A level counts once it has held for `hold_ms`. Time comes in, edges go out.

    Invariant: two edges are at least `hold_ms` apart.
    """

    def __init__(self, now_ms: int, hold_ms: int = HOLD_MS) -> None:
        self.level = False
        self._agreed_ms = now_ms
        self._hold_ms = hold_ms

    def feed(self, raw: bool, now_ms: int) -> bool | None:
        """Return the new level when an edge is certain, else None."""
        if raw == self.level:
            self._agreed_ms = now_ms
        elif now_ms - self._agreed_ms >= self._hold_ms:
            self.level, self._agreed_ms = raw, now_ms
            return raw
        return None


class KeyTimer:
    """Turn clean edges into events: long press at 360 ms, then repeats until release.

    A late caller loses nothing: a long press that fell due before a release is reported before
    it, at its own time. Repeats are never made up for: a blocked loop gets one, not a flood.
    """

    def __init__(self, long_press_ms: int = LONG_PRESS_MS, repeat_ms: int = REPEAT_MS) -> None:
        self._long_press_ms, self._repeat_ms = long_press_ms, repeat_ms
        self._due_ms: dict[str, int] = {}  # key that is down -> when its next event falls due
        self._is_long: set[str] = set()

    def feed(self, key: str, is_down: bool, now_ms: int) -> list[KeyPress]:
        """Report an edge; an edge that changes nothing is not an event."""
        if is_down == (key in self._due_ms):
            return []
        if is_down:
            self._due_ms[key] = now_ms + self._long_press_ms
            return [KeyPress(key, "press", now_ms)]
        events = []
        if key not in self._is_long and now_ms >= self._due_ms[key]:
            events.append(KeyPress(key, "long_press", self._due_ms[key]))
        del self._due_ms[key]
        self._is_long.discard(key)
        return [*events, KeyPress(key, "release", now_ms)]

    def tick(self, now_ms: int) -> list[KeyPress]:
        """Return what falls due by `now_ms`, oldest first."""
        events = []
        for key, due_ms in sorted(self._due_ms.items(), key=lambda item: item[1]):
            if now_ms < due_ms:
                continue
            if key in self._is_long:
                events.append(KeyPress(key, "repeat", now_ms))
            else:
                self._is_long.add(key)
                events.append(KeyPress(key, "long_press", due_ms))
            self._due_ms[key] = now_ms + self._repeat_ms
        return events

    def release_all(self, now_ms: int) -> list[KeyPress]:
        return [event for key in list(self._due_ms) for event in self.feed(key, False, now_ms)]
