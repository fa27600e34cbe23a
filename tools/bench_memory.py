# SPDX-License-Identifier: Apache-2.0
"""Which index finds the right memory: words and pairs, trigrams, keys from the state, or none.

Facts about made-up people in both languages are stored among distractors of the same kind; every
question asks for one fact in other words than it was told in. Figures: recall@1 and @5 over the
questions, and the time of a query.

    python -m tools.bench_memory --crystals 10000 --questions 200
    python -m tools.bench_memory --crystals 1000000 --questions 300 --file big.db
    python -m tools.bench_memory --names 100

`--file` keeps the crystals there and asks from a process of its own, whose memory is then that of
recall alone. `--names` asks for names after 256 kB of chatter of which every statement was kept,
far more than surprise keeps: the share of questions with the name in what is woven in, and of
greedy replies that say it, from a state that lived all of it.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np

from parrot.engine.generate import Sampling
from parrot.engine.model import Model
from parrot.engine.state import State
from parrot.mind import memory
from parrot.mind.schema import MIGRATIONS
from parrot.mind.turn import opening, stop_of
from tools.chatter import chatter

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


def new_memory(path: str = "") -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None)  # "": a temporary file, not memory
    for script in MIGRATIONS:
        database.executescript(script)
    return database


def words_and_pairs(pairs: list[tuple[str, str]], path: str = "") -> Callable[[str], list[int]]:
    database = new_memory(path)
    database.execute("BEGIN")
    for i, (fact, _) in enumerate(pairs):
        memory.insert(database, float(i), i, fact, 1.0)
    database.execute("COMMIT")
    return finder(database)


def finder(database: sqlite3.Connection) -> Callable[[str], list[int]]:
    return lambda text: [c.turn for c in memory.search(database, text, 0.0, 5, True)]


def asked_in_a_fresh_process(path: Path, n: int, n_questions: int) -> dict[str, object]:
    """Fill the file at `path` with n crystals unless it is there, and ask from another process."""
    asked = path.with_suffix(".json")
    if not asked.exists():
        pairs = make(n, seed=1)
        wanted = random.Random(2).sample(range(n), n_questions)
        words_and_pairs(pairs, str(path))
        asked.write_text(json.dumps([(i, *pairs[i]) for i in wanted], ensure_ascii=False))
    command = [sys.executable, "-m", "tools.bench_memory", "--ask", str(path)]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: dict[str, object] = json.loads(found.stdout)
    return figures


def peak_mb() -> float:
    """Return the most memory that this program held (VmHWM: getrusage counts its parent's, too)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def ask(path: Path) -> dict[str, float]:
    kept = {i: (fact, question) for i, fact, question in json.loads(
        path.with_suffix(".json").read_text())}  # fmt: skip
    figures = score(kept, list(kept), finder(sqlite3.connect(path)))  # type: ignore[arg-type]
    figures["rss_mb"] = peak_mb()
    return figures


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


# (how a name is told, how it is asked for)
NAMED = [
    ("my name is {name}", "What is my name?"),
    ("my sister is called {name}", "What is my sister called?"),
    ("my dog's name is {name}", "Do you know what my dog is called?"),
    ("我叫{name}", "我叫什么名字？"),
    ("我妹妹的名字叫{name}", "我妹妹叫什么？"),
    ("我家的小狗叫{name}", "我的小狗叫什么名字？"),
]


def lived(model: Model, talk: list[tuple[str, str]]) -> State:
    """Return the state after a talk."""
    state = model.new_state()
    for heard, said in talk:
        model.forward(opening(model, state.position, heard.encode(), b""), state)
        model.forward(model.tokenizer.encode(said.encode() + stop_of(model)), state)
    return state


def reply(model: Model, state: State, asked: str, woven: list[str]) -> str:
    """Return what is said greedily when `woven` comes before the question."""
    twin, text = state.copy(), "\n".join(woven).encode()
    model.forward(opening(model, twin.position, asked.encode(), text), twin)
    greedy = Sampling(temperature=0.0)
    pieces = model.generate(twin, sampling=greedy, stop=stop_of(model), max_bytes=120)
    return b"".join(pieces).decode("utf-8", "replace")


def names_after_chatter(model: Model, n: int, n_bytes: int) -> dict[str, object]:
    """Tell a name, then chatter, then ask; n times for each form, every time another name."""
    database, chance = new_memory(), random.Random(4)
    talk = list(chatter(n_bytes, chance))
    told = [heard for heard, _ in talk if memory.is_statement(heard)]
    for i, text in enumerate(told):
        memory.insert(database, float(i), i, text, memory.SURPRISING)
    state, times = lived(model, talk), []
    found, said, off = (dict.fromkeys((asked for _, asked in NAMED), 0) for _ in range(3))
    for form, (tell, asked) in enumerate(NAMED):
        for who in chance.sample(people(form >= 3), n):
            name = who.split()[0]
            database.execute("BEGIN")
            if kept := memory.crystal_of(tell.format(name=name), None, []):
                memory.insert(database, 0.0, 0, *kept)
            begun = time.perf_counter()
            recalled = memory.search(database, asked, float(len(told)), 3, False)
            times.append((time.perf_counter() - begun) * 1e3)
            database.execute("ROLLBACK")
            woven = [c.text for c in sorted(recalled, key=lambda c: c.id)]
            found[asked] += any(name in text for text in woven)
            said[asked] += name.lower() in reply(model, state, asked, woven).lower()
            off[asked] += name.lower() in reply(model, state, asked, []).lower()
    total = n * len(NAMED)
    return {
        "crystals": len(told),
        "recalled": sum(found.values()) / total,
        "said": sum(said.values()) / total,
        "said_without_memory": sum(off.values()) / total,
        "said_by_question": {asked: hits / n for asked, hits in said.items()},
        "query_ms_median": statistics.median(times),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--crystals", type=int, default=10_000)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--keys", type=int, default=2_000, help="crystals for state keys; 0: none")
    parser.add_argument("--file", type=Path, help="keep the crystals here; ours alone is measured")
    parser.add_argument("--ask", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--names", type=int, default=0, metavar="N", help="names of each form")
    parser.add_argument("--model")
    args = parser.parse_args()
    if args.ask:
        print(json.dumps(ask(args.ask), indent=1))
        return
    if args.file:
        found = asked_in_a_fresh_process(args.file, args.crystals, args.questions)
        print(json.dumps({f"{args.crystals:,} crystals": found}, indent=1))
        return
    if args.names:
        model = Model.open(args.model, threads=1)
        figures = names_after_chatter(model, args.names, 262_144)
        print(json.dumps(figures, indent=1, ensure_ascii=False))
        return
    pairs = make(args.crystals, seed=1)
    wanted = random.Random(2).sample(range(len(pairs)), args.questions)
    figures = {"words and pairs": score(pairs, wanted, words_and_pairs(pairs))}
    figures["words and pairs"]["rss_mb"] = peak_mb()
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
