# SPDX-License-Identifier: Apache-2.0
"""Write an image to a card or a USB disk, and read it back.

Everything on the disk is lost. Disks that are fixed, in use or this system's own are refused.
An RK3588 board in maskrom mode, on a USB cable, is the device "maskrom".

examples:
  parrot flash --list                                    cards and USB disks here
  parrot flash parrot-0.1.0-raspberrypi.img.zst /dev/sdb
  parrot flash parrot-0.1.0-raspberrypi.img.zst /dev/sdb --dry-run
  parrot flash parrot-0.1.0-rk3588.img.zst maskrom --loader rk3588_spl_loader.bin
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from parrot.app.disks import Disk, Machine, choose
from parrot.app.flash_image import SECTOR, Image, compare, inspect, unpacked
from parrot.base.errors import ConfigError, DeviceError, DeviceMissing, DeviceRefused
from parrot.base.program import installed

_BAR = 28
_LOOK_S = 0.2
_COPY = 4 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", nargs="?", type=Path, metavar="IMAGE", help=".img, or packed")
    parser.add_argument("device", nargs="?", metavar="DEVICE", help="such as /dev/sdb, or maskrom")
    parser.add_argument("--list", action="store_true", help="list what may be written to")
    parser.add_argument("--dry-run", action="store_true", help="check everything, write nothing")
    parser.add_argument("--loader", type=Path, metavar="FILE", help="for maskrom: its loader")


def run(args: argparse.Namespace) -> int:
    machine = Machine()
    if args.list:
        for disk in choose(machine):
            state = f"in use: {', '.join(disk.mounts)}" if disk.mounts else ""
            print(f"{disk.path!s:<14} {disk.size:>8} GB  {disk.model}  {state}".rstrip())
        return 0
    if args.image is None or args.device is None:
        raise ConfigError("flash: expected IMAGE and DEVICE; see: parrot flash --help.")
    if args.device == "maskrom":
        return flash_board(args.image, args.loader, args.dry_run)
    return flash_disk(args.image, machine.disk(Path(args.device)), args.dry_run)


def flash_disk(path: Path, disk: Disk, is_dry: bool) -> int:
    """Check, ask, write, compare."""
    disk.check(0)  # before minutes of reading
    bar = Bar()
    image = inspect(path, bar.show)
    bar.end()
    disk.check(image.n_bytes)
    print(f"{path.name}: {image.n_bytes / 1e9:.1f} GB, {image.table} table, whole.")
    if is_dry:
        print(f"{disk.path}: {disk.model}, {disk.size} GB, may be written. Nothing was.")
        return 0
    ask(disk)
    try:
        os.close(os.open(disk.path, os.O_WRONLY | os.O_EXCL))  # EXCL: the kernel knows who uses it
    except PermissionError as exc:
        raise DeviceRefused(
            f"{disk.path}: permission denied; run it with sudo.", device=str(disk.path)
        ) from exc
    except OSError as exc:
        raise DeviceRefused(
            f"{disk.path}: {exc.strerror}; something uses it, close that.", device=str(disk.path)
        ) from exc
    write(image, disk, bar)
    compare(image, disk.path, bar.show)
    bar.end()
    print(f"{disk.path}: written and read back. Take it out, put it into the board.")
    return 0


def ask(disk: Disk) -> None:
    """Let the owner type the size of what will be lost. Raises: ConfigError for another answer."""
    print(f"Everything on {disk.path} ({disk.model}, {disk.size} GB) will be lost.")
    print(f"Type its size, {disk.size}, to go on: ", end="", flush=True)
    answer = sys.stdin.readline().strip().removesuffix("GB").strip()
    if answer != disk.size:
        raise ConfigError(
            f"flash: {answer[:20]!r} typed, expected {disk.size}; nothing was written."
        )


def write(image: Image, disk: Disk, bar: Bar) -> None:
    """Let bmaptool write. Raises: DeviceError with what it said."""
    installed("bmaptool", "card", "bmap-tools")
    how = ["--bmap", str(image.block_map)] if image.block_map else ["--nobmap"]
    total = sum(end - begin for begin, end in image.ranges())
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            ["bmaptool", "copy", *how, str(image.path), str(disk.path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        while process.poll() is None:
            bar.show("writing", min(_written(process.pid), total), total)
            time.sleep(_LOOK_S)
        errors.seek(0)
        said = errors.read().decode(errors="replace").strip().splitlines() or ["no reason given"]
    bar.end()
    if process.returncode:
        raise DeviceError(
            f"{disk.path}: bmaptool ended with {said[-1][:200]}; the card is spoiled, write again.",
            device=str(disk.path),
        )


def _written(pid: int) -> int:
    """Return the bytes a process has written so far, by proc(5)."""
    try:
        counts = Path(f"/proc/{pid}/io").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0  # it has just ended
    return int(counts[counts.index("wchar:") + 1])


def flash_board(path: Path, loader: Path | None, is_dry: bool) -> int:
    """Write to an RK3588 board through its boot ROM, with rkdeveloptool.

    The order is that of rkdeveloptool(1): load the loader, write from sector 0, read back, restart.
    """
    if loader is None:
        raise ConfigError("--loader: not given, expected rk3588_spl_loader.bin of your board.")
    bar = Bar()
    image = inspect(path, bar.show)
    bar.end()
    boards = rockchip("ld")
    if "Maskrom" not in boards:
        raise DeviceMissing(
            "maskrom: no board answers; hold its maskrom key while you plug the USB cable in.",
            device="maskrom",
        )
    if is_dry:
        print(f"{boards.strip()}: may be written. Nothing was.")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        plain, back = Path(folder) / "disk.img", Path(folder) / "back.img"
        with unpacked(path) as disk, open(plain, "wb") as file:
            while chunk := disk.read(_COPY):
                file.write(chunk)
        rockchip("db", str(loader))
        rockchip("wl", "0", str(plain))
        rockchip("rl", "0", str(image.n_bytes // SECTOR), str(back))
        compare(image, back, bar.show)
        bar.end()
    rockchip("rd")
    print("maskrom: written, read back, restarted.")
    return 0


def rockchip(*words: str) -> str:
    """Call rkdeveloptool; return what it said. Raises: DeviceError."""
    installed("rkdeveloptool", "board", "rkdeveloptool")
    argv: Sequence[str] = ["rkdeveloptool", *words]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    said = (done.stdout + done.stderr).decode(errors="replace")
    if done.returncode and words != ("ld",):
        last = (said.strip().splitlines() or ["no reason given"])[-1][:200]
        raise DeviceError(
            f"rkdeveloptool {words[0]}: {last}; plug the board in again and start over.",
            device="maskrom",
        )
    return said


class Bar:
    """A line that grows on a terminal; nothing elsewhere."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()
        self._last = ""

    def show(self, what: str, done: int, total: int) -> None:
        if not self._is_shown:
            return
        share = done / total if total else 0.0
        full = round(share * _BAR)
        line = f"{what:<10} [{'#' * full}{'.' * (_BAR - full)}] {share:4.0%}" if total else (
            f"{what:<10} {done / 1e6:,.0f} MB")  # fmt: skip
        if line != self._last:
            self._last = line
            print(f"\r{line}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._last:
            print(file=sys.stderr)
            self._last = ""
