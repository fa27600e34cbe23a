# SPDX-License-Identifier: Apache-2.0
"""Build llama.cpp and our two measuring programs in a scratch folder outside the repository.

llama.cpp comes as source inside the PyPI package `llama-cpp-python`, pinned by its checksum, so
that figures of different days and machines speak of the same peer. Only the target `llama` is
built (a few minutes); the programs beside this file link to it. What is there is not built again.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from parrot.base.errors import ParrotError

LLAMA_VERSION = "0.3.36"  # of llama-cpp-python
LLAMA_SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
DISK_NEEDED_GB = 4  # sources 0.5, build 0.2, models of all shapes 1.5, and room to breathe
HERE = Path(__file__).parent

# What llama.cpp is compiled for: all that this machine has, or the class of the desktop below it.
CPU_FLAGS = {
    "native": ["-DGGML_NATIVE=ON", f"-DCMAKE_CXX_FLAGS=-w -include {HERE / 'gcc_tile.h'}"],
    "avx2": ["-DGGML_NATIVE=OFF"]
    + [f"-DGGML_{name}=ON" for name in ("SSE42", "AVX", "AVX2", "FMA", "F16C", "BMI2")],
}
_TOOLS = {"cc": "a C compiler", "c++": "a C++ compiler", "cmake": "CMake", "ninja": "Ninja"}


class PeerError(ParrotError):
    """A peer that could not be fetched, built or run."""


@dataclass(frozen=True)
class PeerFolder:
    """Where everything about the peers lies. `cpu` is a key of CPU_FLAGS."""

    folder: Path
    cpu: str = "native"

    @property
    def sdist(self) -> Path:
        return self.folder / "sdist" / f"llama_cpp_python-{LLAMA_VERSION}.tar.gz"

    @property
    def source(self) -> Path:
        return self.folder / f"llama_cpp_python-{LLAMA_VERSION}" / "vendor" / "llama.cpp"

    @property
    def build(self) -> Path:
        return self.folder / f"llama-{LLAMA_VERSION}-{self.cpu}"

    @property
    def llama_bench(self) -> Path:
        return self.build / "llama_bench"

    @property
    def membw(self) -> Path:
        return self.folder / "membw"

    @property
    def models(self) -> Path:
        return self.folder / "models"


def prepare(peers: PeerFolder, n_jobs: int) -> None:
    """Fetch and build what is missing in the scratch folder.

    Raises: PeerError naming the tool, network, disk space or step that is missing.
    Cost:   a download of 77 MB and about ten minutes on one core the first time; then nothing.
    """
    peers.models.mkdir(parents=True, exist_ok=True)
    check_cpu(peers.cpu, platform.machine())
    if not (peers.build / "bin" / "libllama.so").exists():
        check_tools()
        check_disk(peers.folder, shutil.disk_usage(peers.folder).free)
        fetch(peers)
        for command in llama_commands(peers, n_jobs):
            run_step(command, "building llama.cpp")
    for source, program, command in program_commands(peers):
        if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
            check_tools()
            run_step(command, f"compiling {source.name}")


def check_cpu(cpu: str, machine: str) -> None:
    if cpu == "avx2" and machine not in ("x86_64", "AMD64"):
        raise PeerError(
            f"--cpu avx2: this machine is {machine}, expected x86_64; use --cpu native."
        )


def check_tools() -> None:
    for tool, what in _TOOLS.items():
        if shutil.which(tool) is None:
            raise PeerError(
                f"{tool}: not found on PATH, expected {what}; install it, on Debian with: "
                "apt install gcc g++ cmake ninja-build."
            )


def check_disk(folder: Path, free_bytes: int) -> None:
    if free_bytes < DISK_NEEDED_GB * 1e9:
        raise PeerError(
            f"{folder}: {free_bytes / 1e9:.1f} GB free, expected {DISK_NEEDED_GB} GB for "
            "llama.cpp and the models; free some space or choose another folder with --peers."
        )


def fetch(peers: PeerFolder) -> None:
    """Download the sdist unless it is there, check it, and unpack it."""
    if not peers.sdist.exists():
        command = [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--no-binary", "llama-cpp-python", "--dest", str(peers.sdist.parent)),
            f"llama-cpp-python=={LLAMA_VERSION}",
        ]
        done = subprocess.run(command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise PeerError(
                f"llama-cpp-python {LLAMA_VERSION}: pip could not download it "
                f"({last_line(done.stderr)}); check the network, or put {peers.sdist.name} "
                f"into {peers.sdist.parent}."
            )
    check_sdist(peers.sdist, LLAMA_SHA256)
    if not peers.source.exists():
        with tarfile.open(peers.sdist) as archive:
            archive.extractall(peers.folder, filter="data")


def check_sdist(sdist: Path, sha256: str) -> None:
    seen = hashlib.sha256(sdist.read_bytes()).hexdigest()
    if seen != sha256:
        raise PeerError(
            f"{sdist}: sha256 is {seen[:16]}…, expected {sha256[:16]}…; delete it and run again."
        )


def llama_commands(peers: PeerFolder, n_jobs: int) -> list[list[str]]:
    """Return the commands that configure and build libllama, and nothing else of it."""
    parts = ("TESTS", "EXAMPLES", "SERVER", "TOOLS")
    configure = [
        *("cmake", "-S", str(peers.source), "-B", str(peers.build), "-G", "Ninja"),
        *("-DCMAKE_BUILD_TYPE=Release", "-DLLAMA_CURL=OFF"),
        *(f"-DLLAMA_BUILD_{part}=OFF" for part in parts),
        *CPU_FLAGS[peers.cpu],
    ]
    return [configure, ["ninja", "-C", str(peers.build), f"-j{n_jobs}", "llama"]]


def program_commands(peers: PeerFolder) -> list[tuple[Path, Path, list[str]]]:
    """Return source, program and compiler command of the driver and of the bandwidth probe."""
    lib = peers.build / "bin"
    include = [f"-I{peers.source / part}" for part in ("include", "ggml/include")]
    link = [f"-L{lib}", f"-Wl,-rpath,{lib}", "-lllama", "-lggml", "-lggml-base", "-lggml-cpu"]
    driver, probe = HERE / "llama_bench.c", HERE / "membw.c"
    compile_driver = ["cc", "-std=gnu11", "-O2", str(driver), "-o", str(peers.llama_bench)]
    compile_probe = ["cc", "-std=gnu11", "-O3", "-march=native", str(probe), "-o", str(peers.membw)]
    return [
        (driver, peers.llama_bench, compile_driver + include + link),
        (probe, peers.membw, [*compile_probe, "-pthread"]),
    ]


def run_step(command: list[str], doing: str) -> None:
    """Run a build command, its output on stderr, where the owner can watch it."""
    done = subprocess.run(command, stdout=sys.stderr, stderr=sys.stderr)
    if done.returncode:
        raise PeerError(
            f"{doing}: {command[0]} ended with code {done.returncode}, expected 0; "
            "the reason is in its output above."
        )


def last_line(text: str) -> str:
    """Return the last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"
