# SPDX-License-Identifier: Apache-2.0
"""English spelling to phonemes, in the alphabet that hibari's voice was trained on.

A word is looked up; failing that, its ending is taken off (-s, -ed, -ing) and the stem looked up;
failing that, capitals are spelled and anything else is read by a small network. A few words sound
by what follows ("the apple", "to eat") or by what came before ("to use", "the use").

The lexicon is a sorted file that is searched where it lies on disk: 183,000 words cost no memory.

    word TAB phonemes [TAB class=phonemes …] NEWLINE      class: VERB, NOUN, ADJ, VBD, VBN
"""

from __future__ import annotations

import json
import mmap
import re
from functools import lru_cache
from pathlib import Path

import numpy as np

from parrot.base.errors import FileError
from parrot.base.files import read_file
from parrot.base.onnx import Session, open_session, run_session

_VOWELS = frozenset("AIOQWYaiuæɑɒɔəɛɜɪʊʌᵻɐ")
_TAPPED_AFTER = frozenset("AIOWYiuæɑəɛɪɹʊʌ")
_HISSING = frozenset("szʃʒʧʤ")
_VOICELESS = frozenset("ptkfθ")
_PAUSES = ";:,.!?—…"
_TOKEN = re.compile(rf"[^\W\d_]+(?:['’][^\W\d_]+)*['’]?|[{_PAUSES}]")
_BEFORE_VERBS = re.compile(
    r"to|will|w?[cs]ould|can|shall|must|may|might|let's|(do|does|did|wo|ca)n't|i|you|we|they"
)
_BEFORE_NOUNS = re.compile(
    r"the|an?|this|that|my|your|his|her|its|our|their|no|any|some|of|for|in|on"
)
_BEFORE_PARTICIPLES = re.compile(r"have|has|had|was|were|been|be|is|are|(i|you|we|they)'ve")


