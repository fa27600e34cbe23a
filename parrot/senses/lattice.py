# SPDX-License-Identifier: Apache-2.0
"""From digits to sentences: every way to read the digits as words, and the cheapest of them.

A digit is appended at a time. For the new end position j the lattice finds every word that ends
there, joins it to the best readings of the digits before it, and keeps the `BEAM` cheapest: a
Viterbi search whose state is the last word, widened so that the runners-up are there to be picked.

    digits   6  4  4  2  6          chart[j]   keys being spelled that end at j
    ends        ni    hao  ...      hyps[j]    whole readings of the first j digits, best first

Taking a digit back drops the last column, so both directions cost one column.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from parrot.senses.pinyin_table import N_MAX, SYLLABLE_SIZE, PinyinTable
from parrot.senses.user_words import UserWord, UserWords

BEAM = 20  # readings kept at each position
WORD_COST = 12  # each word pays this: fewer, longer words are likelier than the counts of a small
# corpus make them (on 500 sentences held out for tuning: 53.8 -> 54.6 % exact)
WORDS_PER_KEY = 12  # homophones of one key that are worth joining
CHARS_PER_KEY = 24
DIGITS_MAX = 64
_POOL = 4 * BEAM  # readings looked at to find BEAM with different texts

Array = npt.NDArray[Any]


class Reading(NamedTuple):
    """One way to read digits: what it says, its cost, and how it was reached."""

    cost: int
    text: str
    words: tuple[int | UserWord, ...]  # word ids of the table, or words of the owner's
    ends: tuple[int, ...]  # the position after each word
    lm_id: int  # the last word's, -1 without

    def then(self, cost: int, text: str, word: int | UserWord, end: int, lm_id: int) -> Reading:
        return Reading(cost, self.text + text, (*self.words, word), (*self.ends, end), lm_id)


class Arc(NamedTuple):
    """Words of one key between two positions. Arrays are (n,) i32."""

    start: int
    words: Array
    costs: Array
    lm_ids: Array
    reading_costs: Array


class Lattice:
    """Readings of the digits typed so far, after the word `before` (a vocabulary id).

    `fixed` narrows syllables: start position -> the pinyin that must be spelled there.
    Cost: a column is 1 to 3 ms on a desktop core; nothing grows but the columns.
    """

    def __init__(
        self,
        table: PinyinTable,
        user: UserWords,
        before: int = 0,
        fixed: dict[int, str] | None = None,
    ) -> None:
        self._table, self._user = table, user
        self.fixed = dict(fixed or {})
        self.digits = ""
        self._chart: list[list[tuple[int, bytes]]] = [[]]  # (start, key so far) ending here
        self._hyps: list[list[Reading]] = [[Reading(0, "", (), (), before)]]
        self._openers: list[list[bytes]] = [[]]  # keys of the words for the digits up to here

    @property
    def readings(self) -> list[Reading]:
        """Readings of all digits, cheapest first; empty when the last syllable is unfinished."""
        return self._hyps[-1]

    def readings_at(self, end: int) -> list[Reading]:
        """Return readings of the first `end` digits."""
        return self._hyps[end]

    def keys_at(self, end: int) -> list[tuple[int, bytes]]:
        """Return (start, key) of every key that ends there and could go on."""
        return self._chart[end]

    def extend(self, digits: str) -> None:
        """Append digits 2-9, as many as fit in DIGITS_MAX."""
        for digit in digits[: DIGITS_MAX - len(self.digits)]:
            self.digits += digit
            column = self._new_keys(len(self.digits))
            self._hyps.append(self._join(self._arcs(column)))
            self._chart.append(self._alive(column))
            spelled = (item for found in column.values() for item in found)
            self._openers.append([key for start, key in spelled if start == 0])

    def shorten(self, n_digits: int) -> None:
        """Take back digits until `n_digits` are left."""
        for columns in (self._chart, self._hyps, self._openers):
            del columns[n_digits + 1 :]
        self.digits = self.digits[:n_digits]

    def _new_keys(self, end: int) -> dict[int, list[tuple[int, bytes]]]:
        """Return (start, key) of everything spelled up to `end`, by the number of syllables."""
        column: dict[int, list[tuple[int, bytes]]] = {}
        for start in range(max(0, end - SYLLABLE_SIZE), end):
            byte = self._table.key_byte.get(self.digits[start:end])
            if byte is None or not self._may_spell(start, end):
                continue
            for first, key in [(start, b""), *self._chart[start]]:
                longer = key + bytes([byte])
                column.setdefault(len(longer), []).append((first, longer))
        return column

    def _may_spell(self, start: int, end: int) -> bool:
        """A syllable from start to end may not contradict a fixed one."""
        for at, pinyin in self.fixed.items():
            if at == start and len(pinyin) != end - start:
                return False
            if start < at < end or at < start < at + len(pinyin):
                return False
        return True

    def _alive(self, column: dict[int, list[tuple[int, bytes]]]) -> list[tuple[int, bytes]]:
        """Return the keys that a longer word could go on from."""
        alive: list[tuple[int, bytes]] = []
        for n, spelled in column.items():
            if n == 1:  # nearly every syllable begins a longer word
                alive += spelled
            elif n < N_MAX:
                goes_on = self._table.has_longer([key for _, key in spelled])
                alive += [item for item, yes in zip(spelled, goes_on, strict=True) if yes]
        return alive

    def _arcs(self, column: dict[int, list[tuple[int, bytes]]]) -> Iterable[Arc]:
        table = self._table
        for n, spelled in column.items():
            n_best = CHARS_PER_KEY if n == 1 else WORDS_PER_KEY
            keys = [key for _, key in spelled]
            found = table.span(keys, keys)
            for (start, _), (first, last) in zip(spelled, found, strict=True):
                last = min(last, first + n_best) if not self.fixed else last
                if first < last:
                    yield self._arc(start, first, last, n_best)

    def _arc(self, start: int, first: int, last: int, n_best: int) -> Arc:
        table = self._table
        words = np.arange(first, last)
        costs, reading_costs = table.costs(first, last), table.reading_costs(first, last)
        if self.fixed:
            keep = [i for i, w in enumerate(words) if self.is_spelled(int(w), start)][:n_best]
            words, costs, reading_costs = words[keep], costs[keep], reading_costs[keep]
        return Arc(start, words, costs, table.lm_ids(words), reading_costs)

    def openers(self, end: int) -> list[bytes]:
        """Return the keys that a word for exactly the first `end` digits may have."""
        return self._openers[end]

    def is_spelled(self, word: int, start: int) -> bool:
        """Whether the word, spelled from `start`, says what the fixed syllables say."""
        at = start
        for pinyin in self._table.spelling(word):
            if self.fixed.get(at, pinyin) != pinyin:
                return False
            at += len(pinyin)
        return True

    def _join(self, arcs: Iterable[Arc]) -> list[Reading]:
        """Return the cheapest readings that end with one of the arcs, their texts all different.

        Every word meets every reading that ends where it starts: one flat array of meetings.
        """
        end = len(self.digits)
        befores: list[Reading] = []
        columns: list[tuple[Array, ...]] = []
        for arc in arcs:
            hyps, n = self._hyps[arc.start], len(arc.words)
            if hyps and n:
                which = np.repeat(np.arange(len(befores), len(befores) + len(hyps)), n)
                parts = (arc.words, arc.lm_ids, arc.costs, arc.reading_costs)
                columns.append((which, *(np.tile(part, len(hyps)) for part in parts)))
                befores += hyps
        found = self._user_readings(end)
        if columns:
            which, words, lm_ids, costs, reading_costs = map(
                np.concatenate, zip(*columns, strict=True)
            )
            before_ids = np.array([h.lm_id for h in befores])[which]
            total = np.array([h.cost + WORD_COST for h in befores])[
                which
            ] + self._table.follow_costs(before_ids, lm_ids, costs, reading_costs)
            for i in np.argsort(total, kind="stable")[:_POOL].tolist():
                before, word = befores[which[i]], int(words[i])
                found.append(
                    before.then(int(total[i]), self._table.text(word), word, end, int(lm_ids[i]))
                )
        return _different(found)

    def _user_readings(self, end: int) -> list[Reading]:
        found = []
        for start in range(end):
            hyps = self._hyps[start]
            for word in self._user.find(self.digits[start:end]) if hyps else ():
                if word.fits(start, self.fixed):
                    cost = hyps[0].cost + WORD_COST + self._user.cost(word)
                    found.append(hyps[0].then(cost, word.text, word, end, -1))
        return found


def _different(readings: list[Reading]) -> list[Reading]:
    """Return the BEAM cheapest readings with different texts."""
    best: dict[str, Reading] = {}
    for reading in sorted(readings, key=lambda r: r.cost):
        if best.setdefault(reading.text, reading) is reading and len(best) == BEAM:
            break
    return list(best.values())
