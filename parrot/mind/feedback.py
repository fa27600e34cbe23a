# SPDX-License-Identifier: Apache-2.0
"""What the companion's words and keys say about the last reply.

A signal is a name; its value is the reward it stands for. Words are recognised by plain patterns
in English and Chinese: a parrot that guesses at praise is worse than one that misses some.
"""

from __future__ import annotations

import re

# Source: the Ghost protocol's table of signals (laughter, understood, a turn, zombie, abrupt end).
# The keys weigh as much as laughter: one press, one point.
VALUES = {
    "turn": 0.1,
    "laughter": 1.0,
    "understood": 2.0,
    "zombie": -1.0,
    "cut_off": -0.5,
    "good": 1.0,
    "bad": -1.0,
}

_PATTERNS = {
    "laughter": re.compile(
        r"\b(?:a*(?:ha){2,}h?|(?:he){2,}|lo+l|lmf?ao|rofl)\b"
        r"|哈{2,}|嘿{2,}|嘻{2,}|笑死|太好笑|(?<!\d)23{2,}(?!\d)|[😂🤣😆😄😹]",
        re.IGNORECASE,
    ),
    "understood": re.compile(
        r"\byou (?:really |do |truly )?(?:get|understand) me\b(?!\s*(?:wrong|a\b|some\b|the\b|\?))"
        r"|(?<!不)(?:你|妳)(?:真|真的|最|可真|还是|太)?懂我(?!吗|么)",
        re.IGNORECASE,
    ),
    "zombie": re.compile(
        r"\b(?:you(?:'re| are)?(?: such)?(?: an?)?|like a) zombie\b"
        r"|(?:你|像)[^。！？!?]{0,4}(?:僵尸|殭屍)",
        re.IGNORECASE,
    ),
}
_DENIAL = re.compile(r"\b(?:don'?t|do not|never|not|aren'?t)\b|[不没别]", re.IGNORECASE)


def recognise(text: str) -> tuple[str, ...]:
    """Return the signals in what the companion said, each at most once.

    A denial just before the words ("you're not a zombie", "你不懂我") silences them.
    """
    text = text.replace("’", "'")
    found = []
    for signal, pattern in _PATTERNS.items():
        for match in pattern.finditer(text):
            is_praise_or_blame = signal != "laughter"
            around = text[max(0, match.start() - 8) : match.end()]
            if not (is_praise_or_blame and _DENIAL.search(around)):
                found.append(signal)
                break
    return tuple(found)
