# SPDX-License-Identifier: Apache-2.0
"""Put another release of parrot on this board, or go back to the one before.

FILE is checked first: signed by a key that is trusted here (FILE.minisig beside it), whole, for
this kind of board, and able to live in this soul. It is unpacked beside the release that runs, must
say a word there, and takes over with one rename. After three starts that do not hold, the board
goes back by itself. The soul is not touched. There is no network in this.

examples:
  parrot update                                    what runs, and what ran before
  parrot update parrot-0.2.0-aarch64-linux-gnu.tar.gz --dry-run
  parrot update parrot-0.2.0-aarch64-linux-gnu.tar.gz
  parrot update --rollback
  parrot update FILE --key maker.pub               trust this key, once
"""

from __future__ import annotations

import argparse
import compileall
import gzip
import json
import os
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from parrot.app.release import DESCRIPTION, Release, Root, root_of_this_process
from parrot.base import minisign
from parrot.base.errors import ConfigError, CorruptError, FileError, FormatError, ParrotError
from parrot.base.files import file_error, sync_folder

_FIRST_WORD_S = 120  # the slowest board speaks within a few seconds
_MEMBERS_MAX = 20_000
_CHUNK = 1 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a release, .tar.gz")
    parser.add_argument("--key", type=Path, metavar="PUB", help="a minisign public key to trust")
    parser.add_argument("--dry-run", action="store_true", help="check FILE and change nothing")
    parser.add_argument("--rollback", action="store_true", help="go back to the release before")
    parser.add_argument("--root", type=Path, metavar="DIR", help="default: where this one is")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    if args.file and args.rollback:
        raise ConfigError("--rollback: given with FILE, expected one of the two; leave one away.")
    if args.dry_run and not args.file:
        raise ConfigError("--dry-run: given without FILE, expected what to check; name it.")
    path = args.root or root_of_this_process()
    if path is None:
        raise ConfigError(
            "update: this parrot was not installed as a release, expected one below /opt/parrot; "
            "update it with what installed it (pip), or name the folder with --root.",
            key="--root",
        )
    root = Root(path)
    says = {"checked": "", "next": ""}
    with root.locked():
        if args.rollback:
            says["next"] = root.roll_back()
        elif args.file:
            says = update(root, args.file, args.key, args.dry_run)
        facts = {
            "root": str(root.path),
            "version": root.running().version,
            "current": root.name_of("current"),
            "previous": root.name_of("previous"),
            "starts_on_trial": root.starts_on_trial(),
            **says,
        }
    print(json.dumps(facts) if args.json else _words(facts))
    return 0


def _words(facts: Mapping[str, object]) -> str:
    trial = facts["starts_on_trial"]
    lines = [
        f"runs    {facts['current']}" + ("" if trial is None else f", on trial: {trial} starts"),
        f"before  {facts['previous'] or 'none'}",
    ]
    if facts["checked"]:
        lines.append(f"checked {facts['checked']}")
    if facts["next"]:
        lines.append("restart the service, or the board, and it is that one")
    return "\n".join(lines)


# ---- one update


def update(root: Root, path: Path, key: Path | None, is_dry: bool) -> dict[str, str]:
    """Check the release in `path` and, unless `is_dry`, let it run from the next start on.

    Raises: SignatureError, FormatError, CorruptError, MismatchError, FileError.
    """
    with _opened(path) as file:
        comment = minisign.verify(
            file, path, minisign.load_signature(Path(f"{path}{minisign.TAIL}")), keys(root, key)
        )
        file.seek(0)
        with _archive(path, file) as archive:
            new = _described(path, archive)
            if not is_dry:
                root.tidy()  # what a cut update left takes room
            root.check(path, new)
            checked = f"{new.version} for {new.target}, {comment}"
            if is_dry:
                return {"checked": checked, "next": ""}
            name = _free_name(root, path, new)
            install(root, path, archive, name)
    root.switch(name)
    root.tidy()
    return {"checked": checked, "next": name}


def keys(root: Root, key: Path | None) -> list[minisign.PublicKey]:
    """Return the keys that are trusted: `key`, or else those that came with the image."""
    if key is not None:
        return [minisign.load_key(key)]
    return [minisign.load_key(path) for path in sorted((root.path / "keys").glob("*.pub"))]


