# SPDX-License-Identifier: Apache-2.0
"""What only a GPU can show, or show in reasonable time, and the stages that tell where it errs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from parrot.base.errors import EngineError
from parrot.engine.cuda import CudaModel
from parrot.model.codec import TensorType
from parrot.model.random_model import SHAPES, write_random_model
from parrot.model.shape import Shape
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


# ---- only on a GPU: sizes that take the emulated one minutes


@gpu_only
@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0"])
@pytest.mark.parametrize("name", ["S", "L", "64k"])
def test_gpu_shapes(name: str, kind: str, tmp_path: Path) -> None:
    shape = Shape.standard(2, 512, n_vocab=65_536) if name == "64k" else SHAPES[name]
    write_random_model(tmp_path / "m", shape, seed=4, matrix=TensorType[kind])
    cpu, gpu = both(tmp_path / "m")
    life, twin = cpu.new_state(), gpu.new_state()
    expected = cpu.forward(TOKENS[:300], life, every=True)
    logits = gpu.forward(TOKENS[:300], twin, every=True)
    assert kl_nats(expected, logits) < 1e-4
    assert kind != "F32" or np.abs(expected - logits).max() < 1e-4
    for token in TOKENS[300:320]:
        expected, logits = cpu.forward([token], life), gpu.forward([token], twin)
        assert kl_nats(expected, logits) < 1e-4
    assert kind != "F32" or np.abs(expected - logits).max() < 1e-4


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
def test_gpu_greedy_text_goes_on_after_moving(tmp_path: Path) -> None:
    write_random_model(tmp_path / "m", SHAPES["S"], seed=4)
    cpu, gpu = both(tmp_path / "m")
    life = gpu.new_state()
    gpu.forward(b"grown on the GPU, ", life)
    moved, stay = cpu.state_from_bytes(life.to_bytes()), life.copy()
    expected = b"".join(gpu.generate(stay, b"and on", temperature=0, max_bytes=512, stop=b""))
    assert (
        b"".join(cpu.generate(moved, b"and on", temperature=0, max_bytes=512, stop=b"")) == expected
    )
    assert len(expected) > 500
