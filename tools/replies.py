# SPDX-License-Identifier: Apache-2.0
"""Measure sampled replies: do they hold together as text?

    python -m tools.replies [--model FILE] [--n 1000] [--words FILE] [--json]

Replies come from the C engine at the default settings of `parrot chat`, each from a new state, with
seeds 1, 2, 3 ... The prompts are the first turns of the held-out talks that were written by hand
(tools/school/hand), half of them English and half Chinese, in turn. Counted are: valid UTF-8; turns
that end within --max-bytes; replies in which the same five words, or five Chinese characters, come
twice; replies in the language they were asked in; and English words that are in the dictionary. A
dictionary is a list of words, one a line (Debian: apt install wamerican, then --words
/usr/share/dict/words); without one it is the words that the text written by hand has at least
twice.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

import parrot
from parrot.app.options import add_model_options, add_sampling_options, open_model, sampling_of
from parrot.base.errors import ParrotError
from parrot.base.files import read_file
from parrot.base.text import END_OF_DOCUMENT, companion_turn
from parrot.engine.generate import Sampling
from tools.corpus import HELD_AT, HELD_EVERY
from tools.corpus_read import Record, read_records

HAND = Path(__file__).parent / "school" / "hand"
HAN = re.compile(r"[\u3400-\u9fff]")
TOKEN = re.compile(r"[a-z]+(?:'[a-z]+)*|[\u3400-\u9fff]|[0-9]+")
ENGLISH = re.compile(r"[A-Za-z]+(?:['’][A-Za-z]+)*")
GRAM = 5
SEEN_MIN = 2  # times, for a word of the hand-written text to count as one


@dataclass
class Reply:
    prompt: str
    said: bytes
    has_ended: bool


def held_out() -> list[Record]:
    """The talks written by hand that tools.corpus holds out."""
    paths = sorted(HAND.glob("*.jsonl"))
    return [r for path in paths for r in read_records(path)[0][HELD_AT::HELD_EVERY]]


def prompts() -> list[str]:
    """First turns of held-out talks, English and Chinese in turn."""
    found: dict[bool, list[str]] = {False: [], True: []}
    for record in held_out():
        found[HAN.search(record.turns[0][1]) is not None].append(record.turns[0][1])
    return [text for pair in zip(found[False], found[True], strict=False) for text in pair]


def replies(model: parrot.Model, n: int, sampling: Sampling, max_bytes: int) -> Iterator[Reply]:
    """`n` replies, the i-th with seed i + 1."""
    asked = prompts()
    for i in tqdm(range(n), unit="reply"):
        prompt = asked[i % len(asked)]
        pieces = model.generate(
            model.new_state(),
            END_OF_DOCUMENT + companion_turn(prompt),
            sampling=sampling,
            seed=i + 1,
            max_bytes=max_bytes,
        )
        said = b"".join(pieces)
        yield Reply(prompt, said, len(said) < max_bytes)


def has_loop(text: str) -> bool:
    """Whether the same five words or Chinese characters come twice."""
    tokens = TOKEN.findall(text.lower().replace("’", "'"))
    grams = Counter(zip(*(tokens[i:] for i in range(GRAM)), strict=False))
    return any(times > 1 for times in grams.values())


def read_words(path: Path | None) -> tuple[frozenset[str], str]:
    """A dictionary in lower case, and what it is."""
    if path is not None:
        lines = read_file(path, 64 << 20).decode("utf-8", "replace").split()
        return frozenset(line.lower() for line in lines), str(path)
    seen: Counter[str] = Counter()
    for source in sorted([*HAND.glob("*.jsonl"), *HAND.glob("*_en.txt")]):
        for record in read_records(source)[0]:
            for text in record.texts():
                seen.update(_english(text))
    words = frozenset(word for word, times in seen.items() if times >= SEEN_MIN)
    return words, f"{len(words):,} words that tools/school/hand has at least {SEEN_MIN} times"


def _english(text: str) -> list[str]:
    return [word.lower().replace("’", "'") for word in ENGLISH.findall(text)]


def is_word(word: str, words: frozenset[str]) -> bool:
    """In the dictionary, or a contraction whose first part is (it's, they'll, can't)."""
    head, apostrophe, tail = word.partition("'")
    is_short = apostrophe and tail in ("s", "m", "re", "ll", "ve", "d", "t")
    return word in words or bool(is_short and (head in words or head.removesuffix("n") in words))


def figures(said: list[Reply], words: frozenset[str]) -> dict[str, float]:
    """Shares, 0 to 1, and the mean length."""
    n = len(said)
    texts = [reply.said.decode("utf-8", "replace") for reply in said]
    spoken = [word for text in texts for word in _english(text)]
    return {
        "replies": n,
        "utf8": sum(_is_utf8(reply.said) for reply in said) / n,
        "ended": sum(reply.has_ended for reply in said) / n,
        "looped": sum(map(has_loop, texts)) / n,
        "answered": sum(map(_is_answered, said, texts)) / n,
        "words": sum(is_word(word, words) for word in spoken) / max(1, len(spoken)),
        "english_words": len(spoken),
        "mean_bytes": sum(len(reply.said) for reply in said) / n,
    }


def _is_answered(reply: Reply, text: str) -> bool:
    """Whether a reply is in the language of its prompt: with Chinese characters, or without."""
    return (HAN.search(reply.prompt) is None) == (HAN.search(text) is None)


def _is_utf8(said: bytes) -> bool:
    try:
        said.decode()
    except UnicodeDecodeError:
        return False
    return True


TARGETS = {
    "utf8": ">= 1",
    "ended": ">= 0.98",
    "looped": "<= 0.02",
    "answered": ">= 0.95",
    "words": ">= 0.95",
}


def table(found: dict[str, float], dictionary: str) -> Iterator[str]:
    """The figures beside what they should reach."""
    names = {
        "utf8": "valid UTF-8",
        "ended": "end their turn",
        "looped": "say five words twice",
        "answered": "answer in the language asked",
        "words": "English words in the dictionary",
    }
    yield f"{found['replies']:,.0f} replies of {found['mean_bytes']:.0f} bytes in the mean"
    for key, name in names.items():
        yield f"{name:34} {found[key]:7.1%}   should be {TARGETS[key]}"
    yield f"dictionary: {dictionary}; {found['english_words']:,.0f} words met"


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m tools.replies", description=__doc__)
    p.add_argument("--n", type=int, default=1000, help="replies (1000)")
    p.add_argument("--words", type=Path, metavar="FILE", help="dictionary, one word a line")
    p.add_argument("--show", type=int, default=0, metavar="N", help="print the first N replies")
    p.add_argument("--json", action="store_true", help="print one JSON object")
    add_model_options(p)
    add_sampling_options(p)
    return p


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    args = parser().parse_args(argv)
    try:
        words, dictionary = read_words(args.words)
        model, sampling = open_model(args), sampling_of(args)
        said = list(replies(model, max(1, args.n), sampling, args.max_bytes))
    except ParrotError as exc:
        print(exc, file=sys.stderr)
        return 1
    found = figures(said, words)
    for reply in said[: args.show]:
        print(f"> {reply.prompt}\n{reply.said.decode('utf-8', 'replace')}\n")
    if args.json:
        about = {"model": model.id, "dictionary": dictionary, "sampling": asdict(sampling)}
        print(json.dumps(found | about, ensure_ascii=False))
    else:
        print("\n".join(table(found, dictionary)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
