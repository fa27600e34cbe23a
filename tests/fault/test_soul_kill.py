# SPDX-License-Identifier: Apache-2.0
"""SIGKILL, and a disk that fails: the soul is what was committed, whatever was interrupted.

Both run in a process of their own, which forks a child a failure: this one has threads.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHIM = ROOT / "tests" / "native" / "fail_write.c"
RAM = Path("/dev/shm")


@pytest.fixture
def quick_folder(tmp_path: Path) -> Path:
    """A folder on a disk of memory where there is one: what is tested is order, not flash."""
    if not os.access(RAM, os.W_OK):
        return tmp_path
    folder = RAM / f"parrot-{os.getpid()}"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def _tidy(quick_folder: Path):
    yield
    shutil.rmtree(quick_folder, ignore_errors=True)


def run(folder: Path, *command: str, preload: Path | None = None) -> str:
    environment = {**os.environ, "TMPDIR": str(folder)}
    if preload is not None:
        environment["LD_PRELOAD"] = str(preload)
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_forty_kills_lose_no_committed_turn_and_change_no_later_byte(quick_folder: Path) -> None:
    said = run(quick_folder, "tools.kill_soul", "--kills", "40", "--turns", "30")
    assert "40 kills" in said and "byte-identical" in said
    assert "(0 within" not in said, "no kill met a living talk"


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_every_write_cut_or_refused_leaves_a_whole_soul_and_a_talk_that_goes_on(
    quick_folder: Path,
) -> None:
    library = quick_folder / "fail_write.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, SHIM, "-ldl"], check=True)
    said = run(
        quick_folder, "tests.fault.soul_disk", str(library), str(quick_folder), "5", preload=library
    )
    assert "cut at each of" in said and "migration cut at each of" in said
    assert "lost, torn and kept at random" in said
    assert said.count("held turns back") == 3
