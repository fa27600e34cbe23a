# SPDX-License-Identifier: Apache-2.0
"""How good nine-key Chinese is: sentences right at once, hanzi wrong, keys pressed, time, memory.

    python -m tools.bench_ime [--corpus DIR] [--rime] [--out FOLDER] [--limit N] [--typed N]

The everyday sentences are tests/golden/ime_sentences.txt; the hand-written dialogue is every
twentieth item of tools/school/hand; with --corpus, the held-out dialogue of the corpus (its
heldout.tar.xz) is measured too. Digits come from pypinyin's readings. Nothing measured here was
ever counted into the table. `parrot+model` is the table with the bundled language model, newborn,
ranking the sentences beside it.

Two typists press real keys on the real composer, and every press counts, whatever it is for:
`plain` types all digits, then takes the sentence or corrects it from the left; `attentive` also
looks at the first page and picks a word that saves at least two digits, or that was predicted.
Each writes the first --typed sentences of a set. rime (--rime) gets the same digits in Debian's
luna_pinyin under a nine-key schema.
"""

from __future__ import annotations

import argparse
import json
import lzma
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from parrot.app.conversation import likelihoods
from parrot.engine.model import Model
from parrot.senses.composer import Composer
from parrot.senses.key import KeyPress
from parrot.senses.pinyin_table import PinyinTable
from parrot.senses.t9 import N_RESCORED, T9, rescored
from parrot.senses.user_words import ListStore, UserWords
from tools.assets_pinyin import HAND, HANZI, HELD_OUT_EVERY, NEVER_COUNTED, key_digits, typed

EVERYDAY = NEVER_COUNTED
DIALOGUE = {"smilechat", "kdconv", "crosswoz", "tatoeba-en2zh"}
LENGTHS = range(3, 15)  # hanzi of a sentence that is measured
SAVES_MIN = 2  # digits a completion must save to be worth a look and a press
PAGES_PATIENT = 4
PAGES_MAX = 200
RIME_SCHEMA = """
schema: {schema_id: t9bench, name: t9bench, version: "1"}
switches: [{name: ascii_mode, reset: 0}, {name: zh_simp, reset: 1}]
engine:
  processors: [speller, selector, express_editor]
  segmentors: [abc_segmentor, fallback_segmentor]
  translators: [script_translator]
  filters: [simplifier, uniquifier]
speller:
  alphabet: "23456789"
  algebra: ["derive/^([jqxy])u$/$1v/",
            xlit/abcdefghijklmnopqrstuvwxyz/22233344455566677778889999/]
translator: {dictionary: luna_pinyin, prism: t9bench, enable_user_dict: false}
simplifier: {option_name: zh_simp}
menu: {page_size: 5}
"""


@dataclass
class Score:
    """One engine on one set. Shares are of sentences, error is of hanzi."""

    n: int
    n_hanzi: int
    exact: float
    first_five: float
    hanzi_error: float


def sentences_of(lines: list[str]) -> list[str]:
    clauses = {c for line in lines for c in HANZI.findall(line) if len(c) in LENGTHS}
    return sorted(clauses)


def test_sets(corpus: Path | None, limit: int) -> dict[str, list[str]]:
    hand = []
    for path in sorted(HAND.glob("*.jsonl")):
        items = path.read_text("utf-8").splitlines()[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]
        hand += [turn["text"] for item in items for turn in json.loads(item)["turns"]]
    sets = {
        "everyday": sentences_of(EVERYDAY.read_text("utf-8").splitlines()),
        "hand, held out": sentences_of(hand),
    }
    if corpus:
        with lzma.open(corpus / "heldout.tar.xz") as packed, tarfile.open(fileobj=packed) as tar:
            file = tar.extractfile("sft_zh.heldout.jsonl")
            items = [json.loads(line) for line in file or ()]
        turns = [t["text"] for i in items if i["source"] in DIALOGUE for t in i["turns"]]
        sets["corpus dialogue, held out"] = sentences_of(turns)
    rng = np.random.default_rng(1)
    return {
        name: [found[i] for i in sorted(rng.permutation(len(found))[:limit])]
        for name, found in sets.items()
    }


