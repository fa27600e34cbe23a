# SPDX-License-Identifier: Apache-2.0
"""tools.release: wheels in, a release out; and a real one, from its wheel to its first word."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest

import parrot
from parrot import _native
from parrot.app.cli import main as parrot_main
from parrot.app.release import DESCRIPTION, Release
from parrot.base.errors import ConfigError, FormatError
from tests.unit.signing import Maker
from tools.cross import TARGETS
from tools.release import archive_of, main, python_of, release_of

GLIBC = TARGETS["aarch64-linux-gnu"]
Wheels = Callable[..., Path]


@pytest.fixture
def wheel(tmp_path: Path) -> Wheels:
    """Write a wheel that holds `files`; return its path."""

    def write(name: str, files: dict[str, bytes]) -> Path:
        path = tmp_path / "dist" / name
        path.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            for member, blob in files.items():
                archive.writestr(member, blob)
        return path

    return write


def own(wheel: Wheels, target: str = "aarch64-linux-gnu") -> Path:
    name = f"parrot_companion-0.7.0-cp311-abi3-{TARGETS[target].wheel}.whl"
    return wheel(name, {"parrot/__init__.py": b"1", "parrot/_native.abi3.so": b"\x7fELF"})


def test_a_release_holds_the_packages_the_launcher_and_what_it_is(wheel: Wheels) -> None:
    more = wheel(
        "luma-1.0-py3-none-any.whl",
        {
            "luma/a.py": b"a",
            "luma-1.0.data/purelib/luma/b.py": b"b",
            "luma-1.0.data/scripts/x": b"",
        },
    )
    release = release_of([own(wheel), more], GLIBC)
    assert sorted(release) == [
        "bin/parrot", "lib/luma/a.py", "lib/luma/b.py", "lib/parrot/__init__.py",
        "lib/parrot/_native.abi3.so", "release.json",
    ]  # fmt: skip
    assert release["bin/parrot"].mode == 0o755
    about = Release.from_json(Path("x"), release[DESCRIPTION].data)
    assert (about.version, about.target, about.python) == ("0.7.0", "aarch64-linux-gnu", "3.11+")
    assert about.unpacked_bytes == (3 * 2 + 2) * 4096  # modules twice


def test_the_same_wheels_give_the_same_bytes_and_release_json_comes_first(
    wheel: Wheels, tmp_path: Path
) -> None:
    blobs = [archive_of(release_of([own(wheel)], GLIBC)) for _ in range(2)]
    assert blobs[0] == blobs[1]
    path = tmp_path / "r.tar.gz"
    path.write_bytes(blobs[0])
    with tarfile.open(path) as archive:
        members = archive.getmembers()
    assert members[0].name == "release.json"
    assert {(m.mtime, m.uid, m.uname) for m in members} == {(0, 0, "")}


@pytest.mark.parametrize(
    ("names", "python"),
    [
        (["a-1-py3-none-any.whl", "b-1-cp38-abi3-manylinux_2_28_aarch64.whl"], "3.11+"),
        (["numpy-2-cp311-cp311-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl"], "3.11"),
        (["numpy-2-cp313-cp313-linux_aarch64.whl", "b-1-py3-none-any.whl"], "3.13"),
    ],
)
def test_a_wheel_with_an_abi_of_its_own_ties_the_release_to_that_python(
    names: list[str], python: str
) -> None:
    assert python_of([Path(name) for name in names], GLIBC) == python


@pytest.mark.parametrize(
    "name",
    [
        "n-1-cp311-cp311-manylinux_2_17_x86_64.whl",
        "n-1-cp311-cp311-musllinux_1_2_aarch64.whl",
        "n-1-cp311-cp311-manylinux_2_17_armv7l.whl",
        "n-1-cp311-abi3-macosx_11_0_arm64.whl",
    ],
)
def test_a_wheel_of_another_machine_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"expected aarch64-linux-gnu; download it with pip"):
        python_of([Path(name)], GLIBC)


def test_wheels_of_two_pythons_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"Python 3\.11 and 3\.13, expected one"):
        python_of([Path("a-1-cp311-cp311-linux_aarch64.whl"),
                   Path("b-1-cp313-cp313-linux_aarch64.whl")], GLIBC)  # fmt: skip


def test_two_wheels_that_bring_the_same_name_are_refused(wheel: Wheels) -> None:
    other = wheel("evil-1-py3-none-any.whl", {"parrot/__init__.py": b"2"})
    with pytest.raises(FormatError, match=r"brings another parrot/__init__.py"):
        release_of([own(wheel), other], GLIBC)


def test_a_wheel_that_leads_elsewhere_or_is_none_is_refused(wheel: Wheels, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="expected names below it"):
        release_of([own(wheel), wheel("e-1-py3-none-any.whl", {"../x": b""})], GLIBC)
    path = tmp_path / "n-1-py3-none-any.whl"
    path.write_bytes(b"PK")
    with pytest.raises(FormatError, match="no wheel"):
        release_of([own(wheel), path], GLIBC)


def test_a_target_without_a_wheel_is_named(
    wheel: Wheels, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own(wheel)
    words = ["--target", "aarch64-linux-musl", "--out", str(tmp_path), str(tmp_path / "dist")]
    assert main(words) == 1
    assert "no wheel of parrot for musllinux_1_2_aarch64; run:" in capsys.readouterr().err


def real_wheel(folder: Path) -> Path:
    """Return the package under test as a wheel."""
    package = Path(parrot.__file__).parent
    path = folder / "parrot_companion-9.9.9-cp311-abi3-manylinux_2_17_x86_64.whl"
    folder.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(package.rglob("*")):
            if file.is_file() and file.suffix not in (".pyc", ".so"):
                archive.write(file, f"parrot/{file.relative_to(package)}")
        archive.write(_native.__file__, "parrot/_native.abi3.so")
        about = "Metadata-Version: 2.1\nName: parrot-companion\nVersion: 9.9.9\n"
        archive.writestr("parrot_companion-9.9.9.dist-info/METADATA", about)
    return path


def test_a_real_release_is_installed_updated_and_speaks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # An interpreter that knows no parrot of its own (an editable install comes before PYTHONPATH).
    monkeypatch.setenv("PATH", f"{Path(sys.base_prefix, 'bin')}:/usr/bin:/bin")
    monkeypatch.setenv("PYTHONPATH", str(Path(numpy.__file__).parents[1]))
    monkeypatch.setenv("HOME", str(tmp_path))
    target = TARGETS["x86_64-linux-gnu"]
    wheel = real_wheel(tmp_path / "dist")
    root = tmp_path / "opt"
    assert main(["--target", target.name, "--tree", str(root), str(wheel.parent)]) == 0
    newer = wheel.rename(wheel.with_name(wheel.name.replace("9.9.9", "9.9.10")))
    path = tmp_path / "parrot.tar.gz"
    path.write_bytes(archive_of(release_of([newer], target)))
    Maker().sign(path)
    key = Maker().write_key(tmp_path / "maker.pub")
    capsys.readouterr()
    words = ["update", "--root", str(root), str(path), "--key", str(key), "--json"]
    assert parrot_main(words) == 0
    assert json.loads(capsys.readouterr().out)["current"] == "9.9.10"
    said = subprocess.run(
        [root / "start", "chat", "--fresh", "--once", "Hello!", "--max-bytes", "20", "--seed", "1"],
        cwd="/", capture_output=True, text=True,
    )  # fmt: skip
    assert said.returncode == 0 and said.stdout.strip(), said.stderr
    about = subprocess.run(
        [root / "current/bin/parrot", "update"],
        cwd="/", capture_output=True, text=True,
    )  # fmt: skip
    assert about.returncode == 0, about.stderr
    assert about.stdout == "runs    9.9.10, on trial: 1 starts\nbefore  9.9.9\n"