def install(root: Root, path: Path, archive: tarfile.TarFile, name: str) -> None:
    """Leave the release in `archive` as `releases/NAME`, whole and on the disk, or not at all."""
    part = root.releases / f".{name}.part"
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        _unpack(path, archive, part)
        compileall.compile_dir(part / "lib", quiet=2)
        first_word(part)
        os.sync()
        os.rename(part, root.releases / name)
        sync_folder(root.releases)
    except BaseException as exc:
        shutil.rmtree(part, ignore_errors=True)
        if isinstance(exc, OSError):
            raise file_error(root.releases, exc, "written") from exc
        raise


def first_word(release: Path) -> None:
    """Let the release say something. Raises: ParrotError, with its last line, when it cannot."""
    words = ["chat", "--fresh", "--once", "Hello!", "--max-bytes", "8"]
    command = [str(release / "bin" / "parrot"), *words]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_FIRST_WORD_S, cwd=release)
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        said = lines[-1] if lines else f"exit code {done.returncode}"
        is_well = done.returncode == 0 and done.stdout.strip() != b""
    except (OSError, subprocess.TimeoutExpired) as exc:
        said, is_well = str(exc), False
    if not is_well:
        raise ParrotError(
            f"update: the new release cannot speak on this board ({said}); nothing was changed, "
            "report this to its maker."
        )


def _opened(path: Path) -> BinaryIO:
    try:
        return open(path, "rb")
    except OSError as exc:
        raise file_error(path, exc, "read") from exc


def _archive(path: Path, file: BinaryIO) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=file, mode="r:gz")
    except (tarfile.TarError, EOFError, zlib.error, OSError) as exc:
        raise FormatError(
            f"{path}: no .tar.gz ({exc}), expected a release made by tools.release; pass another.",
            path=path,
        ) from exc


def _described(path: Path, archive: tarfile.TarFile) -> Release:
    """Return what the first member, release.json, says."""
    try:
        first = archive.next()
        file = archive.extractfile(first) if first and first.name == DESCRIPTION else None
        blob = file.read(1 << 16) if file else None
    except (tarfile.TarError, EOFError, zlib.error, OSError) as exc:
        raise _cut_short(path, exc) from exc
    if blob is None:
        raise FormatError(
            f"{path}: begins with {first.name if first else 'nothing'!r:.60}, expected "
            f"{DESCRIPTION}; pass a release made by tools.release.",
            path=path,
        )
    return Release.from_json(path, blob)


def _free_name(root: Root, path: Path, new: Release) -> str:
    """Return a name under `releases` that is not taken."""
    taken = {folder.name for folder in root.releases.iterdir()}
    if new.version == root.running().version:
        raise FileError(
            f"{path}: version {new.version} runs already, expected another; nothing to do.",
            path=path,
        )
    names = (f"{new.version}{tail}" for tail in ("", *(f"-{n}" for n in range(2, 1000))))
    return next(name for name in names if name not in taken)


def _unpack(path: Path, archive: tarfile.TarFile, folder: Path) -> None:
    """Write every member below `folder`; only plain files and folders are taken.

    Not tarfile's own extraction: its filters came with Python 3.11.4, and boards have 3.11.2.
    """
    try:
        for n, member in enumerate(archive):
            parts = Path(member.name).parts
            if not (member.isreg() or member.isdir()) or ".." in parts or n >= _MEMBERS_MAX:
                raise FormatError(
                    f"{path}: holds {member.name!r:.80}, expected plain files below the release; "
                    "build it again with tools.release.",
                    path=path,
                )
            target = folder.joinpath(*(part for part in parts if part != "/"))
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
            else:
                _write(archive, member, target)
        _drain(archive)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as exc:
        raise _cut_short(path, exc) from exc


def _drain(archive: tarfile.TarFile) -> None:
    """Read on to the end of the compressed stream, whose checksum says that nothing is missing."""
    assert archive.fileobj is not None, "opened from a file"
    while archive.fileobj.read(_CHUNK):
        pass


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    source = archive.extractfile(member)
    assert source is not None, "a regular file has bytes"
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target, "xb") as file:
        shutil.copyfileobj(source, file, _CHUNK)
    target.chmod(0o755 if member.mode & 0o100 else 0o644)


def _cut_short(path: Path, exc: Exception) -> FileError:
    return CorruptError(
        f"{path}: the archive is damaged or cut short ({exc}); copy it again.", path=path
    )
