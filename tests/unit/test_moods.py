# SPDX-License-Identifier: Apache-2.0
"""Moods push a twin that speaks; the state stays what the journal says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parrot.app.chat import Talk
from parrot.app.conversation import picture_of
from parrot.base.clock import ManualClock
from parrot.engine.generate import Sampling
from parrot.engine.model import BUNDLED, Model
from parrot.mind.companion import Companion, Manner
from parrot.mind.hormones import HORMONES
from parrot.mind.moods import PUSH_MAX, SUFFIX, Moods, moods_of
from parrot.mind.soul import Soul
from tools.kill_soul import tiny_model

WALL_S = 1.7e9


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """A model with directions beside it."""
    return Model.open(tiny_model(tmp_path), threads=1)


def wake(model: Model, **manner: object) -> Companion:
    how = {"sampling": Sampling(temperature=1.0), "max_bytes": 20, **manner}
    return Companion(model, Soul.in_memory(), ManualClock(wall_s=WALL_S), Manner(**how))  # type: ignore[arg-type]


def relived(parrot: Companion) -> bytes:
    return Companion(parrot.model, parrot.soul, ManualClock()).state.to_bytes()


def all_at(level: float) -> dict[str, tuple[float, float]]:
    return dict.fromkeys(HORMONES, (level, WALL_S))


ALL = Moods({name: np.zeros(4, np.float32) for name in HORMONES})


def test_the_push_is_the_way_from_baseline_and_none_at_baseline() -> None:
    only = Moods({"reward": np.zeros(4, np.float32)})
    assert ALL.push({}, WALL_S) == {}
    assert only.push({"reward": (0.65, WALL_S)}, WALL_S) == {"reward": 0.5}
    assert only.push({"reward": (0.15, WALL_S)}, WALL_S) == {"reward": -0.5}
    assert only.push({"reward": (1.0, WALL_S)}, WALL_S) == {"reward": PUSH_MAX}
    assert only.push({"stress": (1.0, WALL_S)}, WALL_S) == {}  # it has no direction


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4), st.floats(0, 1e7))
def test_no_mood_pushes_further_than_the_bound(levels: list[float], later_s: float) -> None:
    felt = {name: (level, WALL_S) for name, level in zip(HORMONES, levels, strict=True)}
    push = ALL.push(felt, WALL_S + later_s)
    assert sum(map(abs, push.values())) <= PUSH_MAX + 0.005 * len(HORMONES)
    assert 0.0 not in push.values()


def test_a_voice_is_a_twin_pushed_along_its_directions(model: Model) -> None:
    moods, why = moods_of(model)
    state = model.new_state()
    model.forward(b"hello", state)
    lived = state.payload.copy()
    voice = moods.voice(state, {"reward": 0.5, "stress": -0.25})
    folder = model.path.with_suffix(SUFFIX)
    along = [model.load_state(folder / f"{name}.state").payload for name in ("reward", "stress")]
    expected = lived + np.float32(0.5) * along[0] + np.float32(-0.25) * along[1]
    assert why is None
    assert np.array_equal(voice.state.payload, expected)
    assert np.array_equal(state.payload, lived)
    assert moods.voice(state, {}).state is state


@pytest.mark.parametrize("n_drafts", [1, 3])
def test_a_mood_changes_the_words_and_leaves_no_other_trace(model: Model, n_drafts: int) -> None:
    parrot, plain = wake(model, n_drafts=n_drafts), wake(model, n_drafts=n_drafts)
    plain._moods = Moods({})
    replies = [["".join(each.hear("so")) for each in (parrot, plain)]]
    for each in (parrot, plain):
        for _ in range(3):
            each.feel("good")
    for text in ("and now", "then", "what else"):
        replies.append(["".join(each.hear(text)) for each in (parrot, plain)])
        assert parrot.state.to_bytes() == relived(parrot)
    assert replies[0][0] == replies[0][1]  # nothing felt yet
    assert all(mine != other for mine, other in replies[1:])
    turns = parrot.recent(4)
    assert [bool(json.loads(turn.sampling).get("push")) for turn in turns] == [False] + [True] * 3


def test_a_reply_that_is_left_early_was_lived_as_far_as_it_was_said(model: Model) -> None:
    parrot = wake(model)
    parrot.feel("good")
    pieces = parrot.hear("go on")
    next(pieces)
    pieces.close()
    (turn,) = parrot.recent(1)
    assert 0 < len(turn.said) < 20
    assert parrot.state.to_bytes() == relived(parrot)


def test_with_a_seed_moods_push_nothing(model: Model) -> None:
    parrot, sad = wake(model, seed=3), wake(model, seed=3)
    sad.feel("bad")
    assert "".join(parrot.hear("hello")) == "".join(sad.hear("hello"))


def test_directions_of_another_model_are_refused_and_said_once(
    model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Model.open(tiny_model(tmp_path, seed=2), threads=1)
    for path in model.path.with_suffix(SUFFIX).iterdir():
        path.rename(other.path.with_suffix(SUFFIX) / path.name)
    parrot = wake(other)
    trouble = picture_of(parrot).trouble  # what the glass shows
    assert trouble and "trained for another model" in trouble
    parrot.feel("good")
    assert "".join(Talk(parrot).reply("hello"))
    assert not picture_of(parrot).trouble
    assert capsys.readouterr().err == ""


def test_a_damaged_direction_is_named_and_talk_goes_on(model: Model) -> None:
    path = model.path.with_suffix(SUFFIX) / "stress.state"
    path.write_bytes(path.read_bytes()[:-5])
    parrot = wake(model)
    assert parrot.take_notice().startswith(str(path))
    assert "".join(parrot.hear("hello"))


def test_bundled_directions_belong_to_the_bundled_model() -> None:
    moods, why = moods_of(Model.open(threads=1))
    assert why is None
    assert sorted(moods.push(all_at(1.0), WALL_S)) == sorted(HORMONES)
    names = sorted(path.stem for path in BUNDLED.with_suffix(SUFFIX).iterdir())
    assert names == sorted(HORMONES)
