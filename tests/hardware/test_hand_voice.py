# SPDX-License-Identifier: Apache-2.0
"""Talking with the hand: key D, ears, mouth and glass together, in virtual time but for sound."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from parrot.app.hand_voice import VoiceManner, manner_from
from parrot.app.screen import Question, TextScreen
from parrot.app.screens import HomeScreen
from parrot.app.screens_compose import ComposeScreen
from parrot.app.screens_voice import ListenScreen
from parrot.base.errors import ConfigError, DeviceMissing, FormatError
from parrot.engine.model import Model
from parrot.faces.spoken_text import spoken
from parrot.senses.key import LONG_PRESS_MS
from tests.hardware.sim_driver import SimHand
from tests.hardware.speech_doubles import LOUD, QUIET, Doubles, SlowSpeaker

WAIT_S = 20


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.open(threads=1)


@pytest.fixture
def doubles() -> Doubles:
    return Doubles()


@pytest.fixture
def sim(model: Model, doubles: Doubles) -> Iterator[SimHand]:
    sim = SimHand(model, organs=doubles.organs)
    sim.hand.voice.change(is_on=True)
    sim.wait(100)
    yield sim
    sim.close()


def until(sim: SimHand, is_so: Callable[[], object]) -> None:
    """Let time pass, on the glass and in the room, until something is so."""
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline
        sim.wait(10)
        time.sleep(0.001)


def heard_by_parrot(sim: SimHand) -> list[str]:
    return [turn.heard.decode() for turn in sim.hand.talk.me.turns]


def test_d_held_listens_and_let_go_sends(sim: SimHand, doubles: Doubles) -> None:
    doubles.room.sounds = [LOUD] * 25
    sim.keypad.press("D")
    until(sim, lambda: isinstance(sim.hand.screen, ListenScreen) and not doubles.room.sounds)
    assert doubles.room.is_open
    sim.wait(LONG_PRESS_MS)
    sim.keypad.release("D")
    until(sim, lambda: heard_by_parrot(sim) and not sim.hand.voice.is_busy)
    assert heard_by_parrot(sim) == ["loud 8"]
    assert isinstance(sim.hand.screen, HomeScreen)
    assert not doubles.room.is_open  # the microphone is open only while it is wanted
    said = sim.hand.talk.me.turns[-1].said.decode()
    letters = [c for c in "".join(doubles.beep.said) if c.isalpha()]
    assert letters and letters == [c for c in spoken(said) if c.isalpha()]


def test_d_tapped_listens_until_it_is_tapped_again(sim: SimHand, doubles: Doubles) -> None:
    doubles.room.sounds = [LOUD] * 25 + [QUIET] * 10
    sim.tap("D")
    until(sim, lambda: sim.hand.voice.partial)
    assert sim.hand.voice.partial == "loud 8"
    assert isinstance(sim.hand.screen, ListenScreen)
    sim.tap("D")
    until(sim, lambda: heard_by_parrot(sim))
    assert heard_by_parrot(sim) == ["loud 8"]


def test_the_meter_shows_how_loud_the_owner_is(sim: SimHand, doubles: Doubles) -> None:
    doubles.room.sounds = [LOUD] * 400
    sim.tap("D")
    until(sim, lambda: sim.hand.voice.level == 1.0)
    sim.wait(60)
    assert sim.glass.glass().pixels()[43, 52:124].all()
    sim.tap("A")


def test_a_forgets_what_was_said(sim: SimHand, doubles: Doubles) -> None:
    doubles.room.sounds = [LOUD] * 25
    sim.tap("D")
    until(sim, lambda: not doubles.room.sounds)
    sim.tap("A")
    until(sim, lambda: not doubles.room.is_open)
    assert isinstance(sim.hand.screen, HomeScreen)
    assert heard_by_parrot(sim) == [] and not sim.hand.talk.is_answering


def test_words_of_a_cancelled_recording_that_come_late_are_dropped(sim: SimHand) -> None:
    voice = sim.hand.voice
    voice.press()
    voice.send()
    late = voice._number
    voice.cancel()
    voice._heard("too late", late)
    sim.wait(50)
    assert not sim.hand.talk.is_answering


def test_silence_is_said_to_hold_no_words(sim: SimHand, doubles: Doubles) -> None:
    sim.tap("DD")
    until(sim, lambda: isinstance(sim.hand.screen, Question))
    assert heard_by_parrot(sim) == []


def test_a_stops_the_voice_within_200_ms_and_nothing_is_spoken_after(model: Model) -> None:
    doubles = Doubles(SlowSpeaker(16_000))
    sim = SimHand(model, organs=doubles.organs)
    sim.hand.voice.change(is_on=True)
    sim.wait(100)
    spent_s = []
    for _ in range(3):  # the best of three: other programs want the cores too
        sim.hand.talk.say("Tell me a story.")
        until(sim, lambda: sim.hand.voice.is_speaking)
        begun = time.monotonic()
        sim.keypad.tap("A")
        until(sim, lambda: not sim.hand.voice.is_speaking)
        spent_s.append(time.monotonic() - begun)
        sim.finish_reply()
    assert min(spent_s) < 0.2
    n_said, n_played = len(doubles.beep.said), len(doubles.speaker.sound.samples)
    for _ in range(50):
        sim.wait(10)
        time.sleep(0.002)
    assert (len(doubles.beep.said), len(doubles.speaker.sound.samples)) == (n_said, n_played)
    sim.close()


def test_a_typed_turn_is_answered_aloud_too(sim: SimHand, doubles: Doubles) -> None:
    sim.hand.talk.say("Hello!")
    until(sim, lambda: heard_by_parrot(sim) and not sim.hand.voice.is_busy)
    assert doubles.beep.said


def test_a_transcript_may_be_edited_before_it_is_sent(sim: SimHand, doubles: Doubles) -> None:
    sim.hand.voice.change(is_edited=True)
    doubles.room.sounds = [LOUD] * 25
    sim.tap("D")
    until(sim, lambda: not doubles.room.sounds)
    sim.tap("D")
    until(sim, lambda: isinstance(sim.hand.screen, ComposeScreen))
    composer = sim.hand.desk.composer
    assert composer is not None and composer.line == "loud 8"
    sim.tap("AD")  # rubs the 8 out, sends
    until(sim, lambda: heard_by_parrot(sim))
    assert heard_by_parrot(sim) == ["loud"]


def test_hands_free_the_owner_is_shown_and_answered(sim: SimHand, doubles: Doubles) -> None:
    sim.hand.voice.change(is_hands_free=True)
    until(sim, lambda: doubles.room.is_open)
    doubles.room.sounds = [LOUD] * 200 + [QUIET] * 30
    until(sim, lambda: isinstance(sim.hand.screen, ListenScreen))
    until(sim, lambda: heard_by_parrot(sim))
    assert heard_by_parrot(sim) == ["loud 64"]
    until(sim, lambda: isinstance(sim.hand.screen, HomeScreen))
    sim.hand.voice.change(is_hands_free=False)
    until(sim, lambda: not doubles.room.is_open)


def told(sim: SimHand) -> str:
    """Return the sentence that is on the glass."""
    until(sim, lambda: isinstance(sim.hand.screen, TextScreen | Question))
    return str(sim.hand.voice.trouble)


def test_without_ears_one_sentence_says_what_to_do_and_talk_goes_on(model: Model) -> None:
    def deaf(language: str) -> None:
        raise ConfigError("ears: nothing installed hears 'auto'; run: parrot speech install en.")

    doubles = Doubles()
    organs = replace(doubles.organs(), open_ears=deaf)  # type: ignore[arg-type]
    sim = SimHand(model, organs=lambda: organs)
    sim.hand.voice.change(is_on=True)
    assert "parrot speech install en" in told(sim)
    sim.tap("A")
    sim.tap("D")  # who asks again is told again
    assert "parrot speech install en" in told(sim)
    sim.tap("A")
    sim.say("Hello!")
    assert heard_by_parrot(sim) == ["Hello!"]
    assert doubles.beep.said  # the mouth works without ears
    sim.close()


def test_without_a_microphone_one_sentence_says_so(model: Model) -> None:
    def absent(is_busy: object) -> None:
        raise DeviceMissing("arecord: the microphone does not answer; plug it in.", device="x")

    organs = replace(Doubles().organs(), open_microphone=absent)  # type: ignore[arg-type]
    sim = SimHand(model, organs=lambda: organs)
    sim.hand.voice.change(is_on=True)
    sim.wait(100)
    sim.tap("D")
    assert "plug it in" in told(sim)
    assert not sim.hand.voice.is_recording
    sim.tap("A")
    sim.say("Hello!")
    assert heard_by_parrot(sim) == ["Hello!"]
    sim.close()


def test_with_the_voice_off_d_writes_and_held_says_why(sim: SimHand) -> None:
    sim.hand.voice.change(is_on=False)
    sim.tap("D")
    assert isinstance(sim.hand.screen, ComposeScreen)
    sim.tap("A")
    sim.hold("D", 500)
    assert isinstance(sim.hand.screen, TextScreen | Question)


def test_the_voice_menu_changes_and_the_soul_keeps(sim: SimHand, doubles: Doubles) -> None:
    sim.tap("C5D")  # Menu, Voice
    sim.tap("#D#D#D")  # hands-free, edit first, the next language
    sim.tap("#D4")  # speed
    sim.tap("#44D")  # volume; D speaks a sample
    sim.finish_reply()
    kept = sim.hand.talk.me.settings["hand.voice"]
    assert manner_from(kept) == VoiceManner(True, True, True, "en", 0.9, 0.8)
    until(sim, lambda: len(doubles.speaker.sound.samples))
    assert doubles.speaker.sound.samples.max() == pytest.approx(0.24)


@pytest.mark.parametrize(
    "kept", [7, {"is_on": "yes"}, {"colour": 1}, {"speed": 9.0}, {"language": "fr"}]
)
def test_settings_that_are_none_are_refused(kept: object) -> None:
    with pytest.raises(FormatError, match=r"hand\.voice"):
        manner_from(kept)
