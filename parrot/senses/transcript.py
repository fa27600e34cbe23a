# SPDX-License-Identifier: Apache-2.0
"""What recognizers return, made into what a person would have typed.

Mandarin comes in two scripts mixed: it is folded to simplified. Numbers that were spoken out become
digits, when that is what a writer would do: 十五 is 15 and 二零二六 is 2026, but 一个 stays, and so
does 十分 ("very"). Punctuation after hanzi is full width.
"""

from __future__ import annotations

import re
import warnings
from functools import lru_cache
from typing import Any

from parrot.base.errors import EngineError

_HANZI = "\u3400-\u9fff"
_HAN_DIGITS = {char: i for i, char in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_HAN_SCALES = {"十": 10, "百": 100, "千": 1000, "万": 10_000, "亿": 100_000_000}
_HAN_NUMBER = re.compile(
    f"(百分之)?([{''.join(_HAN_DIGITS)}十百千万亿]+)(?:点([零〇一二三四五六七八九]+))?"
)
_HAN_WORDS = ("千万", "万一", "十分", "百万", "万千", "百千", "一一", "三三两两", "千千万万")
_PUNCTUATION = str.maketrans(",.!?;:", "，。！？；：")
_AFTER_HANZI = re.compile(rf"(?<=[{_HANZI}]) ?[,.!?;:](?=\s|$|[{_HANZI}])")
_SPACES = re.compile(rf"(?<=[{_HANZI}，。！？；：]) +(?=[{_HANZI}])")

_ONES = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7,
    "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13,
    "fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19,
}  # fmt: skip
_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70,
    "eighty": 80, "ninety": 90,
}  # fmt: skip
_SCALES = {"thousand": 1000, "million": 10**6, "billion": 10**9}
_ENGLISH = re.compile(
    rf"\b(?:{'|'.join([*_ONES, *_TENS, *_SCALES, 'hundred'])})"
    rf"(?:[ -](?:and )?(?:{'|'.join([*_ONES, *_TENS, *_SCALES, 'hundred'])}))*\b( percent)?",
    re.IGNORECASE,
)


@lru_cache(maxsize=1)
def _zhconv() -> Any:
    try:
        import zhconv
    except ImportError as exc:
        raise EngineError(
            "zhconv: not installed, expected to fold Mandarin to one script; run: "
            "pip install 'parrot-companion[speech]'."
        ) from exc
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its table's file to the GC
        zhconv.loaddict()
    return zhconv


def simplified(text: str) -> str:
    """Fold Mandarin to the simplified script. Raises: EngineError without zhconv."""
    return str(_zhconv().convert(text, "zh-cn"))


def written(text: str, language: str) -> str:
    """Return a recognizer's text as it would be written. Raises: EngineError without zhconv."""
    text = " ".join(text.split())
    if language != "zh":
        return _ENGLISH.sub(_english, text)
    text = _SPACES.sub("", simplified(text))
    text = _HAN_NUMBER.sub(_mandarin, text)
    return _AFTER_HANZI.sub(lambda match: match[0].strip().translate(_PUNCTUATION), text)


def _mandarin(match: re.Match[str]) -> str:
    percent, whole, fraction = match.groups()
    number = mandarin_value(whole)
    if number is None or (number.isdigit() and len(whole) < 2 and not (percent or fraction)):
        return match[0]
    if whole in _HAN_WORDS or (whole == "十" and not percent):
        return match[0]
    if whole[0] in "百千万亿":
        return match[0]
    if fraction:
        number += "." + "".join(str(_HAN_DIGITS[char]) for char in fraction)
    return f"{number}%" if percent else number


def mandarin_value(text: str) -> str | None:
    """Return the digits of a spoken number, or None when it is none; 三三 reads as 33."""
    if not any(char in _HAN_SCALES for char in text):
        is_list = len(text) > 2 or "零" in text or "〇" in text
        digits = "".join(str(_HAN_DIGITS[char]) for char in text)
        return digits if is_list or len(text) == 1 else None
    total = section = digit = 0
    smallest = 10**12
    for char in text:
        if char in _HAN_DIGITS:
            if digit:
                return None  # 一二十 is no number
            digit = _HAN_DIGITS[char]
            continue
        scale = _HAN_SCALES[char]
        if scale >= 10_000:
            part = section + digit
            total = (total + part) * scale if scale > 10_000 else total + part * scale
            section, smallest = 0, scale
        else:
            if scale >= smallest:
                return None
            section += (digit or 1) * scale
            smallest = scale
        digit = 0
    if digit and smallest > 10 and text[-2] not in "零〇" and text[-2] in _HAN_SCALES:
        digit *= smallest // 10  # 两百五 is 250
    return str(total + section + digit)


def _english(match: re.Match[str]) -> str:
    words = re.split("[ -]", match[0].lower().removesuffix(" percent").replace(" and ", " "))
    percent = "%" if match[1] else ""
    value = english_value(words)
    if value is None or (value < 10 and not percent):
        return match[0]
    return f"{value}{percent}"


def english_value(words: list[str]) -> int | None:
    """Return the value of number words, or None when they are no number: "five three"."""
    total = section = 0
    before = "scale"
    for word in words:
        if word in _ONES:
            is_small = _ONES[word] < 10
            if before == "ones" or (before == "tens" and not is_small):
                return None
            section, before = section + _ONES[word], "ones"
        elif word in _TENS:
            if before in ("ones", "tens"):
                return None
            section, before = section + _TENS[word], "tens"
        elif word == "hundred":
            if not 0 < section < 100:
                return None
            section, before = section * 100, "scale"
        else:
            if not section:
                return None
            total, section, before = total + section * _SCALES[word], 0, "scale"
    return total + section
