# SPDX-License-Identifier: Apache-2.0
"""Hearing and turn-taking, with a detector and a recognizer that say what the test wants."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from parrot.app.dialogue import Dialogue, Watcher
from parrot.app.ears import Ears, Heard
from parrot.app.engine_thread import StepEngine
from parrot.app.mouth import Mouth
from parrot.base.audio import Samples, Sound
from parrot.base.clock import ManualClock
from parrot.base.errors import ConfigError, DeviceMissing, EngineError
from parrot.engine.model import Model
from parrot.faces.speaker import SoundSpeaker
from parrot.faces.voice import Voice
from parrot.mind.companion import Companion, Manner
from parrot.mind.soul import Soul
from parrot.senses.echo import EchoGuard
from parrot.senses.microphone import BLOCK
from parrot.senses.recognizer import check_length, is_looping
from parrot.senses.vad import Endpointer, Hush, Patience

LOUD = np.full(BLOCK, 0.2, np.float32)
QUIET = np.zeros(BLOCK, np.float32)


class ByLevel:
    """A voice detector that takes whatever is loud for speech."""

    def __init__(self) -> None:
        self.n_asked = 0

    def feed(self, block: Samples) -> float:
        self.n_asked += 1
        return 0.9 if block.max() > 0.1 else 0.1

    def reset(self) -> None:
        self.n_asked += 0


class Counts:
    """A recognizer that says how many tenths of a second were loud."""

    languages = ("en",)

    def recognize(self, samples: Samples, is_aborted: Callable[[], bool] | None = None) -> str:
        n = round((samples > 0.1).sum() / 1600)
        return f"loud {n}" if n else ""


class Beep:
    """A voice that beeps for a tenth of a second a word, and keeps what it was asked to say."""

    languages = ("en",)

    def __init__(self) -> None:
        self.said: list[str] = []

    def synthesize(self, text: str, language: str) -> Sound:
        self.said.append(text)
        if "fail" in text:
            raise EngineError("beep: told to fail, expected a word; say another.")
        return Sound(np.full(1600 * len(text.split()), 0.3, np.float32), 16_000)


def feed(ears: Ears, blocks: list[Samples]) -> list[Heard]:
    return [heard for block in blocks if (heard := ears.feed(block))]


# ---- endpointing


def test_an_utterance_opens_after_speech_and_closes_after_silence() -> None:
    endpointer = Endpointer(ByLevel(), Patience(begin_s=0.1, end_s=0.32, before_s=0.1))
    ended = [endpointer.feed(b) for b in [QUIET] * 20 + [LOUD] * 10 + [QUIET] * 12]
    utterances = [u for u in ended if u is not None]
    assert len(utterances) == 1
    n_loud = int((utterances[0] > 0.1).sum()) // BLOCK
    assert n_loud == 10  # nothing of the beginning is lost
    assert len(utterances[0]) // BLOCK <= 10 + 10 + 4


def test_a_click_opens_nothing() -> None:
    endpointer = Endpointer(ByLevel())
    assert not any(endpointer.feed(b) is not None for b in ([LOUD] * 2 + [QUIET] * 20) * 20)
    assert not endpointer.is_speaking


def test_an_endless_utterance_is_cut() -> None:
    endpointer = Endpointer(ByLevel(), Patience(longest_s=1.0))
    lengths = [len(u) for u in (endpointer.feed(LOUD) for _ in range(100)) if u is not None]
    assert lengths and all(length <= 16_000 + BLOCK for length in lengths)


def test_a_quiet_room_does_not_ask_the_network() -> None:
    inner = ByLevel()
    hush = Hush(inner)
    rng = np.random.default_rng(0)
    for _ in range(200):
        hush.feed((0.0002 * rng.standard_normal(BLOCK)).astype(np.float32))
    settled = inner.n_asked
    for _ in range(200):
        hush.feed((0.0002 * rng.standard_normal(BLOCK)).astype(np.float32))
    assert inner.n_asked == settled
    assert hush.feed(LOUD) == 0.9


# ---- ears


def test_the_words_are_there_when_the_silence_ends() -> None:
    ears = Ears(Endpointer(ByLevel()), Counts())
    heard = feed(ears, [QUIET] * 5 + [LOUD] * 25 + [QUIET] * 25)
    assert [h.is_final for h in heard] == [False, True]
    assert {h.text for h in heard} == {"loud 8"}


def test_a_pause_gives_a_partial_transcript_and_then_the_whole() -> None:
    ears = Ears(Endpointer(ByLevel()), Counts())
    heard = feed(ears, [LOUD] * 25 + [QUIET] * 12 + [LOUD] * 25 + [QUIET] * 25)
    assert [(h.text, h.is_final) for h in heard] == [
        ("loud 8", False), ("loud 16", False), ("loud 16", True)]  # fmt: skip


def test_what_is_said_last_is_not_lost() -> None:
    ears = Ears(Endpointer(ByLevel()), Counts())
    feed(ears, [LOUD] * 25)
    assert ears.flush() == Heard("loud 8", True)
    assert ears.flush() is None


def test_loops_are_found_and_long_sounds_refused() -> None:
    assert is_looping([1, 2, 3, 4, 5, 4, 5, 4, 5]) == 4
    assert is_looping([7] * 6) == 5
    assert is_looping([1, 2, 1, 2, 3]) == 0
    assert is_looping([8, 8, 8]) == 0  # 哈哈哈
    with pytest.raises(ConfigError, match="600 s, expected at most"):
        check_length(np.zeros(600 * 16_000, np.float32))


def test_the_guard_tells_the_owner_from_the_echo() -> None:
    guard = EchoGuard()
    assert guard.feed(0.1, 0.0)
    assert not guard.feed(0.0001, 0.0)
    assert not any(guard.feed(0.05, 0.2) for _ in range(50))  # echo of a quarter
    assert guard.feed(0.2, 0.2)
    assert not guard.feed(0.06, 0.2)


def test_the_guard_learns_a_louder_room() -> None:
    guard = EchoGuard()
    for _ in range(20):
        guard.feed(0.02, 0.2)
    answers = [guard.feed(0.15, 0.2) for _ in range(100)]
    assert answers[0] and not answers[-1]


# ---- the mouth


def open_mouth() -> tuple[Mouth, Beep, SoundSpeaker]:
    beep, speaker = Beep(), SoundSpeaker(16_000)
    return Mouth(Voice({"en": lambda: beep}), speaker), beep, speaker


def test_clauses_are_spoken_in_order_while_text_comes() -> None:
    mouth, beep, speaker = open_mouth()
    reply = mouth.begin()
    for char in "One two three. Four five, six seven!":
        mouth.feed(char, reply)
    mouth.finish(reply)
    mouth.wait()
    mouth.close()
    assert beep.said == ["One two three.", "Four five,", "six seven!"]
    assert (speaker.sound.samples > 0.1).sum() == 1600 * 7


def test_nothing_is_spoken_after_hush() -> None:
    mouth, beep, speaker = open_mouth()
    reply = mouth.begin()
    mouth.feed("First of all. ", reply)
    mouth.wait()
    mouth.hush()
    mouth.feed("Second. Third. ", reply)
    mouth.finish(reply)
    mouth.wait()
    n_before = len(speaker.sound.samples)
    later = mouth.begin()
    mouth.feed("Another reply. ", later)
    mouth.finish(later)
    mouth.wait()
    mouth.close()
    assert beep.said == ["First of all.", "Another reply."]
    assert len(speaker.sound.samples) > n_before


def test_a_voice_that_fails_is_told_and_the_next_clause_is_said() -> None:
    mouth, beep, _ = open_mouth()
    reply = mouth.begin()
    mouth.feed("This will fail. This is fine. ", reply)
    mouth.finish(reply)
    mouth.wait()
    mouth.close()
    assert mouth.trouble and "told to fail" in mouth.trouble
    assert beep.said[-1] == "This is fine."


def test_a_speaker_that_is_away_does_not_end_the_talk() -> None:
    class Away(SoundSpeaker):
        def play(self, sound: Sound) -> bool:
            raise DeviceMissing("aplay: the speaker does not answer; plug it in.", device="x")

    beep = Beep()
    mouth = Mouth(Voice({"en": lambda: beep}), Away(16_000))
    reply = mouth.begin()
    mouth.feed("Is anybody there? Hello again. ", reply)
    mouth.finish(reply)
    mouth.wait()
    mouth.close()
    assert beep.said == ["Is anybody there?", "Hello again."]
    assert mouth.trouble and "plug it in" in mouth.trouble


def test_text_of_a_language_without_a_voice_is_passed_over() -> None:
    mouth, beep, _ = open_mouth()
    reply = mouth.begin()
    mouth.feed("привет мир. 你好呀。 Hello there. ", reply)
    mouth.finish(reply)
    mouth.wait()
    mouth.close()
    assert beep.said == ["Hello there."]


# ---- the dialogue


def open_dialogue(*, hands_free: bool) -> tuple[Dialogue, ManualClock, Beep, list[tuple[str, str]]]:
    clock, events = ManualClock(), list[tuple[str, str]]()
    companion = Companion(
        Model.open(threads=1), Soul.in_memory(), clock, Manner(seed=3, max_bytes=60)
    )
    mouth, beep, _ = open_mouth()
    watcher = Watcher(
        partial=lambda text: events.append(("partial", text)),
        heard=lambda text: events.append(("heard", text)),
        piece=lambda text: events.append(("piece", text)),
        trouble=lambda text: events.append(("trouble", text)),
    )
    ears = Ears(Endpointer(ByLevel()), Counts())
    engine = StepEngine(companion, clock)
    dialogue = Dialogue(ears, mouth, engine, watcher, hands_free=hands_free)
    return dialogue, clock, beep, events


def run_on(dialogue: Dialogue, clock: ManualClock, blocks: list[Samples]) -> None:
    for block in blocks:
        clock.advance_ms(32)
        dialogue.feed(block)


def let_finish(dialogue: Dialogue, clock: ManualClock) -> None:
    for _ in range(5_000):
        if not dialogue.is_answering:
            break
        clock.advance_ms(32)
        dialogue.deliver()
        time.sleep(0.0005)
    dialogue.engine.close()
    dialogue.mouth.close()


def test_hands_free_an_utterance_is_answered_aloud() -> None:
    dialogue, clock, beep, events = open_dialogue(hands_free=True)
    run_on(dialogue, clock, [QUIET] * 10 + [LOUD] * 25 + [QUIET] * 25)
    let_finish(dialogue, clock)
    said = "".join(text for kind, text in events if kind == "piece")
    assert [e for e in events if e[0] == "heard"] == [("heard", "loud 8")]
    assert said and beep.said
    assert ("partial", "loud 8") in events


def test_the_owner_speaking_ends_the_reply_within_200_ms() -> None:
    dialogue, clock, _, _ = open_dialogue(hands_free=True)
    run_on(dialogue, clock, [LOUD] * 25 + [QUIET] * 20)
    assert dialogue.engine.is_busy
    n_blocks = 0
    before = dialogue.mouth.begin()
    while dialogue.mouth._reply == before and n_blocks < 100:
        run_on(dialogue, clock, [LOUD])
        n_blocks += 1
    assert n_blocks * 32 <= 200 - 50  # the detector itself needs a block, the card's buffer some
    let_finish(dialogue, clock)


def test_push_to_talk_records_between_two_presses() -> None:
    dialogue, clock, _, events = open_dialogue(hands_free=False)
    run_on(dialogue, clock, [LOUD] * 20)  # not pressed: nothing is heard
    dialogue.press()
    assert dialogue.is_recording
    run_on(dialogue, clock, [LOUD] * 25)
    dialogue.press()
    assert not dialogue.is_recording
    let_finish(dialogue, clock)
    assert [e for e in events if e[0] == "heard"] == [("heard", "loud 8")]


def test_a_transcript_may_be_corrected_or_dropped() -> None:
    dialogue, clock, _, events = open_dialogue(hands_free=False)
    dialogue.edit = lambda text: {"loud 8": "hello", "loud 16": ""}[text]
    for n_blocks in (25, 50):
        dialogue.press()
        run_on(dialogue, clock, [LOUD] * n_blocks)
        dialogue.press()
    let_finish(dialogue, clock)
    assert [text for kind, text in events if kind == "heard"] == ["hello"]


def test_silence_is_not_answered() -> None:
    dialogue, clock, _, events = open_dialogue(hands_free=False)
    dialogue.press()
    run_on(dialogue, clock, [QUIET] * 10)
    dialogue.press()
    let_finish(dialogue, clock)
    assert events == []
