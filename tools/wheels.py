# SPDX-License-Identifier: Apache-2.0
"""Build parrot for other machines: a wheel and the bare C library for each target.

A wheel serves every CPython from 3.11 on (stable ABI). The C library is a .tar.gz with parrot.h,
libparrot.a and libparrot.so. The same source gives the same bytes, whenever and wherever in the
disk it is built. Each wheel is checked: glibc by auditwheel, all by tools.elf.

Needs: pip install ziglang scikit-build-core cmake ninja auditwheel. The first build for a target
compiles its C library too (a minute or three); zig keeps that.

examples:
  python -m tools.wheels --out dist                         every target
  python -m tools.wheels --target aarch64-linux-musl --out dist
  python -m tools.wheels --target armv7-linux-musl --twice --out dist   prove that bytes repeat
  python -m tools.wheels --json --out dist | jq .built
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from parrot.base.errors import ParrotError
from parrot.base.files import replace_file
from tools.archive import Entry, gzip_of, tar_of
from tools.cross import TARGETS, Target, cmake_defines, python_headers, target_of, toolchain
from tools.elf import check, demands_of

ROOT = Path(__file__).parents[1]
EPOCH = "315532800"  # 1980-01-01, the first time a zip can hold: the clock says nothing of a build
_EXTENSION = "parrot/_native.abi3.so"


class BuildError(ParrotError):
    """A build for a target that did not come about, or not as it must be."""


@dataclass(frozen=True)
class Built:
    """What was built for one target. `tag`: what auditwheel says of a glibc wheel."""

    target: str
    wheel: str
    wheel_bytes: int
    wheel_sha256: str
    library: str
    library_bytes: int
    library_sha256: str
    tag: str | None
    foreign: list[str]  # functions of the C library that the extension calls
    is_same_twice: bool | None
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse(arguments)
    try:
        targets = [target_of(name) for name in args.target or TARGETS]
        args.out.mkdir(parents=True, exist_ok=True)
        built = []
        for i, target in enumerate(targets):
            say(f"[{i + 1}/{len(targets)}] {target.name}: building")
            built.append(build(target, args.out, args.twice))
            say(f"    {built[-1].seconds:.0f} s: {built[-1].wheel}, {built[-1].library}")
    except ParrotError as exc:
        print(f"wheels: {exc}", file=sys.stderr)
        return 1
    rows = [asdict(one) for one in built]
    print(json.dumps({"built": rows}) if args.json else table(built))
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.wheels",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--target", action="append", metavar="NAME", help=f"of {', '.join(TARGETS)}; default: all")
    add("--out", type=Path, required=True, metavar="DIR", help="where the files go")
    add("--twice", action="store_true", help="build again elsewhere; the bytes must be the same")
    add("--json", action="store_true", help="print one JSON object instead of a table")
    return parser.parse_args(arguments)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def table(built: Sequence[Built]) -> str:
    lines = []
    for one in built:
        same = {None: "", True: ", same bytes twice", False: ", OTHER BYTES"}[one.is_same_twice]
        lines.append(
            f"{one.target:<20} wheel {one.wheel_bytes:>11,} bytes {one.wheel_sha256[:16]}, "
            f"library {one.library_bytes:>9,} bytes {one.library_sha256[:16]}{same}"
        )
    return "\n".join(lines)


def build(target: Target, out: Path, is_twice: bool) -> Built:
    """Build wheel and library of `target` into `out`. Raises: BuildError, ElfError."""
    begun = time.monotonic()
    wheel, blob, library = build_once(target)
    is_same = None
    if is_twice:
        is_same = build_once(target) == (wheel, blob, library)
        if not is_same:
            raise BuildError(
                f"{target.name}: the second build has other bytes, expected the same; find what "
                "depends on time or place with diffoscope."
            )
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / wheel
        path.write_bytes(blob)
        with zipfile.ZipFile(path) as archive:
            demands = demands_of(archive.read(_EXTENSION))
        check(wheel, demands, target)
        tag = None if target.is_musl else audit(path, target)
        if not target.is_musl and target.processor == platform.machine():
            check_kernels(path)
    library_name = f"libparrot-{version_of(wheel)}-{target.name}.tar.gz"
    replace_file(out / wheel, blob)
    replace_file(out / library_name, library)
    return Built(
        target.name, wheel, len(blob), hashlib.sha256(blob).hexdigest(),
        library_name, len(library), hashlib.sha256(library).hexdigest(), tag,
        sorted(name for name in demands.foreign if not name.startswith(("Py", "_Py"))),
        is_same, round(time.monotonic() - begun, 1),
    )  # fmt: skip


def version_of(wheel: str) -> str:
    return wheel.split("-")[1]


def build_once(target: Target) -> tuple[str, bytes, bytes]:
    """Return the wheel's name and bytes, and the library's, built in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="parrot-wheel-") as name:
        folder = Path(name)
        tools = toolchain(target, folder / "tools")
        defines = {
            **cmake_defines(target, tools),
            "Python_EXECUTABLE": sys.executable,
            "Python_INCLUDE_DIR": str(python_headers(folder / "include")),
        }
        settings = {
            "wheel.tags": f"cp311-abi3-{target.wheel}",
            "build-dir": str(folder / "cmake"),
            **{f"cmake.define.{key}": value for key, value in defines.items()},
        }
        wheel = _backend(folder, settings)
        return wheel.name, wheel.read_bytes(), library_of(target, folder / "cmake", tools)


