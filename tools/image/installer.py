# SPDX-License-Identifier: Apache-2.0
"""The parrot as an archive for a board that runs Debian, Armbian or Raspberry Pi OS already."""

from __future__ import annotations

import tempfile
from pathlib import Path

from parrot.base.files import replace_file
from tools.archive import Entry, gzip_of, tar_of
from tools.image.apps import NUMPY, TARGET, write_apps
from tools.image.stage import COMMON, enable, link, put

SCRIPT = Path("board/common/install.sh")
FILES = ("usr/lib/parrot/grow", "usr/lib/parrot/clock", "etc/modules-load.d/parrot.conf",
         "etc/udev/rules.d/60-parrot.rules", "etc/systemd/system.conf.d/parrot.conf",
         "etc/systemd/system/parrot.service")  # fmt: skip


def service_tree(tree: Path, profile: str) -> None:
    """Put what starts the parrot on a root that is not ours into `tree`, the soul on that root."""
    for name in FILES:
        source = COMMON / name
        put(tree / name, source.read_bytes(), source.stat().st_mode & 0o111)
    unit = (COMMON / "etc/systemd/system/parrot.service").read_text()
    put(tree / "etc/systemd/system/parrot.service", for_writable_root(unit).encode())
    put(tree / "usr/lib/parrot/board.env", f"PARROT_BOARD={profile}\n".encode())
    link(tree / "usr/local/bin/parrot", "/opt/parrot/current/bin/parrot")
    (tree / "var/lib/parrot").mkdir(parents=True, exist_ok=True)
    enable(tree, "parrot.service", "multi-user.target")


def for_writable_root(unit: str) -> str:
    """Return the unit without the mounts that only our own images have."""
    kept = [
        line
        for line in unit.splitlines()
        if line not in ("Requires=opt-parrot.mount", "Wants=var-lib-parrot.mount")
    ]
    return "\n".join(kept).replace("WantedBy=sysinit.target", "WantedBy=multi-user.target") + "\n"


def build(cache: Path, out: Path) -> Path:
    """Write the archive; return its path."""
    with tempfile.TemporaryDirectory(dir=out, prefix="work-") as folder:
        tree = Path(folder) / "files"
        version = write_apps(cache, tree / "opt/parrot", (NUMPY,))
        service_tree(tree, "rk3588")
        entries = {
            f"parrot-{version}/files/{path.relative_to(tree)}": Entry(
                path.read_bytes(), 0o755 if path.stat().st_mode & 0o100 else 0o644
            )
            for path in sorted(tree.rglob("*"))
            if path.is_file() and not path.is_symlink()
        }
    entries[f"parrot-{version}/install.sh"] = Entry(SCRIPT.read_bytes(), 0o755)
    archive = out / f"parrot-{version}-{TARGET}-installer.tar.gz"
    replace_file(archive, gzip_of(tar_of(entries)))
    return archive
