# SPDX-License-Identifier: Apache-2.0
"""The whole disk image on a virtual board: firmware, systemd, the first start, and what goes wrong.

Run by `make image-test`: it builds two images (with an English voice and without), which needs
root, the tools of docs/boards/qemu.md and, once, the package registry.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from parrot.app.screen import BODY
from parrot.app.speech_organs import open_recognizer, open_voice
from parrot.base.audio import EAR_HZ, Sound, resampled
from tools.device.bench import Bench, turn_number, until
from tools.device.console import Console
from tools.device.disk import SECTOR, FickleCard
from tools.device.fast import WholeCard
from tools.device.glass import as_seen
from tools.device.machine import Machine
from tools.image.build import build
from tools.image.recipe import recipe

pytestmark = pytest.mark.skipif(
    "PARROT_IMAGE_TEST" not in os.environ, reason="needs root, minutes, QEMU; run: make image-test"
)
CACHE = Path(os.environ.get("PARROT_CACHE", "/var/tmp/parrot-image"))
MIB = 1 << 20
BOOT_S, REPLY_S, QUIET_S = 1200.0, 1200.0, 30.0
HELLO, AGAIN = "BB43556DD", "B43556DD"  # to the line, to English (it stays so), "hello", send
SPARE_MIB = 256  # that the card is larger than the image
LOUD = 0.005  # level of a block that is no silence
SOUL = "/var/lib/parrot"
Boards = Callable[..., Bench]


@pytest.fixture(scope="module")
def speech() -> Path:
    """An English voice and ears, as `parrot speech install` leaves them."""
    home = CACHE / "speech"
    subprocess.run(
        [sys.executable, "-m", "parrot", "speech", "install", "en"],
        env={**os.environ, "XDG_DATA_HOME": str(home)},
        check=True,
    )
    return home


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(recipe("qemu"), CACHE, tmp_path_factory.mktemp("plain")).image


@pytest.fixture(scope="module")
def speaking(tmp_path_factory: pytest.TempPathFactory, speech: Path) -> Path:
    folder = speech / "parrot/speech"
    return build(recipe("qemu"), CACHE, tmp_path_factory.mktemp("speaking"), folder).image


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Boards]:
    """What puts an image on a card and the card into a board."""
    made: list[Bench] = []

    def put(image: Path, spare_mib: int = 0) -> Bench:
        card = FickleCard(image.read_bytes() + bytes(spare_mib * MIB))
        made.append(Bench(tmp_path / "bench", WholeCard(), card))
        return made[-1]

    yield put
    for bench in made:
        bench.cut_power()


def started(bench: Bench) -> tuple[Machine, Console]:
    """Switch the board on and wait for a face; every turn is observed from then on."""
    machine = bench.power_on()
    bench.wait_face(machine, BOOT_S)
    console = Console(machine, BOOT_S)
    console.observe()
    print(f"face and shell after {machine.cpu_s():.1f} CPU s of QEMU")
    return machine, console


def hello(machine: Machine, n: int) -> str:
    """Say hello for the n-th time; return the reply once the soul has it as its n-th turn."""
    machine.tap(HELLO if n == 1 else AGAIN)
    turn = turn_number(machine, n, REPLY_S)
    assert turn["heard"].lower() == "hello"
    return str(turn["said"])


# The voice


def test_the_reply_is_heard_in_the_room(
    board: Boards, speaking: Path, speech: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = board(speaking)
    machine, _ = started(bench)
    said = hello(machine, 1)
    wait_quiet(machine)
    bench.cut_power()
    heard = room(machine.wav)
    monkeypatch.setenv("XDG_DATA_HOME", str(speech))
    here = sum(voiced_s(sound) for sound in open_voice().synthesize(said))
    text = open_recognizer("en").recognize(resampled(heard, EAR_HZ))
    known, words = set(words_of(text)), words_of(said)
    n_known = sum(word in known for word in words)
    print(f"said {said!r}; heard {text!r}: {n_known} of {len(words)} words, {heard.seconds:.2f} s")
    print(f"of which {voiced_s(heard):.2f} s are no silence; made here {here:.2f} s")
    assert here / 1.2 < voiced_s(heard) < here * 1.2
    assert n_known >= len(words) / 2


def voiced_s(sound: Sound) -> float:
    """Return the seconds of `sound` that are no silence, by 20 ms."""
    n = sound.rate_hz // 50
    blocks = np.resize(sound.samples, (len(sound.samples) // n, n))
    return float((np.sqrt((blocks**2).mean(axis=1)) > LOUD).sum() / 50)


def wait_quiet(machine: Machine) -> None:
    """Wait until something was played and nothing more has been for a while."""
    size, since = 0, time.monotonic()

    def is_quiet() -> bool:
        nonlocal size, since
        if (now := machine.wav.stat().st_size) != size:
            size, since = now, time.monotonic()
        return size > EAR_HZ and time.monotonic() - since > QUIET_S

    until(machine, "silence after a voice", is_quiet, REPLY_S)


def room(wav: Path) -> Sound:
    """Return what QEMU's card played: its file's header is written at an end that never came."""
    samples = np.frombuffer(wav.read_bytes()[44:][: -4 or None], "<i2").astype(np.float32)
    return Sound(samples[: len(samples) // 2 * 2].reshape(-1, 2).mean(axis=1) / 32768, 44_100)


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())


# The first start


def test_first_start_grows_the_soul_though_its_power_is_cut_twice(
    board: Boards, plain: Path
) -> None:
    bench = board(plain, SPARE_MIB)
    for sector in (bench.card.size // SECTOR - 1, 1):  # the copy of the table, then the table
        bench.card.die_at(sector * SECTOR)
        machine = bench.power_on()
        machine.wait_line(r"parrot: growing /dev/vda4 by 257 MiB", BOOT_S)
        until(machine, "the cut", lambda: bench.card.is_dead, BOOT_S)
        bench.cut_power()
    bench.card.write(SECTOR, bytes(SECTOR))  # the worst that the second may have left
    bench.card.flush()
    machine, console = started(bench)
    said = hello(machine, 1)
    free_kb = int(console.ask(f"df -k --output=avail {SOUL} | tail -n 1").split()[0])
    assert free_kb > SPARE_MIB * 1000
    assert "No errors detected" in console.ask("sfdisk --verify /dev/vda 2>&1")
    assert grown_kb_of_an_old_table(console) == 39 * 1024
    bench.cut_power()

    machine, console = started(bench)
    assert turn_number(machine, 1, REPLY_S)["said"] == said
    assert "growing" not in "\n".join(line for _, line in machine.lines)


def grown_kb_of_an_old_table(console: Console) -> int:
    """Grow the partition of a disk of 40 MiB as a Raspberry Pi's has it; return its size."""
    console.ask(
        "modprobe loop; cd /tmp; truncate -s 40M disk; echo start=2048, size=16384 |"
        " sfdisk -q -X dos disk; losetup -P /dev/loop0 disk; mke2fs -q -L other /dev/loop0p1"
    )
    said = console.ask("/usr/lib/parrot/grow other; echo kb $(cat /sys/block/loop0/loop0p1/size)")
    assert "growing /dev/loop0p1 by 31 MiB" in said
    return int(said.partition("kb ")[2].split()[0]) // 2


