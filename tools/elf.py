# SPDX-License-Identifier: Apache-2.0
"""What a shared object asks of the machine it is loaded on, and whether a target gives it that.

auditwheel answers this for wheels of glibc. For musl, and for the plain C library, these rules do.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

from parrot.base.errors import ParrotError
from tools.cross import Target

_MACHINES = {
    "x86_64": ("EM_X86_64", 64),
    "aarch64": ("EM_AARCH64", 64),
    "armv7l": ("EM_ARM", 32),
    "riscv64": ("EM_RISCV", 64),
}
_ARM_HARD_FLOAT = 0x400  # e_flags, ELF for the Arm architecture, table 4-2
_RISCV_DOUBLE_FLOAT = 0x4  # e_flags, RISC-V ELF psABI, section 8.1
# Of glibc before 2.34 some of libc lies in libraries of its own.
_GLIBC = {"libc.so.6", "libm.so.6", "libpthread.so.0"}


class ElfError(ParrotError):
    """A shared object that does not fit its target."""


@dataclass(frozen=True)
class Demands:
    """What one ELF file asks for. `versions`: such as GLIBC_2.17; `foreign`: undefined symbols."""

    machine: str
    bits: int
    flags: int
    needed: frozenset[str]
    versions: frozenset[str]
    foreign: frozenset[str]
    exported: frozenset[str]
    has_rpath: bool
    has_executable_stack: bool


def demands_of(blob: bytes) -> Demands:
    """Return what the ELF file `blob` asks for. Raises: ElfError for what is none."""
    try:
        from elftools.common.exceptions import ELFError
        from elftools.elf.elffile import ELFFile
    except ImportError as exc:
        raise ParrotError(
            "pyelftools: not installed, expected for checking wheels; run: pip install auditwheel."
        ) from exc
    try:
        elf = ELFFile(io.BytesIO(blob))
    except ELFError as exc:
        raise ElfError(f"first bytes are {blob[:4].hex(' ')}, expected an ELF file; {exc}") from exc
    tags = list(elf.get_section_by_name(".dynamic").iter_tags())
    symbols = list(elf.get_section_by_name(".dynsym").iter_symbols())[1:]
    versions = elf.get_section_by_name(".gnu.version_r")
    stack = [s for s in elf.iter_segments() if s["p_type"] == "PT_GNU_STACK"]
    return Demands(
        elf["e_machine"],
        elf.elfclass,
        elf["e_flags"],
        frozenset(tag.needed for tag in tags if tag.entry.d_tag == "DT_NEEDED"),
        frozenset(
            wanted.name for _, wants in (versions.iter_versions() if versions else ())
            for wanted in wants
        ),
        frozenset(s.name for s in symbols if s["st_shndx"] == "SHN_UNDEF"),
        frozenset(s.name for s in symbols if s["st_shndx"] != "SHN_UNDEF"),
        any(tag.entry.d_tag in ("DT_RPATH", "DT_RUNPATH") for tag in tags),
        any(s["p_flags"] & 1 for s in stack),
    )  # fmt: skip


def check(where: str, demands: Demands, target: Target) -> None:
    """Raise ElfError, naming the first thing `target` does not give."""
    machine, bits = _MACHINES[target.processor]
    allowed = {"libc.so"} if target.is_musl else _GLIBC | {_loader(target)}
    wrong = {
        f"for {demands.machine} of {demands.bits} bits, expected {machine} of {bits}": (
            (demands.machine, demands.bits) != (machine, bits)
        ),
        "of soft float, expected hard float": _is_soft(demands),
        f"needs {', '.join(sorted(demands.needed - allowed))}, expected no library but the C "
        "library": bool(demands.needed - allowed),
        "asks for versions of symbols, expected none with musl": (
            target.is_musl and bool(demands.versions)
        ),
        "has a path to libraries of the machine it was built on": demands.has_rpath,
        "wants a stack that can be executed": demands.has_executable_stack,
    }
    for what, is_wrong in wrong.items():
        if is_wrong:
            raise ElfError(f"{where}: {what}; correct the flags of tools.cross for {target.name}.")


def _is_soft(demands: Demands) -> bool:
    if demands.machine == "EM_ARM":
        return not demands.flags & _ARM_HARD_FLOAT
    return demands.machine == "EM_RISCV" and not demands.flags & _RISCV_DOUBLE_FLOAT


def _loader(target: Target) -> str:
    return {"x86_64": "ld-linux-x86-64.so.2", "aarch64": "ld-linux-aarch64.so.1"}[target.processor]
