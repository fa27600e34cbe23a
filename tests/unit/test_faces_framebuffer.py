# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np

from parrot.faces.framebuffer import Box, Framebuffer, Ink, bitmap, words_from_mask


def lit(frame: Framebuffer) -> set[tuple[int, int]]:
    """The coordinates (x, y) of the pixels that are on."""
    return {(int(x), int(y)) for y, x in np.argwhere(frame.pixels())}


def test_a_byte_is_eight_rows_of_one_column_and_bit_0_is_on_top() -> None:
    frame = Framebuffer()
    frame.pixel(5, 17)
    blob = frame.to_bytes()
    assert len(blob) == 1024
    assert blob[2 * 128 + 5] == 0b10
    assert sum(blob) == 0b10


def test_pages_are_a_view() -> None:
    frame = Framebuffer()
    pages = frame.pages()
    frame.pixel(127, 63)
    assert pages.shape == (8, 128)
    assert pages[7, 127] == 0x80


def test_lines_rect_and_fill() -> None:
    frame = Framebuffer()
    frame.rect(Box(10, 20, 4, 3))
    assert lit(frame) == {(x, y) for x in range(10, 14) for y in (20, 22)} | {(10, 21), (13, 21)}
    frame.clear()
    frame.hline(1, 1, 3)
    frame.vline(1, 2, 2)
    assert lit(frame) == {(1, 1), (2, 1), (3, 1), (1, 2), (1, 3)}
    frame.fill(Box(0, 0, 128, 64), Ink.OFF)
    assert lit(frame) == set()


def test_rect_in_flip_ink_touches_each_pixel_once() -> None:
    for width, height in ((1, 1), (1, 5), (5, 1), (2, 2), (6, 4)):
        flipped, drawn = Framebuffer(), Framebuffer()
        flipped.rect(Box(3, 3, width, height), Ink.FLIP)
        drawn.rect(Box(3, 3, width, height))
        assert lit(flipped) == lit(drawn) != set()


def test_drawing_outside_is_clipped() -> None:
    frame = Framebuffer()
    frame.fill(Box(-5, -5, 6, 6))
    frame.fill(Box(127, 63, 9, 9))
    frame.pixel(128, 0)
    frame.pixel(0, 64)
    frame.pixel(-1, 5)
    frame.fill(Box(5, 5, -3, 4))
    frame.rect(Box(5, 5, 0, 4))
    assert lit(frame) == {(0, 0), (127, 63)}


def test_invert_twice_is_nothing() -> None:
    frame = Framebuffer()
    frame.pixel(2, 2)
    frame.invert(Box(0, 0, 4, 4))
    assert (2, 2) not in lit(frame) and (1, 1) in lit(frame)
    frame.invert(Box(0, 0, 4, 4))
    assert lit(frame) == {(2, 2)}


def test_blit_sets_clears_or_flips_only_its_own_pixels() -> None:
    picture = bitmap("#.\n##")
    frame = Framebuffer()
    frame.blit(picture, 3, 4)
    assert lit(frame) == {(3, 4), (3, 5), (4, 5)}
    frame.pixel(4, 4)
    frame.blit(picture, 3, 4, Ink.OFF)
    assert lit(frame) == {(4, 4)}
    frame.blit(picture, 3, 4, Ink.FLIP)
    assert lit(frame) == {(3, 4), (3, 5), (4, 5), (4, 4)}


def test_blit_is_clipped_on_every_side() -> None:
    picture = bitmap("###\n###\n###")
    for x, y, corner in ((-2, -2, (0, 0)), (127, 63, (127, 63)), (-2, 63, (0, 63))):
        frame = Framebuffer()
        frame.blit(picture, x, y)
        assert lit(frame) == {corner}
    frame = Framebuffer()
    for x, y in ((-3, 0), (128, 0), (0, 64), (0, -64), (0, 1000), (1000, 0)):
        frame.blit(picture, x, y)
    assert lit(frame) == set()


def test_clip_confines_drawing_and_nests() -> None:
    frame = Framebuffer()
    with frame.clip(Box(10, 10, 10, 10)):
        with frame.clip(Box(15, 5, 10, 7)):
            frame.invert()
        frame.pixel(9, 10)
    assert lit(frame) == {(x, y) for x in range(15, 20) for y in (10, 11)}
    frame.pixel(0, 0)
    assert (0, 0) in lit(frame)


def test_words_from_mask_is_the_inverse_of_pixels() -> None:
    frame = Framebuffer()
    frame.columns[:] = np.random.default_rng(5).integers(0, 2**64, 128, dtype=np.uint64)
    assert (words_from_mask(frame.pixels()) == frame.columns).all()


def test_copy_from_does_not_share() -> None:
    frame, other = Framebuffer(), Framebuffer()
    other.pixel(1, 1)
    frame.copy_from(other)
    other.clear()
    assert lit(frame) == {(1, 1)}
