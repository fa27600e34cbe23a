# SPDX-License-Identifier: Apache-2.0
"""What only a GPU can show, or show in reasonable time, and the stages that tell where it errs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from parrot.base.errors import EngineError
from parrot.engine.cuda import CudaModel
from parrot.engine.model import Model
from parrot.model.codec import TensorType
from parrot.model.random_model import SHAPES, write_random_model
from parrot.model.reference import Reference
from parrot.model.shape import Shape
from parrot.model.weights import open_model
from tests.unit.cuda_lives import TOKENS, both, emulated_only, gpu_only, handles, kl_nats

pytestmark = pytest.mark.usefixtures("cuda_library")

ONE_ROW = [
    *("r", "down_w", "down_a", "down_g", "k", "v", "v_first", "w", "a", "gate", "y"),
    *("norm_att", "ffn", "norm_ffn", "x", "logits"),
]
MANY_ROWS = [
    *("r", "down_w", "down_a", "down_g", "v_first", "w", "a", "k", "v", "v_gate", "gate", "y"),
    *("out", "ffn", "x", "ends", "logits"),
]


@gpu_only
@pytest.mark.parametrize("n_rows", [1, 5], ids=["decode", "wide"])
def test_every_stage_of_a_layer_is_that_of_the_emulated_gpu(
    n_rows: int, cuda_paths: dict[str, Path], emulated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names the first stage that differs: the kernel that writes it is where to look."""
    shape, ids = Shape.standard(1, 64), np.array(TOKENS[:n_rows], np.int32)
    widths = {"ffn": shape.n_ffn, "logits": 256} | {f"down_{c}": shape.rank_w for c in "wa"}
    widths["down_g"] = shape.rank_g
    one_logits = {"ends", "logits"}

    def stages() -> dict[str, np.ndarray]:
        cuda = CudaModel(cuda_paths["stages"], "cuda", plain=True)
        out = np.zeros((1, 256), np.float32)
        life = cuda.new_life()
        cuda._forward(ids, handles([life]), np.array([n_rows], np.int32), 1, out)
        return {
            name: cuda.probe(name, widths.get(name, 64) * (1 if name in one_logits else n_rows))
            for name in (ONE_ROW if n_rows == 1 else MANY_ROWS)
        }

    seen = stages()
    monkeypatch.setenv("PARROT_CUDA", str(emulated))
    for name, expected in stages().items():
        apart = np.abs(seen[name] - expected).max() / np.abs(expected).max()
        assert apart < (1e-5 if n_rows == 1 else 2e-3), f"{name} is off by {apart:.2g} of its size"


@emulated_only
def test_stages_can_be_looked_at(cuda_paths: dict[str, Path]) -> None:
    cuda = CudaModel(cuda_paths["stages"], "cuda")
    out = np.zeros((1, 256), np.float32)
    life = cuda.new_life()
    cuda._forward(np.array([65], np.int32), handles([life]), np.ones(1, np.int32), 1, out)
    assert np.array_equal(cuda.probe("logits", 256), out[0])
    assert all(np.isfinite(cuda.probe(name, 8)).all() for name in ONE_ROW)
    with pytest.raises(EngineError, match="no such stage"):
        cuda.probe("soul", 1)


# ---- every kernel, in few models: what compute-sanitizer looks at


def live_every_way(model: Model) -> list[np.ndarray]:
    """One row, a walk, chunks and more rows than a small tile; batches twice; a reply."""
    state, out = model.new_state(), []
    for n in (1, 5, 40, 260):
        out.append(model.forward(TOKENS[:n], state))
    states = [model.new_state() for _ in range(3)]
    for _ in range(2):  # the second replays a graph
        out.append(model.forward_batch(TOKENS[:3], states))
    for how in ({"temperature": 0.0}, {"temperature": 0.9, "seed": 3}):
        b"".join(model.generate(state, b"go on", max_bytes=9, stop=b"", **how))
    return [*out, state.payload, *(life.payload for life in states)]


