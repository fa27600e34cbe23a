# SPDX-License-Identifier: Apache-2.0
"""What the owner taught the keypad: words that were picked or put together.

The words live wherever the `WordStore` keeps them (the soul, a list in a test); this class is the
index over them that the lattice asks. A word comes to mind again in proportion to how often it was
picked, starting at odds of about one in two hundred.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from parrot.senses.pinyin_table import COST_MAX, COST_UNIT, LETTER_KEYS, N_MAX

_PRIOR_COUNT = 200  # picks that the table itself counts as
COUNT_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class UserWord:
    """A learned word, its pinyin and how often it was picked."""

    text: str
    pinyin: tuple[str, ...]
    n_picked: int

    @property
    def digits(self) -> str:
        return "".join(self.pinyin).translate(LETTER_KEYS)

    def fits(self, start: int, fixed: dict[int, str]) -> bool:
        """Whether the word, spelled from `start`, says what the fixed syllables say."""
        at = start
        for pinyin in self.pinyin:
            if fixed.get(at, pinyin) != pinyin:
                return False
            at += len(pinyin)
        return True


class WordStore(Protocol):
    """Where learned words outlive the program. Errors of the store are its own."""

    def words(self) -> Iterable[UserWord]: ...

    def put(self, word: UserWord) -> None:
        """Keep the word; one of the same text and pinyin is replaced."""

    def remove(self, text: str) -> None:
        """Drop every word of this text."""


class ListStore:
    """A store that forgets when the program ends."""

    def __init__(self, words: Iterable[UserWord] = ()) -> None:
        self._words = {(word.text, word.pinyin): word for word in words}

    def words(self) -> list[UserWord]:
        return list(self._words.values())

    def put(self, word: UserWord) -> None:
        self._words[word.text, word.pinyin] = word

    def remove(self, text: str) -> None:
        self._words = {key: word for key, word in self._words.items() if word.text != text}


class UserWords:
    """Learned words by their digits."""

    def __init__(self, store: WordStore) -> None:
        self._store = store
        self.reread()

    def reread(self) -> None:
        """Forget the index and make it of what the store holds now."""
        self._by_digits: dict[str, list[UserWord]] = {}
        self._order: list[str] = []
        self._n_picked = 0
        for word in self._store.words():
            self._add(word)

    def learn(self, text: str, pinyin: tuple[str, ...]) -> None:
        """Count one more pick of `text`, spelled `pinyin`; longer than a word is not learned."""
        if len(text) != len(pinyin) or not 0 < len(text) <= N_MAX:
            return
        old = next((w for w in self._known(pinyin) if w.text == text and w.pinyin == pinyin), None)
        n_picked = min((old.n_picked if old else 0) + 1, COUNT_MAX)
        if old:
            self._drop(old)
        word = UserWord(text, pinyin, n_picked)
        self._add(word)
        self._store.put(word)

    def forget(self, text: str) -> bool:
        """Unlearn every word of this text; whether there was one."""
        found = [word for words in self._by_digits.values() for word in words if word.text == text]
        for word in found:
            self._drop(word)
        if found:
            self._store.remove(text)
        return bool(found)

    def knows(self, text: str) -> bool:
        return any(word.text == text for words in self._by_digits.values() for word in words)

    def find(self, digits: str) -> list[UserWord]:
        return self._by_digits.get(digits, [])

    def longer(self, digits: str) -> list[UserWord]:
        """Return the words whose digits go on after `digits`."""
        first = bisect_left(self._order, digits)
        found: list[UserWord] = []
        for known in self._order[first:]:
            if not known.startswith(digits):
                break
            if known != digits:
                found += self._by_digits[known]
        return found

    def cost(self, word: UserWord) -> int:
        """-12 ln of the share of all picks; at least the table's cheapest words."""
        share = word.n_picked / (self._n_picked + _PRIOR_COUNT)
        return min(round(-COST_UNIT * math.log(share)), COST_MAX)

    def _known(self, pinyin: tuple[str, ...]) -> list[UserWord]:
        return self.find("".join(pinyin).translate(LETTER_KEYS))

    def _add(self, word: UserWord) -> None:
        if word.digits not in self._by_digits:
            self._order.insert(bisect_left(self._order, word.digits), word.digits)
        self._by_digits.setdefault(word.digits, []).append(word)
        self._n_picked += word.n_picked

    def _drop(self, word: UserWord) -> None:
        left = [w for w in self._by_digits[word.digits] if w != word]
        self._n_picked -= word.n_picked
        if left:
            self._by_digits[word.digits] = left
        else:
            del self._by_digits[word.digits]
            self._order.remove(word.digits)
