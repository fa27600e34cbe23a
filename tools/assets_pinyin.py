# SPDX-License-Identifier: Apache-2.0
"""Compile `parrot/assets/pinyin.bin`, the table behind nine-key Chinese and English.

    python -m tools.assets_pinyin CORPUS_DIR [--out FILE]

Words and their frequencies come from jieba, readings from pypinyin (both MIT); bigrams, the
corpus' own word counts and the English words are counted in CORPUS_DIR, xz files of text and jsonl
as its MANIFEST describes, and in tools/school/hand, of which every twentieth item is held out as
its README asks. Clauses that equal a line of the benchmark's sentences are never counted.

The format is docs/formats_pinyin.md. Every probability is stored as a cost: -12 ln p in one byte.
"""

from __future__ import annotations

import argparse
import json
import lzma
import re
import struct
import sys
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from parrot.base.files import replace_file
from parrot.senses.pinyin_table import (
    COST_MAX,
    COST_UNIT,
    LETTER_KEYS,
    MAGIC,
    N_MAX,
    VERSION,
    PinyinTable,
)

HANZI = re.compile("[一-鿿]+")
LATIN = re.compile("[A-Za-z]+(?:'[A-Za-z]+)?")
HAND = Path("tools/school/hand")
NEVER_COUNTED = Path("tests/golden/ime_sentences.txt")
SIZE_MAX = 4_000_000
HELD_OUT_EVERY = 20
FREQ_MIN = 3  # jieba's dictionary holds 40 thousand words it met fewer times than this
N_ENGLISH = 12_000
# How much a clause of each source counts: what people say to each other counts most.
WEIGHTS = {
    "hand": 8.0, "tatoeba-en2zh": 6.0, "kdconv": 3.0, "smilechat": 1.0, "crosswoz": 1.0,
    "xinhua-xiehouyu": 0.3, "xinhua-idiom": 0.2, "drcd": 0.2, "cmrc2018": 0.2,
    "chinese-poetry": 0.0, "pretrain": 0.2,
}  # fmt: skip
JIEBA_SHARE = 0.1  # of a word's unigram probability; the corpus gives the rest
DISCOUNT = 0.9  # taken from each bigram count for words not seen together
READING_SHARE_MIN = 0.002  # readings of a character rarer than this still can be typed
READINGS_WEIGHT_MIN = 3.0  # pypinyin reads whole clauses only of sources that weigh this much
# pypinyin spells interjections as they sound; people type them as syllables
TYPED_AS = {"n": "en", "ng": "en", "m": "mu", "hm": "heng", "hng": "heng"}


def pieces(corpus: Path) -> Iterator[tuple[str, str]]:
    """Yield (source, text) of everything in the training part of the corpus, both languages."""
    for path in sorted(HAND.glob("*.jsonl")):
        for i, line in enumerate(path.read_text("utf-8").splitlines()):
            if i % HELD_OUT_EVERY != HELD_OUT_EVERY - 1:
                yield from (("hand", turn["text"]) for turn in json.loads(line)["turns"])
    for path in sorted(HAND.glob("*.txt")):
        for i, piece in enumerate(path.read_text("utf-8").split("<|doc|>")):
            if i % HELD_OUT_EVERY != HELD_OUT_EVERY - 1:
                yield "hand", piece
    for path in sorted(corpus.glob("sft_*.jsonl.xz")):
        with lzma.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                item = json.loads(line)
                yield from ((item["source"], turn["text"]) for turn in item["turns"])
    for path in sorted(corpus.glob("pretrain_*.txt.xz")):
        with lzma.open(path, "rt", encoding="utf-8") as file:
            yield "pretrain", file.read()


def typed(readings: list[str]) -> tuple[str, ...]:
    return tuple(TYPED_AS.get(reading, reading) for reading in readings)


def key_digits(syllable: str) -> str:
    return syllable.translate(LETTER_KEYS)


