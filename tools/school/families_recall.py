# SPDX-License-Identifier: Apache-2.0
"""Recall: facts told by the companion, other talk in between, questions later, corrections."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tools.school import families_script, world
from tools.school.document import Document, finish
from tools.school.grammar import SkipScript, Teller
from tools.school.notation import Row, reserved

# Bytes of other talk between telling and asking: how often, from, to.
DISTANCES = ((0.34, 0, 200), (0.36, 200, 1200), (0.2, 1200, 4000), (0.1, 4000, 8000))


@dataclass
class Fact:
    """A fact told: its kind, what it belongs to, its value now and before a correction."""

    kind: str
    owner: Row | None
    value: Row | int
    was: Row | int | None = None

    @property
    def answer(self) -> str:
        """The string that a right answer contains."""
        if isinstance(self.value, Row):
            column = {"hobby": "ing", "fruit": "plural"}.get(self.kind)
            return self.value.cells.get(column or "", self.value.name)
        return str(self.value)


class Memory:
    """A talk under way: tells facts, chats about other things, asks."""

    def __init__(self, teller: Teller) -> None:
        self.teller = teller
        self.kept = teller.slots
        self.avoid = {"recall", "farewell", "greeting"}
        self.facts: list[Fact] = []

    def say(self, role: str, rule: str, fact: Fact | None = None, opener: str = "") -> None:
        """One turn from a rule, with the fact's slots."""
        teller = self.teller
        if fact:
            teller.protect.update(f"{fact.answer} {fact.owner}".lower().split())
            teller.slots = {**self.kept, "v": fact.value, "a": fact.owner, "w": fact.was}
        alt = teller.choose(teller.book.rules[rule])
        words = teller.expand(alt.nodes)
        if role in "UM" and words[-1] not in "?？!！.。":
            words += {"en": ("", ".", "!"), "zh": ("", "。")}[teller.book.lang][
                teller.rng.randrange(3 if teller.book.lang == "en" else 2)
            ]
        before = teller.say(opener) if opener else ""
        if before and words.startswith("do you"):
            before = ""
        glue = " " if before and teller.book.lang == "en" else ""
        teller.turn(role, alt.tid, before + glue + words)

    def draw(self, source: str) -> Row | int:
        """A value nobody has yet."""
        teller = self.teller
        teller.slots = {**self.kept, **{str(i): f.value for i, f in enumerate(self.facts)}}
        if ".." in source:
            low, high = map(int, source.split(".."))
            return teller.rng.randint(low, high)
        return teller.draw(source)

    def value(self, row: Row, owner: Row | int | None) -> Row | int:
        """A value for a kind of fact; the name of a relative fits the relative."""
        while True:
            value = self.draw(row.get("v"))
            if row.name != "kin" or (
                isinstance(owner, Row)
                and isinstance(value, Row)
                and owner.get("g") == value.get("g")
            ):
                return value

    def invent(self) -> Fact:
        """A new fact of this split about something not talked of yet."""
        teller = self.teller
        told = {fact.kind for fact in self.facts}
        rows = [row for row in teller.book.tables["fact"] if row.name not in told]
        while True:
            row = teller.rng.choice(rows)
            owner = None if row.get("a") == "-" else self.draw(row.get("a"))
            value = self.value(row, owner)
            if reserved("recall", row.name, owner, value, one_in=8) == teller.heldout:
                break
        assert owner is None or isinstance(owner, Row)
        fact = Fact(row.name, owner, value)
        self.note(fact)
        return fact

    def note(self, fact: Fact) -> None:
        """Make the world agree: the companion has this fact, other talk keeps off it."""
        row = next(r for r in self.teller.book.tables["fact"] if r.name == fact.kind)
        if row.get("me") != "-":
            me = self.kept["me"]
            self.kept["me"] = world.Thing(**{**me.facts, row.get("me"): fact.value})
        self.avoid.update(row.get("avoid").split())

    def tell(self) -> None:
        """The companion tells a new fact and the parrot takes it."""
        fact = self.invent()
        self.facts.append(fact)
        self.say("U", f"tell.{fact.kind}", fact)
        self.say("P", f"ack.{fact.kind}", fact)

    def correct(self, fact: Fact) -> None:
        """The companion corrects a fact told before."""
        row = next(r for r in self.teller.book.tables["fact"] if r.name == fact.kind)
        fact.was, new = fact.value, fact.value
        while str(new) == str(fact.was):
            new = self.value(row, fact.owner)
        fact.value = new
        self.note(fact)
        self.say("U", f"fix.{fact.kind}", fact)
        self.say("P", "fixack", fact)

    def ask(self, fact: Fact) -> None:
        """The companion asks and the parrot knows."""
        self.say("U", f"ask.{fact.kind}", fact, "askopen")
        self.say("P", f"ans.{fact.kind}", fact)

    def ask_untold(self) -> None:
        """The companion asks what was never told."""
        told = {fact.kind for fact in self.facts}
        spare = [
            r
            for r in self.teller.book.tables["fact"]
            if r.name not in told and r.get("a") == "-" and r.name != "name"
        ]
        row = self.teller.rng.choice(spare)
        self.say("U", f"ask.{row.name}", Fact(row.name, None, 0))
        self.say("P", "unknown")

    def chat(self, size: int) -> None:
        """At least `size` bytes of talk about other things."""
        teller = self.teller
        found, weights = families_script.scripts(teller.book.lang, False, False)
        spoken, last = 0, ""
        while spoken < size:
            script = teller.rng.choices(found, weights)[0]
            if script.family in self.avoid or script.name == last:
                continue
            last, mark = script.name, len(teller.turns)
            teller.slots = dict(self.kept)
            try:
                families_script.perform(teller, script)
            except SkipScript:
                continue
            new = teller.turns[mark:]
            spoken += sum(len(text.encode()) for turn in new for _, text in turn.parts)


