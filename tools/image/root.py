# SPDX-License-Identifier: Apache-2.0
"""The Debian root that every image begins with, made without running any of its programs.

mmdebstrap only unpacks the packages: configuring them under qemu-user takes minutes and is not the
same twice. What their scripts would have done for a machine like ours is little, and is done here:
users, the loader's cache, the linear algebra that numpy loads, byte code. Debian 12 is taken as
its Python is 3.11, like the host's: byte code made here is what the board reads.
"""

from __future__ import annotations

import compileall
import hashlib
import os
import py_compile
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from parrot.base.errors import ConfigError, FileError
from parrot.base.files import replace_file
from tools.image.host import run

RECIPE = 1  # raise it when `finish` changes: cached roots are made again
SUITE = "bookworm"
ARCHITECTURE = "arm64"
SOURCES = (
    f"deb http://deb.debian.org/debian {SUITE} main",
    f"deb http://deb.debian.org/debian {SUITE}-updates main",
    f"deb http://deb.debian.org/debian-security {SUITE}-security main",
)
PACKAGES = (
    "alsa-utils", "base-files", "base-passwd", "bash", "busybox-static", "coreutils", "dash",
    "debianutils", "e2fsprogs", "espeak-ng", "fdisk", "findutils", "gpiod", "grep", "gzip",
    "hostname", "i2c-tools", "init-system-helpers", "iproute2", "kmod", "libc-bin",
    "libpam-modules", "libpam-runtime", "linux-image-arm64", "login", "mount", "ncurses-base",
    "netbase", "passwd", "procps", "python3", "python3-numpy", "sed", "systemd", "systemd-sysv",
    "tar", "tzdata", "udev", "util-linux",
)  # fmt: skip
HOOKS = Path("/usr/share/mmdebstrap/hooks/merged-usr")
PYTHON = (3, 11)
# What a parrot never opens: texts in other languages, perl beyond its base, drivers of servers.
LEFT_OUT = (
    "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian", "usr/share/bug",
    "usr/share/perl", "usr/lib/aarch64-linux-gnu/perl", "usr/lib/aarch64-linux-gnu/gconv",
    "usr/lib/klibc", "usr/share/sounds", "usr/lib/python3/dist-packages/numpy/*/tests",
    "usr/lib/python3/dist-packages/numpy/tests", "usr/lib/python3.11/test",
    "usr/lib/modules/*/kernel/drivers/infiniband",
    "usr/lib/modules/*/kernel/drivers/media/[!m]*",
    "usr/lib/modules/*/kernel/drivers/scsi", "usr/lib/modules/*/kernel/drivers/gpu/drm/amd",
    "usr/lib/modules/*/kernel/drivers/gpu/drm/nouveau",
    "usr/lib/modules/*/kernel/drivers/gpu/drm/radeon",
    "usr/lib/modules/*/kernel/drivers/net/ethernet/mellanox",
    "usr/lib/modules/*/kernel/drivers/net/ethernet/intel",
    "usr/lib/modules/*/kernel/drivers/net/ethernet/chelsio",
    "usr/lib/modules/*/kernel/drivers/net/ethernet/qlogic",
    "usr/lib/modules/*/kernel/drivers/net/ethernet/broadcom/bnx*",
    "usr/lib/modules/*/kernel/drivers/staging", "usr/lib/modules/*/kernel/drivers/iio",
    "usr/lib/modules/*/kernel/fs/xfs", "usr/lib/modules/*/kernel/fs/btrfs",
    "usr/lib/modules/*/kernel/fs/ocfs2", "usr/lib/modules/*/kernel/fs/gfs2",
)  # fmt: skip
GROUPS = ("i2c", "gpio")
LIBRARIES = "usr/lib/aarch64-linux-gnu"


