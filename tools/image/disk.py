# SPDX-License-Identifier: Apache-2.0
"""File systems and partitions in plain files: no loop device, no mount, the same bytes twice."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from parrot.base.errors import ConfigError
from tools.image.host import EPOCH, run

SECTOR = 512
MIB = 1024 * 1024
FIRST_MIB = 16  # what lies before: tables, and where boards look for their boot loaders
LAST_MIB = 1  # the copy of a GPT at the end
GPT_TYPES = {
    "boot": "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",  # EFI system partition
    "linux": "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
}
MBR_TYPES = {"boot": "c", "linux": "83"}
_COPY = 4 * MIB


@dataclass(frozen=True)
class Partition:
    """A file system in a file. `kind` is "boot" (FAT) or "linux"."""

    label: str
    kind: str
    content: Path

    @property
    def n_mib(self) -> int:
        return -(-self.content.stat().st_size // MIB)


def steady_uuid(name: str) -> str:
    """Return a UUID that depends on nothing but `name`: two images are the same image."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"parrot-image:{name}"))


def make_ext4(path: Path, label: str, n_mib: int, tree: Path | None = None) -> Partition:
    """Make a file system of `n_mib` at `path`, holding `tree`."""
    if tree is not None:
        settle_times(tree)
    own = steady_uuid(label)
    path.unlink(missing_ok=True)
    run(
        [
            "mke2fs", "-q", "-t", "ext4", "-L", label, "-U", own, "-m", "1",
            "-E", f"hash_seed={own},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0",
            *(["-d", tree] if tree is not None else []), path, f"{n_mib}M",
        ],
        E2FSPROGS_FAKE_TIME=str(EPOCH),
    )  # fmt: skip
    return Partition(label, "linux", path)


def make_fat(path: Path, label: str, n_mib: int, tree: Path) -> Partition:
    """Make a FAT32 file system that holds `tree`."""
    settle_times(tree)
    path.unlink(missing_ok=True)
    number = uuid.UUID(steady_uuid(label)).hex[:8]
    run(["mkfs.vfat", "-F", "32", "-n", label[:11].upper(), "-i", number, "--invariant", "-C", path,
         str(n_mib * 1024)])  # fmt: skip
    run(["mcopy", "-s", "-m", "-p", "-i", path, *sorted(tree.iterdir()), "::"], TZ="UTC")
    return Partition(label, "boot", path)


def size_mib(tree: Path, spare: float, extra_mib: int) -> int:
    """Return what a file system needs to hold `tree`, with `spare` of it and `extra_mib` free."""
    n_bytes, seen = 0, set()
    for folder, names, files in os.walk(tree):
        for name in [*names, *files]:
            about = os.lstat(os.path.join(folder, name))
            if about.st_ino not in seen:
                seen.add(about.st_ino)
                n_bytes += -(-about.st_size // 4096) * 4096 + 256  # its blocks and its inode
    return int(n_bytes * (1 + spare)) // MIB + extra_mib


def settle_times(tree: Path) -> None:
    """Nothing in an image is younger than EPOCH."""
    for folder, names, files in os.walk(tree):
        for path in [folder, *(os.path.join(folder, name) for name in [*names, *files])]:
            if os.lstat(path).st_mtime > EPOCH:
                os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)


def table_script(table: str, partitions: Sequence[Partition], name: str) -> tuple[str, int]:
    """Return sfdisk's script and the size of the disk in MiB."""
    if table not in ("gpt", "dos"):
        raise ConfigError(
            f"table: {table!r}, expected gpt or dos; correct image.toml.", key="table"
        )
    number = uuid.UUID(steady_uuid(name))
    own = str(number).upper() if table == "gpt" else f"0x{number.hex[:8]}"
    lines = [f"label: {table}", f"label-id: {own}", "unit: sectors"]
    at = FIRST_MIB
    for part in partitions:
        place = f"start={at * MIB // SECTOR}, size={part.n_mib * MIB // SECTOR}"
        if table == "gpt":
            own = steady_uuid(f"{name}/{part.label}").upper()
            lines.append(f'{place}, type={GPT_TYPES[part.kind]}, uuid={own}, name="{part.label}"')
        else:
            bootable = ", bootable" if part.kind == "boot" else ""
            lines.append(f"{place}, type={MBR_TYPES[part.kind]}{bootable}")
        at += part.n_mib
    return "\n".join(lines) + "\n", at + LAST_MIB


def write_disk(path: Path, table: str, partitions: Sequence[Partition], name: str) -> None:
    """Put a partition table and its file systems into `path`.

    Only the gap before the first partition is a hole. What a file system does not use is written
    too: a card's earlier journal of the same name must never shine through its map of blocks.
    """
    script, n_mib = table_script(table, partitions, name)
    path.unlink(missing_ok=True)
    with open(path, "wb") as image:
        image.truncate(n_mib * MIB)
    run(["sfdisk", "--quiet", path], stdin=script.encode())
    at = FIRST_MIB
    for part in partitions:
        copy_into(path, part.content, at * MIB)
        at += part.n_mib


def copy_into(path: Path, content: Path, offset: int) -> None:
    """Write a whole file into another at `offset`."""
    with open(content, "rb") as source, open(path, "r+b") as image:
        image.seek(offset)
        while chunk := source.read(_COPY):
            image.write(chunk)
