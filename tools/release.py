# SPDX-License-Identifier: Apache-2.0
"""Make a release for boards from wheels: a file for `parrot update`, or the tree of an image.

The release is the wheel of parrot for one target and, with --with, wheels of that target that the
board needs besides (numpy, luma.oled, ...; leave out what the board's system brings). The same
wheels give the same bytes. Sign the file with minisign before you give it away:

    minisign -G                                                    once: your key pair
    python -m tools.release --target aarch64-linux-gnu --out dist dist
    minisign -Sm dist/parrot-0.1.0-aarch64-linux-gnu.tar.gz

How releases lie on a board, and what an image does, is said in board/UPDATES.md.

examples:
  python -m tools.release --target aarch64-linux-musl --out dist dist
  python -m tools.release --target aarch64-linux-gnu --with boardwheels --tree root/opt/parrot dist
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from parrot.app.release import DESCRIPTION
from parrot.base.errors import ConfigError, FormatError, ParrotError
from parrot.base.files import replace_file
from parrot.mind.schema import MIGRATIONS, READER
from tools.archive import Entry, gzip_of, tar_of
from tools.cross import TARGETS, Target, target_of

COMMON = Path(__file__).parents[1] / "board" / "common"
_BLOCK = 4096  # a file takes whole blocks


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse(arguments)
    try:
        target = target_of(args.target)
        more = sorted(args.more.glob("*.whl")) if args.more else []
        release = release_of([own_wheel(args.wheels, target), *more], target)
        if args.tree:
            write_tree(args.tree, release)
        if args.out:
            args.out.mkdir(parents=True, exist_ok=True)
            name = f"parrot-{version_of(release)}-{target.name}.tar.gz"
            replace_file(args.out / name, archive_of(release))
    except ParrotError as exc:
        print(f"release: {exc}", file=sys.stderr)
        return 1
    about = json.loads(release[DESCRIPTION].data)
    size_mb = about["unpacked_bytes"] >> 20
    words = f"{about['version']} for {target.name}, Python {about['python']}: {size_mb} MB"
    print(json.dumps(about) if args.json else words)
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.release",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("wheels", type=Path, metavar="DIST", help="the folder that tools.wheels wrote")
    add("--target", required=True, metavar="NAME", help=f"one of {', '.join(TARGETS)}")
    add("--with", type=Path, dest="more", metavar="DIR", help="a folder of further wheels")
    add("--out", type=Path, metavar="DIR", help="write the file for parrot update")
    add("--tree", type=Path, metavar="ROOT", help="write ROOT as an image has it at /opt/parrot")
    add("--json", action="store_true", help="print release.json")
    args = parser.parse_args(arguments)
    if not args.out and not args.tree:
        parser.error("name --out, --tree or both")
    return args


def own_wheel(folder: Path, target: Target) -> Path:
    """Return parrot's wheel for `target`, the newest version in `folder`."""
    found = sorted(folder.glob(f"parrot_companion-*-{target.wheel}.whl"))
    if not found:
        raise ConfigError(
            f"{folder}: no wheel of parrot for {target.wheel}; run: python -m tools.wheels "
            f"--target {target.name} --out {folder}.",
            path=folder,
        )
    return found[-1]


def release_of(wheels: Sequence[Path], target: Target) -> dict[str, Entry]:
    """Return the files of a release made of `wheels`, parrot's own first."""
    entries: dict[str, Entry] = {}
    for wheel in wheels:
        for name, entry in files_of(wheel).items():
            if entries.setdefault(f"lib/{name}", entry) != entry:
                raise FormatError(f"{wheel.name}: brings another {name}; leave one wheel out.")
    entries["bin/parrot"] = Entry((COMMON / "parrot").read_bytes(), 0o755)
    about = {
        "format": 1,
        "version": wheels[0].name.split("-")[1],
        "target": target.name,
        "python": python_of(wheels, target),
        "unpacked_bytes": sum(unpacked(name, entry) for name, entry in entries.items()),
        "soul_schema": len(MIGRATIONS),
        "soul_reader": READER,
    }
    return {DESCRIPTION: Entry((json.dumps(about, indent=1) + "\n").encode()), **entries}


def unpacked(name: str, entry: Entry) -> int:
    """Return the bytes a file takes on the disk, a module's bytecode included: about as much."""
    blocks = -(-len(entry.data) // _BLOCK)
    return blocks * _BLOCK * (2 if name.endswith(".py") else 1)


def version_of(release: Mapping[str, Entry]) -> str:
    return str(json.loads(release[DESCRIPTION].data)["version"])


def files_of(wheel: Path) -> dict[str, Entry]:
    """Return what `wheel` puts into site-packages."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            found = {
                name: archive.read(name) for name in archive.namelist() if not name.endswith("/")
            }
    except (zipfile.BadZipFile, OSError) as exc:
        raise FormatError(f"{wheel}: no wheel ({exc}); download it again.", path=wheel) from exc
    entries = {}
    for name, blob in found.items():
        head, _, rest = name.partition("/")
        if head.endswith(".data"):  # packages that a build backend filed apart; no scripts, headers
            kind, _, name = rest.partition("/")
            if kind not in ("purelib", "platlib"):
                continue
        if ".." in name.split("/") or name.startswith("/"):
            raise FormatError(f"{wheel}: holds {name!r}, expected names below it.", path=wheel)
        entries[name] = Entry(blob)
    return entries


def python_of(wheels: Iterable[Path], target: Target) -> str:
    """Return which Python the release needs; raise ConfigError for a wheel of another machine."""
    exact = set()
    for wheel in wheels:
        python, abi, platforms = wheel.stem.split("-")[-3:]
        if platforms != "any" and not any(fits(tag, target) for tag in platforms.split(".")):
            raise ConfigError(
                f"{wheel.name}: for {platforms}, expected {target.name}; download it with pip "
                f"download --platform {target.wheel}.",
                path=wheel,
            )
        if abi not in ("none", "abi3"):
            exact.add(f"{python[2]}.{python[3:]}")
    if len(exact) > 1:
        raise ConfigError(
            f"--with: wheels for Python {' and '.join(sorted(exact))}, expected one version."
        )
    return exact.pop() if exact else "3.11+"


def fits(tag: str, target: Target) -> bool:
    """Say whether a wheel of platform `tag` may be meant for `target`."""
    libc = "musllinux_" if target.is_musl else "manylinux"
    return tag.endswith(f"_{target.processor}") and tag.startswith((libc, "linux_"))


def archive_of(release: Mapping[str, Entry]) -> bytes:
    """Return the file for `parrot update`: release.json is its first member."""
    return gzip_of(tar_of(release, first=DESCRIPTION))


def write_tree(root: Path, release: Mapping[str, Entry]) -> None:
    """Write ROOT as a new image has it: `start`, `keys`, one release, and `current` on it."""
    version = version_of(release)
    entries = {f"releases/{version}/{name}": entry for name, entry in release.items()}
    entries["start"] = Entry((COMMON / "start").read_bytes(), 0o755)
    (root / "keys").mkdir(parents=True, exist_ok=True)
    for name, entry in entries.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(entry.data)
        path.chmod(entry.mode)
    current = root / "current"
    current.unlink(missing_ok=True)
    os.symlink(f"releases/{version}", current)


if __name__ == "__main__":
    sys.exit(main())
