# SPDX-License-Identifier: Apache-2.0
"""How the parrot looks: a pose in, pixels out.

A round bird seen from the front: a crest of five feathers that rises and falls with its mood, a
grey crown above a heart-shaped white mask, black eyes with a glint, cheeks, a hooked beak. What
moves is in `Pose`, in small whole numbers, so that a few dozen drawings are all a day needs and
the cache holds them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

import numpy as np

from parrot.faces.framebuffer import Words, words_from_mask
from parrot.faces.sketch import Sketch


class Eyes(Enum):
    OPEN = "open"
    WIDE = "wide"
    ARCHED = "arched"  # smiling so much that they close
    CLOSED = "closed"
    HEARTS = "hearts"


@dataclass(frozen=True)
class Pose:
    """One drawing of the parrot. Units: as named; steps run from 0 to the number given."""

    eyes: Eyes = Eyes.OPEN
    lid: int = 0  # of 8: how far the upper lids have come down
    squint: int = 0  # of 3: how far the cheeks push the lower lids up
    gaze_x: int = 0  # -2 … 2
    gaze_y: int = 0  # -2 … 2
    brow: int = 0  # -2 worried … 2 cross
    crest: int = 4  # of 8: flat … raised
    beak: int = 0  # of 4: shut … wide open
    blush: int = 1  # of 2
    is_ruffled: bool = False
    has_tear: bool = False
    tilt_deg: int = 0  # clockwise
    right: int = 0
    down: int = 0


CREST = ((-58, 11, -4.5), (58, 11, 4.5), (-30, 15, -2.5), (30, 15, 2.5), (0, 16, 0))
HEAD_X, HEAD_Y, HEAD_RX, HEAD_RY = 32.0, 36.0, 22.0, 20.0
EYE_OUT, EYE_Y = 10.5, 35.0
BEAK_Y = 42.0
SIDES = (-1, 1)


@lru_cache(maxsize=256)
def portrait(pose: Pose, size: int) -> tuple[Words, Words]:
    """Return (lit pixels, silhouette) of a `size` × `size` drawing, as columns for blit.

    Blit the silhouette with Ink.OFF first where something lies behind.
    Cost: a millisecond or two for a new pose, nothing for one seen lately.
    """
    sketch = Sketch(size)
    _body(sketch)
    sketch.place(pose.tilt_deg, pose.right, pose.down)
    _crest(sketch, pose.crest / 8)
    _head(sketch, pose)
    for side in SIDES:
        _eye(sketch, pose, side)
    _beak(sketch, pose.beak / 4)
    if pose.has_tear:
        sketch.cut(sketch.ellipse(17.5, 47, 2.6, 3.4))
        sketch.add(sketch.ellipse(17.5, 47.2, 1.6, 2.4))
    outline = sketch.ellipse(HEAD_X, HEAD_Y, HEAD_RX + 1.5, HEAD_RY + 1.5)
    words, shadow = words_from_mask(sketch.lit), words_from_mask(sketch.lit | outline)
    words.flags.writeable = shadow.flags.writeable = False
    return words, shadow


def _body(sketch: Sketch) -> None:
    whole = sketch.ellipse(32, 70, 21, 19)
    sketch.add(whole & sketch.checker())
    sketch.add(whole & ~sketch.ellipse(32, 70, 19.8, 17.8))
    sketch.add(sketch.ellipse(32, 74, 12, 15))


def _crest(sketch: Sketch, raised: float) -> None:
    """Five feathers from the outermost to the middle one, each with a dark rim."""
    for fan_deg, length, root in CREST:
        turn_deg = fan_deg * (0.35 + 0.65 * raised)
        half = length * (0.45 + 0.55 * raised) / 2
        x = 32 + root * 1.2 + math.sin(math.radians(turn_deg)) * half
        y = 19.5 - math.cos(math.radians(turn_deg)) * half
        sketch.cut(sketch.ellipse(x, y, 4.2, half * 1.24 + 1, turn_deg))
        sketch.add(sketch.ellipse(x, y, 3.0, half * 1.24, turn_deg))


def _head(sketch: Sketch, pose: Pose) -> None:
    chin = pose.beak * 0.4
    sketch.cut(sketch.ellipse(HEAD_X, HEAD_Y, HEAD_RX + 1.4, HEAD_RY + 1.4))
    head = sketch.ellipse(HEAD_X, HEAD_Y + chin / 2, HEAD_RX, HEAD_RY + chin / 2)
    sketch.add(head)
    if pose.is_ruffled:
        _ruff(sketch)
    crown = sketch.ellipse(HEAD_X, HEAD_Y, HEAD_RX - 1.4, HEAD_RY - 1.4) & (sketch.y < 33)
    mask = sketch.ellipse(22, 38.5, 12.2, 12.8) | sketch.ellipse(42, 38.5, 12.2, 12.8)
    sketch.cut(crown & ~mask & ~sketch.checker())
    if pose.blush:
        grow = 0.6 * pose.blush
        for side in SIDES:
            cheek = sketch.ellipse(32 + side * 15, 45.5, 3.4 + grow, 2.6 + grow)
            sketch.cut(cheek & sketch.checker())


def _ruff(sketch: Sketch) -> None:
    """Feathers on end, left and right of the head."""
    for side in SIDES:
        for y, drop in ((27, -4), (33, -2), (39, 0), (45, 2), (50, 4)):
            sketch.add(sketch.stroke(32 + side * 17, y, 32 + side * 23, y + drop, 3.2))


def _eye(sketch: Sketch, pose: Pose, side: int) -> None:
    x, y = 32 + side * EYE_OUT, EYE_Y
    if pose.eyes is Eyes.ARCHED:
        sketch.cut(sketch.arc(x, y + 2, 4.6, 5, is_upper=True))
    elif pose.eyes is Eyes.CLOSED:
        sketch.cut(sketch.arc(x, y - 1, 4.6, 4, is_upper=False))
    elif pose.eyes is Eyes.HEARTS:
        _heart_eye(sketch, x, y)
    elif pose.eyes is Eyes.WIDE:
        sketch.cut(sketch.ellipse(x, y, 6.6, 7.4))
        sketch.add(sketch.ellipse(x, y, 5.3, 6.1))
        sketch.cut(sketch.ellipse(x + pose.gaze_x, y + pose.gaze_y, 2.7, 3.2))
        sketch.add(sketch.ellipse(x + pose.gaze_x - 1, y + pose.gaze_y - 1.2, 1, 1))
    else:
        _open_eye(sketch, pose, x, y)
    if pose.brow:
        slope = side * pose.brow * 1.1
        ends = (x - 4.5, y - 8.6 + slope, x + 4.5, y - 8.6 - slope)
        sketch.add(sketch.stroke(*ends, 4.6))  # clear of the crown's grey
        sketch.cut(sketch.stroke(*ends, 1.9))


def _open_eye(sketch: Sketch, pose: Pose, x: float, y: float) -> None:
    x += pose.gaze_x * 0.8
    y += pose.gaze_y * 0.6
    # cross eyes fall inwards, tired ones outwards
    slope = (x - 32) / abs(x - 32) * min(pose.lid, 4) * (-0.075 if pose.brow > 0 else 0.075)
    lid_y = y - 6 + 12 * pose.lid / 8 + slope * (sketch.x - x)
    ball = sketch.ellipse(x, y, 4.6, 6.0)
    seen = ball & (sketch.y >= lid_y) if pose.lid else ball
    sketch.cut(seen)
    glint_x, glint_y = x - 1.4 + pose.gaze_x * 0.5, y - 2.4 + pose.gaze_y * 0.5
    glint = sketch.ellipse(glint_x, glint_y, 1.7, 1.7)
    sketch.add(seen & (glint | sketch.ellipse(x + 1.8, y + 2.4, 0.9, 0.9)))
    if pose.lid:
        sketch.cut((np.abs(sketch.y - lid_y) <= 0.8) & (np.abs(sketch.x - x) <= 5.2))
    if pose.squint:
        sketch.add(sketch.ellipse(x, y + 9 - pose.squint, 6, 5) & ball)


def _heart_eye(sketch: Sketch, x: float, y: float) -> None:
    heart = sketch.ellipse(x - 2.6, y - 2, 3.1, 3.1) | sketch.ellipse(x + 2.6, y - 2, 3.1, 3.1)
    sketch.cut(heart | sketch.hook(x, y - 1.6, 5.6, 7.6))
    sketch.add(sketch.ellipse(x - 2.6, y - 2.8, 1.0, 1.0))


def _beak(sketch: Sketch, opened: float) -> None:
    x, y = 32.0, BEAK_Y - opened
    if opened:
        sketch.add(sketch.ellipse(x, y + 7 + 3 * opened, 6.4, 3.6 + 3.6 * opened))
        sketch.cut(sketch.ellipse(x, y + 7 + 3 * opened, 5.2, 2.6 + 3.4 * opened))
        tongue_y = y + 8 + 4.8 * opened
        sketch.add(sketch.ellipse(x, tongue_y, 2.6, 0.6 + 1.6 * opened))
    else:
        sketch.add(sketch.ellipse(x, y + 8.2, 4.6, 3.4))
        sketch.cut(sketch.ellipse(x, y + 8.2, 3.4, 2.4))
    length = 9.4 - 1.4 * opened
    sketch.add(sketch.ellipse(x, y - 0.4, 7.7, 5.9) | sketch.hook(x, y - 0.6, 7.7, length + 1.6))
    sketch.cut(sketch.ellipse(x, y - 0.4, 6.6, 4.8) | sketch.hook(x, y, 6.6, length))
    for side in SIDES:
        sketch.add(sketch.ellipse(x + side * 2.8, y - 2.4, 0.8, 0.8))  # nostrils
    sketch.add(sketch.stroke(x - 3.8, y + 0.6, x - 3.0, y + 3.0, 1.0))  # shine
