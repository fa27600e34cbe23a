# SPDX-License-Identifier: Apache-2.0
"""Systems that were there before the parrot: the installer on a Debian that runs, and an image
laid out as Armbian's. Both are built by the commands of docs/boards and booted in QEMU; the kernel
comes from QEMU, as no QEMU runs an RK3588's boot loader. Run by `make image-test`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from parrot.app.flash_image import inspect
from tests.unit.armbian_disk import OTHER_RELEASE, put_armbian, write_armbian
from tools.device.bench import Bench, turn_number
from tools.device.console import Console
from tools.device.disk import FickleCard
from tools.device.fast import GUEST, CardWithKernel, copy_kernel
from tools.device.machine import Machine
from tools.image.__main__ import main
from tools.image.disk import make_ext4, size_mib
from tools.image.root import BaseRoot, base_root
from tools.image.stage import COMMON, SYSTEM, put, stage_bare

pytestmark = pytest.mark.skipif(
    "PARROT_IMAGE_TEST" not in os.environ, reason="needs root, minutes, QEMU; run: make image-test"
)
CACHE = Path(os.environ.get("PARROT_CACHE", "/var/tmp/parrot-image"))
MIB = 1 << 20
BOOT_S, REPLY_S, INSTALL_S = 1200.0, 1200.0, 1200.0
KEY_S = 2.0
HELLO = "BB43556DD"
PAD = ("kp_6", "kp_4", "kp_4", "kp_2", "kp_6", "kp_enter", "kp_enter")  # 你好 on a number pad


@pytest.fixture(scope="module")
def base() -> BaseRoot:
    return base_root(CACHE)


@pytest.fixture
def kernel(base: BaseRoot, tmp_path: Path) -> CardWithKernel:
    files = CardWithKernel(tmp_path / "vmlinuz", tmp_path / "initrd.gz")
    copy_kernel(base, files.kernel, files.initrd)
    return files


@pytest.fixture
def benches() -> Iterator[list[Bench]]:
    made: list[Bench] = []
    yield made
    for bench in made:
        bench.cut_power()


def debian(base: BaseRoot, tree: Path) -> Path:
    """A Debian 12 with a shell on its serial line, as its root's files."""
    stage_bare(base, tree, "ttyAMA0")
    login = f"{SYSTEM}/serial-getty@.service.d/parrot.conf"
    put(tree / login, (COMMON / login).read_bytes())
    return tree


def root_of(tree: Path, spare_mib: int) -> Path:
    part = make_ext4(tree.with_suffix(".ext4"), "parrot-root", size_mib(tree, 0.1, spare_mib), tree)
    shutil.rmtree(tree)
    return part.content


def image(*words: object) -> int:
    return main([str(word) for word in (*words, "--cache", CACHE)])


# The installer


def test_installer_turns_a_running_debian_into_a_parrot(
    base: BaseRoot, kernel: CardWithKernel, benches: list[Bench], tmp_path: Path
) -> None:
    assert image("installer", "--out", tmp_path) == 0
    (archive,) = tmp_path.glob("parrot-*-installer.tar.gz")
    tree = debian(base, tmp_path / "root")
    put(tree / "root/parrot.tar.gz", archive.read_bytes())
    put(tree / "root/my.toml", (GUEST / "board.toml").read_bytes())
    root = root_of(tree, 400)
    bench = Bench(tmp_path / "bench", kernel, FickleCard(root.read_bytes()))
    benches.append(bench)
    machine = bench.power_on("parrot.rw")
    console = Console(machine, BOOT_S)
    console.ask("cd /root && tar xzf parrot.tar.gz", INSTALL_S)
    refused = console.ask("sh parrot-*/install.sh toaster; sh parrot-*/install.sh")
    assert "toaster: no such board" in refused and "no board named" in refused
    said = console.ask("sh parrot-*/install.sh my.toml", INSTALL_S)
    assert re.search(r"parrot [0-9.]+ is installed for /usr/lib/parrot/board.toml", said)
    bench.wait_face(machine, BOOT_S)
    console.observe()
    machine.tap(HELLO)
    first = turn_number(machine, 1, REPLY_S)
    again = console.ask("sh parrot-*/install.sh my.toml", INSTALL_S)  # over itself
    assert "is installed" in again
    console.ask("sync")
    print(f"archive {archive.stat().st_size / 1e6:.1f} MB, said {first['said']!r}")
    bench.cut_power()

    machine = bench.power_on("parrot.rw")  # by itself, with its life
    bench.wait_face(machine, BOOT_S)
    Console(machine, BOOT_S).observe()
    assert turn_number(machine, 1, REPLY_S)["said"] == first["said"]