class Lexicon:
    """The sorted file of words."""

    def __init__(self, path: Path) -> None:
        try:
            with open(path, "rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as exc:
            raise FileError(
                f"{path}: cannot be read ({exc}); run: parrot speech install en.", path=path
            ) from exc

    def find(self, word: str) -> dict[str, str]:
        """Return the phonemes of `word` by word class, "" for the usual one; empty if absent."""
        wanted, low, high = word.encode(), 0, len(self._map)
        while low < high:
            middle = (low + high) // 2
            begin = self._map.rfind(b"\n", low, middle) + 1 or low
            end = self._map.find(b"\n", begin)
            end = len(self._map) if end < 0 else end
            found, _, rest = self._map[begin:end].partition(b"\t")
            if found == wanted:
                usual, *others = rest.decode().split("\t")
                return {"": usual} | dict(other.split("=", 1) for other in others)
            if found < wanted:
                low = end + 1
            else:
                high = begin
        return {}


class Speller:
    """The network that reads words no lexicon has."""

    def __init__(self, folder: Path) -> None:
        about = json.loads(read_file(folder / "oov.json", 1 << 20))
        self._letters = {char: i + 1 for i, char in enumerate(about["in"])}
        self._phonemes = ["", *about["out"]]
        self._n_max = int(about["maxlen"])
        self._path = folder / "oov.onnx"
        self._session: Session | None = None

    def read(self, word: str) -> str:
        """Return phonemes: one label a step, repeats and blanks dropped."""
        ids = [self._letters[char] for char in word if char in self._letters][: self._n_max]
        if not ids:
            return ""
        if self._session is None:  # most talks have no such word
            self._session = open_session(self._path)
        labels = run_session(self._session, {"chars": np.array([ids])})[0][0].tolist()
        pairs = zip([0, *labels], labels, strict=False)
        return "".join(self._phonemes[new] for old, new in pairs if new != old)


class EnglishPhonemes:
    """Phonemes of English text without digits. `folder` holds lexicon.tsv and oov.*."""

    def __init__(self, folder: Path) -> None:
        self._lexicon = Lexicon(folder / "lexicon.tsv")
        self._speller = Speller(folder)
        self._find = lru_cache(maxsize=4096)(self._read)

    def __call__(self, text: str) -> str:
        tokens = _TOKEN.findall(text.replace("’", "'"))
        parts: list[str] = []
        following = ""
        for i in range(len(tokens) - 1, -1, -1):  # backwards: "the" sounds by what follows
            token = tokens[i]
            if token in _PAUSES:
                following = ""
                parts.append(token + " ")
                continue
            before = tokens[i - 1].lower() if i else ""
            following = self._word(token, before, following)
            parts.append(following + ("" if parts and parts[-1][0] in _PAUSES else " "))
        said = "".join(reversed(parts)).strip()
        return said.replace("ɾ", "T").replace("ʔ", "t")

    def _word(self, word: str, before: str, following: str) -> str:
        sound = next((char for char in following if char.isalpha()), "")
        lower = word.lower()
        if lower == "the":
            return "ði" if sound in _VOWELS and sound else "ðə"
        if lower == "to":
            return "tu" if not sound else "tʊ" if sound in _VOWELS else "tə"
        if word in ("a", "A") and following:
            return "ɐ"
        if lower == "an":
            return "ɐn"
        if lower == "in":
            return "ɪn" if following else "ˈɪn"
        if word == "I":
            return "ˌI"
        forms = self._find(word)
        return forms.get(_class_after(before, forms), forms[""])

    def _read(self, word: str) -> dict[str, str]:
        """Return all forms of `word`; there is always one."""
        forms = self._known(word)
        if forms:
            return forms
        if word.isupper() and 1 < len(word) <= 5 and word.isascii():
            letters = [self._lexicon.find(char).get("", "") for char in word]
            spelled = "".join(letters).replace("ˈ", "ˌ")
            return {"": "ˈ".join(spelled.rsplit("ˌ", 1))}
        return {"": self._speller.read(word)}

    def _known(self, word: str) -> dict[str, str]:
        for spelling in dict.fromkeys((word, word.lower(), word.lower().capitalize())):
            if forms := self._lexicon.find(spelling):
                return forms
        return self._with_ending(word.lower())

    def _with_ending(self, word: str) -> dict[str, str]:
        for stem in _stems(word, "s", ("", "e"), is_y=True):
            if said := self._stem(stem):
                return {"": _plural(said)}
        for stem in _stems(word, "ed", ("", "e"), is_y=True):
            if said := self._stem(stem):
                return {"": _past(said)}
        for stem in _stems(word, "ing", ("", "e"), is_y=False):
            if said := self._stem(stem):
                return {"": _tapped(said) + "ɪŋ"}
        return {}

    def _stem(self, stem: str) -> str:
        forms = self._lexicon.find(stem) or self._lexicon.find(stem.capitalize())
        return forms.get("VERB", forms.get("", ""))


def _class_after(before: str, forms: dict[str, str]) -> str:
    if len(forms) == 1:
        return ""
    if _BEFORE_PARTICIPLES.fullmatch(before):
        return "VBN" if "VBN" in forms else "ADJ"
    if _BEFORE_VERBS.fullmatch(before):
        return "VERB"
    return "NOUN" if _BEFORE_NOUNS.fullmatch(before) else ""


def _stems(word: str, ending: str, more: tuple[str, ...], is_y: bool) -> list[str]:
    """Return what `word` could be without `ending`, likeliest first."""
    if word.endswith("'s"):
        return [word[:-2]] if ending == "s" else []
    if not word.endswith(ending) or len(word) < len(ending) + 2 or word.endswith("ss"):
        return []
    base = word[: -len(ending)]
    stems = [base + letter for letter in more]
    if ending == "s" and base.endswith("e"):
        stems = [base, base[:-1]]
    if is_y and base.endswith("ie"):
        stems.insert(0, base[:-2] + "y")
    elif is_y and base.endswith("i"):
        stems.insert(0, base[:-1] + "y")
    if len(base) > 2 and base[-1] == base[-2]:
        stems.append(base[:-1])  # stopped, running
    return stems


def _plural(said: str) -> str:
    if said[-1] in _HISSING:
        return said + "ᵻz"
    return said + ("s" if said[-1] in _VOICELESS else "z")


def _tapped(said: str) -> str:
    """An American t between vowels is a tap."""
    is_tap = len(said) > 1 and said[-1] == "t" and said[-2] in _TAPPED_AFTER
    return said[:-1] + "ɾ" if is_tap else said


def _past(said: str) -> str:
    if said[-1] in "td":
        return _tapped(said) + "ᵻd"
    return said + ("t" if said[-1] in "pkfθʃsʧ" else "d")
