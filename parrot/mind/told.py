# SPDX-License-Identifier: Apache-2.0
"""What a turn tells of its speaker: names, home, family, likes, things owned; English and Chinese.

Judged by the sentence, so that "I'm Tom. What's your name?" keeps its first half. It is a list of
forms, not an understanding: docs/mind.md has the share it finds.
"""

from __future__ import annotations

import re

# What tells of the companion's own life, by the sentence: names, home, family, likes, things owned.
_TELLS = re.compile(
    # my cat is called Momo; my sister's name is Anna; our house number is 12; my brother likes tea
    r"\b(?:my|our)\s+(?!god\b|point\b|turn\b|question\b|bad\b|head\b|feet\b|back\b)"
    r"(?:[\w-]+\s+){0,4}[\w-]+(?:['’]s)?\s+(?:is|are|was|has|lives?|likes?|loves|works?|called|named)\b"
    r"|\b(?:my|our)\s+(?:[\w-]+\s+){0,2}\w+['’]s\s+(?:name|birthday|called|on|in|[A-Z])"
    r"|\bmy name['’]s\b"
    # call me Bea; I live in Oslo; I come from ...; I really don't like fish
    r"|\b(?<!n['’]t )(?<!not )call me\s+[\w-]+$"
    r"|\bi(?:['’]?m| am)\s+(?:called|from|a|an|the)\s+[\w-]+"
    r"|\b(?:i|we)(?:['’]ve| have)?\s+"
    r"(?:live|lived|come from|was born|were born|work|moved|turned)\s+[\w-]+"
    r"|\bi\s+(?:really\s+|also\s+)?(?:don['’]?t\s+|do not\s+)?(?:like|love|hate)\s+"
    r"(?!it\b|you\b|this\b|that\b|them\b|him\b|her\b)[\w-]+"
    r"|\b(?:i|we)(?:['’]ve got|\s+have(?: got)?|\s+keep)\s+(?:a|an|one|two|three|four|five|\d+)\s+"
    r"(?!question\b|idea\b|headache\b|cold\b|problem\b|secret\b|lot\b|bit\b|plan\b)[\w-]+"
    r"|\bi(?:['’]?m| am)\s+(?:\d+|one|two|three|four|five|six|seven|eight|nine|ten)"
    r"(?:\s+years?\b.*)?$"
    r"|\bi\s+put\s+my\b|\b[\w-]+\s+is\s+my\s+(?:[\w-]+\s+){0,2}[\w-]+$"
    r"|\bthe\s+(?:secret\s+word|password|number i need)\s+is\b"
    # 我叫小明，我妹妹的名字叫小红，我家的狗叫豆豆，我爸爸是医生
    r"|我把[^，。]{1,10}放|是我(?:的|最好的|养的)|我叫(?![你您他她它我了])|我姓|我[^，。]{0,6}(?:名字|外号|生日|电话|门牌|暗号|密码)[^，。]{0,4}(?:是|叫|在)"
    r"|我[^，。你]{1,6}叫(?!我|你|他|她|了)"
    r"|我(?:的|家|爸|妈|爷|奶|哥|姐|弟|妹|叔|姑|舅|姨|老公|老婆|儿子|女儿|最好)[^，。]{0,8}(?:是|在|住|养|姓|有)"
    r"|我(?:现在)?(?:住|来自|在[^，。]{1,8}(?:工作|上班|上学|读书|长大))|我家(?:在|住|有|养|的)"
    r"|我最?不?(?:喜欢|爱(?=[吃喝玩看听做唱跳画读打爬骑钓游跑])|讨厌|怕)(?![你您他她它死])"
    r"|我(?:养了?|有了?|家有)(?:一|两|三|四|五|六|\d)(?:只|条|个(?!问题|事|主意|想法)|匹|头|辆|双|本|对)"
    r"|我(?:今年|刚满|已经|都)?[\d一二三四五六七八九十]+岁|我是(?:[\d一二三四五六七八九十]+月|老师|医生|学生|护士|司机|厨师|工人|农民|警察)",
    re.IGNORECASE,
)
_NAME = re.compile(
    r"\bI['’]?(?:m| am) (?!Sorry|Fine|Good|Ok|Tired|Sad|Happy|Back|Here)[A-Z][a-z]+$"
)
_ASKS = re.compile(
    r"^\s*(?:do|does|did|is|are|can|could|will|would|shall|am)\s+(?:i|you|we|he|she|it|they|my|the)\b"
    r"|\b(?:what|who|whose|where|when|which|why|how)\b.{0,30}\b(?:i|you|my|your|our|we|is|are)\b"
    r"|什么|怎么|怎样|谁|啥|咋|哪|几[^乎]|多少|多[大久高远]|[吗呢]$|忘了|猜",
    re.IGNORECASE,
)
_TOPICS = tuple(
    (re.compile(form, re.IGNORECASE), words)
    for form, words in (
        (r"\bcall me\b|\bwho am i\b|\bmy name\b|我叫|我姓|我的名字|我是谁", "name 名字 我叫"),
        (r"\b(?:i['’]?m|i am) \d+\b|\bhow old am i\b|我.{0,4}岁|我.{0,3}多大", "age 岁数"),
        (r"\bi live\b|\bdo i live\b|\bmy home\b|我.{0,3}住", "live home 住在"),
    )
)
_SENTENCES = re.compile(r"[^.!?。！？\n]+[.!?。！？]*")
_SENTENCES_MAX, _SENTENCE_MAX = 8, 200  # of a turn that are looked at, and characters of each
_QUESTION = re.compile(r"[?？]\s*$|吗[。！!]?\s*$")


def told_of_oneself(text: str) -> str | None:
    """Return the sentences that tell of the companion's own life, or None; none that asks."""
    told = []
    for sentence in _SENTENCES.findall(text[: _SENTENCES_MAX * _SENTENCE_MAX])[:_SENTENCES_MAX]:
        whole = sentence.strip()
        clauses = re.split(r"[,，;；]\s*", whole) if is_asking(whole) else [whole]
        told += [c for c in clauses if len(c) <= _SENTENCE_MAX and _is_telling(c)]
    return " ".join(told) or None


def topic(text: str) -> str:
    """Return words for what a turn is about without saying it: "I'm Tom" and "who am I" are of a
    name, "I am 9" and 我多大 of an age.
    """
    clauses = re.split(r"[.!?,。！？，\n]\s*", text[: _SENTENCES_MAX * _SENTENCE_MAX])
    found = [words for form, words in _TOPICS if form.search(text[:_SENTENCE_MAX])]
    if any(_NAME.search(clause) for clause in clauses):
        found.append(_TOPICS[0][1])
    return " ".join(dict.fromkeys(found))


def ends_as_question(text: str) -> bool:
    """Say whether a turn ends with the mark, or the word, of a question."""
    return bool(_QUESTION.search(text))


def is_asking(sentence: str) -> bool:
    """Say whether a sentence asks something, with or without its mark."""
    return bool(ends_as_question(sentence) or _ASKS.search(sentence.rstrip(" .!。！")))


def _is_telling(sentence: str) -> bool:
    bare = sentence.rstrip(" .!。！")
    return not is_asking(sentence) and bool(_TELLS.search(bare) or _NAME.search(bare))
