# SPDX-License-Identifier: Apache-2.0
"""English on nine keys: whole words from digits with completion, or letters by multi-tap."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from parrot.senses.pinyin_table import COST_UNIT, LETTER_KEYS, PinyinTable

MULTITAP_MS = 800
LETTERS = {
    "2": "abc", "3": "def", "4": "ghi", "5": "jkl", "6": "mno", "7": "pqrs", "8": "tuv",
    "9": "wxyz", "0": " ", "1": ".,?!'-:;()\"@",
}  # fmt: skip
_COMPLETION_COST = 3 * COST_UNIT  # a longer word must be this much likelier than one that fits


class EnglishWords:
    """The table's English words by their digits."""

    def __init__(self, table: PinyinTable) -> None:
        keyed = [(_digits(word), cost, word) for word, cost in table.english()]
        self._words = sorted(item for item in keyed if item[0])

    def candidates(self, digits: str) -> Iterator[str]:
        """Yield words for the digits: those that fit among those that go on, likeliest first.

        Without any, the first letters of the keys, so that nothing typed disappears."""
        found = []
        for known, cost, word in self._words[bisect_left(self._words, (digits,)) :]:
            if not known.startswith(digits):
                break
            found.append((cost if known == digits else cost + _COMPLETION_COST, word))
        yield from (word for _, word in sorted(found))
        if not found:
            yield "".join(LETTERS[digit][0] for digit in digits)


def _digits(word: str) -> str:
    return "".join(c for c in word.lower().translate(LETTER_KEYS) if c.isdigit())


class MultiTap:
    """Letters by pressing a key again and again; time comes in with each press."""

    def __init__(self) -> None:
        self._key, self._n, self._last_ms = "", 0, 0

    def feed(self, key: str, now_ms: int) -> tuple[str, bool]:
        """Return the character now meant and whether it replaces the one before."""
        is_again = key == self._key and now_ms - self._last_ms < MULTITAP_MS
        self._n = self._n + 1 if is_again else 0
        self._key, self._last_ms = key, now_ms
        wheel = LETTERS[key] + key
        return wheel[self._n % len(wheel)], is_again

    def reset(self) -> None:
        """The next press begins a new character."""
        self._key = ""
