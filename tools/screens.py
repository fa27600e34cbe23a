# SPDX-License-Identifier: Apache-2.0
"""Draw the golden screens of the app in both languages: `python -m tools.screens`.

Each is what the glass shows after some keys, in virtual time. Look at each file before committing.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from parrot.app.assemble import add_composer, virtual_rig
from parrot.app.catalogue import LANGUAGES
from parrot.app.conversation import Self
from parrot.app.engine_thread import Job
from parrot.app.loop import Hand
from parrot.app.screens_voice import ListenScreen
from parrot.base.clock import ManualClock
from parrot.base.errors import DeviceTimeout
from parrot.base.files import replace_file
from parrot.engine.generate import Abort
from parrot.engine.model import Model
from parrot.faces.framebuffer import Framebuffer
from parrot.faces.png import png_bytes
from parrot.mind.companion import Companion
from parrot.mind.entry import Entry
from parrot.mind.hormones import HORMONES
from parrot.mind.turn import Turn
from parrot.senses.scripted_keypad import ScriptedKeypad, parse_script

FOLDER = Path("tests/golden/screens")
SETTLE_MS = 200  # the parrot is awake then, and a pose is taken
SCRIPTS = {
    "home": "wait 400",
    "home_reply": "wait 400",
    "home_thinking": "wait 400",
    "chat": "wait 300\nhold * 500",
    "chat_empty": "wait 200\ntap *",
    "composer_empty": "wait 300\ntap D",
    "composer_word": "wait 300\ntap 64426",
    "composer_sentence": "wait 300\ntap 5468426842674936639264",
    "composer_page": "wait 300\ntap 64426##",
    "composer_syllables": "wait 300\ntap 644261",
    "composer_middle": "wait 300\ntap 64426D0546842694",
    "composer_english": "wait 300\ntap DB4663",
    "composer_digits": "wait 300\ntap DBB20261122",
    "composer_symbols": "wait 300\ntap DBBB",
    "menu": "wait 200\ntap C",
    "menu_middle": "wait 300\ntap C6",
    "menu_end": "wait 200\ntap C*",
    "diary": "wait 300\ntap C3D",
    "diary_turn": "wait 300\ntap C3D#D",
    "diary_night": "wait 300\ntap C3DD",
    "mood": "wait 200\ntap C4D",
    "voice": "wait 300\ntap C5D",
    "voice_sound": "wait 300\ntap C5D5D#",
    "listening": "wait 400",
    "listening_partial": "wait 400",
    "reading": "wait 900",
    "sleep": "wait 300\ntap C6D\nwait 300",
    "sleep_over": "wait 300\ntap C6D\nwait 2500",
    "persona": "wait 300\ntap C7D",
    "persona_ask": "wait 300\ntap C7D2D",
    "memory": "wait 300\ntap C8D",
    "memory_one": "wait 300\ntap C8DD",
    "memory_forget": "wait 300\ntap C8DD3",
    "states": "wait 200\ntap C9D",
    "sampling": "wait 200\ntap C9#D66",
    "brightness": "wait 200\ntap C9##D4",
    "doctor": "wait 300\ntap C***D",
    "doctor_ill": "wait 300\ntap C***D",
    "about": "wait 300\ntap C**D",
    "undo": "wait 300\ntap C2D",
    "power_off": "wait 200\ntap C*D",
    "notice": "wait 400",
    "notice_long": "wait 400",
}
TALK = {
    "en": (("Good morning! Did you sleep well?", "Like a stone in warm sand. And you?"),
           ("I dreamt of the sea.", "Then tell me: was it calm, or did it have something to say?")),
    "zh": (("早上好，睡得怎么样？", "像沙子里的石头，又暖又沉。你呢？"),
           ("我梦见了大海。", "那告诉我，它是安静的，还是有话要说？")),
}  # fmt: skip
TOLD = {
    "en": ("The blue key opens the shed.", "My sister Ada was born in May."),
    "zh": ("蓝色的钥匙开仓库的门。", "我妹妹小艾是五月生的。"),
}
HEARD = {"en": "Tell me about the sea, and", "zh": "给我讲讲大海，还有"}
NOTICES = {
    "en": ("Nothing said yet.", "/home/parrot/soul.db: no space left; free some space. "
           "The talk goes on, unkept."),
    "zh": ("还没说过话。", "/home/parrot/soul.db: no space left; free some space. "
           "The talk goes on, unkept."),
}  # fmt: skip
NIGHT = {"day_turns": 12, "crystals_new": 3, "crystals_merged": 1, "packed_turns": 256}
DAY_S = 1_795_305_600.0  # 2026-11-22, 00:00 UTC


def lived(language: str) -> Self:
    """Return a life that no model has to live: the pictures outlast the bundled model."""
    turns = tuple(
        Turn(i, i - 1, DAY_S + 3600 * (7 + i), b"", 100 * i, heard.encode(), said.encode())
        for i, (heard, said) in enumerate(TALK[language], 1)
    )
    return Self(
        turns=turns, mood=dict.fromkeys(HORMONES, 0.3), model="parrot.gguf 0123456789abcdef",
        position=12_345, line="main", is_kept=True, nights=((DAY_S + 3600 * 9.5, NIGHT),),
    )  # fmt: skip


def told(language: str) -> Job:
    """Return a job that lets the parrot have been told two things, and remember them."""

    def work(companion: Companion, abort: Abort) -> Iterator[object]:
        for i, text in enumerate(TOLD[language], 1):
            model = bytes.fromhex(companion.model.id)
            turn = Turn(i, i - 1, DAY_S + 3600 * i, model, 0, text.encode(), b"")
            companion.soul.add(Entry(turn))
            companion.soul.remember(text, DAY_S + 3600 * i)
        companion.soul.pin(1, True)
        yield None

    return Job(work)


def pose(hand: Hand, name: str, language: str) -> None:
    """Put the talk into the state that the picture is about; the model is not asked again."""
    talk = hand.talk
    talk.is_awake = not name.startswith("composer")  # asleep, it ranks no sentences
    if name in ("home_reply", "home_thinking", "chat", "diary", "diary_turn", "diary_night", "undo",
                "doctor", "about", "menu_middle"):  # fmt: skip
        talk.me = lived(language)
    if name in ("home_reply", "home_thinking"):
        talk.is_answering = True
        talk.heard, talk.said = TALK[language][1]
        talk.said = talk.said[:-6] if name == "home_reply" else ""
    if name == "doctor_ill":
        talk.me = replace(talk.me, model="", trouble=NOTICES[language][1])
        hand.panel_fault = DeviceTimeout("panel ssd1306 stopped answering; check the wires.")
    if name in ("sleep", "sleep_over", "memory", "memory_one", "memory_forget"):
        hand.engine.submit(told(language))
    if name in ("listening", "listening_partial", "reading"):
        voice = hand.voice
        voice.is_recording, voice.is_reading = name != "reading", name == "reading"
        voice.partial = HEARD[language] if name != "listening" else ""
        voice.level = 0.7
        hand.desk.push(ListenScreen(hand.desk, None))
    if name in ("notice", "notice_long"):
        talk.notice = NOTICES[language][name == "notice_long"]


@contextmanager
def utc() -> Iterator[None]:
    """The diary shows local time: while pictures are drawn, that is UTC."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    try:
        yield
    finally:
        del os.environ["TZ"]
        os.environ.update({} if before is None else {"TZ": before})
        time.tzset()


def screen(model: Model, name: str, language: str) -> Framebuffer:
    """Return the glass at the end of a script."""
    edges, length_ms = parse_script(SCRIPTS[name])
    rig = virtual_rig(model, ScriptedKeypad(edges), language)
    add_composer(rig.hand)
    assert isinstance(rig.clock, ManualClock)
    with utc():
        for now_ms in range(0, length_ms + SETTLE_MS, 10):
            rig.hand.tick()
            if now_ms == SETTLE_MS:
                pose(rig.hand, name, language)
            rig.clock.advance_ms(10)
    rig.hand.engine.close()
    return rig.glass.glass()


def main() -> int:
    model = Model.open(threads=1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in SCRIPTS:
        for language in LANGUAGES:
            glass = screen(model, name, language)
            replace_file(FOLDER / f"{name}_{language}.png", png_bytes(glass))
    print(f"{FOLDER}: {len(SCRIPTS) * len(LANGUAGES)} screens")
    return 0


if __name__ == "__main__":
    sys.exit(main())
