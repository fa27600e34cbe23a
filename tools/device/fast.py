# SPDX-License-Identifier: Apache-2.0
"""The fast guest: the image's Debian root with a first process of our own."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from parrot.base.files import replace_file
from tools.image.apps import write_apps
from tools.image.disk import make_ext4, size_mib
from tools.image.kernel import initrd, with_needs
from tools.image.root import BaseRoot, base_root, compile_tree
from tools.image.stage import stage_bare

GUEST = Path(__file__).parent / "guest"
BOOT_MODULES = ["virtio_pci", "virtio_blk", "crc32c_generic", "ext4"]
MODULES = [*BOOT_MODULES, "xhci_pci", "i2c_tiny_usb", "i2c_dev", "usbhid", "hid_generic", "evdev",
           "ftdi_sio", "snd_usb_audio"]  # fmt: skip
SOUL_MIB = 32
FIRMWARE = "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd"  # of qemu-efi-aarch64


class Bootable(Protocol):
    """What QEMU starts from."""

    def words(self, append: str) -> list[str]:
        """Return QEMU's options; `append` goes to the kernel where that is given to QEMU."""


@dataclass(frozen=True)
class GuestFiles:
    """What QEMU is given to boot. `disk` is not written to."""

    kernel: Path
    initrd: Path
    disk: Path

    def words(self, append: str) -> list[str]:
        said = f"console=ttyAMA0 loglevel=4 panic=5 parrot.init=/guest/init parrot.rw {append}"
        return [
            "-kernel", str(self.kernel), "-initrd", str(self.initrd), "-append", said,
            "-drive", f"file={self.disk},format=raw,if=none,id=root,snapshot=on",
            "-device", "virtio-blk-pci,drive=root",
        ]  # fmt: skip


@dataclass(frozen=True)
class DiskImage:
    """A whole disk, booted by UEFI firmware. It is not written to."""

    disk: Path

    def words(self, append: str) -> list[str]:
        return [
            "-bios", FIRMWARE,
            "-drive", f"file={self.disk},format=raw,if=none,id=disk,snapshot=on",
            "-device", "virtio-blk-pci,drive=disk",
        ]  # fmt: skip


class WholeCard:
    """The machine's card has everything, and UEFI firmware boots from it."""

    def words(self, append: str) -> list[str]:
        return ["-bios", FIRMWARE]


@dataclass(frozen=True)
class CardWithKernel:
    """The machine's card has the root, and QEMU brings the kernel: for boards whose own boot loader
    no QEMU runs."""

    kernel: Path
    initrd: Path

    def words(self, append: str) -> list[str]:
        said = f"console=ttyAMA0 quiet loglevel=4 panic=5 gpt {append}"
        return ["-kernel", str(self.kernel), "-initrd", str(self.initrd), "-append", said]


def fast_guest(cache: Path, out: Path) -> GuestFiles:
    """Make the guest that runs this parrot."""
    base = base_root(cache)
    files = GuestFiles(out / "vmlinuz", out / "initrd.gz", out / "root.ext4")
    tree = out / "tree"
    out.mkdir(parents=True, exist_ok=True)
    stage_bare(base, tree, "ttyAMA0")
    keep_modules(base, tree, MODULES)
    for name in ("usr/lib/linux-image-*", "usr/share/doc", "usr/share/zoneinfo"):
        for path in tree.glob(name):
            shutil.rmtree(path)
    write_apps(cache, tree / "opt/parrot")
    compile_tree(tree, tree / "opt/parrot")
    (tree / "var/lib/parrot").mkdir(parents=True)
    shutil.copytree(GUEST, tree / "guest")
    make_ext4(files.disk, "parrot-root", size_mib(tree, 0.15, 48), tree)
    shutil.rmtree(tree)
    copy_kernel(base, files.kernel, files.initrd)
    return files


def copy_kernel(base: BaseRoot, kernel: Path, first_files: Path) -> None:
    shutil.copy(base.path / f"boot/vmlinuz-{base.kernel}", kernel)
    replace_file(first_files, initrd(base.path, base.kernel, BOOT_MODULES))


def keep_modules(base: BaseRoot, tree: Path, names: list[str]) -> None:
    """Leave only the modules of `names` and what they need."""
    kept = {
        path.relative_to(base.path.resolve()) for path in with_needs(base.path, base.kernel, names)
    }
    for path in (tree / "usr/lib/modules").rglob("*.ko"):
        if path.relative_to(tree) not in kept:
            path.unlink()


def blank_soul(folder: Path) -> bytes:
    """Return an empty file system for a soul."""
    part = make_ext4(folder / "soul.ext4", "parrot-soul", SOUL_MIB)
    return part.content.read_bytes()
