# SPDX-License-Identifier: Apache-2.0
"""Compilers for other machines: zig (PyPI: ziglang) as the C compiler of each target.

A target is named as GNU names systems, `aarch64-linux-musl`. glibc targets are linked against the
symbols of glibc 2.17, musl targets against musl 1.2, so that what is built runs on every system of
that kind that is younger. For CMake alone, compilers in a folder, and the -D options to use them:

    python -m tools.cross aarch64-linux-musl build/zig
"""

from __future__ import annotations

import argparse
import platform
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from parrot.base.errors import ConfigError, ParrotError


@dataclass(frozen=True)
class Target:
    """One kind of machine. `zig`: flags that choose it; `wheel`: the platform tag of its wheels."""

    name: str
    processor: str  # as `uname -m` says it, and CMake
    zig: tuple[str, ...]
    wheel: str

    @property
    def is_musl(self) -> bool:
        return "-musl" in self.name


def _target(name: str, processor: str, zig: str, wheel: str) -> tuple[str, Target]:
    return name, Target(name, processor, ("-target", *zig.split()), wheel)


TARGETS = dict(
    (
        _target("x86_64-linux-gnu", "x86_64", "x86_64-linux-gnu.2.17", "manylinux_2_17_x86_64"),
        _target("aarch64-linux-gnu", "aarch64", "aarch64-linux-gnu.2.17", "manylinux_2_17_aarch64"),
        _target("x86_64-linux-musl", "x86_64", "x86_64-linux-musl", "musllinux_1_2_x86_64"),
        _target("aarch64-linux-musl", "aarch64", "aarch64-linux-musl", "musllinux_1_2_aarch64"),
        _target(
            "armv7-linux-musl", "armv7l", "arm-linux-musleabihf -mcpu=cortex_a7",
            "musllinux_1_2_armv7l",
        ),
        _target("riscv64-linux-musl", "riscv64", "riscv64-linux-musl", "musllinux_1_2_riscv64"),
    )
)  # fmt: skip

# zig spells the CPUs of -march in its own way; everything else it takes as clang does.
_CC = """#!/bin/sh
for word; do
    shift
    case $word in
    -march=armv8.2-a+*) word=-mcpu=generic+v8_2a+${{word#*+}} ;;
    esac
    set -- "$@" "$word"
done
exec {command} "$@"
"""

# pyconfig.h says SIZEOF_x of the machine it came from; the compiler knows x of the target.
_SIZED = {
    "LONG": "LONG", "LONG_DOUBLE": "LONG_DOUBLE", "SIZE_T": "SIZE_T", "VOID_P": "POINTER",
    "UINTPTR_T": "POINTER", "WCHAR_T": "WCHAR_T",
}  # fmt: skip


def target_of(name: str) -> Target:
    """Return the target of a name. Raises: ConfigError."""
    if name not in TARGETS:
        raise ConfigError(
            f"--target {name}: expected one of {', '.join(TARGETS)}; choose one of these.",
            key="--target",
        )
    return TARGETS[name]


def zig_command() -> list[str]:
    """Return the command that is zig. Raises: ParrotError when it is not installed."""
    try:
        import ziglang
    except ImportError as exc:
        raise ParrotError(
            "ziglang: not installed, expected the C compiler for all targets; run: "
            "pip install ziglang."
        ) from exc
    return [str(Path(ziglang.__file__).parent / "zig")]


def toolchain(target: Target, folder: Path) -> Path:
    """Write `cc`, `ar` and `ranlib` for `target` into `folder`; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    zig = zig_command()
    cc = shlex.join([*zig, "cc", *target.zig, "-g0"])
    _write_script(folder / "cc", _CC.format(command=cc))
    for tool in ("ar", "ranlib"):
        _write_script(folder / tool, f'#!/bin/sh\nexec {shlex.join([*zig, tool])} "$@"\n')
    return folder


def python_headers(folder: Path) -> Path:
    """Copy this Python's headers into `folder`, their type sizes those of any target; return it.

    The stable ABI needs nothing else of a Python, so the one that runs serves all targets.
    """
    source = Path(sysconfig.get_path("include"))
    if not (source / "Python.h").exists():
        raise ParrotError(
            f"{source}: no Python.h, expected the headers of Python {platform.python_version()}; "
            "install python3-dev, or run with a Python that brings them."
        )
    shutil.copytree(source, folder, dirs_exist_ok=True)
    shutil.move(folder / "pyconfig.h", folder / "pyconfig_host.h")
    lines = ['#include "pyconfig_host.h"']
    for name, size in _SIZED.items():
        lines += [f"#undef SIZEOF_{name}", f"#define SIZEOF_{name} __SIZEOF_{size}__"]
    (folder / "pyconfig.h").write_text("\n".join(lines) + "\n")
    return folder


def cmake_defines(target: Target, tools: Path) -> dict[str, str]:
    """Return what CMake must be told to build for `target`."""
    return {
        "CMAKE_SYSTEM_NAME": "Linux",
        "CMAKE_SYSTEM_PROCESSOR": target.processor,
        "CMAKE_C_COMPILER": str(tools / "cc"),
        "CMAKE_AR": str(tools / "ar"),
        "CMAKE_RANLIB": str(tools / "ranlib"),
        "CMAKE_SHARED_LINKER_FLAGS": "-s",
        "CMAKE_MODULE_LINKER_FLAGS": "-s",
        "PARROT_WERROR": "ON",
    }


def _write_script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the compilers of one target into a folder; print what CMake must be told."""
    parser = argparse.ArgumentParser(prog="python -m tools.cross", description=main.__doc__)
    parser.add_argument("target", metavar="TARGET", help=f"one of {', '.join(TARGETS)}")
    parser.add_argument("folder", type=Path, metavar="DIR")
    args = parser.parse_args(arguments)
    try:
        target = target_of(args.target)
        tools = toolchain(target, args.folder.absolute())
    except ParrotError as exc:
        print(f"cross: {exc}", file=sys.stderr)
        return 1
    for key, value in cmake_defines(target, tools).items():
        print(f"-D{key}={value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
