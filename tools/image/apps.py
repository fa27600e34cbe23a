# SPDX-License-Identifier: Apache-2.0
"""What lies in /opt/parrot on a new image: parrot's own wheel and those it needs, as a release."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

from tools.cross import target_of
from tools.image.host import run
from tools.release import own_wheel, release_of, write_tree

TARGET = "aarch64-linux-gnu"
REQUIREMENTS = Path("board/requirements.txt")
PLATFORMS = (
    "manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64",
    "manylinux2014_aarch64",
)  # fmt: skip
NUMPY = "numpy==2.2.6"  # for systems that bring none; 24.10's and Debian 13's generation
SOURCES = ("parrot", "native", "CMakeLists.txt", "pyproject.toml")


def wheel_folder(cache: Path) -> Path:
    """Return a folder with parrot's wheel for boards, building it if the sources have changed."""
    digest = hashlib.sha256()
    for source in map(Path, SOURCES):
        for path in sorted(source.rglob("*")) if source.is_dir() else [source]:
            if path.is_file() and path.suffix not in (".pyc", ".so"):
                digest.update(f"{path}\0".encode() + path.read_bytes())
    folder = cache / f"dist-{digest.hexdigest()[:12]}"
    if not folder.exists():
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        run([sys.executable, "-m", "tools.wheels", "--target", TARGET, "--out", part])
        part.rename(folder)
    return folder


def needed_wheels(cache: Path, more: tuple[str, ...] = ()) -> list[Path]:
    """Return the wheels of REQUIREMENTS and `more` for a board, fetched once."""
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")] + list(more)
    folder = cache / f"wheels-{hashlib.sha256(repr(wanted).encode()).hexdigest()[:12]}"
    if not folder.exists():
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        run([
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
            "--no-deps", "--only-binary=:all:", "--python-version", "3.11", "--dest", part,
            *[word for name in PLATFORMS for word in ("--platform", name)], *wanted,
        ])  # fmt: skip
        part.rename(folder)
    return sorted(folder.glob("*.whl"))


def pure_wheels(cache: Path) -> Path:
    """Return a folder with those of REQUIREMENTS that are the same on every machine."""
    folder = cache / "pure"
    folder.mkdir(parents=True, exist_ok=True)
    for wheel in needed_wheels(cache):
        if wheel.stem.endswith("-any"):
            shutil.copy(wheel, folder / wheel.name)
    return folder


def write_apps(cache: Path, root: Path, more: tuple[str, ...] = ()) -> str:
    """Write `root` as a board has it at /opt/parrot; return its version."""
    target = target_of(TARGET)
    own = own_wheel(wheel_folder(cache), target)
    write_tree(root, release_of([own, *needed_wheels(cache, more)], target))
    return own.name.split("-")[1]
