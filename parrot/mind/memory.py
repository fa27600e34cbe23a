# SPDX-License-Identifier: Apache-2.0
"""Memory: crystals on disk, recalled when what is heard resonates with them.

A crystal is a piece of talk worth keeping: the owner said so, told something of their own life, or
it surprised the parrot. Recall is an inverted index (SQLite FTS5) over words and, for Chinese,
pairs of characters, ranked by BM25 and strength. docs/mind.md has the comparison that chose it,
against trigrams and keys from the state.

    strength(t) = strength(t0) · 2^(-(t - t0) / half-life);  each recall adds a dose and resets t0

A crystal below COLD is cold: it no longer comes up in talk, and search still finds it. A pinned one
keeps its strength. Nothing is ever forgotten but by command.
"""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, fields

from parrot.mind.hormones import dose
from parrot.mind.told import ends_as_question, is_asking, told_of_oneself, topic

HALF_LIFE_S = 30 * 86_400
COLD = 0.05
RECALL_BYTES = 240  # of memory before a turn: three facts, as people tell them
_RECALL_DOSE = 0.2
EXPLICIT, TOLD, SURPRISING = 1.0, 0.7, 0.5  # strengths at birth
_TERMS_MAX = 8  # of a question, the rarest
_MATCHES_MAX = 4_000  # that are ranked: with the terms above it bounds the time of a query
_CANDIDATES = 32
_TEXT_BYTES_MAX = RECALL_BYTES - 1  # a longer one could never be woven in
_SURPRISE_SHARE = 1.3  # of what is usual with this companion
_SURPRISE_BYTES_MIN = 16
_USUAL_TURNS = 20  # fewer than this, and nothing is usual yet

_ASKED = re.compile(
    r"^\s*(?:please\s+)?remember(?:\s+(?:that|this)\b)?[\s:,]+(?P<en>.+)"
    r"|^\s*(?:请)?(?:你)?(?:要)?(?:记住|记得|记下)[了来]?[\s：:，,]*(?P<zh>.+)",
    re.IGNORECASE | re.DOTALL,
)
_HAN = "\u3400-\u4dbf\u4e00-\u9fff"
_PIECES = re.compile(rf"[{_HAN}]+|[^\W_{_HAN}]+")
# Words that say nothing about what is meant; a question is full of them.
_STOP_WORDS = """
a an and are as at be but by can could did do does for from had has have how i in is it its me my of
on or our please say she so tell that the their them they this to us was we were what when where
which who whom whose why will with would you your he his her him about any remember know told
s t m re ve ll d
什么 怎么 哪里 哪儿 是什 么时 时候 我们 你们 记得 你记 知道 你知 吗的
"""
_STOP = frozenset(_STOP_WORDS.split())


@dataclass(frozen=True)
class Crystal:
    """Units: strength 0 … 1 as of `resonated_s`; `turn` is where in the journal it was said."""

    id: int
    wall_s: float
    turn: int
    text: str
    strength: float
    resonated_s: float
    is_pinned: int = 0


_COLUMNS = ", ".join(column.name for column in fields(Crystal))


def asked_to_remember(text: str) -> str | None:
    """Return what the companion asked to be remembered, or None. A question is no such request."""
    match = _ASKED.match(text)
    if match is None or is_asking(text):
        return None
    return (match["en"] or match["zh"]).strip() or None


def is_statement(text: str) -> bool:
    """Say whether a turn tells something: long enough, and no question."""
    return len(text.encode()) >= _SURPRISE_BYTES_MIN and not ends_as_question(text)


def is_surprising(text: str, surprise: float | None, usual: list[float]) -> bool:
    """Say whether a turn stood out: `surprise` nats a byte against those of turns before it."""
    if surprise is None or len(usual) < _USUAL_TURNS:
        return False
    mean = sum(usual) / len(usual)
    return is_statement(text) and surprise > _SURPRISE_SHARE * mean


