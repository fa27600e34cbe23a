# SPDX-License-Identifier: Apache-2.0
"""Clauses: the unit of speech. A reply is spoken one clause at a time while the rest is written.

The first clause ends at the first comma, so that speech begins early; a clause without any pause
is ended at a space once it is long. Runs of one language inside a clause go to that language's
voice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_ENDS = frozenset("。！？；…\n!?;")
_PAUSES = frozenset("，、：,:—")
_LONG = 90  # characters without a pause, then a space or any hanzi ends the clause
_SHORT = 4  # "Oh, " alone is not worth a clause of its own
_HANZI = re.compile("[\u3400-\u9fff]")
_RUN = re.compile(r"[\u3400-\u9fff]|[A-Za-zÀ-ɏ]")


class ClauseSplitter:
    """Feed it text as it comes; it yields whole clauses."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> Iterator[str]:
        for char in text:
            if self._ends_before(char):
                yield from self.flush()
            self._held += char
            if self._ends_after(char):
                yield from self.flush()

    def flush(self) -> Iterator[str]:
        """Yield what is left, if it says anything."""
        clause, self._held = self._held.strip(), ""
        if any(char.isalnum() for char in clause):
            yield clause

    def _ends_before(self, char: str) -> bool:
        """A full stop or comma ends a clause only when no letter or digit follows: 3.14, 1,000."""
        return (
            len(self._held) > 1
            and self._held[-1] in ".,:"
            and char.isspace()
            and (self._held[-1] != "." or not _is_title(self._held))
            and len(self._held) > _SHORT
        )

    def _ends_after(self, char: str) -> bool:
        if char in _ENDS:
            return True
        if char in _PAUSES and char not in ",:":
            return len(self._held) > _SHORT
        is_break = char == " " or bool(_HANZI.match(char))
        return is_break and len(self._held) > _LONG


def _is_title(held: str) -> bool:
    word = held.rsplit(" ", 1)[-1]
    return word in ("Mr.", "Mrs.", "Ms.", "Dr.", "St.", "e.g.", "i.e.", "vs.") or (
        len(word) == 2 and word[0].isupper()
    )


def language_of(text: str) -> str:
    """Return "zh" when hanzi weigh more than letters in `text`, else "en"."""
    n_hanzi = len(_HANZI.findall(text))
    n_words = len(re.findall(r"[A-Za-zÀ-ɏ]+", text))
    return "zh" if n_hanzi and n_hanzi >= n_words else "en"


def runs_of(text: str) -> list[tuple[str, str]]:
    """Cut words (digits already spelled out) into (language, text) runs, in order.

    What is neither a letter nor a hanzi goes with the run before it.
    """
    runs: list[tuple[str, str]] = []
    for char in text:
        found = _RUN.match(char)
        language = None if not found else "zh" if _HANZI.match(char) else "en"
        if runs and language in (None, runs[-1][0]):
            runs[-1] = (runs[-1][0], runs[-1][1] + char)
        elif language is not None:
            runs.append((language, char))
    return runs
