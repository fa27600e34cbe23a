# SPDX-License-Identifier: Apache-2.0
"""Shapes on a small grid of pixels, as masks.

A sketch is square and thought of as 64 units wide whatever its size in pixels, so one drawing
serves the full face and the small one. A shape is a mask of the pixels whose centre lies inside;
`add` lights a mask, `cut` darkens it. `place` turns and moves all shapes drawn after it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

UNITS = 64
ARC_WIDTH = 2.0
PIVOT = (32.0, 50.0)  # the neck, around which a head tilts


class Sketch:
    """A square of `size` × `size` pixels, at first dark. Coordinates in units, origin top left."""

    def __init__(self, size: int) -> None:
        self._unit = UNITS / size
        self._row, self._column = np.mgrid[0:size, 0:size]
        self.lit: Mask = np.zeros((size, size), dtype=np.bool_)
        self.place(0, 0, 0)

    def place(self, tilt_deg: float, right: float, down: float) -> None:
        """Turn what follows around the neck, clockwise, then move it."""
        angle = math.radians(tilt_deg)
        self._cos, self._sin = math.cos(angle), math.sin(angle)
        self._right, self._down = right, down
        x = (self._column + 0.5) * self._unit - PIVOT[0] - right
        y = (self._row + 0.5) * self._unit - PIVOT[1] - down
        self.x = self._cos * x + self._sin * y + PIVOT[0]
        self.y = self._cos * y - self._sin * x + PIVOT[1]

    def add(self, mask: Mask) -> None:
        self.lit |= mask

    def cut(self, mask: Mask) -> None:
        self.lit &= ~mask

    def ellipse(self, x: float, y: float, rx: float, ry: float, turn_deg: float = 0) -> Mask:
        mask, near = self._near(x, y, max(rx, ry))
        dx, dy = self.x[near] - x, self.y[near] - y
        if turn_deg:
            angle = math.radians(turn_deg)
            dx, dy = (
                math.cos(angle) * dx + math.sin(angle) * dy,
                math.cos(angle) * dy - math.sin(angle) * dx,
            )
        mask[near] = (dx / rx) ** 2 + (dy / ry) ** 2 <= 1
        return mask

    def stroke(self, x0: float, y0: float, x1: float, y1: float, width: float) -> Mask:
        """Return a straight line with round ends."""
        dx, dy = x1 - x0, y1 - y0
        length = math.hypot(dx, dy)
        mask, near = self._near((x0 + x1) / 2, (y0 + y1) / 2, (length + width) / 2)
        x, y = self.x[near] - x0, self.y[near] - y0
        along = np.clip((x * dx + y * dy) / length**2, 0, 1)
        mask[near] = (x - along * dx) ** 2 + (y - along * dy) ** 2 <= width**2 / 4
        return mask

    def arc(self, x: float, y: float, rx: float, ry: float, is_upper: bool) -> Mask:
        """Return the upper or lower half of an ellipse's outline, ARC_WIDTH thick."""
        mask, near = self._near(x, y, max(rx, ry) + ARC_WIDTH)
        dx, dy = self.x[near] - x, self.y[near] - y
        radius = np.sqrt((dx / rx) ** 2 + (dy / ry) ** 2)
        half = dy <= 0 if is_upper else dy >= 0
        mask[near] = (np.abs(radius - 1) * min(rx, ry) <= ARC_WIDTH / 2) & half
        return mask

    def hook(self, x: float, y: float, half_width: float, length: float) -> Mask:
        """Return a pointed arch hanging from y: two circles' overlap, as a beak has it."""
        offset = (length**2 - half_width**2) / (2 * half_width)
        square = (offset + half_width) ** 2
        mask, near = self._near(x, y, length)
        dx, dy = self.x[near] - x, self.y[near] - y
        left, right = (dx + offset) ** 2 + dy**2 <= square, (dx - offset) ** 2 + dy**2 <= square
        mask[near] = left & right & (dy >= 0)
        return mask

    def _near(self, x: float, y: float, reach: float) -> tuple[Mask, tuple[slice, slice]]:
        """Return an empty mask and the window of it that a shape around (x, y) can touch."""
        dx, dy = x - PIVOT[0], y - PIVOT[1]
        column = (self._cos * dx - self._sin * dy + PIVOT[0] + self._right) / self._unit
        row = (self._cos * dy + self._sin * dx + PIVOT[1] + self._down) / self._unit
        pixels = reach / self._unit + 1
        window = (
            slice(max(int(row - pixels), 0), max(int(row + pixels) + 1, 0)),
            slice(max(int(column - pixels), 0), max(int(column + pixels) + 1, 0)),
        )
        return np.zeros_like(self.lit), window

    def checker(self) -> Mask:
        """Return every second pixel: the one grey that one bit can do."""
        return np.asarray((self._row + self._column) % 2 == 0)
