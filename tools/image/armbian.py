# SPDX-License-Identifier: Apache-2.0
"""RK3588: the parrot goes into the Armbian image that the owner brings.

The boot chain of an RK3588 board (memory set-up, trusted firmware) is not in any package registry,
and differs from board to board; Armbian has it. So its image is taken, its layout checked, its root
given room, and our files are written into that root without a mount. A partition for the soul is
added behind it.

Source: Rockchip's boot flow (idbloader at sector 64, U-Boot at sector 16384), Armbian's
        rockchip64_common.inc and armbianEnv.txt.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from parrot.app.flash_image import unpacked
from parrot.base.errors import ConfigError, FormatError, MismatchError
from tools.image.apps import NUMPY, write_apps
from tools.image.build import Built, say
from tools.image.disk import MIB, SECTOR, copy_into, make_ext4, size_mib
from tools.image.host import need, run
from tools.image.installer import service_tree
from tools.image.root import compile_tree
from tools.image.stage import COMMON, SOUL_LINE, SYSTEM, enable, listing_of, put

IDBLOADER, UBOOT = 64 * SECTOR, 16384 * SECTOR
SIGNS = {b"RKNS": "Rockchip's boot header", b"\xd0\x0d\xfe\xed": "a flattened device tree"}
FAMILIES = ("rockchip-rk3588", "rk35xx")
OVERLAYS = "/boot/dtb/rockchip/overlay"
SOUL_MIB = 64
TOOLS = ("sfdisk", "debugfs", "e2fsck", "resize2fs", "mke2fs", "dpkg-deb")


@dataclass(frozen=True)
class Layout:
    """Where an Armbian image has its one root. Units: MiB from the beginning of the disk."""

    begin: int
    n_mib: int
    table: str


def build(brought: Path | None, overlay: str | None, cache: Path, out: Path) -> Built:
    """Build the image of an RK3588 board from Armbian's `brought`."""
    if brought is None:
        raise ConfigError("--armbian: not given, expected Armbian's image for your RK3588 board.")
    need(*TOOLS)
    image = out / f"parrot-{brought.name.partition('.img')[0]}.img"
    say("unpacking Armbian")
    with unpacked(brought) as disk, open(image, "wb") as file:
        shutil.copyfileobj(disk, file, 4 * MIB)
    layout = layout_of(image)
    with tempfile.TemporaryDirectory(dir=out, prefix="work-") as folder:
        work = Path(folder)
        root = work / "root.ext4"
        cut_out(image, layout.begin * MIB, layout.n_mib * MIB, root)
        board = check_root(brought, root)
        if overlay is not None:
            check_overlay(root, overlay)
        say(f"putting the parrot into {board}'s root")
        tree = work / "tree"
        version = write_apps(cache, tree / "opt/parrot", (NUMPY,))
        compile_tree(tree, tree / "opt/parrot/releases")
        image_tree(tree)
        grown = layout.n_mib + size_mib(tree, 0.1, 64)
        resize(root, grown)
        inject(root, tree, changed_texts(root, overlay))
        soul = make_ext4(work / "soul.ext4", "parrot-soul", SOUL_MIB)
        compose(image, layout, root, soul.content)
        listing = listing_of(tree)
    return Built(image, version, [], listing)


