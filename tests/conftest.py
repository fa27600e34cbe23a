# SPDX-License-Identifier: Apache-2.0
"""Models that several tests share: small, random, made once a run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import parrot
from parrot.engine.cuda_library import library_path
from parrot.model.codec import TensorType
from parrot.model.random_model import write_random_model
from parrot.model.shape import Shape
from tests.unit import cuda_lives

TINY = Shape.standard(n_layer=2, n_embd=128)


@pytest.fixture(scope="session")
def model_paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One random model of 2 layers of 128 in each type of matrix."""
    folder = tmp_path_factory.mktemp("models")
    paths = {kind.name: folder / f"tiny.{kind.name}.gguf" for kind in TensorType}
    for name, path in paths.items():
        write_random_model(path, TINY, seed=5, matrix=TensorType[name])
    return paths


@pytest.fixture(scope="session")
def model(model_paths: dict[str, Path]) -> parrot.Model:
    """The Q8_0 one, on one thread."""
    return parrot.Model.open(model_paths["Q8_0"], threads=1)


@pytest.fixture(scope="session")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """libparrot_cuda.so for the GPU that native/cuda/emulated makes of a CPU."""
    if shutil.which("c++") is None:
        pytest.skip("no C++ compiler here; install g++")
    folder = tmp_path_factory.mktemp("emulated")
    script = Path(__file__).parents[1] / "native" / "cuda" / "emulated" / "build.sh"
    env = {**os.environ, "CC": "cc", "CXX": "c++"}
    done = subprocess.run(["sh", script, folder], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "libparrot_cuda.so"


@pytest.fixture(scope="module")
def cuda_library(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Let every model of this file that asks for a GPU find one: a real one, or the emulated."""
    patch = pytest.MonkeyPatch()
    if not cuda_lives.ON_GPU:
        patch.setenv("PARROT_CUDA", str(request.getfixturevalue("emulated")))
    yield library_path()
    patch.undo()


@pytest.fixture(scope="session")
def cuda_paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models that reach every kernel."""
    return cuda_lives.write_models(tmp_path_factory.mktemp("cuda"))
