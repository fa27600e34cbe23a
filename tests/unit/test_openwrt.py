# SPDX-License-Identifier: Apache-2.0
"""What goes to a router: the two packages, and every script in them, run by a small shell."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from tools.archive import Entry
from tools.cross import TARGETS
from tools.openwrt import BOARD, ipk_of, main, script, tarball_of
from tools.release import release_of

TARGET = TARGETS["aarch64-linux-musl"]
SHELL = ["busybox", "sh"] if shutil.which("busybox") else ["sh"]


@pytest.fixture
def release(tmp_path: Path) -> dict[str, Entry]:
    """Return a release of one module that says which version it is."""
    wheel = tmp_path / f"parrot_companion-0.7.0-cp311-abi3-{TARGET.wheel}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("parrot/__init__.py", "")
        archive.writestr("parrot/__main__.py", "import sys; print('0.7.0', sys.argv[1:])")
    return release_of([wheel], TARGET)


def members(blob: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(blob)) as archive:
        return {
            member.name: file.read() if (file := archive.extractfile(member)) else b""
            for member in archive.getmembers()
        }


def fields(control: bytes) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in control.decode().splitlines())


def test_an_ipk_is_laid_out_as_opkg_reads_it(release: dict[str, Entry]) -> None:
    blob = ipk_of(release, TARGET)
    assert blob[:2] == b"\x1f\x8b"
    whole = members(blob)
    assert list(whole) == ["./debian-binary", "./control.tar.gz", "./data.tar.gz"]
    assert whole["./debian-binary"] == b"2.0\n"
    about, data = members(whole["./control.tar.gz"]), members(whole["./data.tar.gz"])
    assert set(about) == {"./conffiles", "./control", "./postinst", "./preinst", "./prerm"}
    control = fields(about["./control"])
    assert (control["Package"], control["Version"]) == ("parrot", "0.7.0-1")
    assert "python3-numpy" in control["Depends"]
    assert int(control["Installed-Size"]) == len(gzip.decompress(whole["./data.tar.gz"]))
    assert about["./conffiles"].decode().strip() == "/etc/config/parrot"
    assert "./etc/config/parrot" in data and "./opt/parrot/start" in data
    assert data["./opt/parrot/releases/0.7.0/lib/parrot/__main__.py"]


def test_both_packages_repeat_to_the_byte(release: dict[str, Entry]) -> None:
    assert ipk_of(release, TARGET) == ipk_of(release, TARGET)
    assert tarball_of(release, TARGET) == tarball_of(release, TARGET)


def test_no_word_of_a_script_is_left_to_fill_in(release: dict[str, Entry]) -> None:
    for name in ("check", "settle", "clear", "install.sh"):
        assert b"@" not in script(name, release, TARGET).data.replace(b'"$@"', b"")


def test_what_was_unpacked_and_settled_runs(release: dict[str, Entry], tmp_path: Path) -> None:
    root = tmp_path / "router"
    # Python 3.11.4 brought filters, 3.12 warns without one.
    trusted = {"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}
    whole = members(ipk_of(release, TARGET))
    with tarfile.open(fileobj=io.BytesIO(whole["./data.tar.gz"])) as archive:
        archive.extractall(root, **trusted)
    postinst = tmp_path / "postinst"
    postinst.write_bytes(members(whole["./control.tar.gz"])["./postinst"])
    env = {**os.environ, "IPKG_INSTROOT": str(root)}
    for _ in range(2):  # an upgrade settles again
        subprocess.run([*SHELL, postinst], env=env, check=True)
    assert os.readlink(root / "usr/bin/parrot") == "/opt/parrot/current/bin/parrot"
    run = [*SHELL, root / "opt/parrot/start", "run", "--board", "openwrt"]
    said = subprocess.run(run, capture_output=True, text=True, cwd="/")
    assert said.stdout == "0.7.0 ['run', '--board', 'openwrt']\n", said.stderr
    prerm = tmp_path / "prerm"
    prerm.write_bytes(members(whole["./control.tar.gz"])["./prerm"])
    (root / "etc/parrot/soul.db").write_bytes(b"a soul")
    subprocess.run([*SHELL, prerm], env=env, check=True)
    assert not (root / "opt/parrot/releases").exists() and not (root / "usr/bin/parrot").exists()
    assert (root / "etc/parrot/soul.db").read_bytes() == b"a soul"


def check_says(release: dict[str, Entry], folder: Path, **commands: str) -> str:
    """Run `check` where only `commands` exist; return its sentence."""
    folder.mkdir()
    for name, body in commands.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    path = folder / "check.sh"
    path.write_bytes(script("check", release, TARGETS[TARGET.name]).data)
    text = path.read_text().replace("/lib/ld-musl-aarch64.so.1", str(folder / "uname"))
    path.write_text(text)
    done = subprocess.run([shutil.which("sh") or "/bin/sh", path], env={"PATH": str(folder)},
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == (1 if done.stderr else 0) and done.stderr.count("\n") <= 1
    return done.stderr


def test_a_router_that_cannot_be_a_parrot_is_told_why(
    release: dict[str, Entry], tmp_path: Path
) -> None:
    arm64, old = "echo aarch64", '[ "$1" != -V ] || echo Python 3.10.1; exit 1'
    no_numpy = "case $2 in *numpy*) exit 1;; esac"
    no_sqlite = "case $2 in *sqlite3*) exit 1;; esac"
    says = [
        check_says(release, tmp_path / "a", uname="echo mips"),
        check_says(release, tmp_path / "b", uname=arm64),
        check_says(release, tmp_path / "c", uname=arm64, python3=old),
        check_says(release, tmp_path / "d", uname=arm64, python3=no_numpy, apk=""),
        check_says(release, tmp_path / "e", uname=arm64, python3=no_sqlite),
        check_says(release, tmp_path / "f", uname=arm64, python3="exit 0"),
    ]
    assert "this router is mips, expected aarch64; get the file for that" in says[0]
    assert "no python3, expected 3.11 or newer; run: opkg install python3" in says[1]
    assert "Python 3.10.1, expected Python 3.11 or newer" in says[2]
    assert "run: apk add python3-numpy" in says[3]
    assert "run: opkg install python3-sqlite3" in says[4]
    assert says[5] == ""


@pytest.mark.parametrize(
    ("settings", "command"),
    [
        ({}, "command /opt/parrot/start run --board openwrt --soul /etc/parrot/soul.db"),
        ({"board": "my.toml", "soul": "/mnt/s.db"}, "command /opt/parrot/start run --board my.toml"
         " --soul /mnt/s.db"),
        ({"enabled": "0"}, ""),
    ],
)  # fmt: skip
def test_the_service_runs_what_uci_says(settings: dict[str, str], command: str) -> None:
    cases = "".join(f'[ "$3" = {name} ] && value={value};' for name, value in settings.items())
    get = f'value=$4; {cases} eval "$1=\\$value"; value='
    stubs = f"""
    config_load() {{ [ "$1" = parrot ]; }}
    config_get() {{ {get}; }}
    config_get_bool() {{ {get}; }}
    procd_open_instance() {{ :; }}
    procd_close_instance() {{ :; }}
    procd_set_param() {{ echo "$*"; }}
    """
    text = f"{stubs}\n{(BOARD / 'parrot.init').read_text()}\nstart_service"
    done = subprocess.run([*SHELL, "-c", text], capture_output=True, text=True)
    assert done.stderr == ""
    assert (command in done.stdout.splitlines()) if command else done.stdout == ""
    if command:
        assert "respawn 3600 5 0" in done.stdout, "0 tries: for ever"
        assert "limits data=134217728 134217728" in done.stdout


def test_a_target_of_glibc_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--target", "aarch64-linux-gnu", "--out", str(tmp_path), str(tmp_path)]
    assert main(words) == 1
    assert "OpenWrt is musl" in capsys.readouterr().err
