# SPDX-License-Identifier: Apache-2.0
"""The school: the same text whatever the jobs, names held out, facts right, nothing repeated."""

from __future__ import annotations

import calendar
import contextlib
import hashlib
import json
import random
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tools.school import families_memory, world
from tools.school import families_number as numbers
from tools.school.__main__ import main
from tools.school.families import make
from tools.school.families_recall import Fact, recall_item
from tools.school.grammar import SkipScript, Teller
from tools.school.measure import Report
from tools.school.notation import Book, load_book, reserved
from tools.school.shards import batch, write
from tools.school.surface import polish

ROOT = Path(__file__).parents[2]
SEED = 11
BATCHES = 4


@pytest.fixture(scope="module")
def training():
    return [document for n in range(BATCHES) for document in batch((SEED, n, False))]


@pytest.fixture(scope="module")
def heldout():
    rng = random.Random(SEED)
    documents = []
    while len(documents) < 120:
        with contextlib.suppress(SkipScript):
            documents.append(make(("en", "zh")[len(documents) % 2], rng, True))
    return documents


def whole(documents):
    return "\n".join(document.text() for document in documents)


def test_jobs_change_no_byte(tmp_path):
    for jobs in (1, 2):
        write(tmp_path / str(jobs), 400_000, 3, jobs, False)
    one, two = (sorted((tmp_path / str(jobs)).iterdir()) for jobs in (1, 2))
    assert [p.name for p in one] == [p.name for p in two]
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in two]


def test_command_line_writes_with_two_processes(tmp_path):
    """As a user runs it: processes spawned from `-m tools.school` must find their work."""
    command = [sys.executable, "-m", "tools.school", "--mb", "0.1", "--out", str(tmp_path)]
    done = subprocess.run([*command, "--jobs", "2"], capture_output=True, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "school.manifest.json").exists()


