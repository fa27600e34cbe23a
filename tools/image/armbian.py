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
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from parrot.app.flash_image import HEAD, partitions, unpacked
from parrot.base.errors import ConfigError, CorruptError, FileError, FormatError, MismatchError
from parrot.base.files import file_error
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
    """Build the image of an RK3588 board from Armbian's `brought`; nothing is left if it fails."""
    if brought is None:
        raise ConfigError("--armbian: not given, expected Armbian's image for your RK3588 board.")
    need(*TOOLS)
    with tempfile.TemporaryDirectory(dir=out, prefix="work-") as folder:
        work = Path(folder)
        image, root, tree = work / brought.name, work / "root.ext4", work / "tree"
        say("unpacking Armbian")
        try:
            with unpacked(brought) as disk, open(image, "wb") as file:
                shutil.copyfileobj(disk, file, 4 * MIB)
        except OSError as exc:
            raise file_error(brought, exc, "read") from exc
        layout = layout_of(image)
        cut_out(image, layout.begin * MIB, layout.n_mib * MIB, root)
        board = check_root(brought, root)
        if overlay is not None:
            check_overlay(root, overlay)
        say(f"putting the parrot into {board}'s root")
        version = write_apps(cache, tree / "opt/parrot", (NUMPY,))
        compile_tree(tree, tree / "opt/parrot/releases")
        image_tree(tree)
        resize(root, layout.n_mib + size_mib(tree, 0.1, 64))
        inject(root, tree, changed_texts(root, overlay, layout.table))
        verify(root, tree, work / "back")
        soul = make_ext4(work / "soul.ext4", "parrot-soul", SOUL_MIB)
        compose(image, layout, root, soul.content)
        listing = listing_of(tree)
        made = image.rename(out / f"parrot-{brought.name.partition('.img')[0]}.img")
    return Built(made, version, [], listing)


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
        disk.seek(0)
        _, ends = partitions(image, disk.read(HEAD))
    if (n_bytes := image.stat().st_size) < ends:
        raise CorruptError(
            f"{image.name}: its last partition ends at byte {ends:,} but it has {n_bytes:,}; the "
            "copy was cut short, download it again.",
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
    enable(tree, "parrot-grow.service", "sysinit.target")


def changed_texts(root: Path, overlay: str | None, table: str) -> dict[str, str]:
    """Return the files of Armbian's that change: the soul's mount, the overlays if one is added,
    and the kernel's leave to use the copy of a GPT (the first start may be cut while it writes)."""
    lines = read_out(root, "/boot/armbianEnv.txt").splitlines()
    if overlay is not None:
        lines = with_word(lines, "overlays", overlay)
    if table == "gpt":
        lines = with_word(lines, "extraargs", "gpt")
    return {
        "/etc/fstab": read_out(root, "/etc/fstab") + SOUL_LINE,
        "/boot/armbianEnv.txt": "\n".join(lines) + "\n",
    }


def with_word(lines: list[str], name: str, word: str) -> list[str]:
    """Return the lines with `word` among the values of `name`, once."""
    sign = f"{name}="
    kept = [line for line in lines if not line.startswith(sign)]
    old = [each for line in lines if line.startswith(sign) for each in line[len(sign) :].split()]
    return [*kept, sign + " ".join(dict.fromkeys([*old, word]))]


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


def verify(root: Path, tree: Path, back: Path) -> None:
    """Read every file of `tree` back from the file system `root`: debugfs says nothing of what it
    could not write. Raises: FileError at the first that is not there as it should be."""
    back.mkdir()
    paths = [path for path in sorted(tree.rglob("*")) if path.is_symlink() or path.is_file()]
    names = [f"/{path.relative_to(tree)}" for path in paths]
    script = [
        f"stat {name}" if path.is_symlink() else f"dump {name} {back / str(i)}"
        for i, (name, path) in enumerate(zip(names, paths, strict=True))
    ]
    said = run(["debugfs", "-f", "-", root], stdin="\n".join([*script, "quit\n"]).encode())
    links = iter(re.findall(r'Fast link dest: "(.*)"', said))
    for i, (name, path) in enumerate(zip(names, paths, strict=True)):
        copy = back / str(i)
        if path.is_symlink():
            is_right = next(links, None) == str(path.readlink())
        else:
            is_right = copy.exists() and copy.read_bytes() == path.read_bytes()
        if not is_right:
            raise FileError(
                f"{name}: not in the image as it was written, expected the same bytes; its root "
                "is full or damaged, download Armbian's image again."
            )


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
