# SPDX-License-Identifier: Apache-2.0
"""What the parrot's face does: expression, mood and time in, a pose out.

`pose_at` is a pure function, so any instant can be drawn and tested; `Face` adds the one thing
that needs a past, the ease from one expression to the next. Levels of the mood bend every
expression: bond reddens the cheeks, reward lifts the crest, stress ruffles, tiredness weighs on
the lids, and when the model is unsure of itself the head tilts and a question mark appears.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from parrot.faces.face_art import Eyes, Pose, portrait
from parrot.faces.face_signs import draw_signs
from parrot.faces.framebuffer import Box, Framebuffer, Ink

EASE_MS = 180
BLINK_SLOT_MS = 3_600
BEAK_STEP_MS = 90
BEAK_STEPS = (1, 3, 2, 4, 1, 0, 2, 3, 1, 2, 0, 3)  # a syllable or so each
UNSURE = 0.35
FULL_SIZE = 64  # signs around the head are drawn at this size only


class Expression(Enum):
    CALM = "calm"
    HAPPY = "happy"
    LISTENING = "listening"
    THINKING = "thinking"
    SPEAKING = "speaking"
    SLEEPY = "sleepy"
    ASLEEP = "asleep"
    SAD = "sad"
    SURPRISED = "surprised"
    ANNOYED = "annoyed"
    LOVE = "love"


@dataclass(frozen=True)
class Mood:
    """Levels from 0 to 1, as the hormones and the confidence have them."""

    reward: float = 0.5
    stress: float = 0.2
    bond: float = 0.5
    tiredness: float = 0.2
    confidence: float = 0.7


def resting(mood: Mood) -> Expression:
    """Return the expression of a parrot that nobody is talking to."""
    if mood.tiredness > 0.85:
        return Expression.SLEEPY
    if mood.stress > 0.75:
        return Expression.ANNOYED
    if mood.reward < 0.15:
        return Expression.SAD
    if mood.reward > 0.8 and mood.bond > 0.8:
        return Expression.HAPPY
    return Expression.CALM


def pose_at(expression: Expression, mood: Mood, now_ms: int, voice: float | None = None) -> Pose:
    """Return the pose at an instant. `voice`: loudness 0…1 that moves the beak, if it is known."""
    pose = _bent(POSES[expression](now_ms), mood)
    if expression is Expression.SPEAKING:
        pose = replace(pose, beak=_beak(now_ms) if voice is None else _level(voice, 4))
    if pose.eyes is Eyes.OPEN and expression is not Expression.SLEEPY:
        pose = _blinking(pose, mood, now_ms)
    return pose


# The poses of one instant, before mood


def _calm(now_ms: int) -> Pose:
    glance = _dice(now_ms // 2_300, 1)
    gaze_x = (-2, 0, 0, 0, 2)[glance % 5] if now_ms % 2_300 < 1_100 else 0
    tilt_deg = (0, 0, 0, -5, 5, 0)[_dice(now_ms // 4_100, 2) % 6]
    return Pose(gaze_x=gaze_x, tilt_deg=tilt_deg, down=_breath(now_ms, 3_200))


def _happy(now_ms: int) -> Pose:
    hop = (0, -1, -2, -2, -1, 0, 0, 0)[now_ms // 70 % 8]
    return Pose(eyes=Eyes.ARCHED, crest=7, blush=2, down=hop, beak=1)


def _listening(now_ms: int) -> Pose:
    side = 1 if now_ms // 2_600 % 2 == 0 else -1
    return Pose(crest=7, tilt_deg=11 * side, gaze_x=-side)


def _thinking(now_ms: int) -> Pose:
    side = 1 if now_ms // 1_700 % 2 == 0 else -1
    return Pose(crest=5, tilt_deg=-5 * side, gaze_x=2 * side, gaze_y=-2)


def _speaking(now_ms: int) -> Pose:
    sway = (0, 2, 3, 2, 0, -2, -3, -2)[now_ms // 240 % 8]
    return Pose(crest=5 + (now_ms // 180 % 2), tilt_deg=sway)


def _sleepy(now_ms: int) -> Pose:
    phase_ms = now_ms % 6_400
    if phase_ms < 1_000:  # a yawn
        return Pose(eyes=Eyes.CLOSED, crest=3, beak=4, down=-1)
    nod = (0, 0, 1, 2, 3, 3, 1, 0)[phase_ms // 400 % 8]
    return Pose(lid=4 + nod // 2, crest=1, down=nod)


def _asleep(now_ms: int) -> Pose:
    return Pose(eyes=Eyes.CLOSED, crest=0, tilt_deg=7, down=2 + _breath(now_ms, 4_400))


def _sad(now_ms: int) -> Pose:
    return Pose(brow=-2, gaze_y=2, crest=0, down=1, has_tear=now_ms % 3_000 > 1_200)


def _surprised(now_ms: int) -> Pose:
    return Pose(eyes=Eyes.WIDE, crest=8, beak=2, down=-1 if now_ms % 300 < 150 else 0)


def _annoyed(now_ms: int) -> Pose:
    gaze_x = 2 if now_ms % 3_400 < 1_400 else 0
    return Pose(brow=2, lid=3, crest=0, blush=0, is_ruffled=True, gaze_x=gaze_x)


def _love(now_ms: int) -> Pose:
    sway = (0, 2, 4, 4, 2, 0, -2, -4, -4, -2)[now_ms // 160 % 10]
    return Pose(eyes=Eyes.HEARTS, crest=7, blush=2, tilt_deg=sway)


POSES: dict[Expression, Callable[[int], Pose]] = {
    Expression.CALM: _calm,
    Expression.HAPPY: _happy,
    Expression.LISTENING: _listening,
    Expression.THINKING: _thinking,
    Expression.SPEAKING: _speaking,
    Expression.SLEEPY: _sleepy,
    Expression.ASLEEP: _asleep,
    Expression.SAD: _sad,
    Expression.SURPRISED: _surprised,
    Expression.ANNOYED: _annoyed,
    Expression.LOVE: _love,
}


def _bent(pose: Pose, mood: Mood) -> Pose:
    """Let the levels show in `pose`."""
    crest = pose.crest
    if 2 <= crest <= 6:
        crest += round(4 * (mood.reward - 0.5)) - round(3 * max(mood.stress - 0.4, 0))
    lid = pose.lid + round(6 * max(mood.tiredness - 0.5, 0))
    is_smiling = pose.eyes is Eyes.OPEN and mood.reward > 0.7 and not pose.brow
    is_tense = mood.stress > 0.6 and not pose.brow
    return replace(
        pose,
        crest=min(max(crest, 0), 8),
        lid=min(lid, 6),
        squint=2 if is_smiling else 0,
        brow=-1 if is_tense else pose.brow,
        blush=_blush(pose.blush, mood.bond),
        is_ruffled=pose.is_ruffled or mood.stress > 0.9,
        tilt_deg=pose.tilt_deg + (6 if mood.confidence < UNSURE else 0),
    )


def _blush(blush: int, bond: float) -> int:
    if not blush or bond < 0.25:
        return 0
    return 2 if bond > 0.75 else blush


def _blinking(pose: Pose, mood: Mood, now_ms: int) -> Pose:
    """Close the eyes for a moment, once in each slot; a tired parrot does it twice as often."""
    slot_ms = BLINK_SLOT_MS // 2 if mood.tiredness > 0.6 else BLINK_SLOT_MS
    starts_ms = 200 + _dice(now_ms // slot_ms, 3) * (slot_ms - 600) // 256
    into_ms = now_ms % slot_ms - starts_ms
    if 40 <= into_ms < 120:
        return replace(pose, eyes=Eyes.CLOSED)
    if 0 <= into_ms < 160:
        return replace(pose, lid=max(pose.lid, 5))
    return pose


def _beak(now_ms: int) -> int:
    return BEAK_STEPS[now_ms // BEAK_STEP_MS % len(BEAK_STEPS)]


def _breath(now_ms: int, period_ms: int) -> int:
    return 1 if now_ms % period_ms > period_ms * 6 // 10 else 0


def _level(value: float, n_steps: int) -> int:
    return round(min(max(value, 0.0), 1.0) * n_steps)


def _dice(slot: int, salt: int) -> int:
    """Return 0…255, always the same for the same slot: idle life without a random source."""
    return ((slot + salt * 7_919) * 2_654_435_761 >> 13) & 0xFF


class Face:
    """The face through time: `turn_to` an expression, then `draw` every frame."""

    def __init__(self, expression: Expression = Expression.CALM) -> None:
        self.expression = expression
        self._since_ms: int | None = None
        self._left = Pose()
        self._drawn = Pose()

    def turn_to(self, expression: Expression, now_ms: int) -> None:
        """Change the expression; the head moves there within EASE_MS."""
        if expression is not self.expression:
            self.expression, self._since_ms, self._left = expression, now_ms, self._drawn

    def draw(
        self,
        frame: Framebuffer,
        box: Box,
        mood: Mood,
        now_ms: int,
        voice: float | None = None,
    ) -> None:
        """Draw the face in `box`, a square of 48 or 64 px, over whatever is there.

        At 64 px there are signs (hearts, z's, a question mark) up to 30 px left and right of it.
        Cost: see face_art.portrait.
        """
        pose = pose_at(self.expression, mood, now_ms, voice)
        if self._since_ms is not None and now_ms - self._since_ms < EASE_MS:
            pose = _between(self._left, pose, max(now_ms - self._since_ms, 0) / EASE_MS)
        self._drawn = pose
        lit, silhouette = portrait(pose, box.width)
        frame.blit(silhouette, box.x, box.y, Ink.OFF)
        frame.blit(lit, box.x, box.y)
        if box.width == FULL_SIZE:
            names = [self.expression.value, *(["unsure"] if mood.confidence < UNSURE else [])]
            draw_signs(frame, box.x, box.y, names, now_ms)


def _between(a: Pose, b: Pose, share: float) -> Pose:
    """Return `b` with its moving parts still on their way from `a`."""

    def mix(start: int, end: int) -> int:
        return start + round((end - start) * share)

    return replace(
        b,
        crest=mix(a.crest, b.crest),
        lid=mix(a.lid, b.lid),
        tilt_deg=mix(a.tilt_deg, b.tilt_deg),
        right=mix(a.right, b.right),
        down=mix(a.down, b.down),
    )
