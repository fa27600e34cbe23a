# SPDX-License-Identifier: Apache-2.0
"""The C library's own tests (tests/native), built with the C compiler at hand; and its binding."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from parrot import _native
from parrot.engine.model import Model
from parrot.model.random_model import write_random_model
from parrot.model.shape import Shape

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


@pytest.mark.parametrize("name", ["kernels", "files", "sampler", "threads", "forward", "lora"])
def test_c_tests_pass(built: Path, name: str) -> None:
    done = subprocess.run(
        [built / "test_native", NATIVE / "corpus", name], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{name}: ok" in done.stdout


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    write_random_model(path, Shape.standard(1, 64))
    return Model.open(path, threads=1)


def test_the_kernels_are_those_that_this_cpu_can_run() -> None:
    path = Path("/proc/cpuinfo")
    flags = set(path.read_text().split()) if path.exists() else set()
    needs = {
        "avx512": {"avx2", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_vnni"},
        "avx2": {"avx2", "f16c"},
        "i8mm": {"i8mm"},
        "dotprod": {"asimddp"},
        "neon": {"asimd"},
        "scalar": set(),
    }
    assert _native.cpu_names() == [name for name, need in needs.items() if need <= flags]


def test_batch_refuses_a_state_beside_itself(model: Model) -> None:
    state = model.new_state()
    with pytest.raises(ValueError, match="no state may follow itself"):
        model.forward_batch(b"ab", [state, state])
    assert not state.payload.any()


@pytest.mark.parametrize("counts", [[2, 0], [1, 0], [0, 2], [1, 2], [-1, 3]])
def test_forward_refuses_counts_that_miss_the_tokens(model: Model, counts: list[int]) -> None:
    native = model._native
    payloads = tuple(model.new_state().payload for _ in counts)
    tokens, logits = np.zeros(2, np.int32), np.zeros((len(counts), 256), np.float32)
    with pytest.raises(ValueError, match="counts must be >= 1"):
        native.forward(native.work(2), tokens, payloads, np.array(counts, "i4"), 1, logits, None)
    assert not any(payload.any() for payload in payloads)


def test_sampler_takes_the_smallest_temperature() -> None:
    logits = np.array([0.0, 3.0, 1.0], np.float32)
    none = np.array([], np.int32)
    for temperature in (1e-45, 1e-40, 1e-38):
        sampler = _native.Sampler(
            3, none, seed=1, temperature=temperature, top_p=1.0, top_k=0, min_p=0.0,
            repetition=1.0, window=0, is_utf8=False,
        )  # fmt: skip
        assert sampler.choose(logits.copy(), 1) == 1
