# SPDX-License-Identifier: Apache-2.0
"""Signals in words, levels that fall back by half, moods that bend within bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parrot.engine.generate import Sampling
from parrot.mind.feedback import VALUES, recognise
from parrot.mind.hormones import (
    HORMONES,
    LENGTH_BEND_MIN,
    TEMPERATURE_BENDS,
    after,
    bend,
    level_at,
)


@pytest.mark.parametrize(
    ("text", "signals"),
    [
        ("haha that was good", ("laughter",)),
        ("LOL", ("laughter",)),
        ("哈哈哈你真逗", ("laughter",)),
        ("笑死我了", ("laughter",)),
        ("2333", ("laughter",)),
        ("😂", ("laughter",)),
        ("You get me.", ("understood",)),
        ("you really understand me!", ("understood",)),
        ("还是你懂我", ("understood",)),
        ("you zombie", ("zombie",)),
        ("You're a zombie!", ("zombie",)),
        ("你像个僵尸", ("zombie",)),
        ("haha, you get me", ("laughter", "understood")),
        ("haha hehe lol", ("laughter",)),
        # and what is none of these
        ("hello", ()),
        ("Utah has a harbour, aha", ()),
        ("call 12333 please, or 62333", ()),
        ("you don't get me", ()),
        ("You don’t understand me", ()),
        ("can you get me a cup of tea?", ()),
        ("do you get me?", ()),
        ("你不懂我", ()),
        ("你懂我吗", ()),
        ("you're not a zombie", ()),
        ("你不是僵尸", ()),
        ("a film about zombies", ()),
    ],
)
def test_signals_are_recognised_in_both_languages_and_not_in_other_words(
    text: str, signals: tuple[str, ...]
) -> None:
    assert recognise(text) == signals


def test_a_level_falls_halfway_to_its_baseline_in_one_half_life() -> None:
    levels = {"reward": (0.9, 1000.0)}
    baseline, half_life_s = HORMONES["reward"].baseline, HORMONES["reward"].half_life_s
    halfway = (0.9 + baseline) / 2
    assert level_at("reward", levels, 1000.0 + half_life_s) == pytest.approx(halfway)
    assert level_at("reward", levels, 500.0) == pytest.approx(0.9)  # a clock that went back
    assert level_at("stress", levels, 1000.0) == HORMONES["stress"].baseline


def test_praise_lifts_reward_and_bond_blame_lifts_stress_talk_tires() -> None:
    base = {name: hormone.baseline for name, hormone in HORMONES.items()}
    glad = {name: level for name, (level, _) in after({}, ("understood",), 0, 0.0).items()}
    sore = {name: level for name, (level, _) in after({}, ("zombie",), 6000, 0.0).items()}
    assert glad["reward"] == pytest.approx(0.65)  # half the way from 0.3 to 1
    assert glad["bond"] > base["bond"] and glad["stress"] < base["stress"]
    assert sore["stress"] == pytest.approx(0.55) and sore["reward"] < base["reward"]
    assert sore["bond"] < base["bond"] and 0.09 < sore["tiredness"] < 0.1
    assert glad["tiredness"] == 0


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(sorted(VALUES)), max_size=4),
            st.integers(0, 10**7),
            st.floats(-1e9, 1e10),
        ),
        max_size=30,
    )
)
def test_whatever_is_felt_levels_stay_in_range_and_speech_within_bounds(
    events: list[tuple[list[str], int, float]],
) -> None:
    levels: dict[str, tuple[float, float]] = {}
    for signals, n_bytes, wall_s in events:
        levels = after(levels, tuple(signals), n_bytes, wall_s)
        assert all(0 <= level <= 1 for level, _ in levels.values())
        bent, max_bytes = bend(Sampling(temperature=1.0), 100, levels, wall_s)
        assert TEMPERATURE_BENDS[0] <= bent.temperature <= TEMPERATURE_BENDS[1]
        assert 100 * LENGTH_BEND_MIN <= max_bytes <= 100


def test_a_greedy_parrot_stays_greedy() -> None:
    levels = after({}, ("understood",), 0, 0.0)
    assert bend(Sampling(temperature=0.0), 10, levels, 0.0)[0].temperature == 0
