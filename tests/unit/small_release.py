# SPDX-License-Identifier: Apache-2.0
"""Releases small enough to be made by the hundred: a launcher in shell, and one module."""

from __future__ import annotations

import json
import os
from pathlib import Path

from parrot.app.release import DESCRIPTION
from tests.unit.signing import Maker
from tools.archive import Entry, gzip_of, tar_of
from tools.release import archive_of, write_tree

ABOUT: dict[str, object] = {
    "format": 1, "version": "1.0", "target": "aarch64-linux-musl", "python": "3.11+",
    "unpacked_bytes": 8192, "soul_schema": 3, "soul_reader": 3,
}  # fmt: skip
SPEAKS = '#!/bin/sh\necho "I am {version}: $*"\n'


def entries_of(launcher: str = SPEAKS, **about: object) -> dict[str, Entry]:
    described = {**ABOUT, **about}
    return {
        DESCRIPTION: Entry(json.dumps(described).encode()),
        "bin/parrot": Entry(
            launcher.replace("{version}", str(described["version"])).encode(), 0o755
        ),
        "lib/parrot/__init__.py": Entry(f"VERSION = {described['version']!r}\n".encode()),
    }


def root_with(folder: Path, version: str = "1.0") -> Path:
    """Return ROOT as an image has it, with the release `version` and the maker's key."""
    write_tree(folder, entries_of(version=version))
    Maker().write_key(folder / "keys" / "maker.pub")
    return folder


def file_of(folder: Path, entries: dict[str, Entry], maker: Maker | None = None) -> Path:
    """Return a signed file for `parrot update`."""
    version = json.loads(entries[DESCRIPTION].data)["version"]
    path = folder / f"parrot-{version}.tar.gz"
    path.write_bytes(archive_of(entries))
    (maker or Maker()).sign(path)
    return path


def odd_file(folder: Path, name: str, entry: Entry) -> Path:
    """Return a signed file with one more member, whatever it is called."""
    path = folder / "odd.tar.gz"
    path.write_bytes(gzip_of(tar_of({**entries_of(version="2.0"), name: entry}, first=DESCRIPTION)))
    Maker().sign(path)
    return path


def tree_of(root: Path) -> dict[str, bytes | str]:
    """Return everything below `root`: links and bytes."""
    found: dict[str, bytes | str] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = path.read_bytes()
    return found
