# SPDX-License-Identifier: Apache-2.0
"""Symbols in the order they are paged through, nine to a page, and the wheel of key 1."""

from __future__ import annotations

CHINESE_WHEEL = "，。？！、：；…"  # key 1 in Chinese mode, pressed again and again

SYMBOLS = (
    *"，。？！、：；“”",
    *"《》（）…—～·￥",
    *".,?!'\"@:;",
    *"()-_/\\#*&",
    *"+-×÷=<>%^",
    *"$€°℃‰№§©→",
    *"←↑↓★☆♥♪√∞",
    *"😀😂😊😍😘😎🤔😢😭",
    *"😡😱😴🙏👍👎👏💪🎉",
    *"❤💔🌹🌙🌞🌧🍚🎂🐦",
)