class Lexicon:
    """Words, frequencies and readings. `words` maps a word to its jieba frequency."""

    def __init__(self) -> None:
        import jieba
        from pypinyin import Style, lazy_pinyin, pinyin

        self.words: dict[str, int] = {}
        for line in (Path(jieba.__path__[0]) / "dict.txt").read_text("utf-8").splitlines():
            word, freq, *_ = line.split()
            is_kept = len(word) == 1 or int(freq) >= FREQ_MIN
            if HANZI.fullmatch(word) and len(word) <= N_MAX and is_kept:
                self.words[word] = int(freq)
        for first in range(0xB0, 0xF8):  # every hanzi of GB 2312 can be typed
            for second in range(0xA1, 0xFF):
                char = bytes([first, second]).decode("gb2312", "ignore")
                if HANZI.fullmatch(char):
                    self.words.setdefault(char, 1)
        self.readings: dict[str, list[tuple[str, ...]]] = {}
        for word in self.words:
            if len(word) == 1:
                found = [(r,) for r in typed(pinyin(word, style=Style.NORMAL, heteronym=True)[0])]
            else:
                found = [typed(lazy_pinyin(word))]
            self.readings[word] = [r for r in dict.fromkeys(found) if all(map(is_syllable, r))]

    def segment(self, clause: str) -> list[str]:
        import jieba

        return [str(word) for word in jieba.lcut(clause, HMM=False)]


def is_syllable(reading: str) -> bool:
    return bool(re.fullmatch("[a-z]{1,6}", reading))


class Counts:
    """What the corpus says: word, pair and reading counts, by source weight."""

    def __init__(self, lexicon: Lexicon, corpus: Path, never: set[str]) -> None:
        from pypinyin import lazy_pinyin

        self.word: Counter[str] = Counter()
        self.pair: Counter[tuple[str, str]] = Counter()  # "" is the edge of a clause
        self.reading: Counter[tuple[str, str]] = Counter()
        self.english: Counter[str] = Counter()
        seen: dict[str, float] = defaultdict(float)
        for source, text in pieces(corpus):
            self.english.update(LATIN.findall(text))
            if weight := WEIGHTS.get(source, 0.0):
                for clause in HANZI.findall(text):
                    if clause not in never:
                        seen[clause] += weight
        for clause, weight in seen.items():
            previous = ""
            for word in lexicon.segment(clause):
                if word not in lexicon.words:
                    previous = ""
                    continue
                self.word[word] += weight
                self.pair[previous, word] += weight
                previous = word
            self.pair[previous, ""] += weight
            if weight >= READINGS_WEIGHT_MIN:
                for char, reading in zip(clause, typed(lazy_pinyin(clause)), strict=False):
                    self.reading[char, reading] += 1


def cost(p: np.ndarray | float) -> np.ndarray:
    """-ln p in units of 1/12 nat, one byte."""
    p = np.maximum(p, 1e-12)
    return np.clip(np.rint(-COST_UNIT * np.log(p)), 0, COST_MAX).astype(np.uint8)


def unigrams(lexicon: Lexicon, counts: Counts) -> dict[str, float]:
    """Probability of each word; "" is the end of a clause."""
    ends = sum(c for (_, w), c in counts.pair.items() if not w)
    n_corpus = sum(counts.word.values()) + ends
    n_jieba = sum(lexicon.words.values())
    p = {
        word: (1 - JIEBA_SHARE) * counts.word.get(word, 0.0) / n_corpus
        + JIEBA_SHARE * (freq + 0.5) / n_jieba
        for word, freq in lexicon.words.items()
    }
    return {**p, "": ends / n_corpus}


def best_pairs(
    counts: Counts, p1: dict[str, float], n_max: int
) -> tuple[dict[tuple[str, str], float], dict[str, float]]:
    """Return p(w | v) of the pairs worth keeping and the back-off weight of each v.

    A pair is worth what it saves: its count times the log of how much better it predicts than the
    back-off would (Stolcke, arXiv:cs/0006025).
    """
    total: Counter[str] = Counter()
    types: Counter[str] = Counter()
    for (v, _), c in counts.pair.items():
        total[v] += c
        types[v] += min(1.0, c)
    left = {v: DISCOUNT * types[v] / total[v] for v in total}
    p2 = {
        (v, w): (c - DISCOUNT * min(1.0, c)) / total[v] + left[v] * p1[w]
        for (v, w), c in counts.pair.items()
    }
    worth = np.array([total[v] * p * np.log(p / (left[v] * p1[w])) for (v, w), p in p2.items()])
    order = np.argsort(-worth, kind="stable")[:n_max]
    pairs = list(p2)
    kept = {pairs[i]: p2[pairs[i]] for i in order if worth[i] > 0}
    mass: Counter[str] = Counter()
    base: Counter[str] = Counter()
    for (v, w), p in kept.items():
        mass[v] += p
        base[v] += p1[w]
    backoff = {v: max(1 - mass[v], 1e-6) / max(1 - base[v], 1e-6) for v in mass}
    return kept, backoff