# Armbian


def armbian(base: BaseRoot, folder: Path, release: str | None = None) -> Path:
    tree = debian(base, folder / "armbian")
    put_armbian(tree, *(() if release is None else (release,)))
    put(tree / "etc/fstab", b"LABEL=parrot-root / ext4 defaults 0 1\n")
    return write_armbian(folder / "Armbian_Rock-5b_bookworm.img", root_of(tree, 32))


def test_armbian_is_built_into_an_image_that_boots_without_its_panel(
    base: BaseRoot, kernel: CardWithKernel, benches: list[Bench], tmp_path: Path
) -> None:
    brought, out = armbian(base, tmp_path), tmp_path / "out"
    words = ("build", "--board", "rk3588", "--armbian", brought, "--out", out)
    assert image(*words, "--overlay", "rk3588-i2c2-m0") == 0
    (packed,) = out.glob("*.img.zst")
    assert {path.suffix for path in out.iterdir()} == {
        ".zst",
        ".bmap",
        ".sha256",
        ".json",
        ".files",
    }
    seen = inspect(packed, lambda what, done, total: None)
    assert (seen.table, seen.n_bytes >= seen.ends) == ("gpt", True)
    about = json.loads(next(out.glob("*.manifest.json")).read_bytes())
    mb = packed.stat().st_size / 1e6
    print(f"{mb:.0f} MB of {seen.n_bytes / 1e6:.0f}, {about['n_files']} files")
    disk = subprocess.run(["zstd", "-dcq", packed], capture_output=True, check=True).stdout
    bench = Bench(tmp_path / "bench", kernel, FickleCard(disk + bytes(64 * MIB)))
    benches.append(bench)
    machine = bench.power_on("parrot.rw")
    machine.wait_line(r"parrot: growing /dev/vda2 by 6\d MiB", BOOT_S)
    machine.wait_line(r"parrot: panel ssd1306: .*i2c-2.*; ", BOOT_S)
    console = Console(machine, BOOT_S)
    console.observe()
    assert console.ask("findmnt -n -o SOURCE /var/lib/parrot").strip() == "/dev/vda2"
    type_nihao(machine)
    first = turn_number(machine, 1, REPLY_S)
    assert first["heard"] == "你好"
    bench.cut_power()
    machine = bench.power_on("parrot.rw")
    Console(machine, BOOT_S).observe()
    assert turn_number(machine, 1, REPLY_S)["said"] == first["said"]


def type_nihao(machine: Machine) -> None:
    """Type on the USB keyboard, at a pace at which a slow guest loses no key; the first ones may
    come before the parrot has found it."""
    for name in ("kp_6", "backspace") * 5 + PAD:
        machine.keyboard(name)
        time.sleep(KEY_S)


def test_image_of_another_board_and_half_an_image_are_refused(
    base: BaseRoot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = armbian(base, tmp_path, OTHER_RELEASE)
    words = ("build", "--board", "rk3588", "--out", tmp_path / "out", "--armbian")
    assert image(*words, other) == 1
    assert "for orangepi3 (sun50iw6), expected a board of" in capsys.readouterr().err
    os.truncate(other, other.stat().st_size // 2)
    assert image(*words, other) == 1
    assert "the copy was cut short, download it again" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []
