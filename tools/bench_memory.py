# SPDX-License-Identifier: Apache-2.0
"""Which index finds the right memory: words and pairs, trigrams, keys from the state, or none.

Facts about made-up people in both languages are stored among distractors of the same kind; every
question asks for one fact in other words than it was told in. Figures: recall@1 and @5 over the
questions, and the time of a query.

    python -m tools.bench_memory --crystals 10000 --questions 200
    python -m tools.bench_memory --crystals 1000000 --questions 200 --keys 0
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sqlite3
import statistics
import time
from collections.abc import Callable
from itertools import product

import numpy as np

from parrot.engine.model import Model
from parrot.mind import memory
from parrot.mind.schema import MIGRATIONS

_words = str.split

# (how it is told, how it is asked for), {who} and {what} filled in
FORMS = [
    ("{who}'s favourite food is {what}.", "What does {who} like to eat most?"),
    ("{who} lives in {what}.", "Where is {who} living now?"),
    ("My friend {who} works as a {what}.", "What is the job of {who}?"),
    ("{who} has a pet {what}.", "Which animal does {who} keep?"),
    ("{who}最喜欢吃{what}。", "{who}爱吃什么？"),
    ("{who}住在{what}。", "你知道{who}家在哪里吗？"),
    ("我的朋友{who}是{what}。", "{who}做什么工作？"),
    ("{who}养了一只{what}。", "{who}家里有什么动物？"),
]
WHATS = [
    _words("noodles apples bread dumplings soup rice pears cheese"),
    _words("Oslo Lisbon Kyoto Quito Dublin Perth Turin Bergen"),
    _words("baker nurse pilot teacher tailor sailor farmer singer"),
    _words("cat tortoise rabbit goose hamster pony snake goldfish"),
    _words("面条 苹果 馒头 饺子 米饭 豆腐 西瓜 葡萄"),
    _words("北京 成都 杭州 西安 昆明 青岛 南京 厦门"),
    _words("老师 医生 司机 厨师 画家 警察 护士 农民"),
    _words("小猫 乌龟 兔子 鹦鹉 仓鼠 金鱼 小狗 鸭子"),
]
_HEADS = _words("An Ben Cor Da El Fin Gre Ha Il Jo Ka Li Mar No Ol Pe Quen Ro Sa Tom Ul Vi Wil Yo")
_TAILS = _words("a bert da dine ella fred gar ina jan la mund na ric ra son ta us vin wen ya")
_LAST = _words("Abel Bird Cole Dunn East Ford Gray Hill Ives Jarr King Lowe Moss Nash Orr Pike")
_FAMILY = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗"
_GIVEN = "伟芳娜敏静强磊洋艳勇军杰娟涛明超秀霞平刚桂英华玉萍红春兰文海山仁波宁"


def people(is_chinese: bool) -> list[str]:
    if is_chinese:
        return ["".join(name) for name in product(_FAMILY, _GIVEN, _GIVEN)]
    return [f"{a}{b} {c}" for a, b, c in product(_HEADS, _TAILS, _LAST)]


def make(n: int, seed: int) -> list[tuple[str, str]]:
    """Return n different (fact, question) pairs; past the number of people, facts get dates."""
    chance = random.Random(seed)
    crowd = [people(False), people(True)]
    facts: dict[str, str] = {}
    while len(facts) < n:
        form = chance.randrange(len(FORMS))
        told, asked = FORMS[form]
        who = chance.choice(crowd[form >= 4])
        if n > 100_000:
            who += f" {chance.randrange(10_000)}"
        facts[told.format(who=who, what=chance.choice(WHATS[form]))] = asked.format(who=who)
    return list(facts.items())


def score(
    pairs: list[tuple[str, str]], wanted: list[int], find: Callable[[str], list[int]]
) -> dict[str, float]:
    first = among = 0
    times = []
    for i in wanted:
        begun = time.perf_counter()
        found = find(pairs[i][1])
        times.append((time.perf_counter() - begun) * 1e3)
        first += found[:1] == [i]
        among += i in found[:5]
    return {
        "recall_at_1": first / len(wanted),
        "recall_at_5": among / len(wanted),
        "query_ms_median": statistics.median(times),
        "query_ms_p95": sorted(times)[int(0.95 * len(times))],
    }


def words_and_pairs(pairs: list[tuple[str, str]]) -> Callable[[str], list[int]]:
    database = sqlite3.connect("", isolation_level=None)  # a temporary file, not memory
    for script in MIGRATIONS:
        database.executescript(script)
    database.execute("BEGIN")
    for i, (fact, _) in enumerate(pairs):
        memory.insert(database, float(i), i, fact, 1.0)
    database.execute("COMMIT")
    return lambda text: [c.turn for c in memory.search(database, text, 0.0, 5, True)]


def trigrams(pairs: list[tuple[str, str]]) -> Callable[[str], list[int]]:
    database = sqlite3.connect("", isolation_level=None)
    database.execute("CREATE VIRTUAL TABLE fts USING fts5 (text, tokenize = 'trigram')")
    database.execute("BEGIN")
    database.executemany(
        "INSERT INTO fts (rowid, text) VALUES (?, ?)", ((i, f) for i, (f, _) in enumerate(pairs))
    )
    database.execute("COMMIT")

    def find(text: str) -> list[int]:
        kept = text.replace('"', " ")
        grams = {kept[i : i + 3] for i in range(len(kept) - 2)}
        question = " OR ".join(f'"{gram}"' for gram in sorted(grams))
        rows = database.execute(
            "SELECT rowid FROM fts WHERE fts MATCH ? ORDER BY rank LIMIT 5", (question,)
        )
        return [row[0] for row in rows]

    return find


def state_keys(model: Model, texts: list[str], width: int) -> np.ndarray:  # type: ignore[type-arg]
    """Return one key a text: its state, from nothing, projected at random, centred and scaled."""
    chance = np.random.default_rng(1)
    size = model.new_state().payload.size
    project = chance.standard_normal((size, width), np.float32) / np.float32(size**0.5)
    keys = np.empty((len(texts), width), np.float32)
    for i, text in enumerate(texts):
        state = model.new_state()
        model.forward(b"\x00\x02" + text.encode() + b"\x03", state)
        keys[i] = state.payload @ project
    return keys


def by_state(model: Model, pairs: list[tuple[str, str]], width: int) -> Callable[[str], list[int]]:
    keys = state_keys(model, [fact for fact, _ in pairs], width)
    mean = keys.mean(axis=0)
    keys -= mean
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)

    def find(text: str) -> list[int]:
        key = state_keys(model, [text], width)[0] - mean
        near: list[int] = np.argsort(keys @ key)[::-1][:5].tolist()
        return near

    return find


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--crystals", type=int, default=10_000)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--keys", type=int, default=2_000, help="crystals for state keys; 0: none")
    parser.add_argument("--model")
    args = parser.parse_args()
    pairs = make(args.crystals, seed=1)
    wanted = random.Random(2).sample(range(len(pairs)), args.questions)
    figures = {"words and pairs": score(pairs, wanted, words_and_pairs(pairs))}
    figures["words and pairs"]["rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures["trigrams"] = score(pairs, wanted, trigrams(pairs))
    figures["no memory"] = score(pairs, wanted, lambda text: [])
    if args.keys:
        few = pairs[: args.keys]
        asked = random.Random(2).sample(range(len(few)), min(args.questions, len(few)))
        model = Model.open(args.model, threads=1)
        figures[f"state keys, {len(few)} crystals"] = score(few, asked, by_state(model, few, 256))
        figures[f"words and pairs, {len(few)} crystals"] = score(few, asked, words_and_pairs(few))
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