class Layout:
    """The words laid out as the table wants them, and the id of each."""

    def __init__(self, lexicon: Lexicon, counts: Counts, p1: dict[str, float]) -> None:
        spelled = sorted({s for rs in lexicon.readings.values() for r in rs for s in r})
        self.pinyin = spelled
        self.syllables = sorted({key_digits(s) for s in spelled})
        self.key = {d: i + 1 for i, d in enumerate(self.syllables)}  # ids start at 1
        if len(self.syllables) > 255:
            raise ValueError(f"{len(self.syllables)} digit syllables, a key byte holds 255")
        self.ids: dict[str, list[int]] = defaultdict(list)
        self._chars(lexicon, counts, p1)
        self._words(lexicon, p1)

    def _chars(self, lexicon: Lexicon, counts: Counts, p1: dict[str, float]) -> None:
        entries = []
        for char, readings in lexicon.readings.items():
            if len(char) > 1:
                continue
            n = sum(counts.reading[char, r] for (r,) in readings) + 1
            for i, (reading,) in enumerate(readings):
                share = (counts.reading[char, reading] + (i == 0)) / n
                share = max(share, READING_SHARE_MIN)
                key = self.key[key_digits(reading)]
                entries.append((key, -p1[char] * share, char, self.pinyin.index(reading), share))
        entries.sort()
        self.chars = entries
        self.rank: dict[tuple[str, int], tuple[int, int]] = {}  # (char, pinyin) -> (key, rank)
        first = {}
        for i, (key, _, char, spelled, _) in enumerate(entries):
            self.rank[char, spelled] = key, i - first.setdefault(key, i)
            self.ids[char].append(i)

    def _words(self, lexicon: Lexicon, p1: dict[str, float]) -> None:
        index = {s: i for i, s in enumerate(self.pinyin)}
        self.groups: dict[int, list[tuple[bytes, float, bytes]]] = {
            n: [] for n in range(2, N_MAX + 1)
        }
        texts: dict[int, dict[tuple[bytes, bytes], str]] = defaultdict(dict)
        for word, readings in lexicon.readings.items():
            for reading in readings if len(word) > 1 else ():
                places = [self.rank.get((c, index[r])) for c, r in zip(word, reading, strict=False)]
                known = [place for place in places if place is not None and place[1] < 256]
                if len(known) == len(word) == len(reading):
                    key, rank = (bytes(part) for part in zip(*known, strict=True))
                    self.groups[len(word)].append((key, -p1[word], rank))
                    texts[len(word)][key, rank] = word
        base = len(self.chars)
        for n, group in self.groups.items():
            group.sort()
            for i, (key, _, rank) in enumerate(group):
                self.ids[texts[n][key, rank]].append(base + i)
            base += len(group)
        self.n_words = base


def char_sections(layout: Layout, p1: dict[str, float]) -> dict[bytes, bytes]:
    keys = np.array([e[0] for e in layout.chars])
    starts = np.searchsorted(keys, np.arange(1, len(layout.syllables) + 2)).astype("<u2")
    return {
        b"SYLL": b"".join(s.encode().ljust(6, b"\0") for s in layout.syllables),
        b"SPEL": b"".join(s.encode().ljust(6, b"\0") for s in layout.pinyin),
        b"CHR0": starts.tobytes(),
        b"CHAR": np.array([ord(e[2]) for e in layout.chars], "<u2").tobytes(),
        b"CPIN": np.array([e[3] for e in layout.chars], "<u2").tobytes(),
        b"CCST": cost(np.array([p1[e[2]] for e in layout.chars])).tobytes(),
        b"CRDG": cost(np.array([e[4] for e in layout.chars])).tobytes(),
    }