def layout_of(image: Path) -> Layout:
    """Return the layout of `image`. Raises: FormatError for what is not an Armbian of Rockchip."""
    with open(image, "rb") as disk:
        for place, signs in ((IDBLOADER, (b"RKNS",)), (UBOOT, (b"\xd0\x0d\xfe\xed",))):
            disk.seek(place)
            head = disk.read(4)
            if head not in signs:
                raise FormatError(
                    f"{image.name}: bytes {head.hex(' ')} at {place:,}, expected "
                    f"{SIGNS[signs[0]]}; this is no image for an RK3588 board's card.",
                    path=image,
                )
    table = json.loads(run(["sfdisk", "--json", image]))["partitiontable"]
    parts = table["partitions"]
    if len(parts) != 1 or parts[0]["start"] * SECTOR % MIB:
        raise FormatError(
            f"{image.name}: {len(parts)} partitions, expected Armbian's one; take its plain image, "
            "not one with a separate /boot.",
            path=image,
        )
    begin, n_mib = (parts[0][key] * SECTOR // MIB for key in ("start", "size"))
    return Layout(begin, n_mib, table["label"])


def cut_out(image: Path, begin: int, n_bytes: int, out: Path) -> None:
    with open(image, "rb") as disk, open(out, "wb") as part:
        disk.seek(begin)
        part.truncate(n_bytes)
        for at in range(0, n_bytes, 4 * MIB):
            chunk = disk.read(min(4 * MIB, n_bytes - at))
            if chunk.count(0) != len(chunk):
                part.seek(at)
                part.write(chunk)


def read_out(root: Path, path: str) -> str:
    """Return the text of a file inside a file system, "" if it is not there."""
    return run(["debugfs", "-R", f"cat {path}", root])


def check_root(brought: Path, root: Path) -> str:
    """Return the board's name. Raises: MismatchError unless the root is an Armbian for RK3588."""
    lines = (line.partition("=") for line in read_out(root, "/etc/armbian-release").splitlines())
    facts = {name: value.strip('"') for name, _, value in lines}
    family = facts.get("BOARDFAMILY") or facts.get("LINUXFAMILY", "")
    if not facts.get("BOARD"):
        raise MismatchError(
            f"{brought.name}: no /etc/armbian-release in its root, expected Armbian; download the "
            "image of your board.",
            path=brought,
        )
    if family not in FAMILIES:
        raise MismatchError(
            f"{brought.name}: for {facts['BOARD']} ({family or 'no family'}), expected a board of "
            f"{' or '.join(FAMILIES)}; download the image of an RK3588 board.",
            path=brought,
        )
    return facts["BOARD"]


def check_overlay(root: Path, name: str) -> None:
    """Raise ConfigError, which lists those of I2C, unless the image has this overlay."""
    listing = run(["debugfs", "-R", f"ls -p {OVERLAYS}", root]).splitlines()
    found = sorted(line.split("/")[5] for line in listing if line.count("/") > 5)
    names = [entry.removesuffix(".dtbo") for entry in found if entry.endswith(".dtbo")]
    if not any(entry == name or entry.endswith(f"-{name}") for entry in names):
        buses = ", ".join(entry for entry in names if "i2c" in entry) or "none for I2C"
        raise ConfigError(
            f"--overlay {name}: not in this image, expected one of its own; it has {buses}.",
            key="overlay",
        )


def image_tree(tree: Path) -> None:
    """Put what starts the parrot into `tree`, its soul on a partition of its own that grows."""
    service_tree(tree, "rk3588")
    for name in ("parrot.service", "parrot-grow.service"):
        unit = (COMMON / SYSTEM / name).read_text().replace("Requires=opt-parrot.mount\n", "")
        put(tree / SYSTEM / name, unit.encode())
    enable(tree, "parrot-grow.service", "var-lib-parrot.mount")


def changed_texts(root: Path, overlay: str | None) -> dict[str, str]:
    """Return the files of Armbian's that change: the soul's mount, the overlays if one is added."""
    changed = {"/etc/fstab": read_out(root, "/etc/fstab") + SOUL_LINE}
    if overlay is not None:
        lines = read_out(root, "/boot/armbianEnv.txt").splitlines()
        kept = [line for line in lines if not line.startswith("overlays=")]
        old = next((line[9:].split() for line in lines if line.startswith("overlays=")), [])
        new = f"overlays={' '.join(dict.fromkeys([*old, overlay]))}"
        changed["/boot/armbianEnv.txt"] = "\n".join([*kept, new]) + "\n"
    return changed


def resize(root: Path, n_mib: int) -> None:
    """Grow the file system in `root`. Raises: FileError when it is damaged."""
    run(["e2fsck", "-f", "-p", root])
    run(["resize2fs", root, f"{n_mib}M"])


def inject(root: Path, tree: Path, changed: dict[str, str]) -> None:
    """Write every file of `tree`, and the `changed` texts, into the file system `root`."""
    for name, text in changed.items():
        put(tree / name.lstrip("/"), text.encode())
    script = []
    for path in sorted(tree.rglob("*")):
        name = f"/{path.relative_to(tree)}"
        if path.is_symlink():
            script += [f"rm {name}", f"symlink {name} {path.readlink()}"]
        elif path.is_dir():
            script.append(f"mkdir {name}")
        else:
            script += [f"rm {name}", f"write {path} {name}",
                       f"sif {name} mode 0{0o100000 | path.stat().st_mode & 0o777:o}"]  # fmt: skip
    # Armbian would give the root the whole card; the soul's partition has the rest of it.
    script += ["write /dev/null /root/.no_rootfs_resize", "quit\n"]
    run(["debugfs", "-w", "-f", "-", root], stdin="\n".join(script).encode())
    run(["e2fsck", "-f", "-p", root])


def compose(image: Path, layout: Layout, root: Path, soul: Path) -> None:
    """Put the grown root and the soul back into the image, behind Armbian's boot loader."""
    n_root = root.stat().st_size // MIB
    n_soul = soul.stat().st_size // MIB
    with open(image, "r+b") as disk:
        disk.truncate((layout.begin + n_root + n_soul + 1) * MIB)
    if layout.table == "gpt":
        run(["sfdisk", "--relocate", "gpt-bak-std", image])
    sectors = MIB // SECTOR
    run(["sfdisk", "-N", "1", image], stdin=f", {n_root * sectors}\n".encode())
    begin = (layout.begin + n_root) * sectors
    run(["sfdisk", "--append", image], stdin=f"{begin}, {n_soul * sectors}\n".encode())
    copy_into(image, root, layout.begin * MIB)
    copy_into(image, soul, (layout.begin + n_root) * MIB)