def _backend(folder: Path, settings: dict[str, str]) -> Path:
    """Run the project's build backend in a process of its own; return the wheel."""
    code = (
        "import json, sys, scikit_build_core.build as b;"
        "b.build_wheel(sys.argv[1], json.loads(sys.argv[2]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), json.dumps(settings)],
        cwd=ROOT,
        env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH},
        capture_output=True,
        text=True,
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise BuildError(
            f"scikit-build-core: no wheel, exit code {done.returncode}; it said:\n"
            f"{(done.stdout + done.stderr)[-3000:]}"
        )
    return wheels[0]


def library_of(target: Target, build_folder: Path, tools: Path) -> bytes:
    """Return the .tar.gz of the C library that CMake left in `build_folder`."""
    archive = build_folder / "libparrot_core.a"
    shared = build_folder / "libparrot.so"
    subprocess.run(
        [tools / "cc", "-shared", "-s", "-Wl,-soname,libparrot.so", "-o", shared,
         "-Wl,--whole-archive", archive, "-Wl,--no-whole-archive", "-lpthread", "-lm"],
        check=True,
    )  # fmt: skip
    demands = demands_of(shared.read_bytes())
    check("libparrot.so", demands, target)
    strangers = {name for name in demands.exported if not name.startswith("parrot_")}
    if strangers or "parrot_forward" not in demands.exported:
        raise BuildError(
            f"libparrot.so: exports {', '.join(sorted(strangers)) or 'no parrot_forward'}, "
            "expected the functions of parrot.h; mark others hidden."
        )
    entries = {
        "include/parrot.h": Entry((ROOT / "native" / "include" / "parrot.h").read_bytes()),
        "lib/libparrot.a": Entry(archive.read_bytes()),
        "lib/libparrot.so": Entry(shared.read_bytes(), 0o755),
        "LICENSE": Entry((ROOT / "LICENSE").read_bytes()),
    }
    return gzip_of(tar_of(entries))


def check_kernels(wheel: Path) -> None:
    """Raise BuildError unless the extension in `wheel`, made for this machine, knows its CPU."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(wheel.parent / "site")
    code = "from parrot import _native; print(*_native.cpu_names())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=wheel.parent,
        env={**os.environ, "PYTHONPATH": str(wheel.parent / "site")},
        capture_output=True,
        text=True,
    )
    flags = set(Path("/proc/cpuinfo").read_text().split())
    wanted = {"avx2": "avx2", "avx512_vnni": "avx512", "asimddp": "dotprod", "i8mm": "i8mm"}
    missing = {name for flag, name in wanted.items() if flag in flags} - set(done.stdout.split())
    if done.returncode or missing:
        raise BuildError(
            f"{wheel.name}: finds the kernels {done.stdout.strip() or done.stderr.strip()[-500:]}, "
            f"expected {', '.join(sorted(missing))} too on this CPU; see find_features in model.c."
        )


def audit(wheel: Path, target: Target) -> str:
    """Return the platform tag auditwheel allows. Raises: BuildError when it is not the wheel's."""
    done = subprocess.run(
        [sys.executable, "-m", "auditwheel", "show", "--json", str(wheel)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise BuildError(f"auditwheel: exit {done.returncode}; it said:\n{done.stderr[-2000:]}")
    tag = str(json.loads(done.stdout)["overall_tag"])
    if tag != target.wheel:
        raise BuildError(
            f"{wheel.name}: auditwheel allows {tag}, expected {target.wheel}; see auditwheel show."
        )
    return tag


if __name__ == "__main__":
    sys.exit(main())
