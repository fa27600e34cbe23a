# SPDX-License-Identifier: Apache-2.0
"""Candidates for nine-key digits, best first: what the composer shows and `parrot t9` prints.

A list holds, in this order: whole sentences, among them completions of the last word; how the best
sentences begin, so that the right part of a wrong one can be kept; then every word that the first
digits spell, down to single characters, so that anything can be picked piece by piece. The language
model may rescore the sentences.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

import numpy as np

from parrot.base.errors import ConfigError
from parrot.senses.lattice import DIGITS_MAX, WORD_COST, Lattice, Reading
from parrot.senses.pinyin_table import COST_UNIT, LETTER_KEYS, N_MAX, SYLLABLE_SIZE, PinyinTable
from parrot.senses.user_words import ListStore, UserWord, UserWords

Rescore = Callable[[list[str]], list[float]]  # texts -> log-likelihoods in nats

N_SENTENCES = 5  # whole readings before the pieces begin
N_RESCORED = 12  # readings the language model is asked about
N_COMPLETIONS = 2
MISSING_DIGIT_COST = 6  # what a completion pays for each digit not yet typed
LEAD_COST = 30  # what it pays on top to stand before the best whole reading
# Of the language model's log-likelihood beside the table's. On 700 sentences held out for tuning,
# 0.15 to 0.5 are within a point of each other; above, the table knows better.
RESCORE_WEIGHT = 0.3
DIGIT_WORTH = 12  # what a piece gains for each digit it explains
_PER_SPAN = 3  # words looked at in each span of completions
_N_COMPLETED = 24  # of those, the likeliest are spelled out
_CLAUSE_END = 0  # vocabulary id


@dataclass(frozen=True, slots=True)
class Candidate:
    """What can be picked. Picking it uses up `n_digits` of the composition."""

    text: str
    cost: int
    n_digits: int
    pinyin: tuple[str, ...]
    lm_id: int  # the last word's, -1 without
    is_learned: bool = False

    @property
    def score(self) -> float:
        """Log probability in nats."""
        return -self.cost / COST_UNIT


class T9:
    """Chinese candidates from one table and one owner's words."""

    def __init__(self, table: PinyinTable, user: UserWords | None = None) -> None:
        self.table = table
        self.user = user or UserWords(ListStore())

    def lattice(self, before: int = _CLAUSE_END, fixed: dict[int, str] | None = None) -> Lattice:
        return Lattice(self.table, self.user, before, fixed)

    def sentences(self, lattice: Lattice) -> list[Candidate]:
        """Return readings of all digits, cheapest first."""
        readings = lattice.readings if lattice.digits else []
        if not readings:
            return []
        n = len(readings)
        zero = np.zeros(n, np.int32)
        ends = self.table.follow_costs(
            np.array([r.lm_id for r in readings]), zero, zero, zero
        )  # where nothing is known about the end, it costs the back-off alone
        found = [self._candidate(lattice, r, int(e)) for r, e in zip(readings, ends, strict=True)]
        return sorted(found, key=lambda c: c.cost)

    def candidates(
        self, lattice: Lattice, sentences: Sequence[Candidate] | None = None
    ) -> Iterator[Candidate]:
        """Yield everything that can be picked, each text once, best first.

        `sentences` are those of `lattice` in an order of the caller's, if it knows better.
        """
        whole = list(self.sentences(lattice) if sentences is None else sentences)
        seen: set[str] = set()
        for candidate in chain(
            self._with_completions(whole[:N_SENTENCES], self._completions(lattice)),
            self._beginnings(lattice),
            self._pieces(lattice),
        ):
            if candidate.text not in seen:
                seen.add(candidate.text)
                yield candidate

    def predictions(self, before: int, n: int) -> list[Candidate]:
        """Return up to `n` words that may come after the vocabulary id."""
        return [
            Candidate(self.table.text(w), cost, 0, self.table.spelling(w), self._lm_id(w))
            for w, cost in self.table.followers(max(before, 0), n)
        ]

    def syllables(self, lattice: Lattice, start: int) -> list[str]:
        """Return what can be spelled from digit `start` on, in the order of the readings."""
        digits = lattice.digits[start:]
        possible = [p for p in self.table.pinyin if digits.startswith(p.translate(LETTER_KEYS))]
        rank: dict[str, int] = {}
        for i, reading in enumerate(lattice.readings):
            at = 0
            for pinyin in self._spelling(reading):
                if at == start:
                    rank.setdefault(pinyin, i)
                at += len(pinyin)
        return sorted(possible, key=lambda p: (rank.get(p, len(rank) + 99), -len(p), p))

    def spelling(self, lattice: Lattice) -> str:
        """Return the pinyin of the best reading, as far as the digits are whole syllables."""
        for end in range(len(lattice.digits), -1, -1):
            if lattice.readings_at(end):
                best = lattice.readings_at(end)[0]
                words = [*self._spelling(best), lattice.digits[end:]]
                return " ".join(word for word in words if word)
        return lattice.digits

    # ---- pieces of the list ------------------------------------------------------------------

    def _candidate(self, lattice: Lattice, reading: Reading, end_cost: int) -> Candidate:
        return Candidate(
            reading.text, reading.cost + end_cost, len(lattice.digits),
            self._spelling(reading), reading.lm_id,
            any(isinstance(word, UserWord) for word in reading.words),
        )  # fmt: skip

    def _spelling(self, reading: Reading) -> tuple[str, ...]:
        return tuple(
            pinyin
            for word in reading.words
            for pinyin in (word.pinyin if isinstance(word, UserWord) else self.table.spelling(word))
        )

    @staticmethod
    def _with_completions(whole: list[Candidate], completions: list[Candidate]) -> list[Candidate]:
        """Order both by cost; to stand first a completion must be better by LEAD_COST."""
        ordered = sorted([*whole, *completions], key=lambda c: c.cost)
        if whole and ordered[0].cost + LEAD_COST > whole[0].cost:
            ordered = [whole[0], *(c for c in ordered if c is not whole[0])]
        return ordered

    def _completions(self, lattice: Lattice) -> list[Candidate]:
        """Return the cheapest words that go on beyond the digits, joined to what is before."""
        lows: dict[int, list[bytes]] = {}
        highs: dict[int, list[bytes]] = {}
        starts: dict[int, list[int]] = {}
        n_digits = len(lattice.digits)
        for at in range(max(0, n_digits - SYLLABLE_SIZE + 1), n_digits + 1):
            syllables = self._syllables_from(lattice.digits[at:])
            if not syllables:
                continue
            for start, key in self._open_keys(lattice, at):
                for n in range(len(key) + 1, min(len(key) + 3 if key else 2, N_MAX + 1)):
                    pad = n - len(key) - 1
                    lows.setdefault(n, []).append(key + bytes(syllables[:1]) + b"\x01" * pad)
                    highs.setdefault(n, []).append(key + bytes(syllables[1:]) + b"\xff" * pad)
                    starts.setdefault(n, []).append(start)
        begun = [
            (start, first, last)
            for n, n_starts in starts.items()
            for start, (first, last) in zip(
                n_starts, self.table.span(lows[n], highs[n]), strict=True
            )
            if first < last
        ]
        found = self._learned_completions(lattice) + self._complete(lattice, begun)
        return sorted(found, key=lambda c: c.cost)[: N_COMPLETIONS if lattice.readings else None]

    def _open_keys(self, lattice: Lattice, at: int) -> list[tuple[int, bytes]]:
        """Keys up to `at` that a last, unfinished syllable goes on from."""
        keys = [(start, key) for start, key in lattice.keys_at(at) if lattice.readings_at(start)]
        if not lattice.readings and lattice.readings_at(at):
            keys.append((at, b""))  # a lone character only when nothing fits the digits as they are
        return keys

    def _syllables_from(self, digits: str) -> tuple[int, int] | None:
        """The key bytes of the syllables that begin with `digits` and are longer."""
        names = self.table.syllables  # sorted, so those that begin alike stand together
        first = bisect_right(names, digits)
        last = bisect_left(names, digits + ":")  # the character after 9
        return (first + 1, last) if first < last else None

    def _complete(self, lattice: Lattice, begun: list[tuple[int, int, int]]) -> list[Candidate]:
        """Join the likeliest words of each (start, first, last) to what is read before them."""
        if not begun:
            return []
        words, costs, reading_costs, befores = [], [], [], []
        for start, first, last in begun:
            unigram = self.table.costs(first, last)
            best = np.argsort(unigram, kind="stable")[:_PER_SPAN]
            words.append(first + best)
            costs.append(unigram[best])
            reading_costs.append(self.table.reading_costs(first, last)[best])
            befores += [start] * len(best)
        word = np.concatenate(words)
        reading = [lattice.readings_at(start)[0] for start in befores]
        total = np.array([r.cost + WORD_COST for r in reading]) + self.table.follow_costs(
            np.array([r.lm_id for r in reading]), self.table.lm_ids(word),
            np.concatenate(costs), np.concatenate(reading_costs),
        )  # fmt: skip
        best = np.argsort(total, kind="stable")[:_N_COMPLETED]
        found = (self._completed(lattice, befores[i], int(word[i]), int(total[i])) for i in best)
        return [candidate for candidate in found if candidate]

    def _completed(self, lattice: Lattice, start: int, word: int, cost: int) -> Candidate | None:
        if not lattice.is_spelled(word, start):
            return None
        before, spelled = lattice.readings_at(start)[0], self.table.spelling(word)
        n_missing = start + sum(map(len, spelled)) - len(lattice.digits)
        return Candidate(
            before.text + self.table.text(word), cost + MISSING_DIGIT_COST * n_missing,
            len(lattice.digits), (*self._spelling(before), *spelled), self._lm_id(word),
        )  # fmt: skip

    def _learned_completions(self, lattice: Lattice) -> list[Candidate]:
        digits = lattice.digits
        return [
            Candidate(
                w.text, self.user.cost(w) + MISSING_DIGIT_COST * (len(w.digits) - len(digits)),
                len(digits), w.pinyin, -1, True,
            )
            for w in self.user.longer(digits) if digits and w.fits(0, lattice.fixed)
        ]  # fmt: skip

    def _beginnings(self, lattice: Lattice) -> Iterator[Candidate]:
        """Yield how the best readings begin: the right part of a sentence that went wrong."""
        for i, reading in enumerate(lattice.readings):
            n_words = len(reading.words)
            for n in range(n_words - 1 if i == 0 else min(1, n_words - 1), 0, -1):
                end, words = reading.ends[n - 1], reading.words[:n]
                part = Reading(0, "", words, (), -1)
                spelled = self._spelling(part)
                last = words[-1]
                lm_id = -1 if isinstance(last, UserWord) else self._lm_id(last)
                yield Candidate(reading.text[: len(spelled)], reading.cost, end, spelled, lm_id)

    def _pieces(self, lattice: Lattice) -> Iterator[Candidate]:
        """Yield words for the first digits, those that explain the digits best first."""
        found: list[tuple[int, int, int | UserWord, int]] = []
        for end in range(1, len(lattice.digits) + 1):
            worth = DIGIT_WORTH * end
            for learned in self.user.find(lattice.digits[:end]):
                if learned.fits(0, lattice.fixed):
                    found.append((self.user.cost(learned) - worth, len(found), learned, end))
            for key in lattice.openers(end):
                ((first, last),) = self.table.span([key], [key])
                costs = self.table.costs(first, last).tolist() if first < last else []
                for word_id, cost in enumerate(costs, first):
                    found.append((cost - worth, len(found), word_id, end))
        for cost, _, word, end in sorted(found, key=lambda item: item[:2]):
            if isinstance(word, UserWord):
                yield Candidate(word.text, cost + DIGIT_WORTH * end, end, word.pinyin, -1, True)
            elif lattice.is_spelled(word, 0):
                yield self._piece(word, cost + DIGIT_WORTH * end, end)

    def _piece(self, word: int, cost: int, end: int) -> Candidate:
        table = self.table
        return Candidate(table.text(word), cost, end, table.spelling(word), self._lm_id(word))

    def _lm_id(self, word: int) -> int:
        return int(self.table.lm_ids(np.array([word]))[0])


