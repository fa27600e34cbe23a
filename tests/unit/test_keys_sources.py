# SPDX-License-Identifier: Apache-2.0
"""Keypads that are not on I²C, and keypads that come and go."""

from __future__ import annotations

import os
import struct
import sys
import types
from pathlib import Path

import pytest

from parrot.base.errors import ConfigError, DeviceError, DeviceMissing, DeviceRefused
from parrot.base.i2c import ScriptedBus
from parrot.senses import gpio
from parrot.senses.evdev_keypad import KEY_OF_CODE, EvdevKeypad
from parrot.senses.expander import I2CPad
from parrot.senses.hotplug import N_BAD_CONTACTS, HotPlug, Merged
from parrot.senses.key import KEYS, KeyPress
from parrot.senses.keypad_model import Contacts, I2CPadModel
from parrot.senses.matrix import MatrixKeypad
from parrot.senses.scripted_keypad import TAP_MS, ScriptedKeypad, parse_script
from parrot.senses.serial_keypad import SerialKeypad, open_serial_keypad


def said(events: list[KeyPress]) -> list[tuple[str, str]]:
    return [(event.key, event.kind) for event in events]


def taps(keys: str) -> list[tuple[str, str]]:
    return [(key, kind) for key in keys for kind in ("press", "release")]


class Wire:
    """A serial port that gives what is put on it, in chunks of two bytes."""

    def __init__(self, sent: bytes = b"") -> None:
        self.sent, self.is_cut = sent, False

    def read(self, size: int) -> bytes:
        if self.is_cut:
            raise OSError("device disconnected")
        chunk, self.sent = self.sent[: min(size, 2)], self.sent[2:]
        return chunk

    def close(self) -> None:
        self.is_cut = True


def poll_until_quiet(keypad: SerialKeypad) -> list[KeyPress]:
    return [event for t in range(50) for event in keypad.poll(t)]


def test_serial_bytes_are_taps() -> None:
    assert said(poll_until_quiet(SerialKeypad(Wire(b"0123456789abcd*#\r\n")))) == taps(KEYS)


def test_serial_signs_are_edges_even_when_torn_apart() -> None:
    keypad = SerialKeypad(Wire(b"5+D"))
    assert said(poll_until_quiet(keypad)) == [*taps("5"), ("D", "press")]
    assert said(keypad.poll(1000)) == [("D", "long_press")]


def test_serial_noise_is_counted_not_guessed() -> None:
    keypad = SerialKeypad(Wire(b"\xff\x00z5"))
    assert said(poll_until_quiet(keypad)) == taps("5")
    assert keypad.n_noise == 3


def test_serial_port_that_goes_away_says_what_to_do() -> None:
    wire = Wire()
    keypad = SerialKeypad(wire)
    wire.is_cut = True
    with pytest.raises(DeviceMissing, match=r"the port went away .*; plug it in again"):
        keypad.poll(0)


def test_absent_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("serial", "gpiod", "RPi", "RPi.GPIO"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DeviceMissing, match="pyserial is not installed; run: pip install"):
        open_serial_keypad("/dev/ttyUSB0")
    with pytest.raises(DeviceMissing, match="gpiod 2 is not installed; run: pip install"):
        gpio.open_gpiod_matrix("/dev/gpiochip0", range(4), range(4, 8))
    with pytest.raises(DeviceMissing, match=r"RPi.GPIO does not work here .*rpi-lgpio"):
        gpio.open_rpi_matrix(range(4), range(4, 8))


class Lines:
    """Eight GPIO lines with a pad on them, as gpiod's request and as RPi.GPIO: open-drain rows."""

    BCM, IN, OUT, PUD_UP, LOW, HIGH = "BCM", "in", "out", "up", 0, 1

    def __init__(self, contacts: Contacts) -> None:
        self._contacts, self._low = contacts, 0
        self.released: list[int] = []

    def set_value(self, line: int, value: int) -> None:
        self._low = self._low & ~(1 << line) if value else self._low | 1 << line

    def get_values(self, lines: list[int]) -> list[int]:
        low = self._contacts.columns_low(self._low)
        return [1 - (low >> line - 4 & 1) for line in lines]

    def release(self) -> None:
        self.released = list(range(8))

    def setmode(self, mode: str) -> None: ...

    def setup(self, line: int, way: str, initial: int = 1, pull_up_down: str = "") -> None:
        self.set_value(line, initial if way == self.OUT else 1)

    def input(self, line: int) -> int:
        return self.get_values([line])[0]

    def cleanup(self, lines: list[int]) -> None:
        self.released = lines


