# SPDX-License-Identifier: Apache-2.0
"""Keys pressed on something that is no keypad: a terminal, a page in a browser, a bench.

Edges may come from any thread; they are read, in order, by whoever polls.
"""

from __future__ import annotations

from queue import SimpleQueue

from parrot.senses.key import KEYS, KeyPress, KeyTimer
from parrot.senses.scripted_keypad import TAP_MS


class LiveKeypad:
    """A KeySource that is fed with `press`, `release` and `tap`. A `tap` lets go by itself."""

    def __init__(self) -> None:
        self._edges: SimpleQueue[tuple[str, bool, int]] = SimpleQueue()
        self._timer = KeyTimer()
        self._let_go: dict[str, int] = {}  # tapped key -> when it goes up

    def press(self, key: str) -> None:
        self._put(key, True, 0)

    def release(self, key: str) -> None:
        self._put(key, False, 0)

    def tap(self, key: str, for_ms: int = TAP_MS) -> None:
        self._put(key, True, for_ms)

    def poll(self, now_ms: int) -> list[KeyPress]:
        events: list[KeyPress] = []
        for key, due_ms in sorted(self._let_go.items(), key=lambda item: item[1]):
            if due_ms <= now_ms:
                del self._let_go[key]
                events += self._timer.feed(key, False, due_ms)
        while not self._edges.empty():
            key, is_down, for_ms = self._edges.get()
            if is_down and key in self._let_go:  # tapped again before it went up
                del self._let_go[key]
                events += self._timer.feed(key, False, now_ms)
            events += self._timer.feed(key, is_down, now_ms)
            if for_ms:
                self._let_go[key] = now_ms + for_ms
        return events + self._timer.tick(now_ms)

    def release_all(self, now_ms: int) -> list[KeyPress]:
        self._let_go.clear()
        return self._timer.release_all(now_ms)

    def close(self) -> None:
        """There is nothing to close."""

    def _put(self, key: str, is_down: bool, for_ms: int) -> None:
        if len(key) != 1 or key not in KEYS:
            raise ValueError(f"key {key!r}, expected one of {KEYS}")
        self._edges.put((key, is_down, for_ms))
