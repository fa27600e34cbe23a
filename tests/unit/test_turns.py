# SPDX-License-Identifier: Apache-2.0
"""Hearing and turn-taking, with a detector and a recognizer that say what the test wants."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from parrot.app.conversation import Conversation
from parrot.app.dialogue import Dialogue, Watcher
from parrot.app.ears import Ears, Heard
from parrot.app.engine_thread import StepEngine
from parrot.app.mouth import Mouth
from parrot.base.audio import Samples, Sound
from parrot.base.clock import ManualClock
from parrot.base.errors import ConfigError, DeviceMissing
from parrot.engine.model import Model
from parrot.faces.speaker import SoundSpeaker
from parrot.faces.voice import Voice
from parrot.mind.companion import Companion, Manner
from parrot.mind.soul import Soul
from parrot.senses.echo import EchoGuard
from parrot.senses.microphone import BLOCK
from parrot.senses.recognizer import check_length, is_looping
from parrot.senses.vad import Endpointer, Hush, Patience
from tests.hardware.speech_doubles import LOUD, QUIET, Beep, ByLevel, Counts


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
    mouth.feed("Half of a", reply)
    mouth.hush()
    later = mouth.begin()
    mouth.feed("Second. Third. A stale word ", reply)
    mouth.finish(reply)
    mouth.wait()
    n_before = len(speaker.sound.samples)
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


def test_text_does_not_wait_for_a_speaker_that_is_away() -> None:
    back = threading.Event()

    class Slow(SoundSpeaker):
        def play(self, sound: Sound) -> bool:
            if not back.wait(0.05):
                raise DeviceMissing("aplay: the speaker does not answer; plug it in.", device="x")
            return super().play(sound)

    beep, slow = Beep(), Slow(16_000)
    mouth = Mouth(Voice({"en": lambda: beep}), slow)
    reply = mouth.begin()
    mouth.feed("Is anybody there? ", reply)
    mouth.wait()
    begun = time.monotonic()
    mouth.feed("One, and two, and three. " * 60, reply)  # 120 clauses, 6 s of waiting each in turn
    assert time.monotonic() - begun < 3
    back.set()
    mouth.feed("Hello again. ", reply)
    mouth.finish(reply)
    mouth.wait()
    mouth.close()
    assert beep.said[-1] == "Hello again."
    assert len(slow.sound.samples) > 0


def test_volume_scales_and_speed_reaches_the_voice() -> None:
    speeds = []

    class Timed(Beep):
        def synthesize(self, text: str, language: str, speed: float = 1.0) -> Sound:
            speeds.append(speed)
            return super().synthesize(text, language, speed)

    speaker = SoundSpeaker(16_000)
    mouth = Mouth(Voice({"en": Timed}), speaker)
    mouth.volume, mouth.voice.speed = 0.5, 1.3
    reply = mouth.begin()
    mouth.feed("Hello there. ", reply)
    mouth.wait()
    mouth.close()
    assert speeds == [1.3]
    assert speaker.sound.samples.max() == pytest.approx(0.15)


def test_text_of_a_language_without_a_voice_is_passed_over() -> None:
    mouth, beep, _ = open_mouth()
    reply = mouth.begin()
    mouth.feed("привет мир. 你好呀。 Hello there. ", reply)
    mouth.finish(reply)
    mouth.wait()
    mouth.close()
    assert beep.said == ["Hello there."]


# ---- the dialogue


class Party:
    """A dialogue whose heard words are answered by a real parrot, in virtual time."""

    def __init__(self, *, is_hands_free: bool) -> None:
        self.clock, self.events = ManualClock(), list[tuple[str, str]]()
        companion = Companion(
            Model.open(threads=1), Soul.in_memory(), self.clock, Manner(seed=3, max_bytes=60)
        )
        self.talk = Conversation()
        self.talk.engine = StepEngine(companion, self.clock)
        mouth, self.beep, self.speaker = open_mouth()
        self.talk.mouth = mouth
        watcher = Watcher(
            partial=lambda text: self.events.append(("partial", text)),
            heard=self._heard,
            interrupted=self.talk.stop,
        )
        ears = Ears(Endpointer(ByLevel()), Counts())
        self.dialogue = Dialogue(
            ears, mouth, watcher, lambda: self.talk.is_answering, is_hands_free=is_hands_free
        )

    def _heard(self, text: str) -> None:
        self.events.append(("heard", text))
        if text:
            self.talk.say(text)

    def run(self, blocks: list[Samples]) -> None:
        for block in blocks:
            self.clock.advance_ms(32)
            self.talk.engine.deliver()
            self.dialogue.feed(block)

    def finish(self) -> None:
        for _ in range(5_000):
            if not self.dialogue.is_answering:
                break
            self.clock.advance_ms(32)
            self.talk.engine.deliver()
            time.sleep(0.0005)
        self.talk.engine.close()
        self.dialogue.mouth.close()

    def heard(self) -> list[str]:
        return [text for kind, text in self.events if kind == "heard"]


def test_hands_free_an_utterance_is_answered_aloud() -> None:
    party = Party(is_hands_free=True)
    party.run([QUIET] * 10 + [LOUD] * 25 + [QUIET] * 25)
    party.finish()
    assert party.heard() == ["loud 8"]
    assert party.talk.me.turns[-1].said and party.beep.said
    assert ("partial", "loud 8") in party.events


def test_the_owner_speaking_ends_the_reply_within_200_ms() -> None:
    party = Party(is_hands_free=True)
    party.run([LOUD] * 25 + [QUIET] * 20)
    assert party.talk.is_answering
    n_blocks, mouth = 0, party.dialogue.mouth
    before = mouth.begin()
    while mouth._reply == before and n_blocks < 100:
        party.run([LOUD])
        n_blocks += 1
    assert n_blocks * 32 <= 200 - 50  # the detector itself needs a block, the card's buffer some
    party.finish()


def test_push_to_talk_records_between_press_and_send() -> None:
    party = Party(is_hands_free=False)
    party.run([LOUD] * 20)  # not pressed: nothing is heard
    party.dialogue.press()
    assert party.dialogue.is_recording
    party.run([LOUD] * 25)
    party.dialogue.send()
    assert not party.dialogue.is_recording
    party.finish()
    assert party.heard() == ["loud 8"]


def test_a_recording_is_read_at_its_pauses_and_every_two_seconds() -> None:
    party = Party(is_hands_free=False)
    party.dialogue.press()
    party.run([LOUD] * 25 + [QUIET] * 10 + [LOUD] * 80)
    partials = [text for kind, text in party.events if kind == "partial"]
    assert partials == ["loud 8", "loud 28"]
    party.run([QUIET] * 20 + [LOUD] * 3)  # too short to open an utterance, and not lost
    party.dialogue.send()
    party.finish()
    assert party.heard() == ["loud 35"]


def test_a_silence_that_was_read_is_not_read_again() -> None:
    party = Party(is_hands_free=False)
    party.dialogue.press()
    party.run([LOUD] * 25 + [QUIET] * 30)
    party.dialogue.ears.read = None  # type: ignore[assignment,method-assign]
    party.dialogue.send()
    party.finish()
    assert party.heard() == ["loud 8"]


def test_a_cancelled_recording_is_forgotten_and_a_long_one_is_sent() -> None:
    party = Party(is_hands_free=False)
    party.dialogue.press()
    party.run([LOUD] * 25)
    party.dialogue.cancel()
    party.dialogue.send()
    assert party.heard() == []
    party.dialogue.press()
    party.run([LOUD] * 700)  # 22 s
    assert not party.dialogue.is_recording
    party.finish()
    assert party.heard() == ["loud 200"]


def test_a_recording_of_silence_holds_no_words() -> None:
    party = Party(is_hands_free=False)
    party.dialogue.press()
    party.run([QUIET] * 10)
    party.dialogue.send()
    party.finish()
    assert party.events == [("heard", "")]