@dataclass(frozen=True)
class Package:
    """A package as it was unpacked."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True)
class BaseRoot:
    """A finished root on the host: borrow it, copy from it, never write into it."""

    path: Path
    packages: tuple[Package, ...]

    @property
    def kernel(self) -> str:
        """The version of its kernel, such as 6.1.0-56-arm64."""
        (modules,) = (self.path / "usr/lib/modules").iterdir()
        return modules.name


def base_root(cache: Path) -> BaseRoot:
    """Return the root for today's list of packages, unpacking it if `cache` has none."""
    _check_python()
    recipe = repr((RECIPE, SOURCES, PACKAGES, LEFT_OUT, GROUPS))
    key = hashlib.sha256(recipe.encode()).hexdigest()[:12]
    root, listing = cache / f"root-{key}", cache / f"root-{key}.packages"
    if not listing.exists():
        shutil.rmtree(root, ignore_errors=True)
        cache.mkdir(parents=True, exist_ok=True)
        packages = unpack(root)
        finish(root)
        lines = [f"{p.name} {p.version} {p.sha256}\n" for p in packages]
        replace_file(listing, "".join(lines).encode())  # last: what is listed is whole
    packages = [Package(*line.split()) for line in listing.read_text().splitlines()]
    return BaseRoot(root, tuple(packages))


def _check_python() -> None:
    if sys.version_info[:2] != PYTHON:
        raise ConfigError(
            f"python: {sys.version_info.major}.{sys.version_info.minor}, expected 3.11, whose byte "
            "code Debian 12 reads; run this with python3.11.",
            key="python",
        )


def unpack(root: Path) -> list[Package]:
    """Let mmdebstrap fetch and unpack; return what it took."""
    run(
        [
            "mmdebstrap", "--mode=root", f"--architectures={ARCHITECTURE}", "--variant=extract",
            "--skip=essential/unlink,cleanup/apt/cache", f"--hook-dir={HOOKS}",
            f"--include={','.join(PACKAGES)}", SUITE, root, *SOURCES,
        ]
    )  # fmt: skip
    archives = root / "var/cache/apt/archives"
    packages = sorted((_package(deb) for deb in archives.glob("*.deb")), key=lambda p: p.name)
    if not packages:
        raise FileError(f"{archives}: no package was kept; use mmdebstrap 1.3 or newer.")
    shutil.rmtree(root / "var/cache/apt")
    return packages


def _package(deb: Path) -> Package:
    name, version = run(["dpkg-deb", "-W", "--showformat=${Package} ${Version}", deb]).split()
    return Package(name, version, hashlib.sha256(deb.read_bytes()).hexdigest())


def finish(root: Path) -> None:
    """Do for `root` what its packages' scripts would have done."""
    for pattern in LEFT_OUT:
        for path in root.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    _keep_only_copyrights(root / "usr/share/doc")
    for name in ("passwd", "group"):
        shutil.copy(root / f"usr/share/base-passwd/{name}.master", root / "etc" / name)
    (root / "usr/lib/sysusers.d/parrot.conf").write_text("".join(f"g {g} -\n" for g in GROUPS))
    run(["systemd-sysusers", f"--root={root}"])
    for name in ("awk", "which"):  # alternatives that scripts ask for
        _link(root / "usr/bin" / name, {"awk": "mawk", "which": "which.debianutils"}[name])
    for name in ("blas/libblas.so.3", "lapack/liblapack.so.3"):  # what numpy loads
        _link(root / LIBRARIES / name.split("/")[1], name)
    kernel = next((root / "usr/lib/modules").iterdir()).name
    run(["depmod", "-b", root, kernel])
    run(["qemu-aarch64-static", root / "usr/sbin/ldconfig", "-r", root])
    _compile(root)
    _link(root / "etc/mtab", "../proc/self/mounts")
    for path in ("etc/machine-id", "etc/fstab", "etc/hostname", "etc/resolv.conf"):
        (root / path).unlink(missing_ok=True)


def _keep_only_copyrights(docs: Path) -> None:
    """Licences stay, changelogs and manuals go."""
    for path in sorted(docs.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.name != "copyright" and not path.is_symlink():
            path.unlink()


def _link(path: Path, target: str) -> None:
    if not (path.exists() or path.is_symlink()) and (path.parent / target).exists():
        path.symlink_to(target)


def _compile(root: Path) -> None:
    for folder in ("usr/lib/python3.11", "usr/lib/python3/dist-packages"):
        compile_tree(root, root / folder)


def compile_tree(root: Path, folder: Path, at: str = "/") -> None:
    """Leave byte code beside every module below `folder`; `root` will be `at` on the board."""
    done = compileall.compile_dir(
        os.fspath(folder),
        quiet=1,
        stripdir=os.fspath(root),
        prependdir=at,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    if not done:
        raise FileError(f"{folder}: a module does not compile; see above.")
