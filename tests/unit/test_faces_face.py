# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from parrot.faces.face import EASE_MS, Expression, Face, Mood, pose_at, resting
from parrot.faces.face_art import Eyes, Pose, portrait
from parrot.faces.framebuffer import Box, Framebuffer

EVEN = Mood()
FULL = Box(32, 0, 64, 64)


def poses(expression: Expression, mood: Mood = EVEN, until_ms: int = 20_000) -> set[Pose]:
    return {pose_at(expression, mood, now_ms) for now_ms in range(0, until_ms, 20)}


def picture(expression: Expression, now_ms: int = 2_950, mood: Mood = EVEN) -> bytes:
    frame = Framebuffer()
    Face(expression).draw(frame, FULL, mood, now_ms)
    return frame.to_bytes()


def test_eleven_expressions_look_different() -> None:
    assert len(Expression) == 11
    assert len({picture(expression) for expression in Expression}) == 11


@pytest.mark.parametrize("expression", list(Expression))
def test_every_expression_lives_and_stays_drawable(expression: Expression) -> None:
    seen = poses(expression)
    assert len(seen) >= 2
    for pose in seen:
        assert 0 <= pose.crest <= 8 and 0 <= pose.lid <= 8 and 0 <= pose.beak <= 4
        assert abs(pose.tilt_deg) <= 20 and abs(pose.down) <= 4


def test_a_day_of_poses_fits_the_cache() -> None:
    assert len(set().union(*(poses(expression) for expression in Expression))) < 256


def test_calm_parrot_blinks_every_few_seconds_for_a_moment() -> None:
    closed = [pose_at(Expression.CALM, EVEN, t).eyes is Eyes.CLOSED for t in range(0, 36_000, 10)]
    starts = sum(now and not before for before, now in zip([False, *closed], closed, strict=False))
    assert starts == 10
    assert sum(closed) == 10 * 8


def test_tired_parrot_blinks_more() -> None:
    def n_closed(mood: Mood) -> int:
        calm = [pose_at(Expression.CALM, mood, t) for t in range(0, 36_000, 10)]
        return sum(pose.eyes is Eyes.CLOSED for pose in calm)

    assert n_closed(Mood(tiredness=0.8)) == 2 * n_closed(EVEN)


def test_beak_moves_while_speaking_and_follows_the_voice() -> None:
    assert {pose.beak for pose in poses(Expression.SPEAKING)} == {0, 1, 2, 3, 4}
    assert pose_at(Expression.SPEAKING, EVEN, 0, voice=0.0).beak == 0
    assert pose_at(Expression.SPEAKING, EVEN, 0, voice=0.5).beak == 2
    assert pose_at(Expression.SPEAKING, EVEN, 0, voice=7.0).beak == 4


def test_levels_bend_the_pose() -> None:
    calm = pose_at(Expression.CALM, EVEN, 0)
    assert pose_at(Expression.CALM, replace(EVEN, reward=1.0), 0).crest > calm.crest
    assert pose_at(Expression.CALM, replace(EVEN, reward=0.9), 0).squint > calm.squint
    assert pose_at(Expression.CALM, replace(EVEN, stress=0.95), 0).is_ruffled
    assert pose_at(Expression.CALM, replace(EVEN, stress=0.7), 0).brow == -1
    assert pose_at(Expression.CALM, replace(EVEN, bond=0.1), 0).blush == 0
    assert pose_at(Expression.CALM, replace(EVEN, bond=0.9), 0).blush == 2
    assert pose_at(Expression.CALM, replace(EVEN, tiredness=0.9), 0).lid > calm.lid
    assert pose_at(Expression.CALM, replace(EVEN, confidence=0.1), 0).tilt_deg > calm.tilt_deg


def test_question_mark_shows_doubt() -> None:
    def left_of_head(mood: Mood) -> np.ndarray:
        blob = picture(Expression.SPEAKING, mood=mood)
        return np.frombuffer(blob, dtype=np.uint8).reshape(8, 128)[:, 15:26]

    assert not left_of_head(EVEN).any()
    assert left_of_head(replace(EVEN, confidence=0.1)).any()


@pytest.mark.parametrize(
    ("mood", "expression"),
    [
        (EVEN, Expression.CALM),
        (Mood(tiredness=0.9), Expression.SLEEPY),
        (Mood(stress=0.8), Expression.ANNOYED),
        (Mood(reward=0.1), Expression.SAD),
        (Mood(reward=0.9, bond=0.9), Expression.HAPPY),
    ],
)
def test_resting_face_follows_the_levels(mood: Mood, expression: Expression) -> None:
    assert resting(mood) is expression


def test_face_eases_into_an_expression() -> None:
    face, frame = Face(), Framebuffer()
    face.draw(frame, FULL, EVEN, 0)
    face.turn_to(Expression.SURPRISED, 1_000)
    crests = []
    for now_ms in range(1_000, 1_000 + EASE_MS + 30, 30):
        face.draw(frame, FULL, EVEN, now_ms)
        crests.append(face._drawn.crest)
    assert crests == sorted(crests)
    assert crests[0] < 6 and crests[-1] == 8
    assert len(set(crests)) > 2


def test_turning_to_the_same_expression_does_not_start_again() -> None:
    face, frame = Face(Expression.HAPPY), Framebuffer()
    face.draw(frame, FULL, EVEN, 0)
    face.turn_to(Expression.HAPPY, 500)
    assert face._since_ms is None


def test_small_face_stays_in_its_square() -> None:
    for expression in Expression:
        frame = Framebuffer()
        Face(expression).draw(frame, Box(40, 16, 48, 48), replace(EVEN, confidence=0.1), 2_950)
        pixels = frame.pixels()
        pixels[16:64, 40:88] = False
        assert not pixels.any()


def test_face_covers_what_lies_behind_its_head() -> None:
    frame = Framebuffer()
    frame.invert()
    Face().draw(frame, FULL, EVEN, 0)
    assert not frame.pixels()[30:40, 52:54].all()  # an eye is still dark


def test_same_instant_same_picture() -> None:
    assert picture(Expression.LOVE, 12_345) == picture(Expression.LOVE, 12_345)


def test_portraits_cannot_be_scribbled_on() -> None:
    lit, _ = portrait(Pose(), 64)
    with pytest.raises(ValueError, match="read-only"):
        lit[0] = 1
