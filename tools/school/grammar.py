# SPDX-License-Identifier: Apache-2.0
"""The little text-realisation engine: scripts become turns, texts become words."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from tools.school.notation import Alt, Book, Line, Node, Row, Script, parse_text, reserved

COUNT_ZH = "零一两三四五六七八九十"  # as before a measure word
HELD_SHARE = 0.35  # of the choices in held-out text, where a reserved wording is at hand


@dataclass
class Turn:
    """One turn while it is being made: role U, P, M or N, its text, bytes by template."""

    role: str
    parts: list[tuple[str, str]]  # template id, text


class SkipScript(Exception):
    """The facts drawn belong to the other split: draw again."""


class Teller:
    """Realises texts and scripts with one stream of random numbers and one set of facts."""

    def __init__(self, book: Book, rng: random.Random, heldout: bool) -> None:
        self.book, self.rng, self.heldout = book, rng, heldout
        self.slots: dict[str, Any] = {}
        self.turns: list[Turn] = []
        self.drawn: list[str] = []  # facts of the script being played
        self.protect: set[str] = set()  # words that carry a fact: typed without slips

    def pool(self, source: str) -> list[Row]:
        """The rows of `table` or `table[tag]`, without the names of the other split."""
        found = self.book.pools.get((source, self.heldout))
        if found is not None:
            return found
        table, _, tag = source.partition("[")
        rows = self.book.tables[table]
        if tag:
            wanted = tag[:-1]
            rows = [row for row in rows if wanted in row.tags]
        if table in self.book.held:
            rows = [row for row in rows if reserved("name", row.name) == self.heldout]
        if not rows:
            raise KeyError(f"{source}: no rows; check the table and its tags")
        self.book.pools[source, self.heldout] = rows
        return rows

    def draw(self, source: str) -> Row:
        """A row not bound yet in this script."""
        rows = self.pool(source)
        bound = {str(value) for value in self.slots.values()}
        for _ in range(30):
            row = self.rng.choice(rows)
            if row.name not in bound:
                return row
        return self.rng.choice(rows)

    def draw_like(self, source: str, model: Row) -> Row:
        """A row with the gender of another one: a name that fits an aunt."""
        while True:
            row = self.draw(source)
            if row.get("g") == model.get("g"):
                return row

    def choose(self, alts: list[Alt]) -> Alt:
        """A wording of this split: held-out text mixes in the reserved ones."""
        if len(alts) < 3:
            return self.rng.choice(alts)
        wanted = self.heldout and self.rng.random() < HELD_SHARE
        for _ in range(30):
            alt = self.rng.choice(alts)
            if alt.held == wanted:
                return alt
        return alt if self.heldout else next(a for a in alts if not a.held)

    def expand(self, nodes: list[Node]) -> str:
        """The words of some nodes."""
        out: list[str] = []
        for node in nodes:
            if isinstance(node, str):
                out.append(node)
            elif node[0] == "pick":
                held = node[2] if self.heldout and self.rng.random() < HELD_SHARE else []
                out.append(self.expand(self.rng.choice(held or node[1])))
            elif node[0] == "same":
                index = self.slots.setdefault(node[1], self.rng.randrange(len(node[2])))
                out.append(self.expand(node[2][index % len(node[2])]))
            elif node[0] == "slot":
                out.append(self.value(node[1], node[2]))
            else:
                out.append(self.say(node[1]))
        return "".join(out)

    def value(self, name: str, column: str) -> str:
        """The text of a slot; a cell with `;` gives one of its parts."""
        held = self.slots[name]
        if not column:
            return str(held)
        text = str(held.get(column))
        if ";" in text:
            text = self.rng.choice(text.split(";")).strip()
        return self.expand(parse_text(text)) if "{" in text else text

    def say(self, rule: str) -> str:
        """One wording of a rule."""
        return self.expand(self.choose(self.book.rules[rule]).nodes)

    def play(self, name: str) -> None:
        """Run a script and append its turns."""
        self._lines(self.book.scripts[name].lines)

    def check_split(self, script: Script) -> None:
        """Draw again unless the facts of this script belong to this split."""
        key = ("facts", script.name, *self.drawn)
        if script.binds and reserved(*key) != self.heldout:
            raise SkipScript

    def _lines(self, lines: list[Line]) -> None:
        for line in lines:
            if line.kind == "$":
                self._bind(line)
            elif line.kind == "&":
                self.play(line.source)
            elif line.kind[0] == "(":
                self._block(line)
            else:
                alt = self.choose(line.alts)
                self.turn(line.kind, alt.tid, self.expand(alt.nodes))

    def turn(self, role: str, tid: str, text: str) -> None:
        """Begin a turn, or go on in the last one with role `+`."""
        if role == "+":
            self.turns[-1].parts.append((tid, text))
        else:
            self.turns.append(Turn(role, [(tid, text)]))

    def _bind(self, line: Line) -> None:
        for name in line.names:
            if line.source[0] == '"':
                self.slots[name] = self.expand(line.alts[0].nodes)
            elif ".." in line.source:
                low, high = line.source.split("..")
                self.slots[name] = number = self.rng.randint(int(low), int(high))
                if self.book.lang == "zh" and number <= 10:
                    self.slots[name] = COUNT_ZH[number]
            elif line.source.startswith("me."):
                self.slots[name] = self.slots["me"].get(line.source[3:])
            elif " like " in line.source:
                source, _, model = line.source.partition(" like ")
                self.slots[name] = self.draw_like(source, self.slots[model])
            else:
                self.slots[name] = self.draw(line.source)
            self.drawn.append(str(self.slots[name]))
            self.protect.update(self.drawn[-1].lower().split())

    def _block(self, line: Line) -> None:
        blocks = list(line.blocks)
        if line.kind == "(?":
            blocks = blocks[:1] if self.rng.random() < 0.5 else []
        elif line.kind == "(":
            blocks = [self.rng.choice(blocks)]
        else:
            self.rng.shuffle(blocks)
            if line.kind[1] == "~":
                blocks = blocks[: int(line.kind[2])]
        for block in blocks:
            self._lines(block)