def word_sections(layout: Layout) -> dict[bytes, bytes]:
    sections = {}
    for n, group in layout.groups.items():
        sections[b"KEY%d" % n] = b"".join(key for key, _, _ in group)
        sections[b"RNK%d" % n] = b"".join(rank for _, _, rank in group)
        sections[b"CST%d" % n] = cost(np.array([-p for _, p, _ in group])).tobytes()
    return sections


def pair_sections(
    layout: Layout, kept: dict[tuple[str, str], float], backoff: dict[str, float]
) -> dict[bytes, bytes]:
    named = sorted({w for pair in kept for w in pair if w and w in layout.ids})[:0xFFFF]
    lm_id = {"": 0, **{w: i + 1 for i, w in enumerate(named)}}
    words = sorted((i, lm_id[w]) for w in named for i in layout.ids[w])
    coded = sorted(
        (lm_id[v] << 16 | lm_id[w], p) for (v, w), p in kept.items() if v in lm_id and w in lm_id
    )
    weights = np.array([backoff.get(w, 1.0) for w in lm_id])
    return {
        b"VOCW": np.array([i for i, _ in words], "<u4").tobytes(),
        b"VOCI": np.array([i for _, i in words], "<u2").tobytes(),
        b"BOFF": cost(np.minimum(weights, 1.0)).tobytes(),
        b"PAIR": np.array([key for key, _ in coded], "<u4").tobytes(),
        b"PCST": cost(np.array([p for _, p in coded])).tobytes(),
    }


def english_section(counts: Counts) -> dict[bytes, bytes]:
    """Words as `cost, length, letters`, commonest first, spelled as they are most often."""
    spelled: dict[str, Counter[str]] = defaultdict(Counter)
    for word, c in counts.english.items():
        spelled[word.lower()][word] += c
    common = sorted(((sum(s.values()), w) for w, s in spelled.items()), reverse=True)
    common = [(c, w) for c, w in common if len(w) <= 20 and c >= 5][:N_ENGLISH]
    n = sum(c for c, _ in common)
    out = bytearray()
    for c, word in common:
        best = spelled[word].most_common(1)[0][0]
        out += bytes([int(cost(c / n)), len(best)]) + best.encode("ascii")
    return {b"ENGL": bytes(out)}


def pack(sections: dict[bytes, bytes]) -> bytes:
    """Header, section table, sections on 8-byte borders."""
    offset = 16 + 4 + 12 * len(sections)
    table, body = bytearray(struct.pack("<I", len(sections))), bytearray()
    for tag, blob in sections.items():
        pad = -(offset + len(body)) % 8
        body += bytes(pad)
        table += struct.pack("<4sII", tag, offset + len(body), len(blob))
        body += blob
    rest = bytes(table + body)
    return struct.pack("<4sIII", MAGIC, VERSION, 16 + len(rest), zlib.crc32(rest)) + rest


def build(lexicon: Lexicon, counts: Counts) -> bytes:
    """Return the table: all words, then as many pairs as fit."""
    p1 = unigrams(lexicon, counts)
    layout = Layout(lexicon, counts, p1)
    sections = {**char_sections(layout, p1), **word_sections(layout), **english_section(counts)}
    room = SIZE_MAX - len(pack(sections)) - 400_000  # the vocabulary of the pairs
    kept, backoff = best_pairs(counts, p1, room // 5)
    blob = pack({**sections, **pair_sections(layout, kept, backoff)})
    print(f"{layout.n_words:,} words, {len(kept):,} pairs of {len(counts.pair):,}, {len(blob):,} B")
    return blob


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--out", type=Path, default=Path("parrot/assets/pinyin.bin"))
    args = parser.parse_args()
    lexicon = Lexicon()
    never = set(NEVER_COUNTED.read_text("utf-8").split())
    blob = build(lexicon, Counts(lexicon, args.corpus, never))
    if len(blob) > SIZE_MAX:
        sys.exit(f"{args.out}: {len(blob):,} bytes, expected at most {SIZE_MAX:,}; keep less.")
    replace_file(args.out, blob)
    PinyinTable(args.out)  # what was written can be read
    return 0


if __name__ == "__main__":
    sys.exit(main())
