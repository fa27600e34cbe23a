# SPDX-License-Identifier: Apache-2.0
"""Numbers: counting, sums, comparing, the calendar and the clock; every answer is computed."""

from __future__ import annotations

import random

from parrot.faces.spoken_text import MONTHS, ONES, TENS
from tools.school import world
from tools.school.document import Document, finish
from tools.school.grammar import Teller
from tools.school.notation import reserved

WORDS_EN = [*ONES, "twenty"]
DIGITS_ZH = "零一二三四五六七八九十"
DAYS_EN = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
DAYS_ZH = [f"星期{c}" for c in "一二三四五六天"]
LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def spell(number: int, lang: str) -> str:
    """A number from 0 to 99 in words."""
    if lang == "en":
        if number <= 20:
            return WORDS_EN[number]
        tens = TENS[number // 10 - 2]
        return tens + (f"-{WORDS_EN[number % 10]}" if number % 10 else "")
    if number <= 10:
        return DIGITS_ZH[number]
    high, low = divmod(number, 10)
    return (DIGITS_ZH[high] if high > 1 else "") + "十" + (DIGITS_ZH[low] if low else "")


def month(index: int, lang: str) -> str:
    """The name of month 1 to 12."""
    return MONTHS[index - 1] if lang == "en" else spell(index, "zh") + "月"


def weekday(index: int, lang: str) -> str:
    """The name of a weekday, 0 is Monday; any whole number counts on in the week."""
    return (DAYS_EN if lang == "en" else DAYS_ZH)[index % 7]


def clock(hour: int, minute: int, lang: str) -> str:
    """A time on the clock face as people say it."""
    hour = (hour - 1) % 12 + 1
    after = hour % 12 + 1
    if lang == "en":
        if minute == 0:
            return f"{WORDS_EN[hour]} o'clock"
        if minute == 30:
            return f"half past {WORDS_EN[hour]}"
        if minute == 15:
            return f"quarter past {WORDS_EN[hour]}"
        if minute == 45:
            return f"quarter to {WORDS_EN[after]}"
        if minute < 30:
            return f"{spell(minute, lang)} past {WORDS_EN[hour]}"
        return f"{spell(60 - minute, 'en')} to {WORDS_EN[after]}"
    said = "两" if hour == 2 else spell(hour, "zh")
    tail = {0: "整", 30: "半", 15: "一刻"}.get(minute, spell(minute, "zh") + "分")
    return f"{said}点{tail if minute >= 10 or minute == 0 else '零' + tail}"


class Lesson:
    """A talk about numbers under way."""

    def __init__(self, teller: Teller) -> None:
        self.teller, self.rng, self.lang = teller, teller.rng, teller.book.lang

    def say(self, role: str, rule: str, **slots: object) -> None:
        """One turn from a rule."""
        self.teller.slots.update(slots)
        self.teller.protect.update(str(v).lower() for v in slots.values())
        alt = self.teller.choose(self.teller.book.rules[rule])
        self.teller.turn(role, alt.tid, self.teller.expand(alt.nodes))

    def pick(self, kind: str, *ranges: tuple[int, int]) -> list[int]:
        """Numbers whose combination belongs to this split."""
        while True:
            found = [self.rng.randint(low, high) for low, high in ranges]
            if reserved("number", kind, *found) == self.teller.heldout:
                return found

    def show(self, *numbers: int) -> list[str]:
        """All as digits, or sometimes all as words."""
        if max(numbers) < 100 and self.rng.random() < 0.3:
            return [spell(number, self.lang) for number in numbers]
        return [str(number) for number in numbers]


def sums(lesson: Lesson) -> None:
    """Plus, minus and times, asked by the companion or by the parrot."""
    for _ in range(lesson.rng.randint(1, 4)):
        kind = lesson.rng.choice(("plus", "plus", "minus", "times"))
        if kind == "times":
            a, b = lesson.pick(kind, (2, 10), (2, 10))
            result = a * b
        else:
            top = lesson.rng.choice((10, 20, 50))
            a, b = lesson.pick(kind, (1, top), (1, top))
            a, b = (max(a, b), min(a, b)) if kind == "minus" else (a, b)
            result = a - b if kind == "minus" else a + b
        x, y, r = lesson.show(a, b, result)
        slots = {"x": x, "y": y, "r": r}
        if lesson.rng.random() < 0.6:
            lesson.say("U", f"ask.{kind}", **slots)
            lesson.say("P", "sum.answer", **slots)
        else:
            quiz(lesson, result, f"quiz.{kind}", slots)


def quiz(lesson: Lesson, result: int, rule: str, slots: dict[str, str]) -> None:
    """The parrot asks; the companion is right, or wrong once."""
    lesson.say("U", "sum.want")
    lesson.say("P", rule, **slots)
    if lesson.rng.random() < 0.3:
        wrong = result + lesson.rng.choice((-2, -1, 1, 2))
        wrong = wrong if wrong >= 0 else result + 1
        lesson.say("U", "sum.guess", g=wrong)
        lesson.say("P", "sum.low" if wrong < result else "sum.high", **slots)
    lesson.say("U", "sum.guess", g=result)
    lesson.say("P", "sum.right", r=str(result))


def story_sum(lesson: Lesson) -> None:
    """A sum with things and people in it."""
    kind = lesson.rng.choice(("more", "less"))
    a, b = lesson.pick("story" + kind, (2, 20), (1, 10))
    if kind == "less":
        a = a + b
    slots = {
        "x": str(a),
        "y": str(b),
        "r": str(a + b if kind == "more" else a - b),
        "who": lesson.teller.draw("person"),
        "what": lesson.teller.draw("fruit"),
    }
    lesson.say("U", f"story.{kind}", **slots)
    lesson.say("P", "story.answer", **slots)


def compare(lesson: Lesson) -> None:
    """Which number is bigger or smaller."""
    a, b = lesson.pick("compare", (1, 99), (1, 99))
    b = b if b != a else a + 1
    big = lesson.rng.random() < 0.5
    slots = {
        "x": str(a),
        "y": str(b),
        "r": str(max(a, b) if big else min(a, b)),
        "z": str(min(a, b) if big else max(a, b)),
        "d": str(abs(a - b)),
    }
    lesson.say("U", "ask.bigger" if big else "ask.smaller", **slots)
    lesson.say("P", "compare.big" if big else "compare.small", **slots)
    if lesson.rng.random() < 0.4:
        lesson.say("U", "ask.difference", **slots)
        lesson.say("P", "compare.difference", **slots)


def counting(lesson: Lesson) -> None:
    """Counting up, down or in steps, and the number before or after."""
    start, step, length = lesson.pick("count", (1, 30), (1, 5), (4, 7))
    row = [start + step * i for i in range(length)]
    if lesson.rng.random() < 0.4:
        row.reverse()
    comma = ", " if lesson.lang == "en" else "、"
    words = comma.join(lesson.show(*row))
    rule = "down" if row[0] > row[-1] else ("steps" if step > 1 else "up")
    slots = {"x": str(row[0]), "y": str(row[-1]), "s": str(step), "row": words}
    lesson.say("U", f"count.{rule}", **slots)
    lesson.say("P", "count.row", **slots)
    if lesson.rng.random() < 0.6:
        n = row[-1]
        lesson.say("U", "count.after", x=str(n), r=str(n + 1))
        lesson.say("P", "count.is", x=str(n), r=str(n + 1))


def calendar(lesson: Lesson) -> None:
    """Weekdays, months and how long they are."""
    day, off = lesson.pick("day", (0, 6), (1, 10))
    lang = lesson.lang
    for kind in lesson.rng.sample(("after", "before", "far", "month", "length", "season"), 2):
        index = lesson.rng.randint(1, 12)
        slots = {
            "d": weekday(day, lang),
            "n": weekday(day + 1, lang),
            "b": weekday(day - 1, lang),
            "o": str(off),
            "f": weekday(day + off, lang),
            "m": month(index, lang),
            "mn": month(index % 12 + 1, lang),
            "mb": month((index - 2) % 12 + 1, lang),
            "len": LENGTHS[index - 1],
            "se": season(index, lang),
        }
        lesson.say("U", f"cal.{kind}", **slots)
        lesson.say("P", f"cal.{kind}.{'feb' if kind == 'length' and index == 2 else 'is'}", **slots)


def season(index: int, lang: str) -> str:
    """The season of a month in the northern half of the world."""
    name = world.SEASON_OF[index - 1]
    return name if lang == "en" else world.SEASON_ZH[name]


def telling_time(lesson: Lesson) -> None:
    """Reading the clock, and what it will be some minutes later."""
    hour, five = lesson.pick("clock", (1, 12), (0, 11))
    minute = five * 5
    add = lesson.rng.choice((5, 10, 15, 20, 30, 60))
    later = hour * 60 + minute + add
    lang = lesson.lang
    slots = {
        "h": f"{hour}:{minute:02d}",
        "t": clock(hour, minute, lang),
        "a": str(add),
        "l": clock(later // 60, later % 60, lang),
    }
    lesson.say("U", "time.read", **slots)
    lesson.say("P", "time.is", **slots)
    if lesson.rng.random() < 0.5:
        lesson.say("U", "time.later", **slots)
        lesson.say("P", "time.later.is", **slots)


KINDS = {
    "arithmetic": (sums, story_sum),
    "counting": (counting, compare),
    "calendar": (calendar, telling_time),
}


def number(lang: str, rng: random.Random, heldout: bool) -> Document:
    """One or two short lessons of one family."""
    teller = world.teller(lang, rng, heldout)
    family = rng.choice(list(KINDS))
    for lesson in rng.sample(KINDS[family], rng.randint(1, 2)):
        lesson(Lesson(teller))
    return finish(teller, family)
