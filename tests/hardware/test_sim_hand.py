# SPDX-License-Identifier: Apache-2.0
"""The whole handheld on a model of its panel, in virtual time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from parrot.app.conversation import TIRED
from parrot.app.screens import ChatScreen, HomeScreen
from parrot.app.screens_compose import ComposeScreen
from parrot.app.screens_life import SleepScreen, night_text, persona_name
from parrot.engine.model import Model
from tests.hardware.sim_driver import SimHand
from tools import stress_hand

N_RANDOM_EVENTS = 2_000  # tools/stress_hand.py feeds 100,000


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.open(threads=1)


@pytest.fixture
def sim(model: Model) -> Iterator[SimHand]:
    sim = SimHand(model)
    yield sim
    sim.close()


def is_glass_right(sim: SimHand) -> bool:
    return sim.glass.glass().to_bytes() == sim.hand.frame.to_bytes()


def test_face_is_on_the_glass_after_the_first_tick(sim: SimHand) -> None:
    assert isinstance(sim.hand.screen, HomeScreen)
    assert sim.glass.glass().pixels().sum() > 500
    assert is_glass_right(sim)


def test_menu_opens_with_c_and_closes_with_a(sim: SimHand) -> None:
    before = sim.hand.screen
    sim.tap("C")
    assert sim.hand.screen is not before
    sim.tap("A")
    assert sim.hand.screen is before


def test_power_off_is_asked_and_no_is_the_first_answer(sim: SimHand) -> None:
    sim.tap("C*D")  # up from the first row is the last one
    sim.tap("D")
    assert not sim.hand.is_off
    sim.tap("D#D")
    assert sim.hand.is_off


def test_reply_streams_onto_the_glass_and_stays_in_the_diary(sim: SimHand) -> None:
    seen = set()
    sim.hand.talk.say("Hello!")
    while sim.hand.engine.is_busy:
        sim.wait(50)
        seen.add(sim.glass.glass().to_bytes())
    assert len(seen) > 5
    sim.wait(100)
    assert sim.hand.talk.me.turns[-1].heard == b"Hello!"
    assert sim.hand.talk.me.turns[-1].said.strip()


def test_a_stops_the_reply_within_100_ms(sim: SimHand) -> None:
    sim.hand.talk.say("Tell me a story.")
    while not sim.hand.talk.said:
        sim.wait(10)
    sim.keypad.tap("A")
    sim.wait(100)
    assert not sim.hand.talk.is_answering
    assert not sim.hand.engine.is_busy


def test_chat_scrolls_back_while_the_parrot_speaks(sim: SimHand) -> None:
    for text in ("Hello!", "How are you?", "What is your name?"):
        sim.say(text)
    sim.hold("*", 500)
    assert isinstance(sim.hand.screen, ChatScreen)
    sim.hand.talk.say("Tell me a story.")
    sim.wait(50)
    assert sim.hand.talk.is_answering
    sim.tap("****")
    top = sim.glass.glass().pixels()[:32, :124].tolist()  # but for the scroll bar
    sim.wait(1_000)
    assert sim.glass.glass().pixels()[:32, :124].tolist() == top


def test_undo_takes_the_last_turn_back(sim: SimHand) -> None:
    sim.say("Hello!")
    assert len(sim.hand.talk.me.turns) == 1
    sim.tap("C#D#D")
    sim.finish_reply()
    sim.wait(100)
    assert sim.hand.talk.me.turns == ()


def test_saved_state_brings_the_talk_back_to_its_moment(sim: SimHand) -> None:
    sim.say("Hello!")
    sim.hand.talk.save("here")
    sim.finish_reply()
    sim.say("How are you?")
    assert len(sim.hand.talk.me.turns) == 2
    sim.hand.talk.load("here")
    sim.finish_reply()
    sim.wait(50)
    assert [turn.heard for turn in sim.hand.talk.me.turns] == [b"Hello!"]


@pytest.mark.parametrize("fail_every", [100, 1])
def test_talk_goes_on_while_the_bus_refuses(sim: SimHand, fail_every: int) -> None:
    sim.bus.fail_every(fail_every)
    sim.say("Hello!")
    sim.tap("CA")
    assert len(sim.hand.talk.me.turns) == 1
    assert sim.hand.n_events == 4
    assert (sim.hand.panel_fault is not None) == (fail_every == 1)
    sim.bus.fail_every(0)
    sim.wait(2_000)
    assert sim.hand.panel_fault is None
    assert is_glass_right(sim)


def test_panel_is_back_within_two_seconds_of_being_plugged_in(sim: SimHand) -> None:
    sim.bus.unplug(0x3C)
    sim.wait(1_000)
    assert "stopped answering" in str(sim.hand.panel_fault)
    sim.glass.cut_power()
    sim.bus.plug(0x3C)
    sim.wait(2_000)
    assert is_glass_right(sim)


def test_random_keys_on_a_bad_bus_break_nothing_and_none_is_lost(model: Model) -> None:
    seen = stress_hand.run(model, N_RANDOM_EVENTS, seed=20261122)
    assert seen["events"] >= N_RANDOM_EVENTS
    assert seen["replugs"] > 0
    assert seen["panel_back_ms_max"] <= 2_000


def test_nihao_is_typed_with_nine_keys_and_answered(sim: SimHand) -> None:
    sim.tap("64426")
    assert isinstance(sim.hand.screen, ComposeScreen)
    sim.tap("D")
    composer = sim.hand.desk.composer
    assert composer is not None and composer.line == "你好"
    sim.tap("D")
    sim.finish_reply()
    sim.wait(100)
    assert sim.hand.talk.me.turns[-1].heard.decode() == "你好"
    assert is_glass_right(sim)


def test_learned_word_is_kept_in_the_soul(sim: SimHand) -> None:
    sim.tap("64426#")
    composer = sim.hand.desk.composer
    assert composer is not None
    wanted = composer.view.candidates[0]
    sim.hold("1", 500)
    assert composer.line == wanted
    sim.finish_reply()
    kept = sim.hand.talk.me.settings["hand.words"]
    assert isinstance(kept, list)
    assert wanted in [word for word, _, _ in kept]


def test_line_of_ten_thousand_characters_is_said_and_shown(sim: SimHand) -> None:
    sim.say("鹦鹉" * 5_000)
    sim.hold("*", 500)
    assert isinstance(sim.hand.screen, ChatScreen)
    spent_ms = []
    for _ in range(20):
        begun = time.thread_time()
        sim.hand.draw(sim.clock.now_ms())
        spent_ms.append(1e3 * (time.thread_time() - begun))
        sim.tap("*")
    assert sorted(spent_ms)[10] < 20  # 1 ms on a quiet machine
    assert is_glass_right(sim)
    assert len(sim.hand.talk.me.turns[-1].heard.decode()) == 10_000


def test_sleep_shows_its_night_and_writes_it_into_the_diary(sim: SimHand) -> None:
    sim.say("Hello!")
    sim.tap("C6D")
    assert isinstance(sim.hand.screen, SleepScreen)
    sim.wait(3_000)
    assert len(sim.hand.talk.me.nights) == 1
    assert isinstance(sim.hand.screen, SleepScreen)  # what the night did, until a key
    sim.tap("A")
    assert not isinstance(sim.hand.screen, SleepScreen)
    figures = sim.hand.talk.me.nights[0][1]
    assert night_text(sim.hand.desk, figures) == "Turns of the day: 1."


def test_any_key_wakes_and_an_unfinished_night_is_not_in_the_diary(sim: SimHand) -> None:
    sim.say("Hello!")
    sim.hand.talk.sleep()
    assert sim.hand.talk.is_asleep
    sim.tap("5")
    assert not sim.hand.talk.is_asleep
    assert sim.hand.talk.me.nights == ()


def test_a_tired_parrot_sleeps_when_the_glass_is_dark(sim: SimHand) -> None:
    sim.say("Hello!")
    talk = sim.hand.talk
    sim.wait(200_000)
    assert talk.me.nights == ()  # not tired
    sim.tap("A")
    talk.me = replace(talk.me, mood={**talk.me.mood, "tiredness": TIRED})
    assert talk.is_tired
    sim.wait(200_000)
    assert len(talk.me.nights) == 1
    sim.wait(200_000)
    assert len(talk.me.nights) == 1  # once after a turn


def test_each_persona_has_a_life_of_its_own_and_none_is_lost(sim: SimHand) -> None:
    sim.say("Hello!")
    sim.tap("C7D")
    sim.tap("2D#D")  # calm; yes
    sim.finish_reply()
    sim.wait(50)
    assert sim.hand.talk.me.line == "persona calm"
    assert sim.hand.talk.me.turns == ()
    sim.say("How are you?")
    for name, heard in (("cheerful", []), ("calm", [b"How are you?"]), ("", [b"Hello!"])):
        sim.hand.talk.become(name)
        sim.finish_reply()
        sim.wait(50)
        assert [turn.heard for turn in sim.hand.talk.me.turns] == heard
    assert persona_name(sim.hand.desk) == "itself"


def test_a_memory_is_pinned_and_forgotten_by_key(sim: SimHand) -> None:
    sim.say("Remember that the blue key opens the shed.")
    sim.tap("C8D")
    sim.wait(100)
    assert [each.is_pinned for each in sim.hand.talk.memories] == [0]
    sim.tap("D1")
    sim.wait(100)
    assert [each.is_pinned for each in sim.hand.talk.memories] == [1]
    sim.tap("D3D")  # the harmless answer comes first
    sim.wait(100)
    assert len(sim.hand.talk.memories) == 1
    sim.tap("3#D")
    sim.wait(100)
    assert sim.hand.talk.memories == ()
