# SPDX-License-Identifier: Apache-2.0
"""The sampler in C, judged by the distributions it should have."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parrot.base.errors import ConfigError, EngineError
from parrot.engine.generate import Sampling, new_sampler


def draw(logits: list[float], n: int, **how: float) -> np.ndarray:
    """Counts of each token over n choices."""
    sampling = Sampling(**{"temperature": 1.0, "top_p": 1.0} | how)  # type: ignore[arg-type]
    sampler = new_sampler(sampling, 7, len(logits), is_bytes=False, stop=frozenset())
    row = np.array(logits, np.float32)
    return np.bincount([sampler.choose(row.copy(), 1) for _ in range(n)], minlength=len(logits))


def expected(logits: list[float], temperature: float = 1.0) -> np.ndarray:
    p = np.exp(np.array(logits) / temperature)
    return p / p.sum()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_choices_follow_softmax_at_the_temperature(temperature: float) -> None:
    logits = [1.0, 0.0, -1.0, 2.0]
    counts, p = draw(logits, 20_000, temperature=temperature), expected(logits, temperature)
    chi_square = float(((counts - 20_000 * p) ** 2 / (20_000 * p)).sum())
    assert chi_square < 21.1  # 3 degrees of freedom, 1 in 10,000


def test_greedy_takes_the_likeliest_and_the_first_of_equals() -> None:
    assert draw([0.0, 3.0, 1.0], 5, temperature=0.0).tolist() == [0, 5, 0]
    assert draw([2.0, 2.0, 1.0], 5, temperature=0.0).tolist() == [5, 0, 0]


def test_top_p_keeps_the_fewest_that_reach_it() -> None:
    logits = np.log([0.5, 0.3, 0.15, 0.05]).tolist()
    assert np.flatnonzero(draw(logits, 2_000, top_p=0.79)).tolist() == [0, 1]
    assert np.flatnonzero(draw(logits, 2_000, top_p=0.81)).tolist() == [0, 1, 2]
    assert np.flatnonzero(draw(logits, 100, top_p=1e-6)).tolist() == [0]


def test_top_k_and_min_p_cut_the_tail() -> None:
    logits = np.log([0.5, 0.3, 0.15, 0.05]).tolist()
    assert np.flatnonzero(draw(logits, 2_000, top_k=2)).tolist() == [0, 1]
    assert np.flatnonzero(draw(logits, 2_000, min_p=0.2)).tolist() == [0, 1, 2]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_repetition_makes_a_said_token_less_likely_for_either_sign_of_its_logit(
    sign: float,
) -> None:
    how = Sampling(temperature=0.0, repetition=1.5, window=4)
    sampler = new_sampler(how, 1, 3, is_bytes=False, stop=frozenset())
    row = np.array([2.0, 1.9, -9.0] if sign > 0 else [-1.9, -2.0, -9.0], np.float32)
    assert sampler.choose(row.copy(), 1) == 0
    sampler.feed(0)
    assert sampler.choose(row.copy(), 1) == 1
    for _ in range(4):
        sampler.feed(2)  # token 0 leaves the window
    assert sampler.choose(row.copy(), 1) == 0


def test_seed_decides_the_choices() -> None:
    def stream(seed: int) -> list[int]:
        sampler = new_sampler(Sampling(), seed, 256, is_bytes=False, stop=frozenset())
        return [sampler.choose(np.zeros(256, np.float32), 1) for _ in range(20)]

    assert stream(1) == stream(1) != stream(2)
    assert stream(-1) == stream(2**64 - 1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12), st.booleans())
def test_bytes_are_always_whole_utf8_within_the_room(seed: int, room: int, is_greedy: bool) -> None:
    random = np.random.default_rng(seed)
    how = Sampling(temperature=0.0 if is_greedy else 5.0, top_p=1.0)
    sampler = new_sampler(how, seed, 256, is_bytes=True, stop=frozenset())
    said = b""
    while len(said) < room:
        logits = random.normal(0, 4, 256).astype(np.float32)
        logits[0x80:] += 6  # tempt it
        token = sampler.choose(logits, room - len(said))
        sampler.feed(token)
        said += bytes([token])
    assert not any(ord(c) < 0x20 and c not in "\t\n" for c in said.decode("utf-8", "strict"))


def test_logits_without_a_number_are_an_error_not_a_choice() -> None:
    sampler = new_sampler(Sampling(), 1, 4, is_bytes=False, stop=frozenset())
    for bad in (np.nan, -np.inf, np.inf):
        with pytest.raises(EngineError, match="is a number"):
            sampler.choose(np.full(4, bad, np.float32), 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1), ("temperature", float("nan")), ("top_p", 0.0), ("top_p", 1.1),
        ("top_k", -1), ("min_p", 2.0), ("repetition", 0.0), ("window", 1000),
    ],
)  # fmt: skip
def test_setting_out_of_range_is_named(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name}: .*expected"):
        Sampling(**{name: value})  # type: ignore[arg-type]
