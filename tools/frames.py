# SPDX-License-Identifier: Apache-2.0
"""Draw the golden frames: `python -m tools.frames` redraws them and says how many pixels moved.

Each scene is one widget or one expression at one instant. tests/golden/test_frames.py draws the
same scenes and compares; whoever changes a picture looks at the new file before committing it.
"""

from __future__ import annotations

import argparse
import struct
import sys
import time
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parrot.base.errors import FormatError
from parrot.base.files import read_file, replace_file
from parrot.faces.font import Font
from parrot.faces.framebuffer import Framebuffer
from parrot.faces.png import SCALE, png_bytes
from tools.frames_scenes import SCENES

FOLDER = Path("tests/golden/frames")


def drawn(name: str, font: Font) -> Framebuffer:
    """Return the scene `name`."""
    frame = Framebuffer()
    SCENES[name](frame, font)
    return frame


def pixels_from_png(path: Path) -> NDArray[np.bool_]:
    """Return the (64, 128) pixels of a file that parrot.faces.png wrote.

    Raises: FormatError for any other PNG: this is no general reader.
    """
    blob = read_file(path, 100_000)
    width, height, depth, kind = struct.unpack_from(">IIBB", blob, 16)
    if (width, height, depth, kind) != (128 * SCALE, 64 * SCALE, 1, 0):
        raise FormatError(f"{path}: {width}×{height} depth {depth}, expected one of our frames.")
    at, packed = 33, b""
    while at < len(blob):
        (length,) = struct.unpack_from(">I", blob, at)
        if blob[at + 4 : at + 8] == b"IDAT":
            packed += blob[at + 8 : at + 8 + length]
        at += 12 + length
    rows = np.frombuffer(zlib.decompress(packed), dtype=np.uint8).reshape(height, -1)
    if rows[:, 0].any():
        raise FormatError(f"{path}: has filtered rows, expected one of our frames.")
    return np.unpackbits(rows[:, 1:], axis=1).astype(np.bool_)[::SCALE, ::SCALE]


def redraw(font: Font) -> int:
    """Write every scene; print what moved; return how many scenes changed."""
    n_changed = 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in SCENES:
        frame, path = drawn(name, font), FOLDER / f"{name}.png"
        if not path.exists():
            print(f"{name}: new")
        else:
            n_moved = int((pixels_from_png(path) != frame.pixels()).sum())
            if not n_moved:
                continue
            print(f"{name}: {n_moved} pixels moved")
        n_changed += 1
        replace_file(path, png_bytes(frame))
    for path in FOLDER.glob("*.png"):
        if path.stem not in SCENES:
            print(f"{path.stem}: no longer drawn, removed")
            path.unlink()
            n_changed += 1
    print(f"{n_changed} of {len(SCENES)} frames changed")
    return n_changed


def measure(font: Font, n_rounds: int = 50) -> None:
    """Print the processor time of each scene: first drawing, then the median of the rest."""
    for name in SCENES:
        times_ms = []
        for _ in range(n_rounds):
            start_ns = time.process_time_ns()
            drawn(name, font)
            times_ms.append((time.process_time_ns() - start_ns) / 1e6)
        first, rest = times_ms[0], sorted(times_ms[1:])
        print(f"{name:24} first {first:6.2f} ms, then {rest[len(rest) // 2]:6.2f} ms")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.frames", description=__doc__)
    parser.add_argument("--time", action="store_true", help="measure drawing, write nothing")
    args = parser.parse_args(argv)
    font = Font()
    if args.time:
        measure(font)
    else:
        redraw(font)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
