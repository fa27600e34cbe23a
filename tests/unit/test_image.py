# SPDX-License-Identifier: Apache-2.0
"""Images: their arithmetic, their archive, their text, and the Armbian that is brought."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import stat
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from parrot.app import board
from parrot.base.errors import (
    ConfigError,
    CorruptError,
    FileError,
    FormatError,
    MismatchError,
    ParrotError,
)
from tests.unit.armbian_disk import (
    BEGIN_MIB,
    OTHER_RELEASE,
    RELEASE,
    put_armbian,
    write_armbian,
)
from tools.image import armbian
from tools.image.disk import FIRST_MIB, MIB, Partition, make_ext4, size_mib, table_script
from tools.image.installer import for_writable_root, service_tree
from tools.image.kernel import newc
from tools.image.recipe import names, recipe
from tools.image.stage import COMMON, enable, link, listing_of, put

E2FS = [shutil.which(name, path="/usr/sbin:/sbin:/usr/bin") for name in ("mke2fs", "debugfs")]
needs_e2fsprogs = pytest.mark.skipif(not all(E2FS), reason="apt install e2fsprogs")
needs_sfdisk = pytest.mark.skipif(
    not shutil.which("sfdisk", path="/usr/sbin:/sbin"), reason="apt install fdisk"
)


# Partitions


@pytest.mark.parametrize("table", ["gpt", "dos"])
def test_partitions_follow_each_other_and_end_before_the_disk(tmp_path: Path, table: str) -> None:
    parts = []
    for label, n_bytes in (("a", 5 * MIB), ("b", 7 * MIB + 1), ("c", MIB)):
        content = tmp_path / label
        with open(content, "wb") as file:
            file.truncate(n_bytes)
        parts.append(Partition(label, "boot" if label == "a" else "linux", content))
    script, n_mib = table_script(table, parts, "x")
    spans = [tuple(map(int, found)) for found in re.findall(r"start=(\d+), size=(\d+)", script)]
    assert spans[0][0] == FIRST_MIB * 2048
    for (begin, size), (after, _) in pairwise(spans):
        assert begin + size == after
    assert spans[1][1] == 8 * 2048  # the odd byte has room
    assert sum(spans[-1]) + 2048 <= n_mib * 2048
    assert script == table_script(table, parts, "x")[0]  # no chance in it


def test_other_table_is_refused() -> None:
    with pytest.raises(ConfigError, match="'bsd', expected gpt or dos"):
        table_script("bsd", [], "x")


@needs_e2fsprogs
def test_file_system_holds_its_tree_and_is_the_same_twice(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    put(tree / "etc/name", b"parrot\n")
    link(tree / "sh", "etc/name")
    parts = [make_ext4(tmp_path / name, "parrot-root", 8, tree) for name in ("one", "two")]
    said = subprocess.run(
        [E2FS[1], "-R", "cat /etc/name", parts[0].content], capture_output=True, check=True
    )
    assert said.stdout == b"parrot\n"
    listings = [
        subprocess.run([E2FS[1], "-R", "ls -lR /", part.content], capture_output=True, check=True)
        for part in parts
    ]
    assert listings[0].stdout == listings[1].stdout
    assert size_mib(tree, 0.1, 3) == 3


# The first files


def test_archive_is_what_the_kernel_unpacks(tmp_path: Path) -> None:
    made = newc({
        "bin": (stat.S_IFDIR | 0o755, b""),
        "bin/busybox": (stat.S_IFREG | 0o755, b"\x7fELF!"),
        "bin/sh": (stat.S_IFLNK | 0o777, b"busybox"),
    })  # fmt: skip
    at, seen = 0, {}
    while True:
        assert made[at : at + 6] == b"070701" and at % 4 == 0
        mode, size, name_size = (int(made[at + o : at + o + 8], 16) for o in (14, 54, 94))
        name = made[at + 110 : at + 110 + name_size - 1].decode()
        at += -(-(110 + name_size) // 4) * 4
        if name == "TRAILER!!!":
            break
        seen[name] = (stat.S_IFMT(mode), made[at : at + size])
        at += -(-size // 4) * 4
    assert seen["bin/busybox"] == (stat.S_IFREG, b"\x7fELF!")
    assert seen["bin/sh"] == (stat.S_IFLNK, b"busybox")
    assert len(seen) == 3


# Boards


def test_every_recipe_is_read_and_names_a_profile() -> None:
    assert {"qemu", "raspberrypi"} <= set(names())
    for name in names():
        made = recipe(name)
        assert made.console in made.cmdline
        assert "ext4" in made.initrd_modules
        path = Path("board") / name / "root" / made.profile.lstrip("/")
        board.load(str(path) if made.profile.startswith("/") else made.profile)


def test_unknown_board_and_field_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="'toaster', expected one of qemu, raspberrypi"):
        recipe("toaster")
    text = Path("board/qemu/image.toml").read_text()
    (tmp_path / "toaster").mkdir()
    (tmp_path / "toaster/image.toml").write_text(text + "colour = 'red'\n")
    monkeypatch.setattr("tools.image.recipe.BOARDS", tmp_path)
    with pytest.raises(ConfigError, match=r"colour: 'red', expected no such field"):
        recipe("toaster")


# The tree


def test_put_never_writes_through_a_link_into_the_cache(tmp_path: Path) -> None:
    cached, staged = tmp_path / "cached", tmp_path / "staged"
    cached.write_text("Debian's")
    staged.hardlink_to(cached)
    put(staged, b"ours", executable=1)
    assert (cached.read_text(), staged.read_text()) == ("Debian's", "ours")
    assert staged.stat().st_mode & 0o777 == 0o755


def test_listing_tells_mode_size_and_target(tmp_path: Path) -> None:
    put(tmp_path / "b/script", b"#!/bin/sh\n", executable=1)
    link(tmp_path / "a", "b/script")
    assert listing_of(tmp_path) == ("120777 8 a -> b/script\n040755 0 b\n100755 10 b/script\n")


def test_unit_restarts_for_ever_and_is_watched() -> None:
    unit = (COMMON / "etc/systemd/system/parrot.service").read_text()
    lines = unit.splitlines()
    for line in ("Restart=always", "StartLimitIntervalSec=0", "Type=notify", "WatchdogSec=30"):
        assert line in lines
    assert any(line.startswith("MemoryMax=") for line in lines)
    assert "ExecStart=/opt/parrot/start run" in unit
    other = for_writable_root(unit)
    assert "Requires=" not in other and "WantedBy=multi-user.target" in other


def test_enabled_unit_of_debian_and_of_ours_lead_to_their_files(tmp_path: Path) -> None:
    enable(tmp_path, "parrot.service", "sysinit.target")
    enable(tmp_path, "serial-getty@ttyS1.service", "getty.target", "serial-getty@.service")
    folder = tmp_path / "etc/systemd/system"
    ours = folder / "sysinit.target.wants/parrot.service"
    login = folder / "getty.target.wants/serial-getty@ttyS1.service"
    assert str(ours.readlink()) == "/etc/systemd/system/parrot.service"
    assert str(login.readlink()) == "/lib/systemd/system/serial-getty@.service"


@pytest.fixture
def installer(tmp_path: Path) -> Path:
    """An unpacked archive with a release that does nothing."""
    source = tmp_path / "parrot-1.0"
    service_tree(source / "files", "rk3588")
    put(source / "files/opt/parrot/start", b"#!/bin/sh\n", executable=1)
    release = source / "files/opt/parrot/releases/1.0"
    put(release / "bin/parrot", b"#!/bin/sh\n", executable=1)
    for path in Path("parrot/assets/boards").iterdir():
        put(release / "lib/parrot/assets/boards" / path.name, path.read_bytes())
    shutil.copy("board/common/install.sh", source / "install.sh")
    return source


def install(source: Path, root: Path, board: str) -> subprocess.CompletedProcess[str]:
    environment = {"DESTDIR": str(root), "PATH": "/usr/bin:/bin"}
    line = ["sh", source / "install.sh", board]
    return subprocess.run(line, env=environment, capture_output=True, text=True)


def test_installer_puts_a_release_in_place_and_again_over_it(
    installer: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    put(root / "var/lib/parrot/soul.db", b"a life")
    put(root / "opt/parrot/releases/1.0/lib/old.py", b"")
    for _ in range(2):
        assert install(installer, root, "raspberrypi").returncode == 0
    assert str((root / "opt/parrot/current").readlink()) == "releases/1.0"
    assert not (root / "opt/parrot/releases/1.0/lib/old.py").exists()
    assert (root / "usr/lib/parrot/board.env").read_text() == "PARROT_BOARD=raspberrypi\n"
    assert (root / "var/lib/parrot/soul.db").read_bytes() == b"a life"
    assert (root / "opt/parrot/start").stat().st_mode & 0o100


def test_installer_brings_the_owners_profile_to_where_the_service_sees_it(
    installer: Path, tmp_path: Path
) -> None:
    mine, root = tmp_path / "home/me/my.toml", tmp_path / "root"
    put(mine, Path("board/qemu/root/usr/lib/parrot/board.toml").read_bytes())
    assert install(installer, root, str(mine)).returncode == 0
    assert (root / "usr/lib/parrot/board.env").read_text() == (
        "PARROT_BOARD=/usr/lib/parrot/board.toml\n"
    )
    assert (root / "usr/lib/parrot/board.toml").read_bytes() == mine.read_bytes()


def test_installer_refuses_a_board_that_nobody_knows(installer: Path, tmp_path: Path) -> None:
    for named, why in (
        ("toaster", r"toaster: no such board, expected one of .*raspberrypi rk3588.* or a \.toml"),
        ("absent.toml", "absent.toml: no such file, expected a board's .toml"),
    ):
        done = install(installer, tmp_path / "root", named)
        assert done.returncode == 1
        assert re.search(why, done.stderr)
        assert not (tmp_path / "root").exists()


def test_installer_without_a_board_says_what_to_type() -> None:
    done = subprocess.run(["sh", "board/common/install.sh"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "no board named" in done.stderr and "sudo sh install.sh rk3588" in done.stderr


# Armbian


ROOT_MIB = 24


def armbian_image(path: Path, release: str = RELEASE) -> Path:
    """Make Armbian's disk with a small root."""
    tree = path.with_name("armbian-root")
    put_armbian(tree, release)
    if not release:
        (tree / "etc/armbian-release").unlink()
    (tree / "usr/lib").mkdir(parents=True)
    part = make_ext4(path.with_name("armbian.ext4"), "armbi_root", ROOT_MIB, tree)
    shutil.rmtree(tree)
    return write_armbian(path, part.content)


