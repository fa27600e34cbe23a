# SPDX-License-Identifier: Apache-2.0
"""Text as it is said: digits, dates, times, units and signs become words of the clause's language.

Voices get words only. What has no words (emoji, control bytes, other scripts) is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from parrot.base.text import clean_text
from parrot.faces.clause import language_of

ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SCALES = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (1000, "thousand"))
_IRREGULAR = {"one": "first", "two": "second", "three": "third", "five": "fifth",
              "eight": "eighth", "nine": "ninth", "twelve": "twelfth"}  # fmt: skip
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_DIGITS = "零一二三四五六七八九"
_CURRENCIES = {"$": ("dollar", "cent", "美元"), "£": ("pound", "pence", "英镑"),
               "€": ("euro", "cent", "欧元"), "¥": ("yuan", "fen", "元"),
               "￥": ("yuan", "fen", "元")}  # fmt: skip
_UNITS = {
    "km/h": ("kilometers per hour", "公里每小时"), "m/s": ("meters per second", "米每秒"),
    "km": ("kilometers", "公里"), "cm": ("centimeters", "厘米"), "mm": ("millimeters", "毫米"),
    "kg": ("kilograms", "公斤"), "mg": ("milligrams", "毫克"), "ml": ("milliliters", "毫升"),
    "GB": ("gigabytes", "G B"), "MB": ("megabytes", "兆"), "°C": ("degrees Celsius", "摄氏度"),
    "℃": ("degrees Celsius", "摄氏度"), "°F": ("degrees Fahrenheit", "华氏度"),
    "°": ("degrees", "度"), "m": ("meters", "米"), "g": ("grams", "克"),
}  # fmt: skip
_SIGNS = {"&": ("and", "和"), "@": ("at", "艾特"), "+": ("plus", "加"), "=": ("equals", "等于"),
          "%": ("percent", "")}  # fmt: skip
_MANY = 16  # digits: longer numbers are read digit by digit

_NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"
_DATE = re.compile(r"(?<!\d)(\d{4})[-/年](\d{1,2})[-/月](\d{1,2})(?!\d)日?")
_TIME = re.compile(r"(?<![\d:])([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?(?![\d:])")
_MONEY = re.compile(rf"([$£€¥￥])({_NUMBER})")
_UNIT = re.compile(rf"({_NUMBER})\s?({'|'.join(_UNITS)})(?![A-Za-z/])")
_PERCENT = re.compile(rf"({_NUMBER})\s?[%％]")
_ORDINAL = re.compile(r"(?<!\d)(\d{1,9})(?:st|nd|rd|th)\b")
_YEAR_EN = re.compile(r"(?<![\d.,$])(1[1-9]\d\d|20\d\d)(?![\d.,]\d|\d)")
_YEAR_ZH = re.compile(r"(?<!\d)(\d{4})(?=年)")
_RANGE = re.compile(r"(?<=\d)\s?[-–~]\s?(?=\d)")
_MINUS = re.compile(r"(?<![A-Za-z0-9)])[-−](?=\d)")
_PLAIN = re.compile(_NUMBER)
_TWO = re.compile("(?<![一二三四五六七八九十百千万零点第])二(?=[个只本张条位次件块天年岁种杯])")
_UNSPEAKABLE = re.compile(r"[^\w\s.,!?;:'’\-—…，。！？；：、（）()\"“”·]+|_+")


# ---- numbers


def english_number(n: int) -> str:
    """Return `n` ≥ 0 in English words."""
    if n < 20:
        return ONES[n]
    if n < 100:
        tens = TENS[n // 10 - 2]
        return f"{tens} {ONES[n % 10]}" if n % 10 else tens
    if n < 1000:
        rest = f" {english_number(n % 100)}" if n % 100 else ""
        return f"{ONES[n // 100]} hundred{rest}"
    size, name = next(scale for scale in _SCALES if n >= scale[0])
    rest = f" {english_number(n % size)}" if n % size else ""
    return f"{english_number(n // size)} {name}{rest}"


def english_ordinal(n: int) -> str:
    *before, last = english_number(n).split(" ")
    is_ty = last.endswith("y")
    ordinal = last[:-1] + "ieth" if is_ty else _IRREGULAR.get(last, last + "th")
    return " ".join([*before, ordinal])


def english_year(n: int) -> str:
    """1905 is nineteen oh five, 2000 two thousand, 2026 twenty twenty six."""
    high, low = divmod(n, 100)
    if high % 10 == 0 and low < 10:
        return english_number(n)
    if low == 0:
        return f"{english_number(high)} hundred"
    return f"{english_number(high)} {'oh ' if low < 10 else ''}{english_number(low)}"


def mandarin_number(n: int) -> str:
    """Return `n` ≥ 0 in Mandarin words."""
    if n == 0:
        return "零"
    said, needs_zero = "", False
    for size, name in ((10**12, "万亿"), (10**8, "亿"), (10**4, "万"), (1, "")):
        part, n = divmod(n, size)
        if part:
            if said and (needs_zero or part < 1000):
                said += "零"
            said += _below_ten_thousand(part) + name
        needs_zero = bool(said) and part == 0
    return said.removeprefix("一") if said.startswith("一十") else said


def _below_ten_thousand(n: int) -> str:
    said, needs_zero = "", False
    for size, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit, n = divmod(n, size)
        if digit:
            said += ("零" if needs_zero else "") + _DIGITS[digit] + name
        needs_zero = bool(said) and digit == 0
    return said


def _number(text: str, language: str) -> str:
    """Return a number such as 1,234.5 in words."""
    whole, _, fraction = text.replace(",", "").partition(".")
    if language == "en":
        if len(whole) > _MANY or (len(whole) > 1 and whole[0] == "0"):
            said = " ".join(ONES[int(digit)] for digit in whole)
        else:
            said = english_number(int(whole))
        return said + "".join(f"{' point' if i == 0 else ''} {ONES[int(digit)]}"
                              for i, digit in enumerate(fraction))  # fmt: skip
    if len(whole) > _MANY or (len(whole) > 1 and whole[0] == "0"):
        said = "".join(_DIGITS[int(digit)] for digit in whole)
    else:
        said = mandarin_number(int(whole))
    return said + ("点" + "".join(_DIGITS[int(d)] for d in fraction) if fraction else "")


# ---- patterns


def _date(match: re.Match[str], language: str) -> str:
    year, month, day = (int(group) for group in match.groups())
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return match[0].replace("-", " ").replace("/", " ")
    if language == "en":
        return f"{MONTHS[month - 1]} {english_ordinal(day)}, {english_year(year)}"
    digits = "".join(_DIGITS[int(digit)] for digit in match[1])
    return f"{digits}年{mandarin_number(month)}月{mandarin_number(day)}日"


def _time(match: re.Match[str], language: str) -> str:
    hour, minute = int(match[1]), int(match[2])
    if language == "en":
        if minute == 0:
            return english_number(hour) + (" o'clock" if 0 < hour < 13 else " hundred")
        return f"{english_number(hour)} {'oh ' if minute < 10 else ''}{english_number(minute)}"
    said = ("两" if hour == 2 else mandarin_number(hour)) + "点"
    if minute:
        said += ("零" if minute < 10 else "") + mandarin_number(minute) + "分"
    return said if match[3] is None else said + mandarin_number(int(match[3])) + "秒"


def _money(match: re.Match[str], language: str) -> str:
    one, cent, mandarin = _CURRENCIES[match[1]]
    if language == "zh":
        return _number(match[2], "zh") + mandarin
    whole, _, fraction = match[2].replace(",", "").partition(".")
    said = f"{_number(whole, 'en')} {one}{'' if int(whole) == 1 or one == 'yuan' else 's'}"
    if fraction and len(fraction) == 2 and int(fraction):
        cents = "" if int(fraction) == 1 or cent in ("pence", "fen") else "s"
        said += f" and {english_number(int(fraction))} {cent}{cents}"
    elif fraction and int(fraction):
        said = f"{_number(match[2], 'en')} {one}s"
    return said


def _unit(match: re.Match[str], language: str) -> str:
    english, mandarin = _UNITS[match[2]]
    if language == "zh":
        return _number(match[1], "zh") + mandarin
    first, *rest = english.split(" ")
    if match[1] == "1":
        first = first.removesuffix("s")
    return " ".join([_number(match[1], "en"), first, *rest])


def _percent(match: re.Match[str], language: str) -> str:
    said = _number(match[1], language)
    return f"{said} percent" if language == "en" else f"百分之{said}"


_RULES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], str], str]], ...] = (
    (_DATE, _date),
    (_TIME, _time),
    (_MINUS, lambda m, lang: "minus " if lang == "en" else "负"),
    (_MONEY, _money),
    (_UNIT, _unit),
    (_PERCENT, _percent),
    (_ORDINAL, lambda m, lang: english_ordinal(int(m[1])) if lang == "en" else m[1]),
    (_YEAR_ZH, lambda m, lang: "".join(_DIGITS[int(d)] for d in m[1])),
    (_YEAR_EN, lambda m, lang: english_year(int(m[1])) if lang == "en" else m[1]),
    (_RANGE, lambda m, lang: " to " if lang == "en" else "到"),
    (_PLAIN, lambda m, lang: _number(m[0], lang)),
)


def spoken(text: str, language: str | None = None) -> str:
    """Return one clause as words of `language`, or of the language it is in."""
    text, language = clean_text(text), language or language_of(text)
    for pattern, say in _RULES:
        text = pattern.sub(lambda match, say=say: say(match, language), text)  # type: ignore[misc]
    for sign, (english, mandarin) in _SIGNS.items():
        text = text.replace(sign, f" {english} " if language == "en" else mandarin)
    text = _UNSPEAKABLE.sub(" ", text)
    if language == "zh":
        text = _TWO.sub("两", text)
    return " ".join(text.split())
