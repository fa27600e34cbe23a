# SPDX-License-Identifier: Apache-2.0
"""The first partition: what a board's firmware reads, kernel and initrd among it."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from parrot.base.errors import FileError
from tools.image.host import run
from tools.image.kernel import initrd
from tools.image.recipe import BOARDS, Recipe
from tools.image.root import ARCHITECTURE, BaseRoot, Package

I2C_HZ = 400_000
I2C_NODE = "/soc/i2c@7e804000"  # GPIO2 and GPIO3 of every Raspberry Pi, header pins 3 and 5
EFI_NAME = "EFI/BOOT/BOOTAA64.EFI"  # where firmware looks on a removable disk (UEFI 2.10, 3.5.1.1)
DEBIAN = "http://deb.debian.org/debian"


def boot_tree(base: BaseRoot, recipe: Recipe, extra: Path, tree: Path) -> None:
    """Fill `tree` for the board; `extra` holds the board's own packages, unpacked."""
    tree.mkdir(parents=True)
    shutil.copy(base.path / f"boot/vmlinuz-{base.kernel}", tree / "vmlinuz")
    modules = initrd(base.path, base.kernel, recipe.initrd_modules)
    (tree / "initrd.gz").write_bytes(modules)
    if recipe.boot == "efi":
        efi(recipe, extra, tree)
    else:
        raspberry_pi(base, recipe, extra, tree)


def efi(recipe: Recipe, extra: Path, tree: Path) -> None:
    """systemd-boot with one entry."""
    loader = tree / EFI_NAME
    loader.parent.mkdir(parents=True)
    shutil.copy(extra / "usr/lib/systemd/boot/efi/systemd-bootaa64.efi", loader)
    (tree / "loader/entries").mkdir(parents=True)
    (tree / "loader/loader.conf").write_text("default parrot.conf\ntimeout 0\n")
    entry = f"title parrot\nlinux /vmlinuz\ninitrd /initrd.gz\noptions {recipe.cmdline}\n"
    (tree / "loader/entries/parrot.conf").write_text(entry)


def raspberry_pi(base: BaseRoot, recipe: Recipe, extra: Path, tree: Path) -> None:
    """The Pi's own firmware, device trees with the header's I2C switched on, and its settings."""
    for path in sorted((extra / "usr/lib/raspi-firmware").iterdir()):
        if path.suffix in (".bin", ".elf", ".dat"):
            shutil.copy(path, tree / path.name)
    trees = sorted((base.path / f"usr/lib/linux-image-{base.kernel}/broadcom").glob("bcm*-rpi-*"))
    if not trees or not (tree / "bootcode.bin").exists():
        raise FileError("raspberrypi: no device trees or no firmware in Debian's packages.")
    for path in trees:
        shutil.copy(path, tree / path.name)
        switch_i2c_on(tree / path.name)
    for path in sorted((BOARDS / "raspberrypi/boot").iterdir()):
        shutil.copy(path, tree / path.name)
    (tree / "cmdline.txt").write_text(recipe.cmdline + "\n")


def switch_i2c_on(device_tree: Path) -> None:
    """Debian's trees know no dtparam: the bus is set in the tree itself."""
    run(["fdtput", "-t", "s", device_tree, I2C_NODE, "status", "okay"])
    run(["fdtput", "-t", "i", device_tree, I2C_NODE, "clock-frequency", str(I2C_HZ)])
    run(["fdtput", "-t", "s", device_tree, "/aliases", "i2c1", I2C_NODE])


def unpack_extra(recipe: Recipe, cache: Path, out: Path) -> list[Package]:
    """Unpack the board's own packages, without what they depend on, into `out`."""
    out.mkdir(parents=True)
    if not recipe.packages:
        return []
    state = cache / f"apt-{ARCHITECTURE}"
    for folder in ("lists/partial", "archives/partial"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    components = "main non-free-firmware"
    (state / "sources").write_text(f"deb {DEBIAN} bookworm {components}\n")
    options = [
        f"Dir::Etc::sourcelist={state}/sources", "Dir::Etc::sourceparts=/dev/null",
        f"Dir::State::lists={state}/lists", f"Dir::State::status={state}/status",
        f"Dir::Cache::archives={state}/archives", f"APT::Architecture={ARCHITECTURE}",
        f"APT::Architectures={ARCHITECTURE}",
    ]  # fmt: skip
    words = [word for option in options for word in ("-o", option)]
    run(["apt-get", "-q", *words, "update"])
    folder = out.parent / "packages"
    folder.mkdir()
    run(["sh", "-c", 'cd "$0" && exec apt-get -q "$@"', folder, *words, "download",
         *recipe.packages])  # fmt: skip
    found = []
    for deb in sorted(folder.glob("*.deb")):
        run(["dpkg-deb", "-x", deb, out])
        about = run(["dpkg-deb", "-W", "--showformat=${Package} ${Version}", deb]).split()
        found.append(Package(about[0], about[1], hashlib.sha256(deb.read_bytes()).hexdigest()))
    return found
