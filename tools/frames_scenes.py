# SPDX-License-Identifier: Apache-2.0
"""The scenes of the golden frames: a name, and how to draw it at one fixed instant."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from parrot.faces import icon
from parrot.faces.face import Expression, Face, Mood
from parrot.faces.font import Font
from parrot.faces.framebuffer import Box, Framebuffer
from parrot.faces.text import draw_text
from parrot.faces.view import ComposerView, Item, ListView, TextView
from parrot.faces.widget import (
    BODY,
    CandidatePage,
    Meter,
    draw_candidates,
    draw_dialog,
    draw_hints,
    draw_meters,
    draw_progress,
    draw_status_bar,
)

Scene = Callable[[Framebuffer, Font], None]

EVEN = Mood()
FULL = Box(32, 0, 64, 64)
BAR = Box(0, 51, 128, 13)
ZH = (
    "你好呀！我是一只住在手心里的小鹦鹉，名字还没起。你今天过得怎么样？要是累了，就跟我说说话"
    "吧——我会一直记得的。"
)
EN = (
    "Hello! I’m a small parrot living in your hand. I “remember” everything you tell me, "
    "even unbelievably-long-words like Donaudampfschifffahrt."
)

MIXED = "它说“hello world！”然后（真的）飞走了……我等了2小时30分，它才回来。"
FORGET = "忘掉这段记忆？忘了就找不回来了。"
SIGNS = [
    "缺字：\U00020000 ก",
    "鱻龘麤灪齉龗爨靐龖䶮",
    "ÀÉÑ ÜßŐŠ ĈĝǑ ẞ",
    "←↑→↓★☆♥♪✓✗",
    "Привет, αβγ 안녕",
]
EMOJI = [
    "😂🤣😄😁😆😅😊🙂😀😍",
    "🥰😘😋😜😏😎🤔🙄😳🤗",
    "😢😭🥺😔😞😡😱😮😴😉",
    "❤💔💕💖👍👎👏🙏👋👌",
    "💪👀🔥✨🎉🎂🌹🦜🐦☕",
]


def face(
    frame: Framebuffer, font: Font, expression: Expression, mood: Mood = EVEN, at_ms: int = 2_950
) -> None:
    Face(expression).draw(frame, FULL, mood, at_ms)


def speaking(frame: Framebuffer, font: Font, voice: float) -> None:
    Face(Expression.SPEAKING).draw(frame, FULL, Mood(), 2_950, voice)


def face_in_chat(frame: Framebuffer, font: Font) -> None:
    view = TextView(font, Box(48, 2, 80, 60))
    view.feed("今天有人陪我说话，真开心！😊")
    view.draw(frame)
    Face(Expression.HAPPY).draw(frame, Box(0, 16, 48, 48), Mood(), 2_950)


def text(frame: Framebuffer, font: Font, words: str, scroll: int = -99) -> None:
    view = TextView(font)
    view.feed(words)
    view.scroll(scroll)
    view.draw(frame)


def rows(frame: Framebuffer, font: Font, lines: list[str]) -> None:
    for i, line in enumerate(lines):
        draw_text(frame, font, 2, 2 + 12 * i, line)


def menu(frame: Framebuffer, font: Font, title: str, items: list[Item], selected: int) -> None:
    draw_status_bar(frame, font, title, [icon.MICROPHONE, icon.battery(0.6)], "21:47")
    ListView(font, BODY, items, selected).draw(frame, 0)


def walking_list(frame: Framebuffer, font: Font) -> None:
    draw_status_bar(frame, font, "A long title that has no room", [icon.HEART], "07:05")
    items = [
        Item("a name that is far too long for its row", "on"),
        Item("another one of those, not selected"),
    ]
    view = ListView(font, BODY, items)
    view.draw(Framebuffer(), 0)
    view.draw(frame, 2_400)


def icons(frame: Framebuffer, font: Font) -> None:
    pictures = [icon.MICROPHONE, icon.SPEAKER, icon.MUTED, icon.MOON, icon.CRYSTAL, icon.HEART,
                icon.WARNING, icon.PLUG]  # fmt: skip
    draw_status_bar(frame, font, "", pictures)
    for i, share in enumerate((0.0, 0.1, 0.5, 1.0)):
        frame.blit(icon.battery(share), 4 + 20 * i, 18)
    icon.draw_digits(frame, 4, 34, "0123456789")
    draw_progress(frame, font, Box(4, 44, 56, 7), 0.4)
    draw_progress(frame, font, Box(68, 44, 56, 7), None, 700)
    draw_progress(frame, font, Box(4, 54, 120, 5), 1.0)


def progress(frame: Framebuffer, font: Font) -> None:
    draw_status_bar(frame, font, "做梦中", [icon.MOON, icon.battery(0.9)])
    draw_text(frame, font, 10, 18, "正在整理今天的记忆")
    draw_progress(frame, font, Box(8, 32, 112, 14), 0.52)
    draw_hints(frame, font, 50, [("A", "停下")])


def meters(frame: Framebuffer, font: Font, labels: tuple[str, ...]) -> None:
    draw_status_bar(frame, font, "心情" if labels[0] > "z" else "Mood", [icon.HEART])
    levels, baselines = (0.72, 0.18, 0.95, 0.4), (0.5, 0.2, 0.3, 0.1)
    made = [Meter(*each) for each in zip(labels, levels, baselines, strict=True)]
    draw_meters(frame, font, BODY, made)


def composer(frame: Framebuffer, font: Font) -> None:
    draw_status_bar(frame, font, "中", [], "3/20")
    view = ComposerView(font, Box(0, 15, 128, 24))
    view.draw(frame, "今天天气真好，我们去公园", 12, "san'bu", is_cursor_on=True)
    draw_text(frame, font, 2, 39, "726'28")
    candidates = ["散步", "三部", "散布", "三"]
    draw_candidates(frame, font, BAR, CandidatePage(candidates, 0, has_after=True))


def composer_middle(frame: Framebuffer, font: Font) -> None:
    view = ComposerView(font, Box(0, 2, 128, 48))
    view.draw(frame, "The cursor stands inside of a word, like here.", 30, "", is_cursor_on=True)
    page = CandidatePage(["is", "in", "it", "its"], 2, has_before=True, has_after=True)
    draw_candidates(frame, font, BAR, page)


def dialog(
    frame: Framebuffer, font: Font, words: str, choices: tuple[str, ...], selected: int = 0
) -> None:
    Face().draw(frame, FULL, Mood(), 0)
    draw_dialog(frame, font, words, choices, selected)


def hints(frame: Framebuffer, font: Font) -> None:
    text(frame, font, "按住 D 说话，按 C 打开菜单。", 0)
    draw_hints(frame, font, 36, [("A", "返回"), ("C", "菜单"), ("D", "说话")])
    draw_hints(frame, font, 50, [("A", "Back"), ("D", "Talk")])


SETTINGS = [Item("人格", "温柔"), Item("状态", "每天"), Item("记忆", "1,204"), Item("声音", "开"),
            Item("采样", "0.8"), Item("睡觉"), Item("日记"), Item("关于")]  # fmt: skip
STATES = [Item("Today", icon=icon.HEART), Item("Before the holidays", icon=icon.CRYSTAL)]

SCENES: dict[str, Scene] = {
    **{f"face_{e.value}": partial(face, expression=e) for e in Expression},
    "face_yawn": partial(face, expression=Expression.SLEEPY, at_ms=500),
    "face_voice_loud": partial(speaking, voice=1.0),
    "face_voice_soft": partial(speaking, voice=0.3),
    "mood_radiant": partial(face, expression=Expression.CALM, mood=Mood(0.9, 0.1, 0.9)),
    "mood_stressed": partial(face, expression=Expression.CALM, mood=Mood(0.3, 0.95, 0.1)),
    "mood_tired": partial(face, expression=Expression.CALM, mood=Mood(tiredness=0.9)),
    "mood_unsure": partial(face, expression=Expression.SPEAKING, mood=Mood(confidence=0.2)),
    "face_in_chat": face_in_chat,
    "text_zh": partial(text, words=ZH),
    "text_zh_end": partial(text, words=ZH * 3, scroll=99),
    "text_en": partial(text, words=EN),
    "text_mixed": partial(text, words=MIXED),
    "text_signs": partial(rows, lines=SIGNS),
    "emoji": partial(rows, lines=EMOJI),
    "menu_zh": partial(menu, title="菜单", items=SETTINGS, selected=5),
    "menu_en": partial(menu, title="States", items=STATES, selected=1),
    "list_walking": walking_list,
    "icons": icons,
    "progress": progress,
    "meters_zh": partial(meters, labels=("愉快", "压力", "亲近", "疲倦")),
    "meters_en": partial(meters, labels=("Reward", "Stress", "Bond", "Tiredness")),
    "composer": composer,
    "composer_middle": composer_middle,
    "dialog_confirm": partial(dialog, words=FORGET, choices=("留着", "忘掉")),
    "dialog_en": partial(dialog, words="Power off now?", choices=("Stay", "Power off"), selected=1),
    "dialog_notice": partial(dialog, words="屏幕没有应答：请检查 SDA、SCL 和供电。", choices=()),
    "hints": hints,
}  # fmt: skip
