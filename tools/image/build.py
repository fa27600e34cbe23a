# SPDX-License-Identifier: Apache-2.0
"""One image, from packages to a compressed file."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.image.apps import write_apps
from tools.image.boot import boot_tree, unpack_extra
from tools.image.disk import make_ext4, make_fat, size_mib, write_disk
from tools.image.host import need
from tools.image.recipe import Recipe
from tools.image.root import Package, base_root, compile_tree
from tools.image.stage import listing_of, stage, stage_bare

VOICE_WHEELS = ("onnxruntime==1.31.1", "soxr==1.1.0")
TOOLS = ("mmdebstrap", "qemu-aarch64-static", "dpkg-deb", "systemd-sysusers", "mke2fs", "sfdisk",
         "mkfs.vfat", "mcopy", "bmaptool", "zstd", "modprobe", "depmod", "fdtput",
         "apt-get")  # fmt: skip


@dataclass(frozen=True)
class Built:
    """An image that is not packed yet, and what went into it."""

    image: Path
    version: str
    packages: list[Package]
    listing: str

    def manifest(self) -> bytes:
        """Return what must be the same when an image is built again from the same inputs."""
        about = {
            "version": self.version,
            "packages": [asdict(package) for package in self.packages],
            "files": hashlib.sha256(self.listing.encode()).hexdigest(),
            "n_files": self.listing.count("\n"),
        }
        return (json.dumps(about, indent=1) + "\n").encode()


def say(text: str) -> None:
    print(f"image: {text}", file=sys.stderr, flush=True)


def build(recipe: Recipe, cache: Path, out: Path, voice: Path | None = None) -> Built:
    """Build the image of a board below `out`; `voice` is a folder of speech to put into it."""
    need(*TOOLS)
    out.mkdir(parents=True, exist_ok=True)
    say("the Debian root")
    base = base_root(cache)
    with tempfile.TemporaryDirectory(dir=out, prefix="work-") as folder:
        work = Path(folder)
        extra = work / "extra"
        packages = [*base.packages, *unpack_extra(recipe, cache, extra)]
        say("the tree of files")
        tree, apps, soul = work / "root", work / "apps", work / "soul"
        stage(base, tree, recipe)
        version = write_apps(cache, apps, VOICE_WHEELS if voice else ())
        compile_tree(apps, apps / "releases", "/opt/parrot")
        soul.mkdir()
        if voice:
            shutil.copytree(voice, soul / "parrot" / "speech")
        listing = listing_of(tree) + listing_of(apps) + listing_of(soul)
        say("file systems")
        boot = work / "boot"
        boot_tree(base, recipe, extra, boot)
        soul_mib = recipe.soul_mib + (size_mib(soul, 0.1, 0) if voice else 0)
        parts = [
            make_fat(work / "p1", "parrot-boot", recipe.boot_mib, boot),
            make_ext4(work / "p2", "parrot-root", size_mib(tree, 0.1, 32), tree),
            make_ext4(work / "p3", "parrot-apps", recipe.apps_mib, apps),
            make_ext4(work / "p4", "parrot-soul", soul_mib, soul),
        ]
        image = out / f"parrot-{version}-{recipe.name}.img"
        write_disk(image, recipe.table, parts, recipe.name)
    return Built(image, version, packages, listing)


def build_bare(recipe: Recipe, cache: Path, out: Path) -> Path:
    """Build the disk that boots the same Debian to a login and nothing else, for comparison."""
    base = base_root(cache)
    with tempfile.TemporaryDirectory(dir=out, prefix="work-") as folder:
        work = Path(folder)
        unpack_extra(recipe, cache, work / "extra")
        stage_bare(base, work / "root", recipe.console)
        boot_tree(base, recipe, work / "extra", work / "boot")
        parts = [
            make_fat(work / "p1", "parrot-boot", recipe.boot_mib, work / "boot"),
            make_ext4(work / "p2", "parrot-root", size_mib(work / "root", 0.1, 64), work / "root"),
        ]
        image = out / f"bare-{recipe.name}.img"
        write_disk(image, recipe.table, parts, f"bare-{recipe.name}")
    return image
