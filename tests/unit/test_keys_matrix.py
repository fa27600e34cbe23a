# SPDX-License-Identifier: Apache-2.0
"""A 4x4 pad without diodes: every key, ghosts, and the chips that scan it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parrot.base.errors import DeviceMissing
from parrot.base.i2c import ScriptedBus
from parrot.senses.expander import MCP23017, PCF8574, TCA8418, I2CPad
from parrot.senses.key import KEYS, PAD_4X4, KeyPress, KeySource
from parrot.senses.keypad_model import (
    Contacts,
    ContactsPort,
    I2CPadModel,
    MCP23017Model,
    PCF8574Model,
    TCA8418Model,
)
from parrot.senses.matrix import MatrixKeypad, MatrixPort, reject_ghosts


def wired(contacts: Contacts) -> MatrixPort:
    return ContactsPort(contacts)


def behind_pcf8574(contacts: Contacts) -> MatrixPort:
    return PCF8574(ScriptedBus({0x20: PCF8574Model(contacts)}))


def behind_mcp23017(contacts: Contacts) -> MatrixPort:
    return MCP23017(ScriptedBus({0x20: MCP23017Model(contacts)}))


PORTS = [wired, behind_pcf8574, behind_mcp23017]


def poll_for(keypad: KeySource, start_ms: int, ms: int = 60) -> list[KeyPress]:
    return [e for t in range(start_ms, start_ms + ms, 10) for e in keypad.poll(t)]


def said(events: list[KeyPress]) -> list[tuple[str, str]]:
    return [(event.key, event.kind) for event in events]


@pytest.mark.parametrize("port", PORTS)
def test_every_key_is_itself(port: Callable[[Contacts], MatrixPort]) -> None:
    contacts = Contacts()
    keypad, now_ms = MatrixKeypad(port(contacts)), 0
    poll_for(keypad, 0)
    for key in KEYS:
        contacts.press(key)
        now_ms += 100
        down = poll_for(keypad, now_ms)
        contacts.release(key)
        now_ms += 100
        assert said(down + poll_for(keypad, now_ms)) == [(key, "press"), (key, "release")]


@pytest.mark.parametrize("port", PORTS)
def test_two_keys_at_once_are_both_seen(port: Callable[[Contacts], MatrixPort]) -> None:
    for pair in combinations(PAD_4X4, 2):
        contacts = Contacts()
        keypad = MatrixKeypad(port(contacts))
        poll_for(keypad, 0)
        contacts.down |= set(pair)
        assert sorted(said(poll_for(keypad, 100))) == sorted((key, "press") for key in pair)


def test_third_corner_makes_a_ghost_that_is_not_believed() -> None:
    contacts = Contacts()
    keypad = MatrixKeypad(wired(contacts))
    poll_for(keypad, 0)
    for key in "25":
        contacts.press(key)
    assert sorted(said(poll_for(keypad, 100))) == [("2", "press"), ("5", "press")]
    contacts.press("1")
    assert wired(contacts).scan() == 0b0011_0011  # the wiring does claim 4
    assert poll_for(keypad, 200) == []
    contacts.release("5")  # now 1 is certain, and was not lost
    assert sorted(said(poll_for(keypad, 300))) == [("1", "press"), ("5", "release")]


@settings(deadline=None, max_examples=60)
@given(st.sets(st.sampled_from(PAD_4X4), max_size=5), st.sets(st.sampled_from(PAD_4X4), max_size=2))
def test_no_key_is_ever_invented(down: set[str], held: set[str]) -> None:
    contacts = Contacts()
    keypad = MatrixKeypad(wired(contacts))
    events = poll_for(keypad, 0)
    contacts.down = set(held)
    events += poll_for(keypad, 100)
    contacts.down = held | down
    events += poll_for(keypad, 200)
    assert {e.key for e in events if e.kind == "press"} <= held | down


def test_clear_scan_passes_ghost_rejection_unchanged() -> None:
    for a, b in combinations(range(16), 2):
        mask = 1 << a | 1 << b
        assert reject_ghosts(mask, 0) == mask


def test_layout_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="15 keys"):
        MatrixKeypad(wired(Contacts()), "123A456B789C*0#")


def test_expanders_leave_their_rows_floating_when_closed() -> None:
    contacts = Contacts()
    contacts.press("1")
    chip = MCP23017Model(contacts)
    port = MCP23017(ScriptedBus({0x20: chip}))
    port.scan()
    port.close()
    chip.write(bytes([MCP23017Model.GPIOB]))
    assert chip.read(1) == b"\x0f"  # nothing pulls a column down any more
    quasi = PCF8574Model(contacts)
    PCF8574(ScriptedBus({0x20: quasi})).close()
    assert quasi.read(1) == b"\xff"


def test_tca8418_reports_presses_and_releases_in_order() -> None:
    chip = TCA8418Model()
    keypad = TCA8418(ScriptedBus({0x34: chip}))
    assert keypad.poll(0) == []
    for key in "1D":
        chip.press(key)
    chip.release("1")
    assert said(keypad.poll(10)) == [("1", "press"), ("D", "press"), ("1", "release")]
    assert said(keypad.poll(400)) == [("D", "long_press")]


def test_tca8418_overflow_lets_go_of_everything_and_is_counted() -> None:
    chip = TCA8418Model()
    keypad = TCA8418(ScriptedBus({0x34: chip}))
    keypad.poll(0)
    chip.press("1")
    keypad.poll(10)
    for _ in range(6):
        chip.release("1")
        chip.press("1")
    assert said(keypad.poll(20)) == [("1", "release")]
    assert keypad.n_overflow == 1
    chip.press("2")
    assert said(keypad.poll(30)) == [("2", "press")]


def test_tca8418_key_taken_before_the_bus_failed_is_not_lost() -> None:
    for k in range(4, 12):  # a third refused every time would be no bus at all
        chip = TCA8418Model()
        bus = ScriptedBus({0x34: chip})
        keypad = TCA8418(bus)
        keypad.poll(0)
        for key in "159":
            chip.press(key)
            chip.release(key)
        bus.fail_every(k)
        events: list[KeyPress] = []
        for now_ms in range(10, 400, 10):
            try:
                events += keypad.poll(now_ms)
            except DeviceMissing:
                continue
        expected = [(key, kind) for key in "159" for kind in ("press", "release")]
        assert said(events) == expected, f"every {k}th transaction refused"


def test_i2c_pad_reads_the_answer_to_the_question_before() -> None:
    chip = I2CPadModel()
    keypad = I2CPad(ScriptedBus({0x27: chip}))
    now_ms = 0
    events = poll_for(keypad, 0)
    for key in KEYS:
        chip.down = key
        now_ms += 100
        events += poll_for(keypad, now_ms)
    chip.down = None
    events += poll_for(keypad, now_ms + 100)
    presses = [e.key for e in events if e.kind == "press"]
    assert presses == list(KEYS)
    assert said(events[-1:]) == [("#", "release")]
    assert [e.kind for e in events] == ["press", *["release", "press"] * 15, "release"]


def test_another_chip_at_the_pads_address_is_named() -> None:
    class Other:
        def write(self, payload: bytes) -> None: ...

        def read(self, n_bytes: int) -> bytes:
            return b"\xf0" * n_bytes

    keypad = I2CPad(ScriptedBus({0x27: Other()}))
    keypad.poll(0)
    with pytest.raises(DeviceMissing, match=r"0x27: answered 240, expected 0 to 16; .*board.toml"):
        keypad.poll(10)
