# SPDX-License-Identifier: Apache-2.0
"""Whatever is done to a life, every place in it has one state, and nothing is ever lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parrot.base.clock import ManualClock
from parrot.base.errors import ConfigError
from parrot.engine.model import Model
from parrot.mind.companion import Companion, Manner
from parrot.mind.soul import Soul
from tools.kill_soul import tiny_model

ACTIONS = st.one_of(
    st.tuples(st.just("say"), st.sampled_from(["hi", "你好", "and then?"])),
    st.tuples(st.just("undo"), st.integers(1, 4)),
    st.tuples(st.just("save"), st.sampled_from("pq")),
    st.tuples(st.just("branch"), st.sampled_from("xy")),
    st.tuples(st.just("load"), st.sampled_from(["p", "q", "x", "y", "main", "before"])),
    st.tuples(st.just("wake"), st.none()),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model.open(tiny_model(tmp_path_factory.mktemp("model")), threads=1)


def act(parrot: Companion, verb: str, what: object) -> Companion:
    if verb == "say":
        list(parrot.hear(str(what)))
    elif verb == "wake":
        return Companion(parrot.model, parrot.soul, ManualClock(), Manner(max_bytes=6))
    else:
        getattr(parrot, verb)(what)
    return parrot


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ACTIONS, max_size=15))
def test_a_turn_has_one_state_however_it_is_reached(
    model: Model, actions: list[tuple[str, object]]
) -> None:
    parrot = Companion(model, Soul.in_memory(), ManualClock(), Manner(max_bytes=6))
    states: dict[int, bytes] = {0: parrot.state.to_bytes()}
    n_turns = 0
    for verb, what in actions:
        tip = parrot.soul.tip
        try:
            parrot = act(parrot, verb, what)
            n_turns += verb == "say"
        except ConfigError:
            assert parrot.soul.tip == tip, "a refused action moved the tip"
        state = parrot.state.to_bytes()
        assert states.setdefault(parrot.soul.tip, state) == state
    assert parrot.soul.next_id == n_turns + 1
    for name in parrot.names():
        assert parrot.state_of(name.name).to_bytes() == states[name.turn]


def test_a_file_holds_what_memory_held(model: Model, tmp_path: Path) -> None:
    with Soul.open(tmp_path / "soul.db") as soul:
        parrot = Companion(model, soul, ManualClock(), Manner(max_bytes=6))
        for verb, what in [("say", "hi"), ("branch", "x"), ("say", "you"), ("undo", 1)]:
            parrot = act(parrot, verb, what)
        lived = parrot.state.to_bytes()
    with Soul.open(tmp_path / "soul.db") as soul:
        again = Companion(model, soul, ManualClock(), Manner(max_bytes=6))
        assert soul.line == "x" and again.state.to_bytes() == lived
