# SPDX-License-Identifier: Apache-2.0
"""A board's tree of files: the Debian root, what every parrot has, what this board has."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tools.image.host import run
from tools.image.recipe import Recipe
from tools.image.root import BaseRoot

BOARDS = Path("board")
COMMON = BOARDS / "common" / "root"
SYSTEM = "etc/systemd/system"
# Units of Debian that a parrot without network, users or a writable root does not need.
MASKED = (
    "alsa-restore.service", "alsa-state.service", "apt-daily.timer", "apt-daily-upgrade.timer",
    "dev-hugepages.mount", "e2scrub_reap.service", "getty-static.service",
    "proc-sys-fs-binfmt_misc.automount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount",
    "systemd-binfmt.service", "systemd-firstboot.service", "systemd-initctl.socket",
    "systemd-journal-flush.service", "systemd-logind.service", "systemd-machine-id-commit.service",
    "systemd-pcrphase.service", "systemd-pcrphase-sysinit.service", "systemd-random-seed.service",
    "systemd-repart.service", "systemd-sysusers.service", "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service", "systemd-user-sessions.service",
)  # fmt: skip
SOUL_LINE = (
    "LABEL=parrot-soul  /var/lib/parrot  ext4   rw,noatime,nosuid,nodev,nofail,"
    "x-systemd.growfs,x-systemd.device-timeout=15s  0 2\n"
)
FSTAB = f"""\
LABEL=parrot-root  /                ext4   ro,noatime                                 0 1
LABEL=parrot-apps  /opt/parrot      ext4   rw,noatime,nosuid,nodev                    0 2
{SOUL_LINE}\
tmpfs              /tmp             tmpfs  rw,nosuid,nodev,size=32M,mode=1777         0 0
tmpfs              /var/log         tmpfs  rw,nosuid,nodev,noexec,size=8M             0 0
tmpfs              /var/tmp         tmpfs  rw,nosuid,nodev,size=8M,mode=1777          0 0
"""


def stage_bare(base: BaseRoot, tree: Path, console: str) -> None:
    """Lay out the Debian root with a login on its serial line, and nothing of ours."""
    shutil.rmtree(tree, ignore_errors=True)
    run(["cp", "-al", base.path, tree])  # links: `put` never writes into a file of the cache
    shutil.rmtree(tree / "boot")
    (tree / "boot").mkdir()
    for source in sorted((COMMON / "etc/pam.d").iterdir()):
        put(tree / "etc/pam.d" / source.name, source.read_bytes())
    for name in ("hosts", "hostname", "nsswitch.conf"):
        put(tree / "etc" / name, (COMMON / "etc" / name).read_bytes())
    put(tree / "etc/machine-id", b"")
    put(tree / "etc/fstab", FSTAB.splitlines(keepends=True)[0].replace("ro,", "rw,").encode())
    link(tree / SYSTEM / "default.target", "/lib/systemd/system/multi-user.target")
    enable(tree, f"serial-getty@{console}.service", "getty.target", "serial-getty@.service")


def stage(base: BaseRoot, tree: Path, recipe: Recipe) -> None:
    """Lay out the whole root of a board in `tree`."""
    stage_bare(base, tree, recipe.console)
    overlay(tree, COMMON)
    own = BOARDS / recipe.name / "root"
    if own.exists():
        overlay(tree, own)
    put(tree / "etc/fstab", FSTAB.encode())
    for name in MASKED:
        link(tree / SYSTEM / name, "/dev/null")
    for folder in ("opt/parrot", "var/lib/parrot", "usr/local/bin"):
        (tree / folder).mkdir(parents=True, exist_ok=True)
    modules = "".join(f"{name}\n" for name in recipe.load_modules)
    put(tree / "etc/modules-load.d/board.conf", modules.encode())
    put(tree / "usr/lib/parrot/board.env", f"PARROT_BOARD={recipe.profile}\n".encode())
    link(tree / "usr/local/bin/parrot", "/opt/parrot/current/bin/parrot")
    enable(tree, "parrot.service", "sysinit.target")
    enable(tree, "parrot-grow.service", "sysinit.target")
    listing = "".join(f"{p.name} {p.version} {p.sha256}\n" for p in base.packages)
    put(tree / "usr/share/parrot/packages", listing.encode())


def overlay(tree: Path, source: Path) -> None:
    """Put every file below `source` at the same place in `tree`, with its mode."""
    for path in sorted(source.rglob("*")):
        if path.is_file():
            put(tree / path.relative_to(source), path.read_bytes(), path.stat().st_mode & 0o111)


def put(path: Path, content: bytes, executable: int = 0) -> None:
    """Make `path` a new file: an old one may be a link into the cache."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    path.chmod(0o755 if executable else 0o644)


def link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def enable(tree: Path, unit: str, wanted_by: str, template: str | None = None) -> None:
    """Let `wanted_by` start `unit`, as `systemctl enable` does."""
    folder = "/etc/systemd/system" if (COMMON / SYSTEM / unit).exists() else "/lib/systemd/system"
    link(tree / SYSTEM / f"{wanted_by}.wants" / unit, f"{folder}/{template or unit}")


def listing_of(tree: Path) -> str:
    """Return one line a file: mode, size, path, and where a link leads."""
    lines = []
    for folder, names, files in os.walk(tree):
        names.sort()
        for name in [*names, *files]:
            path = os.path.join(folder, name)
            about = os.lstat(path)
            is_link = os.path.islink(path)
            size = 0 if os.path.isdir(path) and not is_link else about.st_size
            target = f" -> {os.readlink(path)}" if is_link else ""
            where = os.path.relpath(path, tree)
            lines.append(f"{about.st_mode:06o} {size} {where}{target}\n")
    return "".join(sorted(lines, key=lambda line: line.split(" ", 2)[2]))