def crystal_of(text: str, surprise: float | None, usual: list[float]) -> tuple[str, float] | None:
    """Return the text and strength of the crystal that a turn leaves, or None for most turns."""
    asked = asked_to_remember(text)
    if asked is not None:
        return _cut(asked), EXPLICIT
    told = told_of_oneself(text)
    if told is not None:
        return _cut(told), TOLD
    return (_cut(text), SURPRISING) if is_surprising(text, surprise, usual) else None


def _cut(text: str) -> str:
    return text.encode()[:_TEXT_BYTES_MAX].decode(errors="ignore")


def terms_of(text: str) -> list[str]:
    """Return what is indexed of a text: lower-case words, and pairs of Chinese characters."""
    terms: list[str] = []
    for piece in _PIECES.findall(text.lower()):
        if re.match(f"[{_HAN}]", piece):
            pairs = [piece[i : i + 2] for i in range(max(1, len(piece) - 1))]
            terms += [pair for pair in pairs if pair not in _STOP]
        elif piece not in _STOP:
            terms.append(_stem(piece))
    return terms


def _terms_meant(text: str) -> list[str]:
    """Return the terms of a text and of what it is about."""
    return terms_of(f"{text} {topic(text)}")


def _stem(word: str) -> str:
    """Cut the commonest English endings, so that 'likes' meets 'like'."""
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)].rstrip("e")
    return word.rstrip("e") if len(word) > 3 else word


def insert(
    database: sqlite3.Connection, wall_s: float, turn: int, text: str, strength: float
) -> None:
    """Add a crystal within the caller's transaction."""
    add(database, Crystal(0, wall_s, turn, text, strength, wall_s))


def add(database: sqlite3.Connection, crystal: Crystal) -> None:
    """Add a copy of a crystal, under a number of its own, within the caller's transaction."""
    row = database.execute(
        f"INSERT INTO crystal ({_COLUMNS}) VALUES (NULL, ?, ?, ?, ?, ?, ?)", astuple(crystal)[1:]
    )
    index(database, int(row.lastrowid or 0), crystal.text)


def index(database: sqlite3.Connection, id: int, text: str) -> None:
    """Make a crystal findable, within the caller's transaction."""
    database.execute(
        "INSERT INTO crystal_fts (rowid, terms) VALUES (?, ?)",
        (id, " ".join(_terms_meant(text))),
    )


def strength_at(crystal: Crystal, wall_s: float) -> float:
    """Return how strong a crystal is now."""
    if crystal.is_pinned:
        return crystal.strength
    return crystal.strength * math.exp2(-max(0.0, wall_s - crystal.resonated_s) / HALF_LIFE_S)


def resonate(database: sqlite3.Connection, crystals: Iterable[Crystal], wall_s: float) -> None:
    """Strengthen what was recalled, within the caller's transaction."""
    for crystal in crystals:
        database.execute(
            "UPDATE crystal SET strength = ?, resonated_s = ? WHERE id = ?",
            (dose(strength_at(crystal, wall_s), _RECALL_DOSE), wall_s, crystal.id),
        )


def search(
    database: sqlite3.Connection, text: str, wall_s: float, n: int, with_cold: bool
) -> list[Crystal]:
    """Return at most `n` crystals that `text` resonates with, best first.

    Cost: ranks a bounded number of crystals, however many there are; the question's commoner words
    are left out for it.
    """
    question, order = _question(database, set(_terms_meant(text)))
    if not question:
        return []
    # Bounded before it is ranked: BM25 is dear, and a word that half the crystals share says little
    # about which one is meant.
    rows = database.execute(
        f"SELECT {_COLUMNS}, f.rank"
        " FROM (SELECT rowid, rank FROM crystal_fts WHERE crystal_fts MATCH ?"
        f"      ORDER BY {order} LIMIT ?) f JOIN crystal c ON c.id = f.rowid",
        (question, max(_CANDIDATES, n)),
    ).fetchall()
    scored = []
    for *values, rank in rows:
        crystal = Crystal(*values)
        strength = strength_at(crystal, wall_s)
        if with_cold or strength >= COLD:
            scored.append((-rank * (0.5 + 0.5 * strength), crystal))
    scored.sort(key=lambda pair: (-pair[0], pair[1].id))
    return [crystal for _, crystal in scored[:n]]