def test_manifest_hashes_the_shards(tmp_path):
    assert main(["--out", str(tmp_path), "--mb", "0.1", "--jobs", "1"]) == 0
    manifest = json.loads((tmp_path / "school.manifest.json").read_text())
    for shard in manifest["shards"]:
        data = (tmp_path / shard["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == shard["sha256"]
        assert data.count(b"\n") == shard["documents"]


def test_another_seed_is_another_text():
    assert whole(batch((1, 0, False))) != whole(batch((2, 0, False)))


def test_every_template_stays_small(training):
    report = Report()
    for document in training:
        report.add(document)
    name, share = report.largest(1)[0]
    assert share < 0.005, f"{name} has {share:.2%} of the bytes"


def test_languages_are_even_and_dialogue_is_most(training):
    report = Report()
    for document in training:
        report.add(document)
    assert 0.45 < report.bytes["en"] / report.total < 0.55
    assert report.bytes["dialogue"] > 0.7 * report.total


def test_at_least_thirty_families(training):
    for lang in ("en", "zh"):
        assert len({d.family for d in training if d.lang == lang}) >= 30


def test_enough_distinct_ngrams(training):
    report = Report()
    for document in training:
        report.add(document)
    assert report.per_megabyte("en") > 60_000
    assert report.per_megabyte("zh") > 80_000


def test_replies_are_short(training):
    sizes = [len(text.encode()) for d in training for role, text in d.turns if role == "P"]
    assert max(sizes) <= 700
    assert sum(10 <= size <= 120 for size in sizes) > 0.6 * len(sizes)


def test_text_is_clean(training):
    for document in training:
        text = document.text()
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
        assert not re.search(r"[{}\[\]|<>]|  ", text), text
        assert text.encode().decode() == text
        line = json.loads(document.to_json())
        assert set(line) in ({"family", "lang", "text"}, {"family", "lang", "turns"})
        if "turns" in line:
            roles = [turn["role"] for turn in line["turns"]]
            after = [b for a, b in pairwise(roles) if a == "memory"]
            assert all(role == "user" for role in after), text  # a memory comes before a turn
            spoken = [role for role in roles if role != "memory"]
            assert spoken[0] == "user"
            assert spoken[-1] == roles[-1] == "assistant"
            assert all(a != b for a, b in pairwise(spoken)), text


def test_no_held_out_name_in_training(training):
    text = whole(training)
    words = set(re.findall(r"[A-Z][a-z]+", text))
    for name in held_names("en", "person") | held_names("en", "petname"):
        assert name not in words, name
    for name in held_names("zh", "person"):
        if len(name) > 2:
            assert name not in text, name


def test_held_out_names_are_used(heldout):
    text = whole(heldout)
    assert sum(name in text for name in held_names("en", "person")) > 5


def held_names(lang, table):
    return {row.name for row in world.book(lang).tables[table] if reserved("name", row.name)}


def test_no_document_in_both_sets(training, heldout):
    assert not {d.text() for d in training} & {d.text() for d in heldout}


def test_held_out_wordings_stay_out_of_training(training):
    held = [
        alt
        for lang in ("en", "zh")
        for alts in world.book(lang).rules.values()
        if len(alts) > 2
        for alt in alts
        if alt.held
    ]
    used = {template for document in training for template, _ in document.shares}
    assert len(held) > 10
    assert not used & {alt.tid for alt in held}


def test_sums_are_right(training):
    text = whole(training)
    found = re.findall(
        r"(?im)^(?:what is|how much is|what's) (\d+) (plus|minus|times) "
        r"(\d+)\??\n\D*(\d+)",
        text,
    )
    assert len(found) >= 3
    work = {"plus": int.__add__, "minus": int.__sub__, "times": int.__mul__}
    for a, kind, b, result in found:
        assert work[kind](int(a), int(b)) == int(result)


def test_calendar_is_right():
    assert [numbers.LENGTHS[m - 1] for m in range(1, 13)] == [
        calendar.monthrange(2023, m)[1] for m in range(1, 13)
    ]
    assert [numbers.month(m, "en") for m in range(1, 13)] == list(calendar.month_name)[1:]
    assert [numbers.weekday(d, "en") for d in range(8)] == [*calendar.day_name, "Monday"]
    assert numbers.weekday(6, "zh") == "星期天"
    assert numbers.season(1, "en") == "winter" and numbers.season(7, "zh") == "夏天"


@pytest.mark.parametrize(
    ("hour", "minute", "en", "zh"),
    [
        (3, 0, "three o'clock", "三点整"),
        (2, 30, "half past two", "两点半"),
        (12, 45, "quarter to one", "十二点四十五分"),
        (9, 25, "twenty-five past nine", "九点二十五分"),
        (9, 5, "five past nine", "九点零五分"),
        (11, 40, "twenty to twelve", "十一点四十分"),
    ],
)
def test_clock_is_read_right(hour, minute, en, zh):
    assert numbers.clock(hour, minute, "en") == en
    assert numbers.clock(hour, minute, "zh") == zh


@pytest.mark.parametrize("number", [0, 2, 10, 11, 20, 21, 99])
def test_numbers_are_spelled(number):
    assert (
        numbers.spell(number, "zh")
        == {0: "零", 2: "二", 10: "十", 11: "十一", 20: "二十", 21: "二十一", 99: "九十九"}[number]
    )
    assert (
        numbers.spell(number, "en")
        == {
            0: "zero",
            2: "two",
            10: "ten",
            11: "eleven",
            20: "twenty",
            21: "twenty-one",
            99: "ninety-nine",
        }[number]
    )


@pytest.mark.parametrize("distance", [0, 1000, 4000])
def test_recall_answers_were_told(distance):
    for i in range(8):
        item = recall_item(("en", "zh")[i % 2], random.Random(i), distance)
        told = "\n".join(turn["text"] for turn in item["turns"][:-1]).lower()
        assert all(answer.lower() in told for answer in item["answers"])
        assert item["turns"][-1] == {"role": "user", "text": item["question"]}
        assert distance <= item["distance"] <= distance + 1500


def test_names_fit_relatives():
    for seed in range(30):
        teller = world.teller("en", random.Random(seed), False)
        teller.play("family1")
        assert teller.slots["p"].get("g") == teller.slots["k"].get("g")


def stem(fact: Fact) -> str:
    """Of the answer, what a plural or an ending leaves alone."""
    return fact.answer.lower()[:4]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_lesson_asks_what_it_told_and_coins_most_names(lang):
    names = set()
    for i in range(60):
        book = families_memory.Lesson(world.teller(lang, random.Random(i), False))
        book.tell()
        fact = book.facts[0]
        book.ask(fact)
        told, _, _, answer = (turn.parts[0][1] for turn in book.teller.turns)
        assert stem(fact) in told.lower()
        assert stem(fact) in answer.lower()
        names.add(str(book.draw("person")))
    known = {row.name for row in book.teller.book.tables["person"]}
    assert 15 < len(names - known) < 55


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_coined_names_of_the_two_splits_differ(lang):
    row = world.teller(lang, random.Random(0), False).draw("person")
    rng = random.Random(1)
    train, held = (
        {str(families_memory.coined(row, rng, split)) for _ in range(300)}
        for split in (False, True)
    )
    assert not train & held


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_woven_memory_holds_what_is_asked_for(lang):
    for i in range(40):
        book = families_memory.Lesson(world.teller(lang, random.Random(i), False))
        facts = [book.invent()]
        book.facts += facts
        facts.append(book.invent())
        old = book.before(facts[0])
        assert stem(old) != stem(facts[0]) or old.answer != facts[0].answer
        book.weave(facts)
        book.ask(facts[0])
        memory, _, answer = book.teller.turns
        text = memory.parts[0][1].lower()
        assert memory.role == "M"
        assert len(text.split("\n")) == 2
        assert all(stem(fact) in text for fact in facts)
        assert stem(facts[0]) in answer.parts[0][1].lower()


def test_recall_eval_prints_items(capsys):
    assert main(["--recall-eval", "4", "--distance", "300"]) == 0
    items = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [item["lang"] for item in items] == ["en", "zh", "en", "zh"]


def test_every_script_plays():
    for lang in ("en", "zh"):
        for script in world.book(lang).scripts.values():
            if not script.name.startswith("_"):
                for seed in range(2):
                    teller = world.teller(lang, random.Random(seed), False)
                    teller.play(script.name)
                    assert teller.turns


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("a apple and a unicorn", "An apple and a unicorn"),
        ("you take an hour. what is it. fine", "You take an hour. What is it? Fine"),
        ("that will be fine soon?", "That will be fine soon."),
        (
            '"where is it?" he asked. "here!" they ran.',
            '"Where is it?" he asked. "Here!" They ran.',
        ),
    ],
)
def test_english_surface(given, wanted):
    assert polish(given, "en") == wanted


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("真好！ 是小的吗。", "真好！是小的吗？"),
        ("今天天气不错，出去走？", "今天天气不错，出去走。"),
        ("他是什么样的人。", "他是什么样的人？"),
        ("谁也不知道是什么。", "谁也不知道是什么。"),
    ],
)
def test_chinese_surface(given, wanted):
    assert polish(given, "zh") == wanted


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("== a b\nU: [x|y\n", "open bracket"),
        ("== a b\nhello\n", "no step"),
        ("%table t: name x\none\n", "1 cells"),
        ("== a b\n(\nU: x\n", "open block"),
        ("== a b\nU: x\n== a b\n", "twice"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, text, seen):
    (tmp_path / "en_bad.txt").write_text(text)
    with pytest.raises(ValueError, match=seen) as error:
        load_book("en", tmp_path)
    assert "en_bad.txt:" in str(error.value)


def test_same_choice_holds_in_a_script(tmp_path: Path):
    (tmp_path / "en_x.txt").write_text("== s f\nU: [#k one|two|three]\nP: [#k 1|2|3]\n")
    book: Book = load_book("en", tmp_path)
    for seed in range(9):
        teller = Teller(book, random.Random(seed), False)
        teller.play("s")
        asked, answered = (turn.parts[0][1] for turn in teller.turns)
        assert {"one": "1", "two": "2", "three": "3"}[asked] == answered


@pytest.mark.parametrize("argv", [["--mb", "0", "--out", "x"], ["--mb", "1"], ["--jobs", "0"]])
def test_bad_arguments_are_refused(argv):
    with pytest.raises(SystemExit):
        main(argv)
