# SPDX-License-Identifier: Apache-2.0
"""The whole parrot on a whole board: QEMU, Linux's own drivers, and hardware made of Python.

Run by `make device-test`: it needs the Debian root (some 130 MB of packages, fetched once) and
minutes. PARROT_CACHE says where the root is kept; PARROT_CUTS how often the power is cut.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tools.device.bench import (
    FACE,
    I2C_PAD,
    MCP23017,
    PANEL,
    TCA8418,
    Bench,
    turn_number,
    until,
)
from tools.device.disk import FickleCard
from tools.device.fast import GuestFiles, blank_soul, fast_guest
from tools.device.fingers import Finger, FinishedPad
from tools.device.glass import as_seen
from tools.device.machine import Machine

pytestmark = pytest.mark.skipif(
    "PARROT_DEVICE_TEST" not in os.environ, reason="needs minutes and QEMU; run: make device-test"
)
CACHE = Path(os.environ.get("PARROT_CACHE", "/var/tmp/parrot-image"))
N_CUTS = int(os.environ.get("PARROT_CUTS", "3"))
BOOT_S, REPLY_S = 240.0, 240.0
NIHAO = "64426DD"  # nine keys, the first candidate, send


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> GuestFiles:
    return fast_guest(CACHE, tmp_path_factory.mktemp("guest"))


@pytest.fixture
def bench(tmp_path: Path, files: GuestFiles) -> Iterator[Bench]:
    bench = Bench(tmp_path / "bench", files, FickleCard(blank_soul(tmp_path)))
    yield bench
    bench.cut_power()


def test_nihao_is_typed_answered_and_read_off_the_glass(bench: Bench) -> None:
    machine = bench.power_on()
    bench.wait_face(machine, BOOT_S)
    print(f"face {time.monotonic() - machine.started:.1f} s, QEMU {machine.cpu_s():.1f} CPU s")
    finger = bench.finger(machine)
    finger.tap(NIHAO)
    turn = turn_number(machine, 1, REPLY_S)
    assert turn["heard"] == "你好"
    shown = bench.read_chat(finger)
    assert shown == as_seen(f"▸{turn['heard']}{turn['said']}")

    # The panel is pulled and plugged in again: noise in its memory, and the chat is back.
    bench.bus.unplug(PANEL)
    machine.wait_line("stopped answering", 60)
    bench.glass.cut_power()
    before = time.monotonic()
    bench.bus.plug(PANEL)
    until(machine, "the chat", lambda: "".join(bench.lines()) in shown and bench.lit() > FACE, 60)
    print(f"panel back after {time.monotonic() - before:.1f} s")
    machine.wait_line("panel: well again", 60)

    # The serial pad and the keyboard say the same word; each is a turn of its own.
    for key in f"A{NIHAO}":
        machine.serial.sendall(f"+{key}".encode())
        time.sleep(0.3)
        machine.serial.sendall(f"-{key}".encode())
    assert turn_number(machine, 2, REPLY_S)["heard"] == "你好"
    for name in ("backspace", "kp_6", "kp_4", "kp_4", "kp_2", "kp_6", "kp_enter", "kp_enter"):
        machine.keyboard(name)
        time.sleep(0.5)
    assert turn_number(machine, 3, REPLY_S)["heard"] == "你好"
    assert bench.glass.unknown == []
    assert machine.usb.unknown == []
    print(f"QEMU {machine.cpu_s():.1f} CPU s, {bench.adapter.n_messages} I2C messages")


def test_three_other_expanders_work_on_a_board_without_a_panel(bench: Bench) -> None:
    bench.bus.unplug(PANEL)
    machine = bench.power_on("guest.board=expanders")
    machine.wait_line("panel ssd1306: i2c-0 address 0x3c: no answer", BOOT_S)
    pads = {
        MCP23017: (bench.other, 32),
        TCA8418: (bench.queue, 8),
        I2C_PAD: (FinishedPad(bench.finished), 8),
    }
    for n, (address, (pad, n_reads)) in enumerate(pads.items(), 1):
        Finger(machine, pad, bench.chips[address], n_reads).tap(NIHAO)
        assert turn_number(machine, n, REPLY_S)["heard"] == "你好"


def test_power_is_cut_at_random_and_the_last_committed_turn_is_there(bench: Bench) -> None:
    chance = random.Random(20261122)
    known: dict[int, dict[str, Any]] = {}
    n_lost = 0
    for cut in range(N_CUTS + 1):
        machine = bench.power_on()
        machine.wait_line("cpu: ", BOOT_S)
        wait_turns(machine, len(known))
        found = {turn["id"]: turn for turn in machine.turns()}
        assert known.items() <= found.items(), f"cut {cut} lost a committed turn"
        if cut == N_CUTS:
            break
        bench.wait_face(machine, BOOT_S)
        while cut == 0 and not machine.turns():
            talk_until(bench, machine, time.monotonic() + 10)
        if cut % 2:  # every second one in the middle of a commit
            bench.card.die_after(chance.randrange(1, 20))
        talk_until(bench, machine, time.monotonic() + chance.uniform(0, 15) + 45 * (cut % 2))
        known = {turn["id"]: turn for turn in machine.turns()}
        n_lost += bench.cut_power()
    print(f"{N_CUTS} cuts, {len(known)} turns kept, {n_lost} unflushed writes lost or torn")
    assert len(known) > 0
    assert n_lost > 0 or N_CUTS < 10  # the cuts did meet writes under way


def wait_turns(machine: Machine, n: int) -> None:
    until(machine, "the old turns", lambda: len(machine.turns()) >= n, BOOT_S)


def talk_until(bench: Bench, machine: Machine, end: float) -> None:
    """Say 你好 again and again on the serial pad until `end`, or until the card is dead."""
    while time.monotonic() < end and not bench.card.is_dead:
        for key in NIHAO:
            machine.serial.sendall(key.encode())
            pause = min(0.4, max(end - time.monotonic(), 0))
            time.sleep(pause)
        n = len(machine.turns())
        while time.monotonic() < end and len(machine.turns()) == n and not bench.card.is_dead:
            time.sleep(0.02)