@pytest.mark.parametrize("name", ["odd", "odd-F16", "head128", "Q8_0", "talk"])
def test_every_kernel_lives_as_the_cpu_does(name: str, cuda_paths: dict[str, Path]) -> None:
    for expected, seen in zip(*map(live_every_way, both(cuda_paths[name])), strict=True):
        assert np.isfinite(seen).all()
        assert np.abs(seen - expected).max() < (5e-3 if name in ("odd-F16", "Q8_0") else 2e-4)


# ---- only on a GPU: sizes that take the emulated one minutes


# A model as deep as L makes much of little: in F32 the CPU's own logits are 7e-4 from the oracle's.
@gpu_only
@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0"])
@pytest.mark.parametrize(("name", "far"), [("S", 1e-4), ("L", 5e-3), ("64k", 1e-4)])
def test_gpu_shapes(name: str, far: float, kind: str, tmp_path: Path) -> None:
    shape = Shape.standard(2, 512, n_vocab=65_536) if name == "64k" else SHAPES[name]
    write_random_model(tmp_path / "m", shape, seed=4, matrix=TensorType[kind])
    cpu, gpu = both(tmp_path / "m")
    life, twin = cpu.new_state(), gpu.new_state()
    expected = cpu.forward(TOKENS[:300], life, every=True)
    logits = gpu.forward(TOKENS[:300], twin, every=True)
    assert kl_nats(expected, logits) < (1e-6 if kind == "F32" else 1e-4)
    assert kind != "F32" or np.abs(expected - logits).max() < far
    for token in TOKENS[300:320]:
        expected, logits = cpu.forward([token], life), gpu.forward([token], twin)
        assert kl_nats(expected, logits) < 1e-4
        assert kind != "F32" or np.abs(expected - logits).max() < far


@gpu_only
@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0"])
def test_gpu_at_the_depth_of_l_is_near_the_oracle(kind: str, tmp_path: Path) -> None:
    write_random_model(tmp_path / "m", SHAPES["L"], seed=4, matrix=TensorType[kind])
    file, gpu = open_model(tmp_path / "m"), Model.open(tmp_path / "m", device="cuda:0")
    oracle, twin = Reference(file.shape, file.weights()), gpu.new_state()
    life = oracle.new_state()
    for part in (TOKENS[:33], TOKENS[33:34]):
        expected = oracle.forward(part, life).astype(np.float32)
        assert kl_nats(expected, gpu.forward(part, twin, every=True)) < 1e-6


@gpu_only
@pytest.mark.parametrize("n", [255, 256, 257, 1023, 1024])
def test_gpu_batches(n: int, cuda_paths: dict[str, Path]) -> None:
    cpu, gpu = both(cuda_paths["F32"])
    lives, twins = [cpu.new_state() for _ in range(n)], [gpu.new_state() for _ in range(n)]
    for step in range(2):
        tokens = TOKENS[step * n : step * n + n]
        expected, logits = cpu.forward_batch(tokens, lives), gpu.forward_batch(tokens, twins)
        assert np.abs(logits - expected).max() < 1e-4


@gpu_only
@pytest.mark.parametrize("kind", ["F32", "Q8_0"])
def test_gpu_lives_as_large_as_real_ones_move(kind: str, tmp_path: Path) -> None:
    write_random_model(tmp_path / "m", SHAPES["S"], seed=4, matrix=TensorType[kind])
    cpu, gpu = both(tmp_path / "m")
    life = gpu.new_state()
    gpu.forward(TOKENS[:300], life)
    moved = cpu.state_from_bytes(life.to_bytes())
    for token in TOKENS[300:400]:
        expected, logits = cpu.forward([token], moved), gpu.forward([token], life)
        assert kl_nats(expected, logits) < 1e-4
    said = [
        b"".join(model.generate(state, b"and on", temperature=0, max_bytes=512, stop=b""))
        for model, state in ((gpu, life), (cpu, moved))
    ]
    assert kind != "F32" or said[0] == said[1]
    assert len(said[0]) > 500


