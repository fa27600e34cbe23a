# SPDX-License-Identifier: Apache-2.0
"""The simulated world: the companion and the day, whose facts hold for a whole document."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

from tools.school.grammar import Teller
from tools.school.notation import Book, Row, load_book

DATA = Path(__file__).parent / "data"
SEASON_OF = ("winter",) * 2 + ("spring",) * 3 + ("summer",) * 3 + ("autumn",) * 3 + ("winter",)
SEASON_ZH = {"spring": "春天", "summer": "夏天", "autumn": "秋天", "winter": "冬天"}


@cache
def book(lang: str) -> Book:
    """All rules, tables and scripts of a language, read once in each process."""
    return load_book(lang, DATA)


class Thing:
    """A bundle of facts that a text can name: `{me.name}`, `{me.pet.sound}`."""

    def __init__(self, **facts: object) -> None:
        self.facts = facts

    def get(self, path: str) -> object:
        """The fact at a dotted path."""
        head, _, rest = path.partition(".")
        value = self.facts[head]
        if not rest:
            return value
        assert isinstance(value, Row | Thing)
        return value.get(rest)


def companion(teller: Teller) -> Thing:
    """Who talks to the parrot: name, age, family, pet, friend, likes."""
    rng = teller.rng
    me = teller.draw("person")
    teller.slots["_me"] = me
    friend = teller.draw("person")
    teller.slots["_friend"] = friend
    return Thing(
        name=me,
        friend=friend,
        age=rng.randint(5, 12),
        pet=teller.draw("pet"),
        petname=teller.draw("petname"),
        kin=teller.draw("kin"),
        colour=teller.draw("colour"),
        dish=teller.draw("dish"),
        place=teller.draw("town"),
        hobby=teller.draw("hobby"),
    )


def day(rng: random.Random, lang: str) -> Thing:
    """One day: month, season and a weather that can occur in it."""
    month = rng.randint(1, 12)
    season = SEASON_OF[month - 1] if lang == "en" else SEASON_ZH[SEASON_OF[month - 1]]
    rows = [row for row in book(lang).tables["weather"] if season in row.tags]
    return Thing(month=month, season=season, weather=rng.choice(rows))


def teller(lang: str, rng: random.Random, heldout: bool) -> Teller:
    """A teller with a companion and a day of its own."""
    made = Teller(book(lang), rng, heldout)
    made.slots["me"] = companion(made)
    made.slots["day"] = day(rng, lang)
    return made