def distance(rng: random.Random) -> int:
    """How many bytes to talk of other things."""
    pick = rng.random()
    for share, low, high in DISTANCES:
        if pick < share:
            return rng.randint(low, high)
        pick -= share
    return 0


def recall(lang: str, rng: random.Random, heldout: bool) -> Document:
    """A talk with one to four facts, told and asked in any order."""
    memory = Memory(world.teller(lang, rng, heldout))
    if rng.random() < 0.3:
        memory.say("U", "hello")
        memory.say("P", "hello_back")
        memory.tell()
    if rng.random() < 0.25:
        memory.say("U", "remember")
        memory.say("P", "remember_back")
    size = distance(rng)
    for _ in range(rng.choices((1, 2, 3, 4), (4, 4, 2, 1))[0]):
        memory.tell()
        memory.chat(rng.randint(0, size // 3))
    if rng.random() < 0.25:
        memory.correct(rng.choice(memory.facts))
    memory.chat(size // 2)
    asked = list(memory.facts)
    rng.shuffle(asked)
    for fact in asked:
        memory.ask(fact)
        if rng.random() < 0.25:
            memory.say("U", "quiz_good")
            memory.say("P", "quiz_back")
    if rng.random() < 0.12:
        memory.ask_untold()
    return finish(memory.teller, "recall")


def recall_item(lang: str, rng: random.Random, size: int) -> dict[str, object]:
    """One held-out item: turns that end with the question, and the answer that must come."""
    memory = Memory(world.teller(lang, rng, heldout=True))
    memory.tell()
    fact = memory.facts[0]
    start = len(memory.teller.turns)
    memory.chat(size)
    between = sum(len(t.encode()) for turn in memory.teller.turns[start:] for _, t in turn.parts)
    memory.say("U", f"ask.{fact.kind}", fact)
    made = finish(memory.teller, "recall")
    turns = [
        {"role": "user" if role == "U" else "assistant", "text": text} for role, text in made.turns
    ]
    return {
        "lang": lang,
        "kind": fact.kind,
        "distance": between,
        "turns": turns,
        "question": turns[-1]["text"],
        "answers": [fact.answer],
    }
