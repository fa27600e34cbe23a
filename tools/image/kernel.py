# SPDX-License-Identifier: Apache-2.0
"""The first files that the kernel sees: a busybox, the modules of the disk, and a script."""

from __future__ import annotations

import gzip
import stat
from collections.abc import Iterator
from pathlib import Path

from tools.image.host import EPOCH, run

INIT = Path("board/common/initrd/init")
_FOLDERS = ("bin", "dev", "proc", "sys", "root", "modules")


def initrd(root: Path, kernel: str, modules: list[str]) -> bytes:
    """Return the compressed archive; `modules` are loaded in this order, each after its needs."""
    entries: dict[str, tuple[int, bytes]] = dict.fromkeys(_FOLDERS, (stat.S_IFDIR | 0o755, b""))
    entries["bin/busybox"] = (stat.S_IFREG | 0o755, (root / "usr/bin/busybox").read_bytes())
    entries["bin/sh"] = (stat.S_IFLNK | 0o777, b"busybox")
    entries["init"] = (stat.S_IFREG | 0o755, INIT.read_bytes())
    for i, path in enumerate(with_needs(root, kernel, modules)):
        entries[f"modules/{i:02d}-{path.name}"] = (stat.S_IFREG | 0o644, path.read_bytes())
    return gzip.compress(newc(entries), 6, mtime=0)


def with_needs(root: Path, kernel: str, modules: list[str]) -> list[Path]:
    """Return the files of `modules` and of what they need, in the order of loading."""
    found: dict[Path, None] = {}
    for name in modules:
        shown = run(["modprobe", "-d", root, "-S", kernel, "--show-depends", name])
        for line in shown.splitlines():
            verb, *rest = line.split()
            if verb == "insmod":  # the other verb is "builtin"
                found[Path(rest[0]).resolve()] = None  # /lib leads to /usr/lib
    return list(found)


def newc(entries: dict[str, tuple[int, bytes]]) -> bytes:
    """Return a cpio archive of `name -> (mode, content)` in the form the kernel unpacks.

    Source: Documentation/driver-api/early-userspace/buffer-format.rst.
    """
    return b"".join(_records(entries))


def _records(entries: dict[str, tuple[int, bytes]]) -> Iterator[bytes]:
    for i, (name, (mode, content)) in enumerate([*entries.items(), ("TRAILER!!!", (0, b""))], 1):
        n_links = 2 if stat.S_ISDIR(mode) else 1
        fields = (i, mode, 0, 0, n_links, EPOCH, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        yield head.ljust(-len(head) % 4 + len(head), b"\0")
        yield content.ljust(-len(content) % 4 + len(content), b"\0")
