# SPDX-License-Identifier: Apache-2.0
"""The notation of the data files: rules, tables and dialogue scripts.

A data file holds three kinds of sections, each opened by its first character:

    @rule                      one phrase per line; `<rule>` in a text calls it
    %table name: col col ...   rows of cells parted by `|`; `held` after the columns reserves names
    == script family [w=2]     a dialogue or a piece of prose, line by line

Inside a text: `[a|b|]` picks one, `[#k a|b]` the same one wherever `#k` stands in the script,
`{slot}` and `{slot.column}` fill in a bound value, a cell `x;y` picks one of its parts. Inside a
script: `$ x = table[tag]` binds a row not bound before, `$ x = table like y` one of the gender of
y, `$ x = "text"` a phrase, `$ n = 3..9` a number; `U:`, `P:`, `N:` begin a turn of the companion,
the parrot, or prose, `+:` goes on in the same turn, `|` offers another wording of the line above;
`(` ... `/` ... `)` picks one block, `(?` keeps it half the time, `(*` plays all in any order and
`(~2` two of them; `& script` plays another script with the same facts.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

PRONOUNS = {
    "en": {
        "m": ("he", "him", "his"),
        "f": ("she", "her", "her"),
        "n": ("it", "it", "its"),
        "p": ("they", "them", "their"),
    },
    "zh": {"m": ("他",) * 3, "f": ("她",) * 3, "n": ("它",) * 3, "p": ("它们",) * 3},
}
RESERVE = 14  # one alternative, name or combination of facts in so many is kept for held-out text


def reserved(*key: object, one_in: int = RESERVE) -> bool:
    """Whether this name, phrasing or combination of facts belongs to the held-out text."""
    digest = hashlib.sha256("\x1f".join(map(str, key)).encode()).digest()
    return int.from_bytes(digest[:4], "big") % one_in == 0


class Row:
    """One row of a table: its first cell is its name, the others are attributes."""

    __slots__ = ("cells", "lang", "name", "tags")

    def __init__(self, columns: list[str], cells: list[str], lang: str) -> None:
        self.name = cells[0]
        self.lang = lang
        self.cells = dict(zip(columns, cells, strict=True))
        self.tags = frozenset(self.cells.get("tags", "").split())

    def get(self, column: str) -> str:
        """A cell, or a pronoun if the row has a gender `g` (he, him, his)."""
        if column in self.cells:
            return self.cells[column]
        if column in ("he", "him", "his"):
            forms = PRONOUNS[self.lang][self.cells.get("g", "n")]
            return forms[("he", "him", "his").index(column)]
        raise KeyError(f"{self.name}: no column {column!r}, has {sorted(self.cells)}; name one")

    def __str__(self) -> str:
        return self.name


# --- texts ---------------------------------------------------------------------------------------

# str, ("slot", name, column), ("rule", name), ("pick", options, options held out),
# ("same", key, options)
Node = Any
_TOKEN = re.compile(r"[\[\]|]|\{[^{}]*\}|<[a-z_0-9.]+>")


@cache
def parse_text(text: str) -> list[Node]:
    """The nodes of one text; an unbalanced bracket is an error."""
    stack: list[list[list[Node]]] = [[[]]]
    at = 0
    for match in _TOKEN.finditer(text):
        if match.start() > at:
            stack[-1][-1].append(text[at : match.start()])
        token, at = match.group(), match.end()
        if token == "[":
            stack.append([[]])
        elif token == "|" and len(stack) > 1:
            stack[-1].append([])
        elif token == "]" and len(stack) > 1:
            stack[-2][-1].append(close_pick(stack.pop()))
        elif token[0] == "{":
            name, _, column = token[1:-1].partition(".")
            stack[-1][-1].append(("slot", name, column))
        elif token[0] == "<":
            stack[-1][-1].append(("rule", token[1:-1]))
        else:
            raise ValueError(f"{text}: stray {token!r}, expected balanced brackets; fix the line")
    if len(stack) != 1:
        raise ValueError(f"{text}: an open bracket, expected balanced brackets; close it")
    if at < len(text):
        stack[0][0].append(text[at:])
    return stack[0][0]


def close_pick(options: list[list[Node]]) -> Node:
    """A choice; `[#key a|b]` is made once and holds wherever `[#key ...]` stands in the script."""
    if len(options) == 1:
        options.append([])
    first = options[0][0] if options[0] else ""
    if isinstance(first, str) and first.startswith("#"):
        key, _, rest = first.partition(" ")
        options[0][0] = rest
        return ("same", key, options)
    if len(options) < 4:
        return ("pick", options, [])
    held = [nodes for nodes in options if len(str(nodes)) > 12 and reserved("words", str(nodes))]
    return ("pick", [nodes for nodes in options if nodes not in held], held)


@dataclass
class Alt:
    """One wording: its template id, its nodes, whether it is kept for held-out text."""

    tid: str
    nodes: list[Node]
    held: bool


@dataclass
class Line:
    """One step of a script: say, bind, call or a block of choices."""

    kind: str  # U P N + $ & ( and what follows
    alts: list[Alt] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    source: str = ""
    blocks: list[list[Line]] = field(default_factory=list)


@dataclass
class Script:
    """A named dialogue or piece of prose of one family."""

    name: str
    family: str
    lang: str
    weight: float
    lines: list[Line]

    @property
    def binds(self) -> bool:
        """Whether it draws facts (and so has combinations to reserve)."""
        return any(line.kind == "$" and line.source[0] != '"' for line in self.lines)


@dataclass
class Book:
    """All rules, tables and scripts of one language."""

    lang: str
    rules: dict[str, list[Alt]] = field(default_factory=dict)
    tables: dict[str, list[Row]] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    scripts: dict[str, Script] = field(default_factory=dict)
    pools: dict[tuple[str, bool], list[Row]] = field(default_factory=dict)  # made when asked for


def make_alt(tid: str, text: str, lang: str) -> Alt:
    """A wording; long ones may be reserved for held-out text."""
    long_enough = len(text) >= (24 if lang == "en" else 8)
    return Alt(tid, parse_text(text), long_enough and reserved("phrase", text))


def load_book(lang: str, folder: Path) -> Book:
    """Read every `<lang>_*.txt` of a folder, in order of name."""
    book = Book(lang)
    for path in sorted(folder.glob(f"{lang}_*.txt")):
        _Reader(book, path).read()
    return book


class _Reader:
    """Reads one data file into a book."""

    def __init__(self, book: Book, path: Path) -> None:
        self.book, self.path = book, path
        self.rule: str | None = None
        self.table: str | None = None
        self.columns: list[str] = []
        self.stack: list[Line] = []  # open blocks
        self.script: Script | None = None
        self.number = 0

    def read(self) -> None:
        for number, raw in enumerate(self.path.read_text(encoding="utf-8").splitlines(), 1):
            self.number = number
            line = raw.strip()
            if not line or line.startswith("# "):
                continue
            try:
                self._line(line)
            except (ValueError, KeyError, IndexError) as error:
                raise ValueError(f"{self.path}:{self.number}: {error}") from error
        self._close()

    def _close(self) -> None:
        if self.stack:
            raise ValueError(f"{self.path}:{self.number}: an open block; close it with )")

    def _line(self, line: str) -> None:
        if line[0] == "@":
            self._close()
            self.rule, self.table, self.script = line[1:].strip(), None, None
            self.book.rules.setdefault(self.rule, [])
        elif line[0] == "%":
            self._close()
            head, _, columns = line[1:].partition(":")
            self.table, self.columns = head.split()[-1], columns.split()
            self.rule = self.script = None
            if self.columns[-1] == "held":
                self.columns.pop()
                self.book.held.add(self.table)
            self.book.tables.setdefault(self.table, [])
        elif line.startswith("== "):
            self._close()
            self._open_script(line[3:].split())
        elif self.rule is not None:
            self._rule_line(line)
        elif self.table is not None:
            cells = [cell.strip() for cell in line.split("|")]
            if len(cells) != len(self.columns):
                raise ValueError(f"{len(cells)} cells, expected {self.columns}")
            self.book.tables[self.table].append(Row(self.columns, cells, self.book.lang))
        else:
            self._script_line(line)

    def _rule_line(self, line: str) -> None:
        assert self.rule is not None
        alts = self.book.rules[self.rule]
        tid = f"{self.book.lang}@{self.rule}.{len(alts)}"
        alts.append(make_alt(tid, "" if line == "~" else line, self.book.lang))

    def _open_script(self, words: list[str]) -> None:
        name, family = words[:2]
        weight = float(words[2][2:]) if len(words) > 2 else 1.0
        if name in self.book.scripts:
            raise ValueError(f"script {name} is there twice; rename one")
        self.rule = self.table = None
        self.script = Script(name, family, self.book.lang, weight, [])
        self.book.scripts[name] = self.script

    def _into(self) -> list[Line]:
        assert self.script is not None, "a line before the first section"
        return self.stack[-1].blocks[-1] if self.stack else self.script.lines

    def _script_line(self, line: str) -> None:
        where = self._into()
        if line[0] == "(" and len(line) <= 3:
            block = Line(line, blocks=[[]])
            where.append(block)
            self.stack.append(block)
        elif line == "/":
            self.stack[-1].blocks.append([])
        elif line == ")":
            self.stack.pop()
        elif line[0] == "$":
            names, _, source = line[1:].partition("=")
            source = source.strip()
            step = Line("$", names=[n.strip() for n in names.split(",")], source=source)
            if source[0] == '"':
                step.alts = [make_alt("", source.strip('"'), self.book.lang)]
                step.alts[0].held = False
            where.append(step)
        elif line[0] == "&":
            where.append(Line("&", source=line[1:].strip()))
        elif line[0] == "|":
            self._alternative(where[-1], line[1:].strip())
        elif line[:2] in ("U:", "P:", "N:", "+:"):
            where.append(Line(line[0]))
            self._alternative(where[-1], line[2:].strip())
        else:
            raise ValueError(f"{line!r} is no step of a script; see the notation")

    def _alternative(self, step: Line, text: str) -> None:
        assert self.script is not None
        tid = f"{self.book.lang}/{self.script.name}:{self.number}"
        step.alts.append(make_alt(tid, text, self.book.lang))