def _question(database: sqlite3.Connection, terms: set[str]) -> tuple[str, str]:
    """Return the full-text question that finds `terms`, and the order to read its matches in.

    The rarest terms, as long as there are few enough matches. Where even the rarest has too many,
    the two rarest together, or else the newest crystals of that one.
    """
    counted = []
    for term in sorted(terms):
        row = database.execute("SELECT doc FROM crystal_vocab WHERE term = ?", (term,)).fetchone()
        if row:
            counted.append((row[0], f'"{term}"'))
    rarest, n_matches, few = sorted(counted)[:_TERMS_MAX], 0, list[str]()
    for n_found, term in rarest:
        n_matches += n_found
        if n_matches <= _MATCHES_MAX:
            few.append(term)
    if few or not rarest:
        return " OR ".join(few), "rank"
    both = " AND ".join(term for _, term in rarest[:2])
    found = database.execute(
        "SELECT count(*) FROM (SELECT 1 FROM crystal_fts WHERE crystal_fts MATCH ? LIMIT ?)",
        (both, _MATCHES_MAX),
    ).fetchone()
    if len(rarest) > 1 and 0 < found[0] < _MATCHES_MAX:
        return both, "rank"
    return rarest[0][1], "rowid DESC"


def count(database: sqlite3.Connection) -> int:
    """Return how many crystals there are."""
    return int(database.execute("SELECT count(*) FROM crystal").fetchone()[0])


def every(database: sqlite3.Connection) -> Iterator[Crystal]:
    """Yield all crystals, oldest first."""
    for values in database.execute(f"SELECT {_COLUMNS} FROM crystal ORDER BY id"):
        yield Crystal(*values)


def forget(database: sqlite3.Connection, id: int) -> bool:
    """Remove a crystal within the caller's transaction; return whether it was there."""
    database.execute("DELETE FROM crystal_fts WHERE rowid = ?", (id,))
    return database.execute("DELETE FROM crystal WHERE id = ?", (id,)).rowcount > 0


def pin(database: sqlite3.Connection, id: int, is_pinned: bool) -> bool:
    """Pin or free a crystal within the caller's transaction; return whether it was there."""
    row = database.execute("UPDATE crystal SET is_pinned = ? WHERE id = ?", (is_pinned, id))
    return row.rowcount > 0


def edit(database: sqlite3.Connection, id: int, text: str) -> bool:
    """Change a crystal's words within the caller's transaction; return whether it was there."""
    if not database.execute("UPDATE crystal SET text = ? WHERE id = ?", (text, id)).rowcount:
        return False
    database.execute("DELETE FROM crystal_fts WHERE rowid = ?", (id,))
    index(database, id, text)
    return True


def merge_twins(database: sqlite3.Connection) -> int:
    """Make one of crystals with the same words, within the caller's transaction; return how many
    went. The oldest stays, as strong as the strongest of them, pinned if any was."""
    twins = database.execute(
        "SELECT group_concat(id), max(strength), max(resonated_s), max(is_pinned) FROM crystal"
        " GROUP BY lower(trim(text)) HAVING count(*) > 1"
    ).fetchall()
    n_gone = 0
    for listed, strength, resonated_s, is_pinned in twins:
        first, *others = sorted(map(int, listed.split(",")))
        database.execute(
            "UPDATE crystal SET strength = ?, resonated_s = ?, is_pinned = ? WHERE id = ?",
            (strength, resonated_s, is_pinned, first),
        )
        n_gone += sum(forget(database, id) for id in others)
    return n_gone
