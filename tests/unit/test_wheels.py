# SPDX-License-Identifier: Apache-2.0
"""tools.wheels without its compiler: targets, archives, and what a shared object may ask for."""

from __future__ import annotations

import ctypes
import io
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from parrot import _native
from parrot.base.errors import ConfigError
from tools.archive import Entry, gzip_of, tar_of
from tools.cross import TARGETS, cmake_defines, python_headers, target_of, toolchain
from tools.elf import Demands, ElfError, check, demands_of
from tools.wheels import main

ARM = Demands(
    "EM_ARM", 32, 0x5000400, frozenset({"libc.so"}), frozenset(), frozenset(), frozenset(),
    has_rpath=False, has_executable_stack=False,
)  # fmt: skip


def test_targets_are_named_once_and_tagged_for_their_libc() -> None:
    assert {name for name in TARGETS if TARGETS[name].is_musl} == {
        "x86_64-linux-musl", "aarch64-linux-musl", "armv7-linux-musl", "riscv64-linux-musl",
    }  # fmt: skip
    assert {"x86_64-linux-gnu", "aarch64-linux-gnu"} < set(TARGETS)
    for name, target in TARGETS.items():
        assert target.name == name and target.wheel.endswith(f"_{target.processor}")
        assert target.wheel.startswith("musllinux_1_2_" if target.is_musl else "manylinux_2_17_")


def test_an_unknown_target_is_named_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--target mips: expected one of x86_64-linux-gnu"):
        target_of("mips")
    assert main(["--target", "mips", "--out", str(tmp_path)]) == 1


def test_an_archive_depends_on_its_content_alone(tmp_path: Path) -> None:
    entries = {"b/x": Entry(b"1"), "a": Entry(b"22", 0o755), "l": Entry(link="a")}
    blob = gzip_of(tar_of(entries, "p/", first="b/x"))
    assert blob == gzip_of(tar_of(dict(reversed(entries.items())), "p/", first="b/x"))
    with tarfile.open(fileobj=io.BytesIO(blob)) as archive:
        found = [(m.name, m.mode, m.size, m.mtime, m.uid, m.uname) for m in archive.getmembers()]
    assert found == [
        ("p/b/x", 0o644, 1, 0, 0, ""), ("p/a", 0o755, 2, 0, 0, ""), ("p/b", 0o755, 0, 0, 0, ""),
        ("p/l", 0o777, 0, 0, 0, ""),
    ]  # fmt: skip


def test_type_sizes_in_the_headers_are_those_of_the_target(tmp_path: Path) -> None:
    folder = python_headers(tmp_path / "include")
    with open(folder / "pyconfig_host.h", "a") as file:
        file.write("\n#undef SIZEOF_LONG\n#define SIZEOF_LONG 3\n#define SIZEOF_VOID_P 5\n")
    source = tmp_path / "size.c"
    source.write_text("#include <pyconfig.h>\nint size[] = {SIZEOF_LONG, SIZEOF_VOID_P};\n")
    done = subprocess.run(["cc", f"-I{folder}", "-E", source], capture_output=True, text=True)
    sizes = f"{{{ctypes.sizeof(ctypes.c_long)}, {ctypes.sizeof(ctypes.c_void_p)}}}"
    assert f"int size[] = {sizes};" in done.stdout, done.stderr


def test_the_compiler_is_told_the_target_and_a_cpu_in_zigs_words(tmp_path: Path) -> None:
    pytest.importorskip("ziglang", reason="needs ziglang; pip install ziglang")
    tools = toolchain(TARGETS["aarch64-linux-musl"], tmp_path / "tools")
    cc = (tools / "cc").read_text()
    assert "-target aarch64-linux-musl" in cc and "-g0" in cc
    spoken = cc.replace("exec ", "echo ")
    (tools / "cc").write_text(spoken)
    words = ["sh", tools / "cc", "-O3", "-march=armv8.2-a+dotprod", "a file.c"]
    said = subprocess.run(words, capture_output=True, text=True).stdout
    assert said.endswith("-g0 -O3 -mcpu=generic+v8_2a+dotprod a file.c\n")
    defines = cmake_defines(TARGETS["aarch64-linux-musl"], tools)
    assert defines["CMAKE_SYSTEM_PROCESSOR"] == "aarch64"


# ---- what a shared object asks for


def test_the_extension_under_test_asks_for_its_c_library_alone() -> None:
    pytest.importorskip("elftools", reason="needs pyelftools; pip install pyelftools")
    demands = demands_of(Path(_native.__file__).read_bytes())
    assert "PyInit__native" in demands.exported
    assert any(name.startswith("GLIBC_") for name in demands.versions) or sys.platform != "linux"
    assert {"malloc", "PyModuleDef_Init"} <= demands.foreign
    assert not demands.has_executable_stack


def test_what_is_no_elf_file_is_said() -> None:
    pytest.importorskip("elftools", reason="needs pyelftools; pip install pyelftools")
    with pytest.raises(ElfError, match="first bytes are 50 4b 03 04, expected an ELF file"):
        demands_of(b"PK\x03\x04" + bytes(60))


def test_an_object_that_fits_is_taken() -> None:
    check("x.so", ARM, TARGETS["armv7-linux-musl"])
    riscv = replace(ARM, machine="EM_RISCV", bits=64, flags=0x5)
    check("x.so", riscv, TARGETS["riscv64-linux-musl"])
    glibc = replace(
        ARM, machine="EM_AARCH64", bits=64, flags=0, versions=frozenset({"GLIBC_2.17"}),
        needed=frozenset({"libc.so.6", "libm.so.6", "ld-linux-aarch64.so.1"}),
    )  # fmt: skip
    check("x.so", glibc, TARGETS["aarch64-linux-gnu"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"machine": "EM_X86_64", "bits": 64}, "for EM_X86_64 of 64 bits, expected EM_ARM of 32"),
        ({"flags": 0x5000200}, "of soft float, expected hard float"),
        (
            {"needed": frozenset({"libc.so", "libgcc_s.so.1"})},
            r"needs libgcc_s\.so\.1, exp",
        ),
        ({"needed": frozenset({"libc.so.6"})}, r"needs libc\.so\.6, expected no library but the C"),
        ({"versions": frozenset({"GLIBC_2.4"})}, "expected none with musl"),
        ({"has_rpath": True}, "has a path to libraries of the machine it was built on"),
        ({"has_executable_stack": True}, "wants a stack that can be executed"),
    ],
)
def test_an_object_that_a_router_could_not_load_is_refused(
    change: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ElfError, match=sentence):
        check("x.so", replace(ARM, **change), TARGETS["armv7-linux-musl"])  # type: ignore[arg-type]


def test_a_soft_float_riscv_object_is_refused() -> None:
    soft = replace(ARM, machine="EM_RISCV", bits=64, flags=0x1)
    with pytest.raises(ElfError, match="of soft float"):
        check("x.so", soft, TARGETS["riscv64-linux-musl"])
