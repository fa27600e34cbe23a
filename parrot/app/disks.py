# SPDX-License-Identifier: Apache-2.0
"""The disks of this machine, as Linux shows them: which may be overwritten, and why not the others.

Everything is read below one root folder, so that a test can bring a machine of its own.
Source: Documentation/ABI/stable/sysfs-block, proc(5) (mountinfo, swaps).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from parrot.base.errors import ConfigError, DeviceMissing, DeviceRefused

_SECTOR = 512
_NO_DISKS = ("loop", "ram", "zram", "dm-", "sr", "fd", "md", "nbd")
_SYSTEM_PLACES = ("/", "/boot", "/boot/firmware", "/boot/efi", "/usr", "/home", "/var")


@dataclass(frozen=True)
class Disk:
    """A whole disk. `mounts` are the places where something of it is in use, "swap" among them."""

    name: str
    path: Path
    n_bytes: int
    model: str
    is_removable: bool
    is_read_only: bool
    mounts: tuple[str, ...]

    @property
    def size(self) -> str:
        """Its size as printed on cards: "31.9" of GB."""
        return f"{self.n_bytes / 1e9:.1f}"

    @property
    def is_system(self) -> bool:
        return any(place in _SYSTEM_PLACES for place in self.mounts)

    def check(self, n_bytes: int) -> None:
        """Raise DeviceRefused unless an image of `n_bytes` may be written over this disk."""
        if self.is_system:
            why = f"this system lives on it ({', '.join(self.mounts)}), expected a card; name one"
        elif self.mounts:
            where = ", ".join(self.mounts)
            why = f"in use ({where}), expected nothing mounted; run: umount {self.path}?*"
        elif not self.is_removable:
            why = "a fixed disk, expected a card or a USB disk; see: parrot flash --list"
        elif self.is_read_only:
            why = "write-protected; move the card's switch"
        elif not self.n_bytes:
            why = "no card in it; put one in"
        elif self.n_bytes < n_bytes:
            why = f"{self.size} GB, the image needs {n_bytes / 1e9:.1f} GB; take a larger card"
        else:
            return
        raise DeviceRefused(f"{self.path}: {why}.", device=str(self.path))


class Machine:
    """The disks below `root`: the real ones below "/"."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root, self._block = root, root / "sys/block"

    def disks(self) -> list[Disk]:
        """Return every disk that has a medium of its own, by name."""
        if not self._block.is_dir():
            raise DeviceMissing(
                f"{self._block}: not there, expected Linux; flash on a Linux machine, or write the "
                "unpacked image with another tool.",
                device="disks",
            )
        names = sorted(path.name for path in self._block.iterdir())
        return [self._disk(name) for name in names if not name.startswith(_NO_DISKS)]

    def disk(self, path: Path) -> Disk:
        """Return the disk at `path`, such as /dev/sdb or a link to it. Raises: DeviceRefused for
        a partition, DeviceMissing for what is no disk."""
        target = path.resolve() if path.is_symlink() else path
        found = {disk.path: disk for disk in self.disks()}
        if target in found:
            return found[target]
        for disk in found.values():
            if target.name in self._parts(disk.name):
                raise DeviceRefused(
                    f"{path}: a partition, expected the whole disk; name {disk.path}.",
                    device=str(path),
                )
        raise DeviceMissing(f"{path}: no disk; see: parrot flash --list.", device=str(path))

    def _disk(self, name: str) -> Disk:
        folder = self._block / name
        numbers = {_word(folder / "dev"), *(_word(path / "dev") for path in self._below(folder))}
        names = {name, *self._parts(name)}
        return Disk(
            name,
            self._root / "dev" / name,
            int(_word(folder / "size") or 0) * _SECTOR,
            " ".join([_word(folder / "device/vendor"), _word(folder / "device/model") or
                      _word(folder / "device/name")]).strip() or name,
            self._is_removable(folder),
            _word(folder / "ro") == "1",
            tuple(sorted({*self._mounts(numbers, names), *self._swaps(names)})),
        )  # fmt: skip

    def _parts(self, name: str) -> list[str]:
        return [path.parent.name for path in (self._block / name).glob(f"{name}*/partition")]

    def _below(self, folder: Path) -> Iterator[Path]:
        """Yield the partitions of a disk, and whatever is built on it or on them."""
        for part in folder.glob("*/partition"):
            yield part.parent
            yield from self._holders(part.parent)
        yield from self._holders(folder)

    def _holders(self, folder: Path) -> Iterator[Path]:
        for holder in folder.glob("holders/*"):
            yield self._block / holder.name
            yield from self._holders(self._block / holder.name)

    def _is_removable(self, folder: Path) -> bool:
        """A card in a reader says so; behind USB everything can be pulled; eMMC is soldered on."""
        if _word(folder / "removable") == "1" or _word(folder / "device/type") == "SD":
            return True
        return any(word.startswith("usb") for word in folder.resolve().parts)

    def _mounts(self, numbers: set[str], names: set[str]) -> Iterator[str]:
        devices = {f"/dev/{name}" for name in names}
        for line in _text(self._root / "proc/self/mountinfo").splitlines():
            words = line.split()
            source = words[
                words.index("-") + 2
            ]  # btrfs has numbers of its own, but says from where
            if words[2] in numbers or source in devices:
                yield words[4].replace("\\040", " ")

    def _swaps(self, names: set[str]) -> Iterator[str]:
        for line in _text(self._root / "proc/swaps").splitlines()[1:]:
            if line.split()[0] in {f"/dev/{name}" for name in names}:
                yield "swap"


def choose(machine: Machine) -> list[Disk]:
    """Return the disks that may be offered. Raises: ConfigError when there is none."""
    found = [disk for disk in machine.disks() if disk.is_removable and not disk.is_system]
    if not found:
        raise ConfigError("flash: no card and no USB disk here; put one in.", key="device")
    return found


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _word(path: Path) -> str:
    return _text(path).strip()
