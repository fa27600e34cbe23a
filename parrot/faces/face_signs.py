# SPDX-License-Identifier: Apache-2.0
"""Small signs that float beside the full face: hearts, z's, sound, thought, doubt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from parrot.faces.framebuffer import Framebuffer, Words, bitmap

HEART = bitmap("""
.##.##.
#######
#######
.#####.
..###..
...#...
""")
HEART_SMALL = bitmap("""
#.#
###
.#.
""")
Z = bitmap("""
#######
.....#.
....#..
...#...
..#....
.#.....
#######
""")
Z_SMALL = bitmap("""
#####
...#.
..#..
.#...
#####
""")
NOTE = bitmap("""
...##..
...#.#.
...#..#
...#...
.###...
####...
.##....
""")
SPARKLE = bitmap("""
...#...
...#...
..###..
###.###
..###..
...#...
...#...
""")
SPARKLE_SMALL = bitmap("""
.#.
###
.#.
""")
BANG = bitmap("""
###
###
###
###
.#.
.#.
...
.#.
###
""")
QUESTION = bitmap("""
.####.
##..##
....##
...##.
..##..
..##..
......
..##..
..##..
""")
CROSS_VEIN = bitmap("""
..#...#..
..#...#..
##.....##
.........
.........
.........
##.....##
..#...#..
..#...#..
""")
WAVE = bitmap("""
..#
.#.
#..
#..
#..
#..
.#.
..#
""")
WAVE_LARGE = bitmap("""
...#
..#.
.#..
.#..
#...
#...
#...
#...
.#..
.#..
..#.
...#
""")
DOT_SMALL = bitmap("""
##
##
""")
DOT = bitmap("""
.##.
####
####
.##.
""")
CLOUD = bitmap("""
...#####...
.##.....##.
#.........#
#.........#
#.........#
.##.....##.
...#####...
""")


@dataclass(frozen=True)
class Sign:
    """A picture at (x, y) beside the face; it shows while its turn in the loop lasts.

    Units: pixels from the face's left top; loop_ms the length of the loop; from_ms and to_ms
    inside it; rise_px how far it floats up meanwhile.
    """

    picture: Words
    x: int
    y: int
    loop_ms: int = 1_000
    from_ms: int = 0
    to_ms: int = 1_000
    rise_px: int = 0


SIGNS: dict[str, tuple[Sign, ...]] = {
    "happy": (
        Sign(SPARKLE, -14, 16, 1_200, 0, 800),
        Sign(SPARKLE_SMALL, -4, 32, 1_200, 300, 1_100),
        Sign(SPARKLE, 70, 26, 1_200, 500, 1_200),
        Sign(SPARKLE_SMALL, 66, 10, 1_200, 100, 900),
    ),
    "listening": (
        Sign(WAVE, 0, 30, 900, 300, 900),
        Sign(WAVE_LARGE, -6, 28, 900, 600, 900),
    ),
    "thinking": (
        Sign(DOT_SMALL, 60, 18, 1_600, 200, 1_600),
        Sign(DOT, 65, 10, 1_600, 500, 1_600),
        Sign(CLOUD, 72, 1, 1_600, 800, 1_600),
    ),
    "speaking": (
        Sign(NOTE, 68, 30, 1_400, 0, 1_000, 10),
        Sign(NOTE, -10, 36, 1_400, 600, 1_400, 8),
    ),
    "asleep": (
        Sign(Z_SMALL, 58, 22, 2_400, 0, 1_200, 6),
        Sign(Z, 66, 16, 2_400, 600, 1_900, 8),
        Sign(Z, 76, 8, 2_400, 1_200, 2_400, 6),
    ),
    "surprised": (Sign(BANG, -8, 18), Sign(BANG, 69, 18)),
    "annoyed": (Sign(CROSS_VEIN, 64, 8, 800, 0, 600),),
    "love": (
        Sign(HEART, -16, 34, 1_800, 0, 1_500, 20),
        Sign(HEART_SMALL, -4, 26, 1_800, 600, 1_800, 12),
        Sign(HEART, 72, 36, 1_800, 300, 1_800, 22),
        Sign(HEART_SMALL, 66, 20, 1_800, 0, 900, 10),
    ),
    "unsure": (Sign(QUESTION, -14, 14, 1_200, 0, 1_000),),
}


def draw_signs(frame: Framebuffer, x: int, y: int, names: Sequence[str], now_ms: int) -> None:
    """Draw the signs of SIGNS that have one of `names` around a face that begins at (x, y)."""
    for sign in [sign for name in names for sign in SIGNS.get(name, ())]:
        into_ms = now_ms % sign.loop_ms - sign.from_ms
        lasts_ms = sign.to_ms - sign.from_ms
        if 0 <= into_ms < lasts_ms:
            risen_px = sign.rise_px * into_ms // lasts_ms
            frame.blit(sign.picture, x + sign.x, y + sign.y - risen_px)
