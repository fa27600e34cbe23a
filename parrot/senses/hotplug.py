# SPDX-License-Identifier: Apache-2.0
"""Keypads that come and go.

`HotPlug` keeps one keypad alive: a few refused polls are bad contacts and are simply tried again;
after that the pad is gone, held keys are let go, and it is opened anew every second. `Merged`
reads several keypads as one. Neither ever raises: what is wrong is in `fault`, for the doctor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from parrot.base.errors import DeviceError
from parrot.senses.key import KeyPress, KeySource

N_BAD_CONTACTS = 5
REOPEN_MS = 1000


class HotPlug:
    """The keypad that `open_keypad` returns, reopened whenever it went away.

    `fault` is None while it answers. A pad that is merely absent (its `open_keypad` or `poll`
    raises) costs one attempt a second.
    """

    def __init__(self, open_keypad: Callable[[], KeySource]) -> None:
        self._open_keypad = open_keypad
        self._keypad: KeySource | None = None
        self._has_answered = False  # since it was opened
        self._n_refused = 0
        self._retry_ms: int | None = None
        self.fault: DeviceError | None = None

    def poll(self, now_ms: int) -> list[KeyPress]:
        if self._retry_ms is not None and now_ms < self._retry_ms:
            return []
        try:
            if self._keypad is None:
                self._keypad = self._open_keypad()
            events = self._keypad.poll(now_ms)
        except DeviceError as exc:
            return self._refused(exc, now_ms)
        self._has_answered = True
        self._n_refused, self._retry_ms, self.fault = 0, None, None
        return events

    def release_all(self, now_ms: int) -> list[KeyPress]:
        return self._keypad.release_all(now_ms) if self._keypad else []

    def close(self) -> None:
        keypad, self._keypad = self._keypad, None
        if keypad is not None:
            try:
                keypad.close()
            except DeviceError as exc:
                self.fault = exc  # already gone: nothing left to put back

    def _refused(self, exc: DeviceError, now_ms: int) -> list[KeyPress]:
        self._n_refused += 1
        if self._has_answered and self._n_refused <= N_BAD_CONTACTS:
            return []
        events = self.release_all(now_ms)
        self._has_answered = False
        self.close()
        self.fault, self._retry_ms = exc, now_ms + REOPEN_MS
        return events


class Merged:
    """Several keypads as one; a key counts as the same key wherever it is."""

    def __init__(self, keypads: Sequence[KeySource]) -> None:
        self._keypads = list(keypads)

    def poll(self, now_ms: int) -> list[KeyPress]:
        events = [event for keypad in self._keypads for event in keypad.poll(now_ms)]
        return sorted(events, key=lambda event: event.at_ms)

    def release_all(self, now_ms: int) -> list[KeyPress]:
        return [event for keypad in self._keypads for event in keypad.release_all(now_ms)]

    def close(self) -> None:
        for keypad in self._keypads:
            keypad.close()
