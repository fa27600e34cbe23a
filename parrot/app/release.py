# SPDX-License-Identifier: Apache-2.0
"""Releases on a board: which one runs, and how another takes its place (board/UPDATES.md).

    ROOT/releases/NAME/             a release; never changed once it bears its name, but for:
    ROOT/releases/NAME/trial.COUNT  it has been started COUNT times and has not proved itself
    ROOT/current                    symbolic link to the one that runs
    ROOT/previous                   symbolic link to the one before

Every step is one rename or one removal, so that power may go between any two. The order is: the
release, whole, on trial and on the disk; `previous`; `current`. ROOT/start, a shell script that
belongs to no release, counts starts and goes back after three.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from parrot.base.errors import ConfigError, FileError, FormatError, MismatchError
from parrot.base.files import file_error, read_file, replace_file, sync_folder

DESCRIPTION = "release.json"
HOLD_S = 20.0  # a release whose loop has turned that long has proved itself
_DESCRIPTION_MAX = 64 * 1024
_FIELDS: dict[str, type] = {
    "format": int, "version": str, "target": str, "python": str, "unpacked_bytes": int,
    "soul_schema": int, "soul_reader": int,
}  # fmt: skip


@dataclass(frozen=True)
class Release:
    """What a release says of itself."""

    version: str
    target: str
    python: str  # "3.11": exactly that; "3.11+": that or later
    unpacked_bytes: int
    soul_schema: int
    soul_reader: int

    @staticmethod
    def from_json(where: Path, blob: bytes) -> Release:
        """Raises: FormatError."""
        try:
            fields = json.loads(blob)
        except (ValueError, RecursionError) as exc:
            raise FormatError(
                f"{where}: {DESCRIPTION} is no JSON ({exc}); copy the file again.", path=where
            ) from exc
        for name, kind in _FIELDS.items():
            value = fields.get(name) if isinstance(fields, dict) else None
            if not isinstance(value, kind) or isinstance(value, bool):
                raise FormatError(
                    f"{where}: {DESCRIPTION}, {name}: {value!r:.60}, expected {kind.__name__}; "
                    "build it again with tools.release.",
                    path=where,
                )
        if fields["format"] != 1:
            raise FormatError(
                f"{where}: release format {fields['format']}, this parrot reads 1; update to a "
                "version in between first.",
                path=where,
            )
        return Release(*(fields[name] for name in list(_FIELDS)[1:]))

    def runs_on(self, version: tuple[int, int]) -> bool:
        """Say whether Python `version` can run it."""
        try:
            major, minor = self.python.removesuffix("+").split(".")
            wanted = int(major), int(minor)
        except ValueError:
            return False
        return version >= wanted if self.python.endswith("+") else version == wanted


class Root:
    """The folder that holds releases. `path` exists and is one file system."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.releases = path / "releases"

    # ---- what is

    def name_of(self, link: str) -> str | None:
        """Return the release that `current` or `previous` names."""
        try:
            return Path(os.readlink(self.path / link)).name
        except OSError:
            return None

    def release(self, name: str) -> Release:
        path = self.releases / name / DESCRIPTION
        return Release.from_json(path, read_file(path, _DESCRIPTION_MAX))

    def running(self) -> Release:
        """Return what `current` is. Raises: ConfigError where nothing was installed."""
        name = self.name_of("current")
        if name is None:
            raise ConfigError(
                f"{self.path}: no release is installed here, expected the folder current; name the "
                "right one with --root (see board/UPDATES.md).",
                key="--root",
            )
        return self.release(name)

    def starts_on_trial(self) -> int | None:
        """Return how often the release that runs was started unproved; None: it proved itself."""
        return next((int(path.suffix[1:]) for path in self._trials("current")), None)

    def _trials(self, folder: str) -> list[Path]:
        return sorted((self.path / folder).glob("trial.[0-9]"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other updates out. Raises: FileError."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as exc:
            raise file_error(self.path, exc, "opened") from exc
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as exc:
            raise FileError(
                f"{self.path}: another update is under way, expected one at a time; wait for it.",
                path=self.path,
            ) from exc
        finally:
            os.close(fd)

    # ---- what is done

    def check(self, where: Path, new: Release) -> None:
        """Raise MismatchError or FileError, saying why, unless `new` may take over here."""
        old = self.running()
        if new.target != old.target:
            raise MismatchError(
                f"{where}: for {new.target}, this board runs {old.target}; get the file for that.",
                path=where,
            )
        if not new.runs_on(sys.version_info[:2]):
            raise MismatchError(
                f"{where}: for Python {new.python}, this board has "
                f"{'.'.join(map(str, sys.version_info[:2]))}; get the file for that.",
                path=where,
            )
        if new.soul_schema < old.soul_reader or old.soul_schema < new.soul_reader:
            raise MismatchError(
                f"{where}: writes souls of schema {new.soul_schema}, readable from "
                f"{new.soul_reader} on; {old.version}, which runs, has {old.soul_schema} and "
                f"{old.soul_reader}, and going back would lose the soul; update to a version in "
                "between first.",
                path=where,
            )
        free = shutil.disk_usage(self.path).free
        if free < new.unpacked_bytes:
            raise FileError(
                f"{self.path}: {free >> 20:,} MB free, expected {new.unpacked_bytes >> 20:,} for "
                f"{new.version}; free some space.",
                path=self.path,
            )

    def switch(self, name: str) -> None:
        """Let `releases/NAME` run from the next start on, on trial. Raises: FileError."""
        is_proved = self.starts_on_trial() is None
        keep = self.name_of("current" if is_proved else "previous")
        try:
            self._begin_trial(name)
            if keep:
                self._point("previous", keep)
            self._point("current", name)
        except OSError as exc:
            raise file_error(self.path, exc, "written") from exc

    def roll_back(self) -> str:
        """Let the release before run from the next start on; return its name.

        Raises: ConfigError where there is none; FileError.
        """
        now, before = self.name_of("current"), self.name_of("previous")
        if before is None or before == now or not (self.releases / before).is_dir():
            raise ConfigError(
                f"{self.path}: no release before this one is kept, expected {self.path}/previous; "
                "install one with: parrot update FILE.",
                key="--rollback",
            )
        try:
            if self._trials(f"releases/{before}"):
                self._begin_trial(before)
            self._point("current", before)
            if now:
                self._point("previous", now)
        except OSError as exc:
            raise file_error(self.path, exc, "written") from exc
        return before

    def confirm(self) -> None:
        """Note that the release that runs has proved itself. Raises: FileError."""
        trials = self._trials("current")
        try:
            for path in trials:
                path.unlink()
            if trials:
                sync_folder(trials[0].parent)
        except OSError as exc:
            raise file_error(self.path, exc, "written") from exc

    def tidy(self) -> None:
        """Remove releases that neither run nor ran before, and what a cut update left."""
        kept = {self.name_of("current"), self.name_of("previous")}
        for folder in self.releases.iterdir():
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)

    def _point(self, link: str, name: str) -> None:
        part = self.path / f"{link}.part"
        part.unlink(missing_ok=True)
        os.symlink(f"releases/{name}", part)
        os.replace(part, self.path / link)
        sync_folder(self.path)

    def _begin_trial(self, name: str) -> None:
        folder = self.releases / name
        replace_file(folder / "trial.0", b"")
        for path in self._trials(f"releases/{name}"):
            if path.name != "trial.0":
                path.unlink()
        sync_folder(folder)


def root_of_this_process() -> Path | None:
    """Return the folder whose release this process runs from; None outside of one."""
    parents = Path(__file__).resolve().parents
    if len(parents) > 5 and parents[2].name == "lib" and parents[4].name == "releases":
        return parents[5]
    return None


class Proof:
    """Confirms the release that runs, once, when its loop has turned for HOLD_S."""

    def __init__(self, now_s: float) -> None:
        path = root_of_this_process()
        self._root = Root(path) if path else None
        self._due_s = now_s + HOLD_S

    def feed(self, now_s: float) -> None:
        """Raises: FileError, once, when the disk refuses."""
        if self._root and now_s >= self._due_s:
            root, self._root = self._root, None
            root.confirm()
