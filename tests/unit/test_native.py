# SPDX-License-Identifier: Apache-2.0
"""The C library's own tests (tests/native), built with whatever C compiler is here."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

NATIVE = Path(__file__).parent.parent / "native"
COMPILER = os.environ.get("CC") or next(filter(shutil.which, ("cc", "gcc", "clang")), None)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that holds the program `test_native`."""
    if COMPILER is None:
        pytest.skip("no C compiler here; install gcc or clang")
    folder = tmp_path_factory.mktemp("native")
    run("build.sh", str(folder), "-O1")
    run("test.sh", str(folder), "-O1", "none")
    return folder


def run(script: str, *args: str) -> None:
    env = {**os.environ, "CC": str(COMPILER)}
    done = subprocess.run(
        ["sh", str(NATIVE / script), *args], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["kernels", "files", "sampler", "threads", "forward"])
def test_c_tests_pass(built: Path, name: str) -> None:
    done = subprocess.run(
        [built / "test_native", NATIVE / "corpus", name], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{name}: ok" in done.stdout
