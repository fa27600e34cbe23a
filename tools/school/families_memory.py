# SPDX-License-Identifier: Apache-2.0
"""Told and asked in one breath, with names nobody has heard before; and memories that the soul
weaves in before a turn (role M), asked for, beside the question, or of no use.

A network that meets two hundred names learns the names. Coined ones can only be copied, and
copying is what recall is made of.
"""

from __future__ import annotations

import random
from pathlib import Path

from tools.school import world
from tools.school.document import Document, finish
from tools.school.families_recall import Fact, Memory
from tools.school.notation import Row, reserved

COINED = {"person", "petname", "village"}  # tables that take a coined name as well
COIN_SHARE = 0.6
ONSETS = [*"bcdfghjklmnprstvwyz", "br", "ch", "dr", "fl", "gr", "kl", "pl", "sh", "st", "tr", "th"]
VOWELS = [*"aeioaeio", "ai", "ee", "oo", "ou", "u"]
CODAS = ["", "", "", "n", "l", "r", "s", "t", "m", "x", "nd", "ck", "by", "ly", "no", "ra"]
NO_NAMES = frozenset(
    word
    for line in (Path(__file__).parent / "data" / "no_names.txt").read_text().splitlines()
    if not line.startswith("#")
    for word in line.split()
)
ZH_FIRST = "小小小阿阿老大"
ZH_FAMILY = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于"
    "董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎"
)
ZH_NAME = (
    "安宝冰波彩灿草晨橙池春翠达丹道灯迪蝶东豆朵恩方飞丰枫福刚高格歌谷光果海禾和荷恒虹厚湖花欢辉慧火吉佳江娇金京晶静九菊君凯康可克蓝乐雷"
    "力丽利莲亮林灵柳龙露鹿路伦罗洛满毛梅美蒙米苗妙明鸣木沐娜南宁暖盼泡培朋鹏皮平朴奇琪千巧青晴秋泉群然仁荣柔瑞森沙珊杉山诗石树双霜水思松"
    "苏素粟泰桃天甜田糖童土团弯万旺薇文雯舞西溪夏仙香祥向晓笑心新星杏秀雪雅岩阳杨瑶叶一伊艺逸音银英盈勇友宇羽玉园圆月云泽展张哲珍真芝知志舟珠竹卓子"
)


def coined(row: Row, rng: random.Random, heldout: bool) -> Row:
    """A name made of sounds, with the other cells of `row`; names of the two splits differ."""
    while True:
        if row.lang == "en":
            parts = (rng.choice(ONSETS) + rng.choice(VOWELS) for _ in range(rng.choice((1, 2, 2))))
            name = ("".join(parts) + rng.choice(CODAS)).capitalize()
        else:
            first = rng.choice(ZH_FIRST) if rng.random() < 0.4 else rng.choice(ZH_FAMILY + ZH_NAME)
            name = first + "".join(rng.choice(ZH_NAME) for _ in range(rng.choice((1, 1, 2))))
        is_word = name.lower() in NO_NAMES
        if len(name) > 1 and not is_word and reserved("name", name) == heldout:
            return Row(list(row.cells), [name, *list(row.cells.values())[1:]], row.lang)


class Lesson(Memory):
    """A talk whose names are mostly coined, with memories woven in."""

    def draw(self, source: str) -> Row | int:
        """A value nobody has yet, of the table or coined."""
        value, teller = super().draw(source), self.teller
        if isinstance(value, Row) and source in COINED and teller.rng.random() < COIN_SHARE:
            return coined(value, teller.rng, teller.heldout)
        return value

    def before(self, fact: Fact) -> Fact:
        """The same fact as it was told first; what is woven in later is what holds now."""
        row = next(r for r in self.teller.book.tables["fact"] if r.name == fact.kind)
        while str(value := self.value(row, fact.owner)) == str(fact.value):
            continue
        return Fact(fact.kind, fact.owner, value)

    def weave(self, facts: list[Fact]) -> None:
        """One turn of memory: what the companion once said, a line each."""
        mark = len(self.teller.turns)
        for fact in facts:
            self.say("M", f"tell.{fact.kind}", fact)
        parts = [part for turn in self.teller.turns[mark:] for part in turn.parts]
        del self.teller.turns[mark:]
        self.teller.turn("M", parts[0][0], "\n".join(text for _, text in parts))


def lesson(lang: str, rng: random.Random, heldout: bool) -> Document:
    """One to three facts, asked for soon after."""
    memory = Lesson(world.teller(lang, rng, heldout))
    for _ in range(rng.choices((1, 2, 3), (5, 3, 1))[0]):
        memory.tell()
        if rng.random() < 0.25:
            memory.chat(1)
    if rng.random() < 0.2:
        memory.correct(rng.choice(memory.facts))
    asked = list(memory.facts)
    rng.shuffle(asked)
    for fact in asked:
        memory.ask(fact)
        if rng.random() < 0.2:
            memory.chat(1)
    if rng.random() < 0.3:
        memory.ask(rng.choice(asked))
    if rng.random() < 0.1:
        memory.ask_untold()
    return finish(memory.teller, "lesson")


def woven(lang: str, rng: random.Random, heldout: bool) -> Document:
    """Turns before which a memory comes up: mostly the one asked for, sometimes another."""
    memory = Lesson(world.teller(lang, rng, heldout))
    if rng.random() < 0.4:
        memory.chat(1)
    for _ in range(rng.choices((1, 2, 3), (3, 2, 1))[0]):
        fresh: list[Fact] = []
        for _ in range(rng.choices((1, 2, 3), (5, 3, 2))[0]):
            fresh.append(memory.invent())
            memory.facts.append(fresh[-1])
        before = [memory.before(fresh[-1])] if rng.random() < 0.15 else []
        memory.weave(before + fresh)
        use = rng.random()
        if before or use < 0.75:
            memory.ask(fresh[-1] if before else rng.choice(fresh))
        elif use < 0.85:
            memory.ask_untold()
        else:
            memory.chat(1)
        if rng.random() < 0.25:
            memory.chat(1)
    return finish(memory.teller, "woven")
