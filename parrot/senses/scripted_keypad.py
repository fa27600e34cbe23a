# SPDX-License-Identifier: Apache-2.0
"""A keypad played from a script, in the time of whoever polls it.

    ; a comment
    tap 64426#D        press and release each key, TAP_MS down and TAP_MS up
    hold 1 400         press one key for 400 ms
    down 5             press and keep
    up 5
    wait 1000

A key script is what `parrot sim --script` plays and what tests are written in.
"""

from __future__ import annotations

from dataclasses import dataclass

from parrot.base.errors import ConfigError
from parrot.senses.key import KEYS, KeyPress, KeyTimer

TAP_MS = 60
_WAIT_MAX_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Edge:
    """A key going down or up, `at_ms` after the script began."""

    at_ms: int
    key: str
    is_down: bool


def parse_script(text: str, name: str = "script") -> tuple[list[Edge], int]:
    """Return the edges of a key script and its length in milliseconds.

    Raises: ConfigError that names the line.
    """
    edges: list[Edge] = []
    at_ms = 0
    for n, line in enumerate(text.splitlines(), 1):
        words = line.partition(";")[0].split()
        if not words:
            continue
        verb, rest = words[0], words[1:]
        if verb == "tap" and len(rest) == 1 and set(rest[0]) <= set(KEYS):
            for key in rest[0]:
                edges += [Edge(at_ms, key, True), Edge(at_ms + TAP_MS, key, False)]
                at_ms += 2 * TAP_MS
        elif verb == "hold" and len(rest) == 2 and rest[0] in KEYS and _is_ms(rest[1]):
            edges.append(Edge(at_ms, rest[0], True))
            at_ms += int(rest[1])
            edges.append(Edge(at_ms, rest[0], False))
            at_ms += TAP_MS
        elif verb in ("down", "up") and len(rest) == 1 and rest[0] in tuple(KEYS):
            edges.append(Edge(at_ms, rest[0], verb == "down"))
        elif verb == "wait" and len(rest) == 1 and _is_ms(rest[0]):
            at_ms += int(rest[0])
        else:
            raise ConfigError(
                f"{name} line {n}: {line.strip()[:60]!r}, expected tap KEYS, hold KEY MS, "
                f"down KEY, up KEY or wait MS with keys of {KEYS}; correct this line.",
                key=str(n),
            )
    return edges, at_ms


def _is_ms(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) < 10 and int(word) <= _WAIT_MAX_MS


class ScriptedKeypad:
    """Plays edges from the moment it is first polled. Each event carries its scripted time."""

    def __init__(self, edges: list[Edge]) -> None:
        self._edges = sorted(edges, key=lambda edge: edge.at_ms)
        self._timer = KeyTimer()
        self._start_ms: int | None = None
        self._n_played = 0

    @property
    def is_done(self) -> bool:
        return self._n_played == len(self._edges)

    def poll(self, now_ms: int) -> list[KeyPress]:
        if self._start_ms is None:
            self._start_ms = now_ms
        events: list[KeyPress] = []
        while not self.is_done:
            edge = self._edges[self._n_played]
            at_ms = self._start_ms + edge.at_ms
            if at_ms > now_ms:
                break
            self._n_played += 1
            events += self._timer.tick(at_ms) + self._timer.feed(edge.key, edge.is_down, at_ms)
        return events + self._timer.tick(now_ms)

    def release_all(self, now_ms: int) -> list[KeyPress]:
        return self._timer.release_all(now_ms)

    def close(self) -> None:
        """A script holds nothing."""
