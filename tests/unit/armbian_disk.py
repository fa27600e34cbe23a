# SPDX-License-Identifier: Apache-2.0
"""A disk laid out as Armbian lays out an RK3588 board's: boot loaders, one root, a GPT."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tools.image.armbian import IDBLOADER, UBOOT
from tools.image.disk import MIB, copy_into
from tools.image.stage import put

RELEASE = 'BOARD=rock-5b\nBOARD_NAME="Rock 5B"\nBOARDFAMILY=rockchip-rk3588\nVERSION=26.8\n'
OTHER_RELEASE = "BOARD=orangepi3\nBOARDFAMILY=sun50iw6\n"
BEGIN_MIB = 16


def put_armbian(tree: Path, release: str = RELEASE) -> None:
    """Put what Armbian's roots have and Debian's have not into `tree`."""
    put(tree / "etc/armbian-release", release.encode())
    put(tree / "etc/fstab", b"UUID=1 / ext4 defaults 0 1\n")
    put(tree / "boot/armbianEnv.txt", b"verbosity=1\nextraargs=cma=256M\noverlays=uart3\n")
    put(tree / "boot/dtb/rockchip/overlay/rk3588-i2c2-m0.dtbo", b"\xd0\x0d\xfe\xed")
    (tree / "root").mkdir(exist_ok=True)


def write_armbian(path: Path, root: Path, table: str = "gpt") -> Path:
    """Write the disk with the file system `root` on its one partition."""
    n_mib = root.stat().st_size // MIB
    with open(path, "wb") as disk:
        disk.truncate((BEGIN_MIB + n_mib + 2) * MIB)
        for place, sign in ((IDBLOADER, b"RKNS"), (UBOOT, b"\xd0\x0d\xfe\xed")):
            disk.seek(place)
            disk.write(sign + bytes(60))
    script = f"label: {table}\nstart={BEGIN_MIB * 2048}, size={n_mib * 2048}\n"
    subprocess.run(["/sbin/sfdisk", "-q", path], input=script.encode(), check=True)
    copy_into(path, root, BEGIN_MIB * MIB)
    return path
