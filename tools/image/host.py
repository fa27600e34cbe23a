# SPDX-License-Identifier: Apache-2.0
"""Programs of the build host, and the one way to call them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from parrot.base.errors import DeviceMissing, FileError

EPOCH = 1_790_000_000  # 2026-09-21: the time of every file that an image makes
# program -> Debian package
PACKAGES = {
    "mmdebstrap": "mmdebstrap", "qemu-aarch64-static": "qemu-user-static", "dpkg-deb": "dpkg",
    "systemd-sysusers": "systemd", "mke2fs": "e2fsprogs", "debugfs": "e2fsprogs",
    "e2fsck": "e2fsprogs", "resize2fs": "e2fsprogs", "tune2fs": "e2fsprogs", "sfdisk": "fdisk",
    "mkfs.vfat": "dosfstools", "mcopy": "mtools", "mmd": "mtools", "bmaptool": "bmap-tools",
    "zstd": "zstd", "modprobe": "kmod", "depmod": "kmod", "fdtput": "device-tree-compiler",
    "fdtget": "device-tree-compiler", "apt-get": "apt", "qemu-system-aarch64": "qemu-system-arm",
}  # fmt: skip


def need(*programs: str) -> None:
    """Raise DeviceMissing that names every package that is not installed."""
    absent = [name for name in programs if shutil.which(name, path=_path()) is None]
    if absent:
        packages = " ".join(sorted({PACKAGES[name] for name in absent}))
        raise DeviceMissing(
            f"{', '.join(absent)}: not installed, expected on a host that builds images; run: "
            f"apt install {packages}.",
            device="host",
        )


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def run(argv: Sequence[str | Path], stdin: bytes | None = None, **environ: str) -> str:
    """Run a program of this host; return what it printed.

    Raises: DeviceMissing when it is not installed, FileError with its last words when it fails.
    """
    need(str(argv[0]))
    environment = {**os.environ, "PATH": _path(), "LC_ALL": "C", "SOURCE_DATE_EPOCH": str(EPOCH)}
    done = subprocess.run(
        [str(word) for word in argv],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        env={**environment, **environ},
        capture_output=True,
        check=False,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").split("\n")
        last = " ".join([line.strip() for line in said if line.strip()][-3:])[-300:]
        raise FileError(f"{argv[0]}: exit code {done.returncode} ({last}); see its manual page.")
    return done.stdout.decode(errors="replace")
