# SPDX-License-Identifier: Apache-2.0
"""The words that the owner taught the keypad, kept in the soul.

The keypad belongs to the loop, the soul to the engine's thread. So the words live here, in memory,
and all of them are written as one setting after each that is learned; what was learned before the
parrot woke is joined to what it remembers then.
"""

from __future__ import annotations

from collections.abc import Callable

from parrot.base.errors import FormatError
from parrot.senses.pinyin_table import N_MAX
from parrot.senses.user_words import COUNT_MAX, UserWord, UserWords

SETTING = "hand.words"
N_WORDS_MAX = 2_000  # about 60 kB; the words picked least make room


class LearnedWords:
    """A WordStore that hands `keep` the whole list once `recall` has told it what was known."""

    def __init__(self, keep: Callable[[list[object]], None]) -> None:
        self._keep = keep
        self._words: dict[tuple[str, tuple[str, ...]], UserWord] = {}
        self._is_awake = False
        self.index = UserWords(self)

    def words(self) -> list[UserWord]:
        return list(self._words.values())

    def put(self, word: UserWord) -> None:
        self._words[word.text, word.pinyin] = word
        if len(self._words) > N_WORDS_MAX:
            others = (w for w in self._words.values() if w is not word)
            least = min(others, key=lambda w: w.n_picked)
            del self._words[least.text, least.pinyin]
        self._write()

    def remove(self, text: str) -> None:
        self._words = {key: word for key, word in self._words.items() if word.text != text}
        self._write()

    def recall(self, kept: object) -> None:
        """Take over what the soul kept; None is nothing. Raises: FormatError."""
        before, self._words = self._words, {(w.text, w.pinyin): w for w in words_from(kept)}
        self._is_awake = True
        self._words.update(before)
        self.index.reread()
        if before:
            self._write()

    def _write(self) -> None:
        if self._is_awake:
            self._keep([[w.text, " ".join(w.pinyin), w.n_picked] for w in self.words()])


def words_from(kept: object) -> list[UserWord]:
    """Return the words of the setting. Raises: FormatError when it holds something else."""
    try:
        found = [
            UserWord(text, tuple(pinyin.split()), n_picked)
            for text, pinyin, n_picked in (kept or ())  # type: ignore[attr-defined]
        ]
        is_right = all(
            0 < len(w.text) == len(w.pinyin) <= N_MAX and 0 < w.n_picked <= COUNT_MAX for w in found
        )
    except (TypeError, ValueError, AttributeError):
        is_right = False
    if not is_right:
        raise FormatError(
            f"soul, {SETTING}: not a list of [word, pinyin, count]; the learned words begin anew."
        )
    return found