def syllables(sentence: str) -> tuple[str, ...]:
    """How each hanzi of the sentence is spelled, as pypinyin reads it in its place."""
    from pypinyin import lazy_pinyin

    return typed(lazy_pinyin(sentence))


def syllable_digits(sentence: str) -> list[str]:
    return [key_digits(reading) for reading in syllables(sentence)]


def edit_distance(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


def score(sentences: list[str], answers: list[list[str]]) -> Score:
    n, n_hanzi = len(sentences), sum(map(len, sentences))
    first = [answer[0] if answer else "" for answer in answers]
    return Score(
        n, n_hanzi,
        sum(a == s for a, s in zip(first, sentences, strict=True)) / n,
        sum(s in a[:5] for a, s in zip(answers, sentences, strict=True)) / n,
        sum(edit_distance(a, s) for a, s in zip(first, sentences, strict=True)) / n_hanzi,
    )  # fmt: skip


class Judge:
    """The bundled model, newborn, as it ranks sentences; `spent_ms` has the time of each asking."""

    def __init__(self) -> None:
        self._model = Model.open(threads=1)
        self._state = self._model.new_state()
        self.spent_ms: list[float] = []

    def __call__(self, line: str, texts: list[str]) -> list[float]:
        start = time.thread_time()
        found = likelihoods(self._model, self._state, line, texts)
        self.spent_ms.append(1e3 * (time.thread_time() - start))
        return found


class Typist:
    """Writes sentences on a composer.

    `spent_ms` has the processor time of every press and of making what it shows, without what the
    judge needs, who is asked after every key.
    """

    def __init__(self, table: PinyinTable, is_attentive: bool, judge: Judge | None) -> None:
        self._table, self._is_attentive, self._judge = table, is_attentive, judge
        self.spent_ms: list[float] = []
        self._clock_ms = 0

    def write(self, sentence: str) -> int:
        """Write it from an empty line and return the number of presses.

        Nothing is learned from one sentence for the next.
        """
        self._composer = Composer(T9(self._table, UserWords(ListStore())))
        self._composer.view  # noqa: B018  (drawn before the first key, as on the panel)
        self._readings = syllables(sentence)
        digits, n_before = syllable_digits(sentence), len(self.spent_ms)
        n_done = 0
        while n_done < len(sentence):
            n_done += self._write_some(sentence[n_done:], digits[n_done:])
        if self._composer.line != sentence:
            raise AssertionError(f"wrote {self._composer.line!r}, meant {sentence!r}")
        return len(self.spent_ms) - n_before

    def _write_some(self, rest: str, digits: list[str]) -> int:
        """Write until something is committed; return how many hanzi that was."""
        done = len(self._composer.line)
        if self._is_attentive and (word := self._best_on_page(rest)):
            self._pick(word)
            return len(self._composer.line) - done
        n_digits = len("".join(digits))
        for n_typed, digit in enumerate("".join(digits), 1):
            self._press(digit)
            word = self._best_on_page(rest) if self._is_attentive else ""
            saved = len("".join(digits[: len(word)])) - n_typed
            if saved >= SAVES_MIN or (saved > 0 and n_typed + saved == n_digits):
                self._pick(word)
                return len(self._composer.line) - done
        while self._composer.is_composing:
            self._correct(rest[len(self._composer.view.picked) :])
        return len(self._composer.line) - done

    def _best_on_page(self, rest: str) -> str:
        found = [c for c in self._composer.view.candidates if rest.startswith(c)]
        return max(found, key=len, default="")

    def _pick(self, word: str) -> None:
        place = self._composer.view.candidates.index(word)
        if place == 0 and self._composer.is_composing:
            self._press("D")
        else:
            self._press(str(place + 1), is_long=True)

    def _correct(self, rest: str) -> None:
        """Take the whole rest where it is offered early, else the longest right piece.

        After PAGES_PATIENT pages without it, say with key 1 how the first syllable is spelled.
        """
        has_spelled = False
        for _ in range(PAGES_MAX):
            view = self._composer.view
            right = [c for c in view.candidates if rest.startswith(c)]
            if right and (rest in right or view.page > 0 or max(map(len, right)) > 1):
                return self._pick(max(right, key=len))
            if view.page == PAGES_PATIENT and not has_spelled:
                has_spelled = True
                self._spell(rest)
            else:
                self._press("#")
        raise AssertionError(f"{rest!r} cannot be picked")

    def _spell(self, rest: str) -> None:
        self._press("1")
        offered = self._composer.view.syllables
        wanted = self._readings[len(self._readings) - len(rest)]
        self._press(str(offered.index(wanted) + 1) if wanted in offered else "A")

    def _press(self, key: str, is_long: bool = False) -> None:
        self._clock_ms += 1000
        start = time.thread_time()
        self._composer.feed(KeyPress(key, "press", self._clock_ms))
        if is_long:
            self._composer.feed(KeyPress(key, "long_press", self._clock_ms + 360))
        self._composer.view  # noqa: B018
        self.spent_ms.append(1e3 * (time.thread_time() - start))
        if self._judge and (asked := self._composer.rescorable()):
            stamp, line, texts = asked
            self._composer.rescore(stamp, self._judge(line, texts))


def measure_parrot(
    table: PinyinTable, sentences: list[str], judge: Judge | None, n_typed: int
) -> dict[str, float | int]:
    engine = T9(table, UserWords(ListStore()))
    answers = []
    for sentence in sentences:
        lattice = engine.lattice()
        lattice.extend("".join(syllable_digits(sentence)))
        whole = engine.sentences(lattice)
        if judge and whole:
            whole = rescored(whole, judge("", [c.text for c in whole[:N_RESCORED]]))
        found = engine.candidates(lattice, whole)
        answers.append([c.text for c, _ in zip(found, range(5), strict=False)])
    result: dict[str, float | int] = asdict(score(sentences, answers))
    if judge:
        result["model_ms_p95"] = float(np.percentile(judge.spent_ms, 95))
    n_hanzi = sum(map(len, sentences[:n_typed]))
    for name, is_attentive in (("plain", False), ("attentive", True)):
        typist = Typist(table, is_attentive, judge)
        n_presses = sum(map(typist.write, sentences[:n_typed]))
        result[f"presses_per_hanzi_{name}"] = n_presses / n_hanzi
        result[f"ms_per_press_{name}"] = float(np.mean(typist.spent_ms))
        result[f"ms_per_press_p95_{name}"] = float(np.percentile(typist.spent_ms, 95))
    return result


def measure_rime(sets: dict[str, list[str]]) -> dict[str, dict[str, float | int]]:
    """Build the peer, let it compile its dictionary once, and ask it for every set."""
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "rime_candidates"
        source = Path(__file__).with_name("rime_candidates.c")
        subprocess.run(["cc", "-O2", "-o", program, source, "-lrime"], check=True)
        (Path(folder) / "t9bench.schema.yaml").write_text(RIME_SCHEMA)
        (Path(folder) / "default.custom.yaml").write_text(
            "patch: {schema_list: [{schema: t9bench}, {schema: luna_pinyin}]}"
        )
        for name, sentences in sets.items():
            keys = "\n".join("".join(syllable_digits(s)) for s in sentences) + "\n"
            done = subprocess.run(
                [program, "t9bench", folder], input=keys, text=True, check=True, capture_output=True
            )
            answers = [line.split("\t") for line in done.stdout.splitlines()[: len(sentences)]]
            _, spent, _, n_keys = done.stderr.splitlines()[-1].split()
            results[name] = {
                **asdict(score(sentences, answers)),
                "ms_per_press_plain": float(spent) / int(n_keys),
            }
    return results


def measure_memory(table_path: Path) -> float:
    """MB that the table and a composer add to a Python with numpy, after 40 sentences."""
    lines = EVERYDAY.read_text("utf-8").split()[:40]
    keys = ["".join(syllable_digits(line)) for line in lines]
    program = (
        "import sys, json, numpy; from pathlib import Path\n"
        "def rss(): return int(open('/proc/self/statm').read().split()[1]) * 4096 / 1e6\n"
        "from parrot.senses.composer import Composer; from parrot.senses.key import KeyPress\n"
        "from parrot.senses.pinyin_table import PinyinTable; from parrot.senses.t9 import T9\n"
        "before = rss(); composer = Composer(T9(PinyinTable(Path(sys.argv[1]))))\n"
        "for line in json.loads(sys.argv[2]):\n"
        "    for key in line + 'D': composer.feed(KeyPress(key, 'press', 0)); composer.view\n"
        "print(rss() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, table_path, json.dumps(keys)],
        text=True, check=True, capture_output=True,
    )  # fmt: skip
    return float(done.stdout)


def plot(results: dict[str, dict[str, dict[str, float | int]]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(results["parrot"])
    figure, axes = pyplot.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    panels = (("exact", "sentences right at once", 50), ("first_five", "in the first five", 70),
              ("hanzi_error", "hanzi wrong", 12))  # fmt: skip
    for axis, (key, title, goal) in zip(axes, panels, strict=True):
        width = 0.8 / len(results)
        for i, (engine, scores) in enumerate(results.items()):
            values = [100 * scores[name][key] for name in names]
            bars = axis.bar(np.arange(len(names)) + i * width, values, width, label=engine)
            axis.bar_label(bars, fmt="%.0f", fontsize=8)
        axis.axhline(goal, color="0.4", linewidth=0.8, linestyle="--")
        axis.set_title(f"{title}, % (dashed: goal)", fontsize=10)
        centre = np.arange(len(names)) + (len(results) - 1) * width / 2
        axis.set_xticks(centre, [n.replace(", ", ",\n") for n in names], fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize=9)
    figure.savefig(path, dpi=130)


def print_table(results: dict[str, dict[str, dict[str, float | int]]]) -> None:
    print(f"{'set':26} {'engine':12} {'n':>5} {'exact':>6} {'five':>6} {'error':>6} "
          f"{'keys/hanzi':>11} {'ms/key p95':>11} {'model ms p95':>13}")  # fmt: skip
    for name in results["parrot"]:
        for engine, scores in results.items():
            s = scores[name]
            presses = " ".join(
                f"{s[k]:.2f}" for k in ("presses_per_hanzi_plain", "presses_per_hanzi_attentive")
                if k in s
            )  # fmt: skip
            times = f"{s['ms_per_press_plain']:.1f} {s.get('ms_per_press_p95_plain', 0):.1f}"
            print(f"{name:26} {engine:12} {s['n']:5} {s['exact']:6.1%} {s['first_five']:6.1%} "
                  f"{s['hanzi_error']:6.1%} {presses:>11} {times:>11} "
                  f"{s.get('model_ms_p95', 0):13.0f}")  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, default=Path("parrot/assets/pinyin.bin"))
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--rime", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("build/bench_ime"))
    parser.add_argument("--limit", type=int, default=400, help="sentences of a set")
    parser.add_argument("--typed", type=int, default=400, help="sentences of a set that are typed")
    args = parser.parse_args()
    if args.rime and not (shutil.which("cc") and Path("/usr/include/rime_api.h").exists()):
        sys.exit("bench_ime: librime is not installed; run: apt-get install librime-dev "
                 "rime-data-luna-pinyin gcc.")  # fmt: skip
    sets = test_sets(args.corpus, args.limit)
    table = PinyinTable(args.table)
    results = {
        engine: {
            name: measure_parrot(table, found, judge, args.typed) for name, found in sets.items()
        }
        for engine, judge in (("parrot", None), ("parrot+model", Judge()))
    }
    if args.rime:
        results["rime"] = measure_rime(sets)
    print_table(results)
    ram_mb = measure_memory(args.table)
    print(f"memory added to Python with numpy: {ram_mb:.1f} MB")
    args.out.mkdir(parents=True, exist_ok=True)
    report = {"ram_mb": ram_mb, "machine": platform.processor() or platform.machine(),
              "results": results}  # fmt: skip
    (args.out / "bench_ime.json").write_text(json.dumps(report, indent=1, ensure_ascii=False))
    plot(results, args.out / "bench_ime.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