# ---- commands, neighbours, and what goes wrong, on the real thing


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


@gpu_only
def test_gpu_commands(cuda_paths: dict[str, Path]) -> None:
    there = ("--model", str(cuda_paths["talk"]), "--device", "cuda:0")
    said = run("-m", "parrot", "chat", "--fresh", "--once", "hi", "--max-bytes", "20", *there)
    assert said.returncode == 0, said.stderr
    bench = run("-m", "parrot", "bench", "--json", "--rounds", "2", "--batch", "1,8,256", *there)
    assert bench.returncode == 0, bench.stderr
    report = json.loads(bench.stdout)
    assert report["model"]["cpu"].startswith("cuda, ")
    assert report["decode"]["bytes_per_s"] > 0 and report["decode"]["bandwidth_share"] > 0
    assert [row["states"] for row in report["runs"][0]["batch"]] == [1, 8, 256]


SPEAK = """
import sys
from parrot.engine.model import Model
model = Model.open(sys.argv[1], device="cuda:0")
print(b"".join(model.generate(model.new_state(), b"hello", temperature=0, max_bytes=400, stop=b"")))
"""


@gpu_only
def test_gpu_is_shared_by_two_processes(cuda_paths: dict[str, Path]) -> None:
    command = [sys.executable, "-c", SPEAK, str(cuda_paths["talk"])]
    talking = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in talking]
    assert said[0] == said[1] and len(said[0]) > 400


CROWDED = """
import sys, torch
from parrot.base.errors import EngineError
from parrot.engine.model import Model
torch.zeros(1, device="cuda")
free = torch.cuda.mem_get_info()[0]
others = torch.empty(free - (64 << 20), dtype=torch.uint8, device="cuda")
try:
    Model.open(sys.argv[1], device="cuda:0")
except EngineError as exc:
    print(exc)
del others
torch.cuda.empty_cache()
model = Model.open(sys.argv[1], device="cuda:0")
print("lived", len(model.forward(b"a", model.new_state())))
"""


@gpu_only
def test_gpu_without_memory_says_so_and_serves_once_it_has_some(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs PyTorch, which takes the memory")
    write_random_model(tmp_path / "m", SHAPES["L"], seed=4)
    said = run("-c", CROWDED, str(tmp_path / "m"))
    assert said.returncode == 0, said.stderr
    assert re.search(r"^cuda:0: \d+ MB free, this model needs \d+ MB; close", said.stdout)
    assert said.stdout.endswith("lived 256\n")


# An index out of range stops the kernel, and with it everything of the process on that GPU.
LOST = """
import os, sys, torch
from parrot.base.errors import DeviceMissing
from parrot.engine.model import Model
model = Model.open(sys.argv[1], device="cuda:0")
state, other = model.new_state(), model.new_state()
model.forward(b"ab", state)
kept = state.to_bytes()
model.forward(b"cd", state)
try:
    torch.zeros(4, device="cuda")[torch.tensor([9], device="cuda")]
    torch.cuda.synchronize()
except RuntimeError:
    pass
for life in (state, state, other):
    try:
        model.forward(b"e", life)
        print("lived on")
    except DeviceMissing as exc:
        print(exc)
print(state.position, state.to_bytes() == kept, flush=True)
os._exit(0)
"""


@gpu_only
def test_gpu_lost_for_real_leaves_the_last_state_that_came_back(
    cuda_paths: dict[str, Path],
) -> None:
    pytest.importorskip("torch", reason="needs PyTorch, which breaks the GPU's context")
    lines = run("-c", LOST, str(cuda_paths["talk"])).stdout.splitlines()
    assert len(lines) == 4
    assert "the GPU stopped answering" in lines[0]
    assert all("stopped answering in an earlier call" in line for line in lines[1:3])
    assert lines[3] == "2 True"
