# SPDX-License-Identifier: Apache-2.0
"""`parrot flash` on machines made of files: what it refuses, what it writes, what it reads back."""

from __future__ import annotations

import hashlib
import io
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from parrot.app import flash
from parrot.app.disks import Machine, choose
from parrot.app.flash_image import Image, compare, inspect, mapped, partitions
from parrot.base.errors import (
    ConfigError,
    CorruptError,
    DeviceError,
    DeviceMissing,
    DeviceRefused,
    FormatError,
)

MIB = 1 << 20
CARD_BYTES = 8 * MIB


def silent(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


class FakeMachine:
    """A sysfs, a /proc and a /dev in a folder. `root` is what Machine reads."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.mounts: list[str] = []
        (root / "sys/block").mkdir(parents=True)
        (root / "proc/self").mkdir(parents=True)
        (root / "dev").mkdir()
        (root / "proc/swaps").write_text("Filename Type Size Used Priority\n")
        self.mount("0:1", "/proc", "proc")

    def disk(self, name: str, number: str, parts: int = 0, **words: str) -> Path:
        """Add a disk of 31.9 GB, of which 8 MiB are there. `bus` is where it hangs; other words are
        files in its folder, "__" for a slash."""
        bus = words.pop("bus", "pci0000:00")
        folder = self.root / f"sys/devices/{bus}/block/{name}"
        (folder / "device").mkdir(parents=True)
        values = {"size": "62333952", "removable": "0", "ro": "0", "dev": number}
        for file, value in {**values, **words}.items():
            (folder / file.replace("__", "/")).write_text(value + "\n")
        major, _, minor = number.partition(":")
        for i in range(1, parts + 1):
            part = folder / f"{name}{'p' if name[-1].isdigit() else ''}{i}"
            part.mkdir()
            (part / "partition").write_text(f"{i}\n")
            (part / "dev").write_text(f"{major}:{int(minor) + i}\n")
        (self.root / "sys/block" / name).symlink_to(folder)
        (self.root / "dev" / name).write_bytes(bytes(CARD_BYTES))
        return folder

    def mount(self, number: str, place: str, source: str) -> None:
        self.mounts.append(f"29 1 {number} / {place} rw,relatime shared:1 - ext4 {source} rw\n")
        (self.root / "proc/self/mountinfo").write_text("".join(self.mounts))

    def check(self, name: str, n_bytes: int = MIB) -> None:
        Machine(self.root).disk(self.root / "dev" / name).check(n_bytes)


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    """A PC: its own disk, a card in a reader, an SD slot, an eMMC, and what is no disk."""
    machine = FakeMachine(tmp_path)
    machine.disk("vda", "254:0", parts=2)
    machine.mount("254:2", "/", "/dev/vda2")
    usb = "pci0000:00/usb1/1-2"
    machine.disk("sdb", "8:16", parts=1, bus=usb, removable="1", device__model="Card Reader")
    machine.disk("mmcblk0", "179:0", device__type="SD", device__name="SC32G")
    machine.disk("mmcblk1", "179:96", device__type="MMC", device__name="BJTD4R")
    machine.disk("loop0", "7:0")
    return machine


# Which disks


def test_only_cards_and_usb_disks_are_offered(machine: FakeMachine) -> None:
    offered = choose(Machine(machine.root))
    assert [(disk.name, disk.model) for disk in offered] == [
        ("mmcblk0", "SC32G"),
        ("sdb", "Card Reader"),
    ]


def test_usb_disk_that_calls_itself_fixed_is_offered(machine: FakeMachine) -> None:
    machine.disk("sdc", "8:32", bus="pci0000:00/usb2/2-1/2-1:1.0/host4")
    assert "sdc" in [disk.name for disk in choose(Machine(machine.root))]


def test_no_card_is_said(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path)
    machine.disk("vda", "254:0")
    with pytest.raises(ConfigError, match="no card and no USB disk here; put one in"):
        choose(Machine(machine.root))


def test_system_disk_is_refused_even_if_it_is_a_card(machine: FakeMachine) -> None:
    with pytest.raises(DeviceRefused, match=r"vda: this system lives on it \(/\)"):
        machine.check("vda")
    machine.mount("179:0", "/boot/firmware", "/dev/mmcblk0")
    with pytest.raises(DeviceRefused, match="this system lives on it"):
        machine.check("mmcblk0")


def test_mounted_card_is_refused_with_the_command(machine: FakeMachine) -> None:
    machine.mount("8:17", "/media/my\\040card", "/dev/sdb1")
    with pytest.raises(DeviceRefused, match=r"in use \(/media/my card\).*run: umount .*/dev/sdb\?"):
        machine.check("sdb")


def test_disk_under_a_volume_that_holds_the_root_is_refused(machine: FakeMachine) -> None:
    folder = machine.disk("sdd", "8:48", parts=1, bus="usb1")
    machine.disk("dm-0", "253:0")
    (folder / "sdd1/holders/dm-0").mkdir(parents=True)
    machine.mount("253:0", "/home", "/dev/mapper/vg-home")
    with pytest.raises(DeviceRefused, match=r"this system lives on it \(/home\)"):
        machine.check("sdd")


def test_btrfs_is_known_by_its_source(machine: FakeMachine) -> None:
    machine.mount("0:42", "/data", "/dev/sdb1")
    with pytest.raises(DeviceRefused, match=r"in use \(/data\)"):
        machine.check("sdb")


def test_swap_is_a_use(machine: FakeMachine) -> None:
    (machine.root / "proc/swaps").write_text("Filename Type\n/dev/sdb1 partition 1 0 -2\n")
    with pytest.raises(DeviceRefused, match=r"in use \(swap\)"):
        machine.check("sdb")


@pytest.mark.parametrize(
    ("name", "words", "why"),
    [
        ("mmcblk1", {}, "a fixed disk"),
        ("sdx", {"removable": "1", "ro": "1"}, "write-protected; move the card's switch"),
        ("sdx", {"removable": "1", "size": "0"}, "no card in it"),
        ("sdx", {"removable": "1", "size": "1000"}, "the image needs 0.0 GB; take a larger card"),
    ],
)
def test_unfit_disk_is_refused(
    machine: FakeMachine, name: str, words: dict[str, str], why: str
) -> None:
    if words:
        machine.disk(name, "8:112", **words)
    with pytest.raises(DeviceRefused, match=why):
        machine.check(name)


def test_partition_and_other_files_are_no_disks(machine: FakeMachine) -> None:
    disks = Machine(machine.root)
    (machine.root / "dev/sdb1").touch()
    with pytest.raises(DeviceRefused, match=r"a partition, expected the whole disk; name .*/sdb\."):
        disks.disk(machine.root / "dev/sdb1")
    with pytest.raises(DeviceMissing, match="no disk; see: parrot flash --list"):
        disks.disk(machine.root / "dev/zero")


def test_link_to_a_disk_is_followed(machine: FakeMachine) -> None:
    link = machine.root / "dev/by-id"
    link.symlink_to(machine.root / "dev/sdb")
    assert Machine(machine.root).disk(link).name == "sdb"


# Which images


def disk_of(n_bytes: int, *spans: tuple[int, int]) -> bytes:
    """Return a disk with an MBR whose partitions are (first sector, sectors), and some content."""
    disk = bytearray(hashlib.shake_128(b"content").digest(n_bytes // 4) * 4)
    disk[446:512] = bytes(66)
    for i, span in enumerate(spans):
        struct.pack_into("<B3xB3xII", disk, 446 + 16 * i, 0, 0x83, *span)
    disk[510:512] = b"\x55\xaa"
    return bytes(disk)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "parrot.img"
    path.write_bytes(disk_of(2 * MIB, (64, 1024), (2048, 2048)))
    return path


def test_image_is_measured_by_its_table(image: Path) -> None:
    seen = inspect(image, silent)
    assert (seen.n_bytes, seen.ends, seen.table) == (2 * MIB, 2 * MIB, "dos")


@pytest.mark.skipif(not shutil.which("sfdisk", path="/usr/sbin:/sbin"), reason="no sfdisk here")
def test_gpt_of_sfdisk_is_read(tmp_path: Path) -> None:
    path = tmp_path / "gpt.img"
    path.write_bytes(bytes(4 * MIB))
    script = b"label: gpt\nstart=64, size=1000\nstart=2048, size=4096\n"
    subprocess.run(["/sbin/sfdisk", "-q", path], input=script, check=True, capture_output=True)
    assert partitions(path, path.read_bytes()[: 34 * 512]) == ("gpt", (2048 + 4096 + 33) * 512)


def test_image_that_was_cut_short_is_refused(image: Path) -> None:
    image.write_bytes(image.read_bytes()[:-512])
    with pytest.raises(CorruptError, match="ends at byte 2,097,152 but it has 2,096,640; the copy"):
        inspect(image, silent)


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"PK\x03\x04", "a zip archive, unpack it"),
        (b"GGUF", "a model"),
        (b"SQLite format 3", "a soul"),
        (b"<!DOCTYPE html>", "no disk image"),
    ],
)
def test_what_is_no_image_is_named(tmp_path: Path, head: bytes, what: str) -> None:
    path = tmp_path / "wrong.img"
    path.write_bytes(head.ljust(4096, b"\0"))
    with pytest.raises(FormatError, match=what):
        inspect(path, silent)


def test_checksum_beside_the_image_is_compared(image: Path) -> None:
    note = image.with_name(image.name + ".sha256")
    note.write_text(f"{hashlib.sha256(image.read_bytes()).hexdigest()}  {image.name}\n")
    inspect(image, silent)
    blob = bytearray(image.read_bytes())
    blob[-1] ^= 1
    image.write_bytes(blob)
    with pytest.raises(CorruptError, match=r"sha256 begins .* says .*; download both again"):
        inspect(image, silent)


@pytest.mark.parametrize("program", ["zstd", "gzip", "xz"])
def test_packed_image_is_the_same_disk_and_a_cut_one_is_not(image: Path, program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"no {program} here")
    suffix = {"zstd": ".zst", "gzip": ".gz", "xz": ".xz"}[program]
    packed = image.with_name(image.name + suffix)
    with open(packed, "wb") as file:
        subprocess.run([program, "-c", image], stdout=file, check=True)
    assert inspect(packed, silent).n_bytes == 2 * MIB
    packed.write_bytes(packed.read_bytes()[: packed.stat().st_size // 2])
    with pytest.raises((CorruptError, FormatError)):
        inspect(packed, silent)


def test_map_of_another_image_is_refused(image: Path) -> None:
    block_map = image.with_name(image.name + ".bmap")
    block_map.write_text(
        "<bmap version='2.0'><ImageSize> 2097152 </ImageSize><BlockSize> 4096 </BlockSize>"
        "<BlockMap><Range chksum='x'> 0-1 </Range><Range> 511 </Range></BlockMap></bmap>"
    )
    assert mapped(block_map, 2 * MIB) == [(0, 8192), (511 * 4096, 2 * MIB)]
    with pytest.raises(
        FormatError, match=r"of an image of 2,097,152 bytes, this one has 1; remove"
    ):
        mapped(block_map, 1)
    block_map.write_text("<html>")
    with pytest.raises(FormatError, match="no map of blocks"):
        mapped(block_map, 2 * MIB)


# Writing


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    answer = io.StringIO()
    monkeypatch.setattr("sys.stdin", answer)
    return answer


def say(typed: io.StringIO, answer: str) -> None:
    typed.write(answer)
    typed.seek(0)


needs_bmaptool = pytest.mark.skipif(not shutil.which("bmaptool"), reason="apt install bmap-tools")


@needs_bmaptool
@pytest.mark.parametrize("has_map", [False, True])
def test_card_holds_the_image_after_its_size_was_typed(
    machine: FakeMachine, image: Path, typed: io.StringIO, has_map: bool
) -> None:
    if has_map:
        note = image.with_name(image.name + ".bmap")
        subprocess.run(["bmaptool", "create", "-o", note, image], check=True, capture_output=True)
    disk = Machine(machine.root).disk(machine.root / "dev/sdb")
    say(typed, "31.9\n")
    assert flash.flash_disk(image, disk, is_dry=False) == 0
    assert disk.path.read_bytes()[: 2 * MIB] == image.read_bytes()


def test_other_answer_writes_nothing(machine: FakeMachine, image: Path, typed: io.StringIO) -> None:
    disk = Machine(machine.root).disk(machine.root / "dev/sdb")
    say(typed, "yes\n")
    with pytest.raises(ConfigError, match=r"'yes' typed, expected 31\.9; nothing was written"):
        flash.flash_disk(image, disk, is_dry=False)
    assert disk.path.read_bytes() == bytes(CARD_BYTES)


def test_dry_run_asks_nothing_and_writes_nothing(
    machine: FakeMachine, image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = Machine(machine.root).disk(machine.root / "dev/sdb")
    assert flash.flash_disk(image, disk, is_dry=True) == 0
    assert "may be written. Nothing was." in capsys.readouterr().out
    assert disk.path.read_bytes() == bytes(CARD_BYTES)


def test_byte_that_did_not_stick_is_found(image: Path, tmp_path: Path) -> None:
    card = tmp_path / "card"
    blob = bytearray(image.read_bytes() + bytes(MIB))
    card.write_bytes(blob)
    seen = Image(image, 2 * MIB, 2 * MIB, "dos", None)
    compare(seen, card, silent)
    blob[MIB + 5] ^= 0x10
    card.write_bytes(blob)
    with pytest.raises(
        DeviceError, match="are not what was written; the card or its reader is bad"
    ):
        compare(seen, card, silent)


@pytest.mark.skipif(not shutil.which("rkdeveloptool"), reason="apt install rkdeveloptool")
def test_no_board_in_maskrom_mode_is_said(image: Path, tmp_path: Path) -> None:
    with pytest.raises(DeviceMissing, match="no board answers; hold its maskrom key"):
        flash.flash_board(image, tmp_path / "loader.bin", is_dry=False)
    with pytest.raises(ConfigError, match="--loader: not given"):
        flash.flash_board(image, None, is_dry=False)
