# SPDX-License-Identifier: Apache-2.0
"""Icons for the status bar, 9 px high, and digits of 3×5 for corners."""

from __future__ import annotations

import numpy as np

from parrot.faces.framebuffer import Framebuffer, Ink, Words, bitmap

MICROPHONE = bitmap("""
..###..
..###..
..###..
#.###.#
#.###.#
.#...#.
..###..
...#...
.#####.
""")
SPEAKER = bitmap("""
...#.....
..##..#..
####...#.
####.#.#.
####.#.#.
####.#.#.
####...#.
..##..#..
...#.....
""")
MUTED = bitmap("""
...#.....
..##.....
####.#.#.
####.#.#.
####..#..
####.#.#.
####.#.#.
..##.....
...#.....
""")
MOON = bitmap("""
..###....
.##......
##.......
##.......
##.......
###....#.
.###.###.
..#####..
...###...
""")
CRYSTAL = bitmap("""
..#####..
.#.#.#.#.
#########
#.#...#.#
.#.#.#.#.
.#.#.#.#.
..#.#.#..
...###...
....#....
""")
HEART = bitmap("""
.........
.##.##...
#######..
#######..
#######..
.#####...
..###....
...#.....
.........
""")
WARNING = bitmap("""
....#....
...#.#...
...#.#...
..#.#.#..
..#.#.#..
.#..#..#.
.#.....#.
#...#...#
#########
""")
PLUG = bitmap("""
..#.#..
..#.#..
.#####.
.#####.
.#####.
..###..
...#...
...#...
...#...
""")


def battery(share: float) -> Words:
    """Return a battery, 14 px wide, filled to `share` (0…1)."""
    words = bitmap("""
..............
#############.
#...........#.
#...........##
#...........##
#...........##
#...........#.
#############.
..............
""")
    n_filled = round(9 * min(max(share, 0.0), 1.0))
    words[2 : 2 + n_filled] |= np.uint64(0b111000)  # rows 3 to 5
    return words


# Digits

DIGIT_WIDTH_PX = 3
_DIGITS = [
    bitmap(rows)
    for rows in (
        "###\n#.#\n#.#\n#.#\n###", ".#.\n##.\n.#.\n.#.\n###", "###\n..#\n###\n#..\n###",
        "###\n..#\n.##\n..#\n###", "#.#\n#.#\n###\n..#\n..#", "###\n#..\n###\n..#\n###",
        "###\n#..\n###\n#.#\n###", "###\n..#\n.#.\n.#.\n.#.", "###\n#.#\n###\n#.#\n###",
        "###\n#.#\n###\n..#\n###",
    )
]  # fmt: skip


def draw_digits(frame: Framebuffer, x: int, y: int, digits: str, ink: Ink = Ink.ON) -> int:
    """Draw decimal digits, 3×5 px each; return the x after the last one."""
    for digit in digits:
        frame.blit(_DIGITS[int(digit)], x, y, ink)
        x += DIGIT_WIDTH_PX + 1
    return x
