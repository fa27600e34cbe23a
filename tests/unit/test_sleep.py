# SPDX-License-Identifier: Apache-2.0
"""Sleep: the day is put in order in small steps, and nothing that was said is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from parrot.app.cli import main
from parrot.app.conversation import Conversation
from parrot.app.engine_thread import StepEngine
from parrot.base.clock import ManualClock
from parrot.base.errors import Aborted, CorruptError
from parrot.engine.generate import Abort, Sampling
from parrot.engine.model import Model
from parrot.mind import nights, sleep
from parrot.mind.companion import Companion, Manner
from parrot.mind.entry import Entry
from parrot.mind.sleep import Sleeper
from parrot.mind.soul import Soul
from parrot.mind.turn import Turn, dream_of
from tools.kill_soul import tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model.open(tiny_model(tmp_path_factory.mktemp("model")), threads=1)


@pytest.fixture
def parrot(model: Model) -> Companion:
    manner = Manner(Sampling(temperature=1.0), max_bytes=8)
    return Companion(model, Soul.in_memory(), ManualClock(wall_s=1.7e9), manner)


def talk(parrot: Companion, n_turns: int, first: int = 0) -> None:
    for i in range(first, first + n_turns):
        list(parrot.hear(f"what number {i} tells you is of no great moment"))


def slept(parrot: Companion, **how: object) -> Sleeper:
    sleeper = parrot.sleeper()
    steps = {"is_dry": False, "with_replay": False, "ms_max": None, **how}
    list(sleeper.run(**steps))  # type: ignore[arg-type]
    return sleeper


def recalled(values: list[float]) -> Callable[..., float]:
    return lambda *_: values.pop(0)


def test_a_replay_that_raises_recall_is_kept_as_a_turn_and_lived_again_on_waking(
    parrot: Companion, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sleep, "_CYCLE_BYTES", 100)
    talk(parrot, 6)
    before = parrot.state.to_bytes()
    monkeypatch.setattr(Sleeper, "_recall", recalled([2.0, 1.5, 1.7]))
    night = slept(parrot, with_replay=True).night
    assert (night.recall_before, night.recall_after) == (2.0, 1.5)
    assert 0 < night.dreamt_turns < 6, "the second cycle raised nothing and must be forgotten"
    dream = parrot.soul.turn(parrot.soul.tip)
    assert dream is not None and len(dream_of(dream)) == night.dreamt_turns
    assert parrot.state.to_bytes() != before and dream.position == parrot.state.position
    parrot.soul.drop_snapshots(bytes.fromhex(model.id), set(range(20)))
    again = Companion(model, parrot.soul, ManualClock())
    assert again.state.to_bytes() == parrot.state.to_bytes()
    parrot.undo(1)
    assert parrot.recent(1)[0].heard.startswith(b"what number 4"), "undo skips the dream"


def test_a_replay_that_raises_nothing_leaves_no_trace_in_the_state(
    parrot: Companion, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk(parrot, 3)
    before, tip = parrot.state.to_bytes(), parrot.soul.tip
    monkeypatch.setattr(Sleeper, "_recall", recalled([2.0, 2.0]))
    night = slept(parrot, with_replay=True).night
    assert night.dreamt_turns == 0 and night.recall_after is None
    assert parrot.state.to_bytes() == before and parrot.soul.tip == tip
    assert "no replay kept, recall 2.000 nats" in night.sentence()


def test_recall_measures_what_the_state_knows_of_the_day(parrot: Companion) -> None:
    talk(parrot, 3)
    sleeper, (day, _) = parrot.sleeper(), parrot.sleeper()._day()
    morning = sleeper._morning(day[-1])
    told = sleeper._recall(parrot.state, day, morning, None)
    assert 0 < told < 8
    assert sleeper._recall(parrot.state, day, morning, None) == told
    assert sleeper._recall(parrot.model.new_state(), day, morning, None) != told


def test_surprising_statements_become_crystals_once_and_twins_merge(parrot: Companion) -> None:
    talk(parrot, 4)
    list(parrot.hear("and is this a question you could answer?"))
    parrot.soul.remember("The key is under the pot.", 1.0)
    parrot.soul.remember("the key is under the pot. ", 2.0)
    parrot.soul.pin(2, True)
    night = slept(parrot).night
    assert (night.crystals_new, night.crystals_merged) == (3, 1)
    crystals = parrot.soul.crystals()
    assert [c.is_pinned for c in crystals if "key" in c.text] == [1]
    assert not any("question" in c.text for c in crystals)
    assert slept(parrot).night.day_turns == 0
    assert len(parrot.soul.crystals()) == len(crystals)


def test_old_words_are_packed_and_read_as_before(
    parrot: Companion, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nights, "PACK_TURNS", 4)
    monkeypatch.setattr(nights, "AWAKE_TURNS", 3)
    talk(parrot, 10)
    odd = Turn(11, 10, 1.0, bytes(8), 900, b"\x00\xff", b"caf\xc3", b"", tokens=b"\x00\x01\0\0")
    parrot.soul.add(Entry(odd))
    talk(parrot, 5, 11)
    before = list(parrot.soul.path_to(parrot.soul.tip))
    night = slept(parrot).night
    assert night.packed_turns == 12 and night.packed_to < night.packed_from
    assert list(parrot.soul.path_to(parrot.soul.tip)) == before
    row = parrot.soul._one("SELECT count(*) FROM turn WHERE heard != x''")
    assert row == (4,), "packed words still stand in the journal"
    assert slept(parrot).night.packed_turns == 0
    parrot.soul._database.execute("UPDATE pack SET words = x'00' WHERE id = 1")
    parrot.soul._opened = None
    assert parrot.soul.turn(1) is None and parrot.soul.turn(16) == before[0]


def test_a_night_cut_short_goes_on_where_it_was(
    parrot: Companion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sleep, "_CYCLE_BYTES", 100)
    monkeypatch.setattr(Sleeper, "_recall", recalled([3.0, 2.0, 2.0, 1.0, 0.9, 0.8]))
    talk(parrot, 6)
    steps, abort = parrot.sleeper().run(False, True, None, Abort()), Abort()
    next(steps)
    steps.close()
    first = set(dream_of(parrot.soul.turn(parrot.soul.tip)))  # type: ignore[arg-type]
    assert parrot.soul.diary() == []
    slept(parrot, with_replay=True)
    dreams = [dream_of(t) for t in parrot.soul.path_to(parrot.soul.tip) if t.dream]
    assert len(dreams) > 1
    assert sorted(id for dream in dreams for id in dream) == list(range(1, 7))
    assert set(dreams[-1]) == first
    abort.set()
    talk(parrot, 1, 6)
    assert list(parrot.sleeper().run(False, False, None, abort))
    assert len(parrot.soul.diary()) == 1, "a night that was cut writes no diary"


def test_an_abort_in_a_replay_leaves_the_state_as_it_was(parrot: Companion) -> None:
    talk(parrot, 3)
    before, abort = parrot.state.to_bytes(), Abort()
    abort.set()
    with pytest.raises(Aborted):
        list(parrot.sleeper().run(False, True, None, abort))
    assert parrot.state.to_bytes() == before


def test_a_dream_that_is_no_list_is_named(parrot: Companion) -> None:
    for dream in ("{", '{"a": 1}', '["x"]'):
        with pytest.raises(CorruptError, match="turn 7: its dream is no list of turns"):
            dream_of(Turn(7, 0, 0.0, b"", 0, dream=dream))


def test_an_idle_tired_parrot_sleeps_once_and_wakes_for_a_word(parrot: Companion) -> None:
    clock = ManualClock()
    hand = Conversation()
    hand.engine = StepEngine(parrot, clock)
    hand.awake(None)

    def run() -> None:
        while hand.engine.is_busy:
            clock.advance_ms(20)
            hand.engine.deliver()

    hand.say("a statement that is long enough")
    run()
    hand.rest()
    assert not hand.is_asleep, "it is not tired"
    parrot._levels["tiredness"] = (0.9, 1.7e9)
    hand.feel("good")
    run()
    hand.rest()
    assert hand.is_asleep
    hand.say("wake up")
    run()
    assert not hand.is_asleep and hand.me.turns[-1].heard == b"wake up"
    assert parrot.soul.diary() == []
    parrot._levels["tiredness"] = (0.9, 1.7e9)
    hand.feel("good")
    run()
    hand.rest()
    run()
    assert len(parrot.soul.diary()) == 1
    hand.rest()
    assert not hand.engine.is_busy, "it slept since the last turn"


def test_sleep_on_the_command_line(
    model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    life = ["--model", str(model.path), "--threads", "1", "--soul", str(tmp_path / "soul.db")]
    assert main(["chat", *life, "--max-bytes", "9", "--once", "the boat leaves at seven"]) == 0
    capsys.readouterr()
    assert main(["sleep", *life, "--dry-run", "--replay", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["day_turns"] == 1 and figures["recall_before"] > 0 and figures["is_whole"]
    assert main(["sleep", *life, "--diary", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"nights": []}
    assert main(["sleep", *life]) == 0
    assert capsys.readouterr().out == "1 turn today; 1 crystal kept, 0 merged.\n"
    assert main(["sleep", *life, "--diary"]) == 0
    assert "1 crystal kept" in capsys.readouterr().out
    assert main(["sleep", *life, "--minutes", "0"]) == 2
    assert "--minutes: 0.0, expected 0 to 100000" in capsys.readouterr().err
