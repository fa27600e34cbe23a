# SPDX-License-Identifier: Apache-2.0
"""Debounce, long press, repeat, and the promise that nothing is lost (INV-7)."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from parrot.senses.key import HOLD_MS, LONG_PRESS_MS, REPEAT_MS, Debounce, KeyPress, KeyTimer


def kinds(events: list[KeyPress]) -> list[tuple[str, int]]:
    return [(event.kind, event.at_ms) for event in events]


def test_level_shorter_than_hold_is_not_an_edge() -> None:
    bounce = Debounce(0)
    assert [bounce.feed(True, t) for t in (1, 10, 19)] == [None, None, None]
    assert bounce.feed(False, 19) is None
    assert bounce.feed(True, 25) is None
    assert bounce.feed(True, 39) is True


def test_release_is_reported_once_after_bounce() -> None:
    bounce = Debounce(0)
    assert bounce.feed(True, HOLD_MS) is True
    raw = [False, True, False, False, False, False]
    edges = [bounce.feed(level, 100 + 10 * i) for i, level in enumerate(raw)]
    assert [edge for edge in edges if edge is not None] == [False]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=200), st.integers(1, 50))
def test_edges_are_at_least_hold_apart_and_alternate(
    samples: list[tuple[bool, int]], hold_ms: int
) -> None:
    bounce, now_ms = Debounce(0, hold_ms), 0
    edges = []
    for raw, step_ms in samples:
        now_ms += step_ms
        if (edge := bounce.feed(raw, now_ms)) is not None:
            edges.append((edge, now_ms))
    assert [edge for edge, _ in edges] == [i % 2 == 0 for i in range(len(edges))]
    times = [0, *(t for _, t in edges)]
    assert all(b - a >= hold_ms for a, b in pairwise(times))


def test_tap_is_press_and_release() -> None:
    timer = KeyTimer()
    assert kinds(timer.feed("5", True, 0)) == [("press", 0)]
    assert timer.tick(LONG_PRESS_MS - 1) == []
    assert kinds(timer.feed("5", False, LONG_PRESS_MS - 1)) == [("release", LONG_PRESS_MS - 1)]


def test_hold_is_a_long_press_then_repeats() -> None:
    timer = KeyTimer()
    timer.feed("A", True, 0)
    events = [event for t in range(0, 700, 10) for event in timer.tick(t)]
    assert kinds(events) == [
        ("long_press", LONG_PRESS_MS),
        ("repeat", LONG_PRESS_MS + REPEAT_MS),
        ("repeat", LONG_PRESS_MS + 2 * REPEAT_MS),
    ]


def test_long_press_is_not_lost_when_nobody_asked_in_time() -> None:
    timer = KeyTimer()
    timer.feed("1", True, 0)
    assert kinds(timer.feed("1", False, 900)) == [("long_press", LONG_PRESS_MS), ("release", 900)]


def test_blocked_loop_gets_one_repeat_not_a_flood() -> None:
    timer = KeyTimer()
    timer.feed("A", True, 0)
    timer.tick(LONG_PRESS_MS)
    assert len(timer.tick(10_000)) == 1


def test_same_edge_twice_is_one_event() -> None:
    timer = KeyTimer()
    assert len(timer.feed("1", True, 0)) == 1
    assert timer.feed("1", True, 5) == []
    assert timer.feed("2", False, 6) == []


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("15A"), st.booleans(), st.integers(0, 500))))
def test_inv7_every_press_has_one_release_in_order(
    edges: list[tuple[str, bool, int]],
) -> None:
    timer, now_ms = KeyTimer(), 0
    events: list[KeyPress] = []
    for key, is_down, step_ms in edges:
        now_ms += step_ms
        events += timer.tick(now_ms) + timer.feed(key, is_down, now_ms)
    events += timer.release_all(now_ms)
    for key in "15A":
        mine = [e.kind for e in events if e.key == key and e.kind in ("press", "release")]
        assert mine == ["press", "release"] * (len(mine) // 2)
        long = [e.kind for e in events if e.key == key]
        after_press = [b for a, b in pairwise(long) if a == "press"]
        assert set(after_press) <= {"long_press", "release"}
