# SPDX-License-Identifier: Apache-2.0
"""Candidates for nine-key digits, best first: what the composer shows and `parrot t9` prints.

A list holds, in this order: whole sentences, among them completions of the last word; other words
for exactly these digits; then words for fewer digits, longest first, down to single characters, so
that everything can be picked piece by piece. The language model may rescore the sentences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from parrot.base.errors import ConfigError
from parrot.senses.lattice import DIGITS_MAX, Lattice, Reading
from parrot.senses.pinyin_table import COST_UNIT, LETTER_KEYS, N_MAX, SYLLABLE_SIZE, PinyinTable
from parrot.senses.user_words import ListStore, UserWords

Rescore = Callable[[list[str]], list[float]]  # texts -> log-likelihoods in nats

N_SENTENCES = 5  # whole readings before the pieces begin
N_RESCORED = 12  # readings the language model is asked about
N_COMPLETIONS = 2
MISSING_DIGIT_COST = 6  # what a completion pays for each digit not yet typed
COMPLETION_COST = 0  # what any completion pays against stopping here
LEAD_COST = 30  # what it pays on top to stand before the best whole reading
RESCORE_WEIGHT = 0.5  # of the language model's log-likelihood beside the table's
_PER_SPAN = 3  # words looked at in each span of completions
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
        readings = lattice.readings
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
        for candidate in (
            *self._with_completions(whole[:N_SENTENCES], self._completions(lattice)),
            *(c for c in whole[N_SENTENCES:] if c.lm_id >= -1 and len(c.pinyin) <= N_MAX),
        ):
            if candidate.text not in seen:
                seen.add(candidate.text)
                yield candidate
        for candidate in self._pieces(lattice):
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
            for pinyin in self._spelling(lattice, reading):
                if at == start:
                    rank.setdefault(pinyin, i)
                at += len(pinyin)
        return sorted(possible, key=lambda p: (rank.get(p, len(rank) + 99), -len(p), p))

    def spelling(self, lattice: Lattice) -> str:
        """Return the pinyin of the best reading, as far as the digits are whole syllables."""
        for end in range(len(lattice.digits), -1, -1):
            if lattice.readings_at(end):
                best = lattice.readings_at(end)[0]
                words = [*self._spelling(lattice, best), lattice.digits[end:]]
                return " ".join(word for word in words if word)
        return lattice.digits

    # ---- pieces of the list ------------------------------------------------------------------

    def _candidate(self, lattice: Lattice, reading: Reading, end_cost: int) -> Candidate:
        return Candidate(
            reading.text, reading.cost + end_cost, len(lattice.digits),
            self._spelling(lattice, reading), reading.lm_id, -1 in reading.words,
        )  # fmt: skip

    def _spelling(self, lattice: Lattice, reading: Reading) -> tuple[str, ...]:
        pinyin: list[str] = []
        start = at = 0
        for word, end in zip(reading.words, reading.ends, strict=True):
            if word >= 0:
                spelled = self.table.spelling(word)
            else:
                learned = self.user.find(lattice.digits[start:end])
                spelled = next(w.pinyin for w in learned if reading.text.startswith(w.text, at))
            pinyin += spelled
            start, at = end, at + len(spelled)
        return tuple(pinyin)

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
        found = self._learned_completions(lattice)
        for n, n_starts in starts.items():
            for start, (first, last) in zip(
                n_starts, self.table.span(lows[n], highs[n]), strict=True
            ):
                if first < last:
                    found += self._complete(lattice, start, first, last)
        return sorted(found, key=lambda c: c.cost)[: N_COMPLETIONS if lattice.readings else None]

    def _open_keys(self, lattice: Lattice, at: int) -> list[tuple[int, bytes]]:
        """Keys up to `at` that a last, unfinished syllable goes on from."""
        keys = [(start, key) for start, key in lattice.keys_at(at) if lattice.readings_at(start)]
        if not lattice.readings and lattice.readings_at(at):
            keys.append((at, b""))  # a lone character only when nothing fits the digits as they are
        return keys

    def _syllables_from(self, digits: str) -> tuple[int, int] | None:
        """The key bytes of the syllables that begin with `digits` and are longer."""
        names = self.table.syllables
        bytes_ = [i + 1 for i, s in enumerate(names) if s.startswith(digits) and s != digits]
        return (bytes_[0], bytes_[-1]) if bytes_ else None

    def _complete(self, lattice: Lattice, start: int, first: int, last: int) -> list[Candidate]:
        costs = self.table.costs(first, last)
        best = np.argsort(costs, kind="stable")[:_PER_SPAN]
        words = first + best
        before = lattice.readings_at(start)[0]
        follow = self.table.follow_costs(
            np.full(len(words), before.lm_id), self.table.lm_ids(words), costs[best],
            self.table.reading_costs(first, last)[best],
        )  # fmt: skip
        found = []
        for word, cost in zip(words.tolist(), follow.tolist(), strict=True):
            if not lattice.is_spelled(word, start):
                continue
            spelled = self.table.spelling(word)
            n_missing = start + sum(map(len, spelled)) - len(lattice.digits)
            total = before.cost + cost + COMPLETION_COST + MISSING_DIGIT_COST * n_missing
            found.append(Candidate(
                before.text + self.table.text(word), total, len(lattice.digits),
                (*self._spelling(lattice, before), *spelled), self._lm_id(word),
            ))  # fmt: skip
        return found

    def _learned_completions(self, lattice: Lattice) -> list[Candidate]:
        digits = lattice.digits
        return [
            Candidate(
                w.text, self.user.cost(w) + MISSING_DIGIT_COST * (len(w.digits) - len(digits)),
                len(digits), w.pinyin, -1, True,
            )
            for w in self.user.longer(digits) if digits and w.fits(0, lattice.fixed)
        ]  # fmt: skip

    def _pieces(self, lattice: Lattice) -> Iterator[Candidate]:
        """Yield words for the first digits, longest first, each length cheapest first."""
        for end in range(len(lattice.digits), 0, -1):
            digits = lattice.digits[:end]
            for word in self.user.find(digits):
                if word.fits(0, lattice.fixed):
                    yield Candidate(word.text, self.user.cost(word), end, word.pinyin, -1, True)
            found: list[tuple[int, int]] = []
            for key in self._keys(digits):
                ((first, last),) = self.table.span([key], [key])
                found += zip(self.table.costs(first, last).tolist() if first < last else (),
                             range(first, last), strict=True)  # fmt: skip
            for cost, word_id in sorted(found):
                if lattice.is_spelled(word_id, 0):
                    spelled = self.table.spelling(word_id)
                    text = self.table.text(word_id)
                    yield Candidate(text, cost, end, spelled, self._lm_id(word_id))

    def _keys(self, digits: str) -> list[bytes]:
        """Every way to cut the digits into the syllables of one word."""
        ways: list[list[bytes]] = [[b""]] + [[] for _ in digits]
        for end in range(1, len(digits) + 1):
            for start in range(max(0, end - SYLLABLE_SIZE), end):
                byte = self.table.key_byte.get(digits[start:end])
                if byte is not None:
                    ways[end] += [k + bytes([byte]) for k in ways[start] if len(k) < N_MAX]
        return ways[-1]

    def _lm_id(self, word: int) -> int:
        return int(self.table.lm_ids(np.array([word]))[0])


def rescored(sentences: list[Candidate], log_likelihoods: Sequence[float]) -> list[Candidate]:
    """Return the sentences, the first of them reordered by table and language model together."""
    n = len(log_likelihoods)
    moved = [
        replace(c, cost=round(c.cost - COST_UNIT * RESCORE_WEIGHT * ll))
        for c, ll in zip(sentences[:n], log_likelihoods, strict=True)
    ]
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
