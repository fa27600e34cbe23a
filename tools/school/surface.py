# SPDX-License-Identifier: Apache-2.0
"""The surface of a finished line: articles and capitals, and how people really type."""

from __future__ import annotations

import random
import re

_ARTICLE = re.compile(r"\b([Aa]) (?=(?:[aeio]|u(?!s|ni)|hour|honest)(?!ne\b|nce\b))")
_START = re.compile(
    r"(^|(?<!\.\.)[.!?] +['\"]?|[.]['\"] +['\"]?|^['\"]|[:,] \""
    r"|[!?]['\"] +(?!(?:he|she|it|said|asked|called|cried|thought|shouted|whispered)\b)['\"]?)"
    r"([a-z])"
)
_SPACES = re.compile(r" {2,}")
_DOTS = re.compile(r"(?<![.])[.]{2}(?![.])|(?<=[!?])[.]|(?<=[.!?]['\"])[.]")
_STRAY = re.compile(r" +([,.!?;:])")
_WH = r"(?:what|where|who|whose|when|which|why|how)"
_AUX = (
    r"(?:is|are|was|were|do|does|did|can|could|will|would|shall|should|have|has|had|may|"
    r"isn't|aren't|don't|doesn't|didn't|can't|won't|am|must)"
)
_LEAD = (
    r"^['\" ]*(?:[^:]{1,60}: )?(?:(?:and|or|but|so|then|oh|hm|well|hello|hey|yes|no|haha|now|"
    r"ok|okay|hi|parrot|please|by the way|good|sorry|one question),? )*"
)
_QUESTION = re.compile(
    _LEAD + rf"(?:{_WH}(?:'s|'re|'d)?|{_AUX}|any|anything|anyone|want|ready|guess)\b", re.I
)
_SURE = re.compile(
    _LEAD + rf"(?:{_WH} (?:{_AUX}|about|many|much|old|far|long|else|kind)\b|{_WH}'s "
    r"|do (?:you|they|we|I)\b"
    r"|(?:does|did|are|was|were|shall|have|would|could|can|is|will) "
    r"(?:you|it|he|she|they|we|I|there|that|somebody|someone|your)\b)",
    re.I,
)
_EXCLAIM = re.compile(_LEAD + r"(?:what an? |how \w+[.!?]$|is |have a |have fun)", re.I)
_SENTENCE = re.compile(r"[^.!?]+(?:\.\.\.|[.!?]+)['\"]?")
_TAG = re.compile(
    r",? (?:right|yes|no|ok|okay|really|isn't it|don't you|or not|too|then)\?$|\bor\b|\.\.\."
)
_ZH_GAP = re.compile(r"(?<=[。，！？：；…—]) +| +(?=[。，！？：；])")
_ZH_TWICE = re.compile(r"([。！？]”?)[。，！？]+")
_ZH_WH = re.compile(r"什么|怎么|谁|哪[个儿里天些种一]|几[个点岁只条次天]|多少|多[久大远]")
_ZH_TELLS = re.compile(
    r"不知道|没.?什么|什么都|什么也|谁都|谁也|怎么也|都|告诉|记得|不管|说不|"
    r"什么.*什么|怎么.*怎么|谁.*谁|哪.*哪|几.*几|[听看]看|讲讲|学|不出|猜|知道|想起|时候|你说|在响"
)
_ZH_EITHER = re.compile(r"(.)[不没]\1。$")
_ZH_SENTENCE = re.compile(r"[^。！？]+[。！？]+”?")
_ZH_ASKS = re.compile(
    r"吗|呢|吧|什么|怎么|怎样|谁|哪|几|多少|多[大久远长高重快]|还是|啥|咋|干嘛|(.)[不没]\1|没有？|没？|"
    r"有没有|是不是|要不|对不对|行不行|好不好|难道"
)


def end_mark(sentence: str) -> str:
    """A full stop for what tells, a question mark for what asks."""
    if sentence.endswith("?"):
        last = sentence.rpartition(", ")[2]
        asks = _QUESTION.search(sentence) or _QUESTION.search(last) or _TAG.search(sentence)
        return sentence if asks or sentence.strip().count(" ") < 4 else sentence[:-1] + "."
    if sentence[-1:] in ".!" and _SURE.search(sentence) and not _EXCLAIM.search(sentence):
        return sentence[:-1] + "?"
    return sentence


def end_mark_zh(sentence: str) -> str:
    """The same for Chinese: 吗 and its like ask, other sentences tell."""
    if len(sentence) > 6 and sentence.endswith("？") and not _ZH_ASKS.search(sentence):
        return sentence[:-1] + "。"
    if sentence.endswith(("吗。", "吗！")) or _ZH_EITHER.search(sentence):
        return sentence[:-1] + "？"
    if sentence[-1] in "。！" and _ZH_WH.search(sentence) and not _ZH_TELLS.search(sentence):
        return sentence[:-1] + "？"
    return sentence


def polish(text: str, lang: str) -> str:
    """Spaces, end marks, and in English articles and capitals."""
    text = _SPACES.sub(" ", text).strip()
    if lang == "zh":
        text = _ZH_TWICE.sub(r"\1", _ZH_GAP.sub("", text))
        return _ZH_SENTENCE.sub(lambda m: end_mark_zh(m.group()), text)
    text = _DOTS.sub(lambda m: m.group()[1:], _STRAY.sub(r"\1", text))
    text = _ARTICLE.sub(r"\1n ", text)
    text = _SENTENCE.sub(lambda m: end_mark(m.group()), text)
    return _START.sub(lambda m: m.group(1) + m.group(2).upper(), text)


def typo(text: str, rng: random.Random, protect: set[str]) -> str:
    """One slip of the finger in a lower-case word that carries no fact."""
    words = text.split(" ")
    slots = [
        i
        for i, w in enumerate(words)
        if len(w) >= 4 and w.isalpha() and w.islower() and w not in protect
    ]
    if not slots:
        return text
    at = rng.choice(slots)
    word = words[at]
    cut = rng.randrange(1, len(word) - 1)
    kind = rng.randrange(3)
    if kind == 0:
        word = word[:cut] + word[cut + 1 :]
    elif kind == 1:
        word = word[:cut] + word[cut + 1] + word[cut] + word[cut + 2 :]
    else:
        word = word[:cut] + word[cut] + word[cut:]
    words[at] = word
    return " ".join(words)


def as_typed(text: str, lang: str, rng: random.Random, protect: set[str]) -> str:
    """What the companion types: often tidy, often lower case, without the last mark, with slips."""
    if lang == "zh":
        return _typed_zh(text, rng)
    mood = rng.random()
    if mood < 0.45:
        return text
    if mood < 0.9:
        text = text.lower() if mood > 0.6 else text
        if rng.random() < 0.75 and text[-1:] in ".!?" and not text.endswith(".."):
            text = text.rstrip(".!?")
        if rng.random() < 0.25:
            text = text.replace("'", "")
    if rng.random() < 0.16:
        text = typo(text, rng, protect)
    return text


def _typed_zh(text: str, rng: random.Random) -> str:
    mood = rng.random()
    if mood < 0.5:
        return text
    if mood < 0.9 and text[-1:] in "。！？":
        text = text.rstrip("。！？")
    if mood > 0.8:
        text = text.replace("，", " ")
    return text
