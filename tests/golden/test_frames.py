# SPDX-License-Identifier: Apache-2.0
"""Every widget and expression is still the picture somebody approved.

After a change on purpose: python -m tools.frames, look at each changed file, commit it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from parrot.base.errors import FormatError
from parrot.faces.font import Font
from parrot.faces.framebuffer import Framebuffer
from parrot.faces.png import png_bytes
from tools.frames import FOLDER, drawn, pixels_from_png
from tools.frames_scenes import SCENES

FONT = Font()


@pytest.mark.parametrize("name", SCENES)
def test_frame_is_the_approved_one(name: str) -> None:
    n_moved = int((pixels_from_png(FOLDER / f"{name}.png") != drawn(name, FONT).pixels()).sum())
    assert n_moved == 0, f"{name}: {n_moved} pixels moved"


def test_every_file_has_its_scene() -> None:
    assert {path.stem for path in FOLDER.glob("*.png")} == set(SCENES)
    assert len(SCENES) > 30


def test_png_holds_the_frame_enlarged(tmp_path: Path) -> None:
    frame = Framebuffer()
    frame.pixel(2, 1)
    path = tmp_path / "x.png"
    path.write_bytes(png_bytes(frame))
    assert pixels_from_png(path).tolist() == frame.pixels().tolist()
    image_module = pytest.importorskip("PIL.Image", reason="Pillow reads it a second time")
    with image_module.open(path) as image:
        assert image.size == (768, 384)
        lit = {(x, y) for x in range(768) for y in range(384) if image.getpixel((x, y))}
    assert lit == {(x, y) for x in range(12, 18) for y in range(6, 12)}


def test_other_pngs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(png_bytes(Framebuffer(), scale=1))
    with pytest.raises(FormatError, match="128×64 depth 1, expected one of our frames"):
        pixels_from_png(path)
