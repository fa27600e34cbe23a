# SPDX-License-Identifier: Apache-2.0
"""Thinking: drafts are independent, the best is said, and what is lived is what was said."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from parrot.app.cli import main
from parrot.base.clock import ManualClock
from parrot.base.text import clean_text
from parrot.engine.generate import Abort, Sampling, new_sampler
from parrot.engine.model import Model
from parrot.mind.companion import Companion, Manner
from parrot.mind.soul import Soul
from parrot.mind.thinking import RACE, Thinker, repetition
from parrot.mind.turn import stop_of
from tools.kill_soul import tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model.open(tiny_model(tmp_path_factory.mktemp("model")), threads=1)


def wake(model: Model, soul: Soul, n_drafts: int) -> Companion:
    manner = Manner(Sampling(temperature=1.0), max_bytes=60, n_drafts=n_drafts)
    return Companion(model, soul, ManualClock(wall_s=1.7e9), manner)


def thinker(model: Model, n_drafts: int, max_bytes: int = 60) -> Thinker:
    state = model.new_state()
    model.forward(b"\x00\x02what now?\x03\x06", state)
    samplers = [
        new_sampler(
            Sampling(temperature=1.0), i, 256, is_bytes=True, stop=frozenset(stop_of(model))
        )
        for i in range(n_drafts)
    ]
    return Thinker(model, state, samplers, max_bytes)


def test_the_likeliest_draft_is_said_and_the_others_are_kept_apart(model: Model) -> None:
    race = thinker(model, 5)
    best = race.run()
    assert len(race.dropped) == 4
    first_judged = [draft.score for draft in race.dropped if len(draft.said) <= RACE[0][0]]
    assert len(first_judged) >= 3, "nobody left the race at its first stage"
    measure = best.utterance.speech.measure
    expected = -measure.surprise / len(best.said) - repetition(best.said)
    assert best.score == pytest.approx(expected)
    second = max(race.dropped, key=lambda draft: (len(draft.said), draft.score))
    assert best.score > second.score


def test_a_thought_reply_is_lived_as_if_it_had_been_said_at_once(model: Model) -> None:
    with Soul.in_memory() as soul:
        parrot = wake(model, soul, 5)
        said = "".join(parrot.hear("hello"))
        turn = parrot.recent(1)[0]
        assert said == clean_text(turn.said.decode(errors="replace"))
        assert Companion(model, soul, ManualClock()).state.to_bytes() == parrot.state.to_bytes()
        drafts = soul._database.execute("SELECT turn, said FROM draft").fetchall()
        assert len(drafts) == 4 and {turn_id for turn_id, _ in drafts} == {turn.id}
        assert turn.said not in {draft for _, draft in drafts}


def test_one_draft_is_the_reply_without_thinking(model: Model) -> None:
    replies = set()
    for n_drafts in (1, 1, 2, 6):
        with Soul.in_memory() as soul:
            replies.add(tuple(wake(model, soul, n_drafts).hear("tell me")))
    assert len(replies) > 1, "drafts never changed the reply"
    race = thinker(model, 3)
    starts = {bytes(draft.said[:8]) for draft in (race.run(), *race.dropped)}
    assert len(starts) == 3, "drafts are not independent"


def test_stopped_thought_says_what_it_has(model: Model) -> None:
    abort = Abort()
    race = thinker(model, 3)
    abort.set()
    assert race.run(abort).said == b"" and race.field[0].score == -math.inf
    with Soul.in_memory() as soul:
        parrot = wake(model, soul, 3)
        pieces = parrot.hear("go on")
        next(pieces)
        pieces.close()
        assert soul.feedback()[-1][2] == "cut_off"
        assert Companion(model, soul, ManualClock()).state.to_bytes() == parrot.state.to_bytes()


def test_repetition_counts_runs_said_before() -> None:
    assert repetition(b"abcdefgh") == repetition(b"") == 0
    assert repetition(b"abcdefgh" * 4) == pytest.approx(17 / 25)


def test_think_on_the_command_line(
    model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--model", str(model.path), "--threads", "1", "--soul", str(tmp_path / "soul.db")]
    assert main(["chat", *options, "--once", "hello", "--think", "4", "--max-bytes", "30"]) == 0
    assert capsys.readouterr().out.strip()
    assert main(["chat", *options, "--once", "hello", "--think", "0"]) == 2
    assert "--think: 0, expected 1 to 64" in capsys.readouterr().err