@needs_sfdisk
@needs_e2fsprogs
def test_armbian_of_an_rk3588_takes_the_parrot_in(tmp_path: Path) -> None:
    image = armbian_image(tmp_path / "armbian.img")
    layout = armbian.layout_of(image)
    assert (layout.begin, layout.n_mib, layout.table) == (BEGIN_MIB, ROOT_MIB, "gpt")
    root = tmp_path / "root.ext4"
    armbian.cut_out(image, layout.begin * MIB, layout.n_mib * MIB, root)
    assert armbian.check_root(image, root) == "rock-5b"
    tree = tmp_path / "tree"
    armbian.image_tree(tree)
    put(tree / "opt/parrot/start", b"#!/bin/sh\n", executable=1)
    armbian.resize(root, 40)
    armbian.inject(root, tree, armbian.changed_texts(root, "rk3588-i2c2-m0", "gpt"))
    armbian.verify(root, tree, tmp_path / "back")
    soul = make_ext4(tmp_path / "soul.ext4", "parrot-soul", 8)
    armbian.compose(image, layout, root, soul.content)

    table = json.loads(subprocess.run(["/sbin/sfdisk", "--json", image], capture_output=True,
                                      check=True).stdout)["partitiontable"]  # fmt: skip
    spans = [(part["start"] // 2048, part["size"] // 2048) for part in table["partitions"]]
    assert spans == [(BEGIN_MIB, 40), (BEGIN_MIB + 40, 8)]
    again = tmp_path / "again.ext4"
    armbian.cut_out(image, BEGIN_MIB * MIB, 40 * MIB, again)
    environment = armbian.read_out(again, "/boot/armbianEnv.txt").splitlines()
    assert "overlays=uart3 rk3588-i2c2-m0" in environment and "verbosity=1" in environment
    assert "extraargs=cma=256M gpt" in environment
    assert armbian.read_out(again, "/usr/lib/parrot/board.env") == "PARROT_BOARD=rk3588\n"
    about = armbian.run(["debugfs", "-R", "stat /opt/parrot/start", again])
    assert re.search(r"Type: regular\s+Mode:\s+0755", about)
    fstab = armbian.read_out(again, "/etc/fstab")
    assert fstab.startswith("UUID=1 / ext4") and "LABEL=parrot-soul  /var/lib/parrot" in fstab
    wants = "/etc/systemd/system/multi-user.target.wants/parrot.service"
    assert "parrot.service" in armbian.run(["debugfs", "-R", f"stat {wants}", again])
    with open(image, "rb") as disk:  # the boot loader is untouched
        disk.seek(64 * 512)
        assert disk.read(4) == b"RKNS"


@needs_sfdisk
@needs_e2fsprogs
def test_armbian_of_another_chip_or_none_is_refused(tmp_path: Path) -> None:
    for release, why in (
        (OTHER_RELEASE, r"for orangepi3 \(sun50iw6\), expected a"),
        ("", "no /etc/armbian-release"),
    ):
        image = armbian_image(tmp_path / "other.img", release)
        root = tmp_path / "root.ext4"
        armbian.cut_out(image, BEGIN_MIB * MIB, ROOT_MIB * MIB, root)
        with pytest.raises(MismatchError, match=why):
            armbian.check_root(image, root)


@needs_sfdisk
@needs_e2fsprogs
def test_armbian_is_refused_before_anything_is_built_and_nothing_is_left(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    other = armbian_image(tmp_path / "pi.img", OTHER_RELEASE)
    cut = armbian_image(tmp_path / "cut.img")
    os.truncate(cut, (BEGIN_MIB + 8) * MIB)
    packed = tmp_path / "cut.img.gz"
    whole = gzip.compress(armbian_image(tmp_path / "whole.img").read_bytes(), 1)
    packed.write_bytes(whole[: len(whole) // 2])
    cases: list[tuple[Path, type[ParrotError], str]] = [
        (other, MismatchError, r"pi\.img: for orangepi3 \(sun50iw6\), expected a board"),
        (cut, CorruptError, r"last partition ends at byte [0-9,]+ but it has 25,165,824; the copy"),
        (packed, CorruptError, "the copy was cut short, download it again"),
        (tmp_path / "absent.img", FileError, r"absent\.img: .*no such file"),
    ]
    for brought, kind, why in cases:
        with pytest.raises(kind, match=why):
            armbian.build(brought, None, tmp_path / "cache", out)
        assert list(out.iterdir()) == []
        assert not (tmp_path / "cache").exists()


@needs_e2fsprogs
def test_file_that_did_not_fit_into_the_root_is_found_by_reading_back(tmp_path: Path) -> None:
    root = make_ext4(tmp_path / "root.ext4", "armbi_root", 8).content
    tree = tmp_path / "tree"
    put(tree / "a/small", b"fits")
    link(tree / "a/sh", "small")
    armbian.inject(root, tree, {})
    armbian.verify(root, tree, tmp_path / "back")
    put(tree / "b/large", os.urandom(9 * MIB))
    with pytest.raises(FileError, match="/b/large: not in the image as it was written"):
        armbian.inject(root, tree, {})
        armbian.verify(root, tree, tmp_path / "again")


@needs_sfdisk
@needs_e2fsprogs
def test_overlay_that_the_image_lacks_is_refused_with_those_it_has(tmp_path: Path) -> None:
    image = armbian_image(tmp_path / "armbian.img")
    root = tmp_path / "root.ext4"
    armbian.cut_out(image, BEGIN_MIB * MIB, ROOT_MIB * MIB, root)
    armbian.check_overlay(root, "i2c2-m0")
    with pytest.raises(ConfigError, match=r"i2c9: not in this image.*it has rk3588-i2c2-m0"):
        armbian.check_overlay(root, "i2c9")


def test_image_without_rockchips_boot_header_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "pi.img"
    image.write_bytes(bytes(20 * MIB))
    with pytest.raises(FormatError, match=r"bytes 00 00 00 00 at 32,768, expected Rockchip's boot"):
        armbian.layout_of(image)
