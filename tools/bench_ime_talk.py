# SPDX-License-Identifier: Apache-2.0
"""Nine keys within a talk: what the owner typed in held-out hand-written dialogue, in its place.

    python -m tools.bench_ime_talk

`tools.bench_ime` ranks each sentence with a newborn model. The hand ranks it after the talk that
the model has lived, and that is measured here: every clause of the owner's turns, with all turns
before it lived. `words` is a road not taken yet: the talk's words, cut by jieba, as if the owner
had taught them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import jieba

from parrot.app.conversation import likelihoods
from parrot.engine.model import Model
from parrot.engine.state import State
from parrot.mind.turn import Turn, tokens_of
from parrot.senses.pinyin_table import PinyinTable
from parrot.senses.t9 import N_RESCORED, T9, Candidate, rescored
from parrot.senses.user_words import ListStore, UserWords
from tools.assets_pinyin import HAND, HANZI, HELD_OUT_EVERY
from tools.bench_ime import LENGTHS, score, syllable_digits, syllables

TABLE = Path("parrot/assets/pinyin.bin")
WAYS = ("table", "newborn", "lived", "words", "lived and words")
WORD_LENGTHS = range(2, 5)


class Talk:
    """One dialogue as the hand lives it: the model's state, and the words that were used."""

    def __init__(self, model: Model, table: PinyinTable) -> None:
        self._model, self._newborn, self._state = model, model.new_state(), model.new_state()
        self._plain = T9(table, UserWords(ListStore()))
        self._taught = T9(table, UserWords(ListStore()))
        self._heard = b""

    def first_five(self, clause: str) -> Iterator[tuple[str, list[str]]]:
        """Yield, for each way, the first five candidates for the digits of `clause`."""
        digits = "".join(syllable_digits(clause))
        for way in WAYS:
            engine = self._taught if "words" in way else self._plain
            lattice = engine.lattice()
            lattice.extend(digits)
            found = engine.sentences(lattice)
            if way not in ("table", "words"):
                found = self._ranked(found, self._newborn if way == "newborn" else self._state)
            yield way, [c.text for c in islice(engine.candidates(lattice, found), 5)]

    def live(self, role: str, text: str) -> None:
        """Go on by a turn of the owner ("user") or of the parrot."""
        for clause in HANZI.findall(text):
            for word in jieba.lcut(clause):
                if len(word) in WORD_LENGTHS and not self._taught.user.knows(word):
                    self._taught.user.learn(word, syllables(word))
        if role == "user":
            self._heard = text.encode()
            return
        turn = Turn(1, 0, 0.0, b"", 0, self._heard, text.encode())
        self._model.forward(tokens_of(self._model, self._state.position, turn), self._state)

    def _ranked(self, found: list[Candidate], state: State) -> list[Candidate]:
        texts = [c.text for c in found[:N_RESCORED]]
        return rescored(found, likelihoods(self._model, state, "", texts)) if texts else found


def main() -> int:
    jieba.setLogLevel("WARNING")
    model, table = Model.open(threads=1), PinyinTable(TABLE)
    clauses: list[str] = []
    answers: dict[str, list[list[str]]] = {way: [] for way in WAYS}
    for path in sorted(HAND.glob("*.jsonl")):
        for item in path.read_text("utf-8").splitlines()[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]:
            talk = Talk(model, table)
            for turn in json.loads(item)["turns"]:
                if turn["role"] == "user":
                    for clause in (c for c in HANZI.findall(turn["text"]) if len(c) in LENGTHS):
                        clauses.append(clause)
                        for way, found in talk.first_five(clause):
                            answers[way].append(found)
                talk.live(turn["role"], turn["text"])
    for way in WAYS:
        s = score(clauses, answers[way])
        print(f"{way:<16} {s.n:>4}  {s.exact:.1%}  {s.first_five:.1%}  {s.hanzi_error:.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
