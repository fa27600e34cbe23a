# SPDX-License-Identifier: Apache-2.0
"""The judge is judged here: by luma.oled's own drawing, and by the data sheets' words."""

from __future__ import annotations

import numpy as np
import pytest

from parrot.faces.panel import CHIPS
from parrot.faces.sim_panel import SimulatedSSD1306


class Wire:
    """What luma calls a serial interface, soldered to a simulated chip."""

    def __init__(self, sim: SimulatedSSD1306) -> None:
        self._sim = sim

    def command(self, *codes: int) -> None:
        self._sim.write(bytes([0x00, *codes]))

    def data(self, codes: list[int]) -> None:
        self._sim.write(bytes([0x40, *codes]))

    def cleanup(self) -> None:
        pass


def lit(sim: SimulatedSSD1306) -> list[list[int]]:
    return np.argwhere(sim.glass().pixels()).tolist()


def started(chip: str = "ssd1306") -> SimulatedSSD1306:
    """A chip that is on, upright, dark, in horizontal addressing."""
    sim = SimulatedSSD1306(chip)
    sim.write(bytes([0x00, 0x8D, 0x14, 0x20, 0x00, 0xA1, 0xC8, 0xAF, 0x21, 0, 127, 0x22, 0, 7]))
    sim.write(b"\x40" + bytes(1024))
    return sim


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # luma uses Pillow's getdata
def test_luma_draws_what_luma_was_given(chip: str) -> None:
    device_module = pytest.importorskip("luma.oled.device", reason="needs the extra board")
    image_module = pytest.importorskip("PIL.Image", reason="needs the extra board")
    sim = SimulatedSSD1306(chip)
    device = getattr(device_module, chip)(Wire(sim))
    device.persist = True
    picture = np.random.default_rng(2).random((64, 128)) < 0.5
    device.display(image_module.fromarray(picture))
    assert (sim.glass().pixels() == picture).all()
    assert sim.unknown == []


def test_page_addressing_wraps_inside_its_page() -> None:
    sim = started()
    sim.write(bytes([0x00, 0x20, 0x02, 0xB1, 0x0F, 0x17]))  # page 1, column 0x7f
    sim.write(b"\x40\x01\x01")
    assert lit(sim) == [[8, 0], [8, 127]]


def test_vertical_addressing_goes_down_first() -> None:
    sim = started()
    sim.write(bytes([0x00, 0x20, 0x01, 0x21, 5, 6, 0x22, 2, 3]))
    sim.write(b"\x40\x01\x01\x01")
    assert lit(sim) == [[16, 5], [16, 6], [24, 5]]


def test_horizontal_window_wraps_to_its_own_corner() -> None:
    sim = started()
    sim.write(bytes([0x00, 0x21, 5, 6, 0x22, 2, 3]))
    sim.write(b"\x40\x01\x01\x01\x01\x80")
    assert lit(sim) == [[16, 6], [23, 5], [24, 5], [24, 6]]


def test_commands_may_be_spread_over_control_bytes_and_transactions() -> None:
    sim = started()
    sim.write(bytes([0x80, 0x81, 0x80, 0x11, 0x80, 0xA7]))
    assert (sim.contrast, sim.is_inverted) == (0x11, True)
    sim.write(b"\x00\x81")
    sim.write(b"\x00\x22")
    assert sim.contrast == 0x22


def test_orientation_start_line_and_offset_move_the_picture() -> None:
    sim = started()
    sim.write(b"\x40\x01")  # pixel (0, 0)
    for commands, place in (
        (b"\x00\xa0", [[0, 127]]),
        (b"\x00\xc0", [[63, 127]]),
        (b"\x00\xa1\xc8\x41", [[63, 0]]),
        (b"\x00\x40\xd3\x02", [[62, 0]]),
    ):
        sim.write(commands)
        assert lit(sim) == place


def test_glass_is_dark_without_power_pump_or_display_on() -> None:
    sim = started()
    sim.write(b"\x00\xa5")
    assert len(lit(sim)) == 128 * 64
    for dark in (b"\x00\xae", b"\x00\xaf\x8d\x10"):
        sim.write(dark)
        assert lit(sim) == []
    sim.cut_power()
    assert lit(sim) == []
    assert sim.read(1) == b"\x40"


def test_unknown_commands_are_kept_for_the_test_to_see() -> None:
    sim = started()
    sim.write(b"\x00\xf7")
    sim.write(b"\x01")
    assert sim.unknown == [0xF7, 0x01]


def test_bus_time_counts_address_bytes_and_stops() -> None:
    sim = SimulatedSSD1306()
    sim.write(b"\x00\xae")
    assert sim.bus_ms(400_000) == pytest.approx((3 * 9 + 2) / 400)