@pytest.mark.parametrize("kind", ["gpiod", "rpi"])
def test_gpio_matrix_sees_every_key(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    line = types.SimpleNamespace(Value=types.SimpleNamespace(INACTIVE=0, ACTIVE=1))
    monkeypatch.setitem(sys.modules, "gpiod", types.ModuleType("gpiod"))
    monkeypatch.setitem(sys.modules, "gpiod.line", line)
    contacts = Contacts()
    lines = Lines(contacts)
    make = gpio.GpiodMatrix if kind == "gpiod" else gpio.RPiMatrix
    keypad = MatrixKeypad(make(lines, range(4), range(4, 8)))
    events, now_ms = keypad.poll(0), 0
    for key in KEYS:
        for change in (contacts.press, contacts.release):
            change(key)
            for _ in range(4):
                now_ms += 10
                events += keypad.poll(now_ms)
    assert said(events) == taps(KEYS)
    keypad.close()
    assert lines.released == list(range(8))


EVENT = struct.Struct("@llHHi")


class Kernel:
    """/dev/input and /sys/class/input in a folder; devices are pipes."""

    def __init__(self, folder: Path) -> None:
        self.dev, self.sys = folder / "dev", folder / "sys"
        self.dev.mkdir()
        self.sys.mkdir()
        self._pipes: dict[str, int] = {}

    def plug(self, name: str, codes: list[int]) -> None:
        caps = self.sys / name / "device/capabilities"
        caps.mkdir(parents=True, exist_ok=True)
        bits, word = sum(1 << code for code in codes), 8 * struct.calcsize("@l")
        words = [bits >> word * i & (1 << word) - 1 for i in range(1024 // word)]
        (caps / "key").write_text(" ".join(f"{w:x}" for w in reversed(words)) + "\n")
        os.mkfifo(self.dev / name)
        self._pipes[name] = os.open(self.dev / name, os.O_RDWR)

    def unplug(self, name: str) -> None:
        (self.sys / name / "device/capabilities/key").unlink()
        (self.dev / name).unlink()
        os.close(self._pipes.pop(name))

    def send(self, name: str, *events: tuple[int, int, int]) -> None:
        for kind, code, value in events:
            os.write(self._pipes[name], EVENT.pack(0, 0, kind, code, value))

    def send_raw(self, name: str, blob: bytes) -> None:
        os.write(self._pipes[name], blob)

    def close(self) -> None:
        for name in list(self._pipes):
            self.unplug(name)


@pytest.fixture
def kernel(tmp_path: Path):  # type: ignore[no-untyped-def]
    made = Kernel(tmp_path)
    yield made
    made.close()


def test_evdev_reads_a_number_pad(kernel: Kernel) -> None:
    kernel.plug("event3", list(KEY_OF_CODE))
    keypad = EvdevKeypad(kernel.dev, kernel.sys)
    assert keypad.poll(0) == []
    kernel.send("event3", (1, 79, 1), (1, 79, 2), (1, 79, 0), (4, 4, 7), (1, 96, 1), (1, 96, 0))
    assert said(keypad.poll(10)) == taps("1D")
    keypad.close()


def test_evdev_event_torn_in_two_reads_is_one_event(kernel: Kernel) -> None:
    kernel.plug("event0", list(KEY_OF_CODE))
    keypad = EvdevKeypad(kernel.dev, kernel.sys)
    keypad.poll(0)
    whole = EVENT.pack(0, 0, 1, 2, 1)
    kernel.send_raw("event0", whole[:7])
    assert keypad.poll(10) == []
    kernel.send_raw("event0", whole[7:])
    assert said(keypad.poll(20)) == [("1", "press")]
    keypad.close()


def test_evdev_mouse_is_not_a_keypad(kernel: Kernel) -> None:
    kernel.plug("event1", [0x110, 0x111])
    with pytest.raises(DeviceMissing, match="no keyboard or number pad; plug one in"):
        EvdevKeypad(kernel.dev, kernel.sys).poll(0)


def test_evdev_hot_plug_lets_go_and_comes_back(kernel: Kernel) -> None:
    keypad = HotPlug(lambda: EvdevKeypad(kernel.dev, kernel.sys))
    assert keypad.poll(0) == []
    assert isinstance(keypad.fault, DeviceMissing)
    kernel.plug("event5", list(KEY_OF_CODE))
    keypad.poll(2000)
    assert keypad.fault is None
    kernel.send("event5", (1, 3, 1))
    assert said(keypad.poll(2010)) == [("2", "press")]
    kernel.unplug("event5")
    assert said(keypad.poll(2020)) == [("2", "release")]
    kernel.plug("event5", list(KEY_OF_CODE))
    for now_ms in range(2030, 6000, 10):
        keypad.poll(now_ms)
    kernel.send("event5", (1, 4, 1), (1, 4, 0))
    assert said(keypad.poll(6010)) == taps("3")
    keypad.close()


def test_evdev_overrun_lets_go_of_what_was_held(kernel: Kernel) -> None:
    kernel.plug("event0", list(KEY_OF_CODE))
    keypad = EvdevKeypad(kernel.dev, kernel.sys)
    keypad.poll(0)
    kernel.send("event0", (1, 5, 1), (0, 3, 0))
    assert said(keypad.poll(5)) == taps("4")
    keypad.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_evdev_without_permission_says_which_group(kernel: Kernel) -> None:
    kernel.plug("event0", list(KEY_OF_CODE))
    (kernel.dev / "event0").chmod(0)
    with pytest.raises(DeviceRefused, match="add this user to the group input"):
        EvdevKeypad(kernel.dev, kernel.sys).poll(0)


def test_few_refused_polls_are_forgiven_many_let_go() -> None:
    chip = I2CPadModel()
    bus = ScriptedBus({0x27: chip})
    keypad = HotPlug(lambda: I2CPad(bus))
    chip.down = "5"
    events = [e for t in range(0, 100, 10) for e in keypad.poll(t)]
    assert said(events) == [("5", "press")]
    bus.unplug(0x27)
    for i in range(N_BAD_CONTACTS):
        assert keypad.poll(100 + i) == []
        assert keypad.fault is None
    assert said(keypad.poll(110)) == [("5", "release")]
    assert isinstance(keypad.fault, DeviceError)
    bus.plug(0x27)
    again = [e for t in range(120, 3000, 10) for e in keypad.poll(t)]
    assert said(again)[0] == ("5", "press")
    assert keypad.fault is None


def test_every_hundredth_transaction_refused_loses_no_key() -> None:
    chip = I2CPadModel()
    bus = ScriptedBus({0x27: chip})
    bus.fail_every(100)
    keypad = HotPlug(lambda: I2CPad(bus))
    events, now_ms = [], 0
    for i in range(500):
        for chip.down in (KEYS[i % 16], None):
            for _ in range(6):
                now_ms += 10
                events += keypad.poll(now_ms)
    presses = [e.key for e in events if e.kind == "press"]
    assert presses == [KEYS[i % 16] for i in range(500)]


def test_merged_keypads_are_one_in_order_of_time() -> None:
    first = ScriptedKeypad(parse_script("wait 50\ntap 1")[0])
    second = ScriptedKeypad(parse_script("tap 2\nwait 500\ntap 3")[0])
    both = Merged([first, second])
    events = both.poll(0) + both.poll(1000)
    assert [e.key for e in events if e.kind == "press"] == ["2", "1", "3"]
    assert [e.at_ms for e in events] == sorted(e.at_ms for e in events)


def test_script_plays_at_its_own_times() -> None:
    edges, length_ms = parse_script("tap 1# ; two keys\nhold D 400\nwait 100\n; done\n")
    assert length_ms == 4 * TAP_MS + 400 + TAP_MS + 100
    keypad = ScriptedKeypad(edges)
    events = [e for t in range(0, length_ms + 10, 10) for e in keypad.poll(t)]
    assert said(events) == [
        *taps("1#"), ("D", "press"), ("D", "long_press"), ("D", "release")
    ]  # fmt: skip
    assert keypad.is_done


@pytest.mark.parametrize(
    "line",
    ["tap", "tap 1E", "hold 1", "hold 1 -5", "wait 99999999999", "press 5", "down 12", "wait ²"],
)
def test_bad_script_line_is_named(line: str) -> None:
    with pytest.raises(ConfigError, match=r"keys\.txt line 2: .*expected tap KEYS.*correct this"):
        parse_script(f"tap 1\n{line}\n", "keys.txt")
