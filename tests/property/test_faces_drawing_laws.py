# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from parrot.base.i2c import ScriptedBus
from parrot.faces.framebuffer import Box, Framebuffer, Ink, words_from_mask
from parrot.faces.panel import ADDRESS, CHIPS, OLEDPanel
from parrot.faces.sim_panel import SimulatedSSD1306

BOXES = st.builds(
    Box, st.integers(-80, 150), st.integers(-80, 90), st.integers(-3, 140), st.integers(-3, 80)
)
INKS = st.sampled_from(list(Ink))


def plain(pixels: NDArray[np.bool_], x: int, y: int, ink: Ink) -> None:
    """The oracle: one pixel at a time."""
    if 0 <= x < 128 and 0 <= y < 64:
        pixels[y, x] = not pixels[y, x] if ink is Ink.FLIP else bool(ink)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(BOXES, INKS), max_size=4))
def test_fill_agrees_with_slices_of_an_array(fills: list[tuple[Box, Ink]]) -> None:
    frame, pixels = Framebuffer(), np.zeros((64, 128), dtype=np.bool_)
    for box, ink in fills:
        frame.fill(box, ink)
        part = pixels[max(box.y, 0) : max(box.y + box.height, 0)]
        part = part[:, max(box.x, 0) : max(box.x + box.width, 0)]
        part[:] = ~part if ink is Ink.FLIP else bool(ink)
    assert (frame.pixels() == pixels).all()


@settings(max_examples=200, deadline=None)
@given(st.integers(-20, 140), st.integers(-70, 70), INKS, BOXES, st.integers(0, 2**32))
def test_blit_agrees_with_one_pixel_at_a_time(
    x: int, y: int, ink: Ink, clip: Box, seed: int
) -> None:
    picture = np.random.default_rng(seed).random((13, 9)) < 0.5
    frame, pixels = Framebuffer(), np.zeros((64, 128), dtype=np.bool_)
    with frame.clip(clip):
        frame.blit(words_from_mask(picture), x, y, ink)
    for dy, dx in np.argwhere(picture):
        in_clip = 0 <= x + dx - clip.x < clip.width and 0 <= y + dy - clip.y < clip.height
        if in_clip:
            plain(pixels, x + int(dx), y + int(dy), ink)
    assert (frame.pixels() == pixels).all()


@pytest.mark.parametrize("chip", CHIPS)
@settings(max_examples=40, deadline=None)
@given(frames=st.lists(st.lists(st.tuples(BOXES, INKS), max_size=5), min_size=1, max_size=6))
def test_inv6_glass_shows_the_last_frame(chip: str, frames: list[list[tuple[Box, Ink]]]) -> None:
    sim = SimulatedSSD1306(chip)
    panel, frame = OLEDPanel(ScriptedBus({ADDRESS: sim}), chip), Framebuffer()
    for i, fills in enumerate(frames):
        for box, ink in fills:
            frame.fill(box, ink)
        assert panel.show(frame, i * 20)
        assert sim.glass().to_bytes() == frame.to_bytes()
    assert not sim.unknown
