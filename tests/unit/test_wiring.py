# SPDX-License-Identifier: Apache-2.0
"""The wiring pictures are those of the board profiles, and the page shows every one."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from parrot.app import board
from parrot.app.board import KEYPADS
from tools.wiring import ADDRESSES, HEADER, OUT, drawings

PAGE = Path("docs/hardware.md").read_text("utf-8")


@pytest.mark.parametrize("name", sorted(drawings()))
def test_picture_is_drawn_from_the_profiles(name: str) -> None:
    text = drawings()[name]
    ElementTree.fromstring(text)
    assert (OUT / name).read_text("utf-8") == text, "run: python -m tools.wiring"
    assert f"](pictures/{name})" in PAGE


def test_page_names_every_keypad_and_every_gpio_line() -> None:
    assert all(f"`{kind}`" in PAGE for kind in KEYPADS)
    keys = board.load("raspberrypi").keys[0]
    for line in (*keys["rows"], *keys["columns"]):
        assert f"| GPIO{line} | {HEADER[line]} |" in PAGE


def test_profiles_use_the_addresses_that_are_drawn() -> None:
    for name in board.names():
        profile = board.load(name)
        assert profile.panel.address == ADDRESSES["panel"]
        for keys in profile.keys:
            if "address" in keys:
                assert keys["address"] == ADDRESSES[keys["kind"]]
