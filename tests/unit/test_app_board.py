# SPDX-License-Identifier: Apache-2.0
"""Boards are data: every profile reads, and a wrong one is named with its field."""

from __future__ import annotations

from pathlib import Path

import pytest

from parrot.app import board
from parrot.base.errors import ConfigError


@pytest.mark.parametrize("name", ["desktop", "openwrt", "raspberrypi", "rk3588", "sim"])
def test_every_profile_reads(name: str) -> None:
    assert board.load(name).name == name
    assert name in board.names()


def test_unknown_board_is_answered_with_the_names() -> None:
    with pytest.raises(ConfigError, match=r"'toaster', expected one of desktop, openwrt"):
        board.load("toaster")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[panel", "no TOML"),
        ("x = 1", r"expected a table \[panel\]"),
        ('[panel]\nchip = "ssd1306"\nbus = "one"\naddress = 60', r"panel.bus: 'one', expected int"),
        ('[panel]\nbus = "sim"\n[[keys]]\nkind = "piano"', "'piano', expected one of gpio"),
        (
            '[panel]\nbus = "sim"\n[[keys]]\nkind = "serial"\npath = "/x"',
            "baud: None, expected int",
        ),
        ('[panel]\nbus = "sim"\n[[keys]]\nkind = "evdev"\nbus = 1', "bus: 1, expected no such"),
    ],
)
def test_wrong_profile_names_its_field(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "my.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        board.load(str(path))
