# SPDX-License-Identifier: Apache-2.0
"""What the doctor says of panels and keypads, each fault tried."""

from __future__ import annotations

from pathlib import Path

import pytest

from parrot.app import doctor_hand
from parrot.app.assemble import Buses
from parrot.app.board import load
from parrot.base.errors import DeviceError, DeviceMissing, DeviceRefused
from parrot.base.i2c import I2CBus, ScriptedBus
from parrot.faces.sim_panel import SimulatedSSD1306
from parrot.senses.keypad_model import Contacts, I2CPadModel, PCF8574Model

BOARD = """
[panel]
chip = "ssd1306"
bus = 2
address = 0x3c
[[keys]]
kind = "i2c-pad"
bus = 2
address = 0x27
[[keys]]
kind = "pcf8574"
bus = 2
address = 0x20
"""


class OneBus(Buses):
    """Every adapter number is the same scripted bus."""

    def __init__(self, bus: I2CBus) -> None:
        super().__init__()
        self._bus = bus

    def at(self, port: int) -> I2CBus:
        return self._bus


def says(tmp_path: Path, bus: I2CBus, organ: str = "panel", board: str = BOARD) -> str:
    path = tmp_path / "my.toml"
    path.write_text(board)
    look = doctor_hand.panel_says if organ == "panel" else doctor_hand.keys_say
    return look(load(str(path)), OneBus(bus))


def test_panel_that_answers_is_well(tmp_path: Path) -> None:
    glass = SimulatedSSD1306()
    before = glass.glass().to_bytes()
    assert says(tmp_path, ScriptedBus({0x3C: glass})) == "ssd1306 at i2c-2 0x3c answers"
    assert glass.glass().to_bytes() == before


def test_panel_at_the_other_address_is_found(tmp_path: Path) -> None:
    with pytest.raises(DeviceMissing, match=r"0x3d answers: write address = 0x3d under \[panel\]"):
        says(tmp_path, ScriptedBus({0x3D: SimulatedSSD1306()}))


def test_bus_with_something_else_on_it_is_told_from_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(DeviceMissing, match="only 0x27 answers on i2c-2: check this one's four"):
        says(tmp_path, ScriptedBus({0x27: I2CPadModel()}))
    with pytest.raises(DeviceMissing, match="nothing answers on i2c-2: check SDA, SCL,"):
        says(tmp_path, ScriptedBus({}))


def test_keypads_that_answer_are_named_with_those_that_do_not(tmp_path: Path) -> None:
    pad, expander = I2CPadModel(), PCF8574Model(Contacts())
    both = says(tmp_path, ScriptedBus({0x27: pad, 0x20: expander}), "keys")
    assert both == "answering: i2c-pad, pcf8574"
    one = says(tmp_path, ScriptedBus({0x27: pad}), "keys")
    assert one == "answering: i2c-pad; absent: pcf8574"


def test_keypad_at_another_address_is_found(tmp_path: Path) -> None:
    board = BOARD.replace('"i2c-pad"', '"mcp23017"').replace("0x27", "0x23")
    with pytest.raises(DeviceMissing) as caught:
        says(tmp_path, ScriptedBus({0x24: PCF8574Model(Contacts())}), "keys", board)
    assert "i2c-2 0x23: no answer; 0x24 answers: write address = 0x24 under [[keys]]" in str(
        caught.value
    )


class Refusing(ScriptedBus):
    def write(self, address: int, payload: bytes) -> None:
        raise DeviceRefused("/dev/i2c-2: permission denied; add this user to the group i2c.")


@pytest.mark.parametrize("organ", ["panel", "keys"])
def test_refusal_of_the_kernel_is_passed_on(tmp_path: Path, organ: str) -> None:
    with pytest.raises(DeviceError, match="permission denied; add this user to the group i2c"):
        says(tmp_path, Refusing({}), organ)


def test_adapter_that_is_not_there_says_what_to_enable(tmp_path: Path) -> None:
    pytest.importorskip("smbus2", reason="extra board")
    path = tmp_path / "my.toml"
    path.write_text(BOARD.replace("bus = 2", "bus = 250"))
    with pytest.raises(DeviceMissing, match="/dev/i2c-250: not there; enable I2C for this board"):
        doctor_hand.panel_says(load(str(path)), Buses())


def test_simulator_needs_no_wires() -> None:
    assert "parrot sim" in doctor_hand.panel_says(load("sim"), Buses())
    assert "parrot sim" in doctor_hand.keys_say(load("sim"), Buses())