def rescored(sentences: list[Candidate], log_likelihoods: Sequence[float]) -> list[Candidate]:
    """Return the sentences, the first of them reordered by table and language model together.

    The best keeps the cost that the best had, so that completions and pieces, which the model has
    not seen, stand beside them as before.
    """
    n = len(log_likelihoods)
    costs = [
        c.cost - round(COST_UNIT * RESCORE_WEIGHT * ll)
        for c, ll in zip(sentences[:n], log_likelihoods, strict=True)
    ]
    shift = sentences[0].cost - min(costs, default=0) if sentences else 0
    moved = [replace(c, cost=x + shift) for c, x in zip(sentences, costs, strict=False)]
    return sorted(moved, key=lambda c: c.cost) + sentences[n:]


def t9(
    table: PinyinTable, digits: str, n: int = 10, rescore: Rescore | None = None
) -> dict[str, list[dict[str, str | float]]]:
    """Return what `parrot t9 DIGITS` prints: the `n` best candidates, best first.

    Raises: ConfigError when `digits` is not 1 to 64 digits of 2 ... 9.
    """
    if not 0 < len(digits) <= DIGITS_MAX or set(digits) - set("23456789"):
        raise ConfigError(
            f"t9: {digits[:80]!r}, expected 1 to {DIGITS_MAX} digits of 2 to 9; "
            "type pinyin as on a phone, such as 64426 for nihao.",
            key="digits",
        )
    engine = T9(table)
    lattice = engine.lattice()
    lattice.extend(digits)
    sentences = engine.sentences(lattice)
    if rescore and sentences:
        sentences = rescored(sentences, rescore([c.text for c in sentences[:N_RESCORED]]))
    found = islice(engine.candidates(lattice, sentences), n)
    return {"candidates": [{"text": c.text, "score": round(c.score, 3)} for c in found]}
