# SPDX-License-Identifier: Apache-2.0
"""How long the disk image boots, beside the Debian it is made of: both in QEMU, in one run.

    python -m tools.image build --board qemu --raw --out images
    python -m tools.image bare --board qemu --out images
    python -m tools.bench_boot images

Seconds of QEMU's own processor time, which other programs on the host do not change. The guest has
one Cortex-A53 whose clock advances a nanosecond an instruction; "guest" is what it computed since
its kernel began, by that clock, until it took the first key.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from pathlib import Path

from parrot.base.i2c import ScriptedBus
from parrot.faces.sim_panel import SimulatedSSD1306
from parrot.senses.keypad_model import Contacts, PCF8574Model
from tools.device.fast import DiskImage
from tools.device.fingers import Finger, Watched
from tools.device.machine import Machine
from tools.device.usbredir import TinyUsbI2C

FACE_PIXELS = 200
TIMEOUT_S = 900.0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=Path, help="the folder with both images")
    args = parser.parse_args()
    (ours,) = args.images.glob("parrot-*-qemu.img")
    with tempfile.TemporaryDirectory() as folder:
        figures = {
            "bare": boot_bare(Path(folder) / "bare", args.images / "bare-qemu.img"),
            "parrot": boot_parrot(Path(folder) / "parrot", ours),
        }
    figures["ratio"] = {"face_to_login": figures["parrot"]["face_s"] / figures["bare"]["login_s"]}
    print(json.dumps(figures, indent=1))
    return 0


def boot_bare(folder: Path, image: Path) -> dict[str, float]:
    """Boot until the line above the login prompt, which has no line end of its own."""
    machine = Machine(folder, DiskImage(image), TinyUsbI2C(ScriptedBus({})))
    machine.wait_line(r"^Debian GNU/Linux \d+ parrot", TIMEOUT_S)
    figures = {"login_s": machine.cpu_s(), "wall_s": time.monotonic() - machine.started}
    machine.cut_power()
    return figures


def boot_parrot(folder: Path, image: Path) -> dict[str, float]:
    """Boot until the face, press a key, wait until the glass has answered it."""
    glass, pad = SimulatedSSD1306(), Contacts()
    chip = Watched(PCF8574Model(pad))
    machine = Machine(folder, DiskImage(image), TinyUsbI2C(ScriptedBus({0x3C: glass, 0x20: chip})))
    wait_lit(machine, glass)
    figures = {"face_s": machine.cpu_s(), "wall_s": time.monotonic() - machine.started}
    Finger(machine, pad, chip).tap("C")
    figures["key_s"] = machine.cpu_s()
    machine.wait_line(r"^Linux parrot .* aarch64", TIMEOUT_S)  # what a shell says before its prompt
    time.sleep(5)
    before = machine.cpu_s()
    machine.type("echo guest: $(head -n 1 /proc/stat)")
    words = machine.wait_line(r"guest: cpu +([0-9 ]+)", TIMEOUT_S)[1].split()
    user, nice, kernel, _, _, irq, softirq = map(int, words[:7])
    figures["asked_s"] = before  # the guest's figure is of this moment, a little after the key
    figures["guest_s"] = (user + nice + kernel + irq + softirq) / 100
    machine.cut_power()
    for at, line in machine.lines:
        if re.search(r"parrot:|Failed|error", line):
            print(f"{at:6.1f} {line}", file=sys.stderr)
    return figures


def wait_lit(machine: Machine, glass: SimulatedSSD1306) -> None:
    end = time.monotonic() + TIMEOUT_S
    while int(glass.glass().pixels().sum()) < FACE_PIXELS:
        if not machine.is_on or time.monotonic() > end:
            raise TimeoutError(f"no face: {machine.tail(30)}")
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