# What hangs


def test_hung_parrot_is_ended_and_started_again(board: Boards, plain: Path) -> None:
    bench = board(plain)
    machine, console = started(bench)
    said = hello(machine, 1)
    console.ask("kill -STOP $(systemctl show -p MainPID --value parrot)")
    before = time.monotonic()

    def log() -> str:
        return console.ask("journalctl --no-pager -u parrot")

    until(machine, "the watchdog", lambda: "Watchdog timeout (limit 30s)!" in log(), BOOT_S)
    print(f"the watchdog bit after {time.monotonic() - before:.0f} s")
    until(machine, "a second start", lambda: log().count("Started parrot.service") == 2, BOOT_S)
    assert console.ask("systemctl show -p NRestarts --value parrot").strip() == "1"
    bench.wait_face(machine, BOOT_S)
    machine.tap(HELLO)
    turn_number(machine, 2, REPLY_S)
    assert turn_number(machine, 1, REPLY_S)["said"] == said


# A full partition


def test_full_soul_partition_costs_no_turn_that_was_kept(board: Boards, plain: Path) -> None:
    bench = board(plain)
    machine, console = started(bench)
    said = [hello(machine, 1)]
    fill = f"dd if=/dev/zero of={SOUL}/fill bs=4k 2>&1; dd if=/dev/zero of={SOUL}/rest bs=512 2>&1"
    assert "No space left" in console.ask(f"{fill}; sync")
    machine.tap(AGAIN)
    machine.wait_line(r"parrot: .*soul\.db: .* the disk is full; free some space", REPLY_S)
    until(machine, "it on the glass", lambda: as_seen("disk is full") in page(bench), REPLY_S)
    assert len(spoken(machine)) == 1  # what is not kept is not claimed to be
    console.ask(f"rm {SOUL}/fill {SOUL}/rest")
    machine.tap("A")  # the page has been read
    said += [hello(machine, 3), turn_number(machine, 2, REPLY_S)["said"]]
    machine.wait_line(r"parrot: soul: well again", REPLY_S)
    console.ask(f"{fill}; sync")
    bench.cut_power()

    machine, console = started(bench)  # on the full card
    assert sorted(turn["said"] for turn in (turn_number(machine, n, 60) for n in (1, 2, 3))) == (
        sorted(said)
    )
    machine.tap(HELLO)

    def is_kept_or_told() -> bool:  # a log of SQLite's may still have room for it
        return len(spoken(machine)) == 4 or any("disk is full" in line for _, line in machine.lines)

    until(machine, "a fourth turn or why not", is_kept_or_told, REPLY_S)
    print(f"on the full card: {len(spoken(machine))} turns")


def spoken(machine: Machine) -> list[str]:
    return [turn["said"] for turn in machine.turns() if turn["heard"]]


def page(bench: Bench) -> str:
    return "".join(bench.lines(BODY))
