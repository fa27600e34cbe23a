# SPDX-License-Identifier: Apache-2.0
"""The GPU bench's own parts that need no GPU: its models, its table, and its peer's arithmetic."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parrot.engine.cuda import CudaModel
from parrot.engine.model import Model
from parrot.model.codec import TensorType
from parrot.model.shape import Shape
from parrot.model.weights import open_model
from tests.unit.cuda_lives import LEAST, TINY, handles
from tools import bench_gpu

ROOT = Path(__file__).parents[2]


def test_repeating_model_repeats_its_second_layer(tmp_path: Path) -> None:
    bench_gpu.write_repeating_model(tmp_path / "m", Shape.standard(4, 64), TensorType.F32)
    weights = open_model(tmp_path / "m").weights()
    key = "blk.{}.channel_mix_key.weight"
    assert np.array_equal(weights[key.format(1)], weights[key.format(3)])
    assert not np.array_equal(weights[key.format(0)], weights[key.format(1)])
    model = Model.open(tmp_path / "m", threads=1)
    assert np.isfinite(model.forward(b"ab", model.new_state())).all()


ROW: dict[str, Any] = {
    "shape": "L",
    "gpu": {"name": "G", "capability": "9.0", "processors": 1, "l2_mb": 50, "driver": "13.0"},
    "bytes_per_token": 4e7,
    "copy_per_s": 3e12,
    "decode_hot_us": 150.0,
    "decode_cold_us": 160.0,
    "decode_hot_per_s": 6666.0,
    "copy_share": 0.1,
    "reply_per_s": 6000.0,
    "prefill_per_s": 1e5,
    "up_ms": 1.0,
    "down_ms": 4.0,
    "state_ms_inverse": 0.25,
    **{f"batch_{n}_per_s": 1e5 for n in bench_gpu.BATCHES},
}


def test_table_says_what_was_reached_missed_and_left_out() -> None:
    lines = bench_gpu.table([ROW | {"broken": {"peer": "no torch"}}], ["XL", "1.5B"])
    assert lines[0].startswith("G, compute capability 9.0")
    assert "reached: L decode_hot_per_s 6,666.00, wanted 5,000.00" in lines
    assert "MISSED: L batch_256_per_s 100,000.00, wanted 300,000.00" in lines
    assert "MISSED: L state_ms_inverse 0.25, wanted 0.50" in lines
    assert "UNMEASURED: L times_peer, wanted 5.00" in lines
    assert "UNMEASURED: XL prefill_per_s, wanted 150,000.00" in lines
    assert "BROKEN: L peer: no torch" in lines
    assert lines[-1].startswith("LEFT OUT: XL, 1.5B; run: SHAPES=XL,1.5B tools/bench_gpu.sh")
    cells = {line.count("|") for line in lines if line.startswith("|")}
    assert cells == {17}


@pytest.fixture
def small(emulated: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A bench that the emulated GPU ends in seconds."""
    monkeypatch.setenv("PARROT_CUDA", str(emulated))
    few = {"STEPS": 4, "BATCH_STEPS": 3, "PREFILLS": 2, "REPLY_LEN": 4, "COPIES_MAX": 2}
    few |= {"BATCHES": (2, 3), "PREFILL_LEN": 18, "COPY_SIZE": 1 << 20, "ALL": {"L": TINY}}
    for name, value in few.items():
        monkeypatch.setattr(bench_gpu, name, value)
    monkeypatch.setattr(bench_gpu, "seconds", lambda work, _: [work(), 1.0][1])
    return monkeypatch


def test_every_part_is_measured(small: pytest.MonkeyPatch, tmp_path: Path) -> None:
    row = bench_gpu.measure("L", tmp_path, has_peer=False)
    assert bench_gpu.saved(tmp_path) == [row]
    assert "broken" not in row and row["copies"] == 2
    figures = [key for key in row if key.endswith(("_us", "_per_s", "_ms", "_share"))]
    assert len(figures) == 19
    assert all(row[key] > 0 for key in figures)
    assert not any("–" in line for line in bench_gpu.table([row | ROW_OF_A_PEER], []))


ROW_OF_A_PEER = {"peer_us": 1.0, "times_peer": 1.0, "prefill_share": 0.1}


def test_a_part_that_breaks_is_named_and_the_others_are_measured(
    small: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def hang(*_: object) -> float:
        raise RuntimeError("the device gave no time")

    small.setattr(bench_gpu, "reply_per_s", hang)
    small.setattr(bench_gpu, "PARTS", [bench_gpu.measure_reply, bench_gpu.measure_states])
    row = bench_gpu.measure("L", tmp_path, has_peer=False)
    assert row["broken"] == {"measure_reply": "RuntimeError: the device gave no time"}
    assert row["up_ms"] > 0


def test_a_peer_that_hangs_leaves_what_was_measured(
    small: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def hang(path: Path, row: dict[str, Any]) -> None:
        assert [kept["shape"] for kept in bench_gpu.saved(tmp_path)] == ["L"]
        row["peer_us"] = 1.0

    small.setattr(bench_gpu, "measure_peer", hang)
    small.setattr(bench_gpu, "PARTS", [bench_gpu.measure_states])
    row = bench_gpu.measure("L", tmp_path, has_peer=True)
    assert "broken" not in row and bench_gpu.saved(tmp_path) == [row]


def test_a_shape_that_hangs_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench_gpu, "SHAPE_MAX_S", 0.05)
    monkeypatch.setattr("sys.argv", ["bench_gpu", "--out", str(tmp_path), "--shapes", "S"])
    assert bench_gpu.main() == 1
    said = capsys.readouterr()
    assert "S: not measured within 0 s" in said.err
    assert said.out == "nothing could be measured\n"


def test_timed_calls_are_lived(small: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bench_gpu.write_repeating_model(tmp_path / "m", LEAST, TensorType.F32)
    cpu = Model.open(tmp_path / "m", threads=1)
    cudas = [CudaModel(tmp_path / "m", "cuda:0") for _ in range(2)]
    models = handles(cudas)
    for counts in ([1], [1, 1, 1], [20, 1]):  # a row, a batch, rows of any kind
        lives = [cuda.new_life() for cuda in cudas for _ in counts]
        states, tokens = handles(lives), np.arange(sum(counts), dtype=np.int32)
        sizes = np.array(counts, np.int32)
        us = cudas[0].library.parrot_cuda_forward_us(
            models.ctypes.data, 2, states.ctypes.data, tokens.ctypes.data, sizes.ctypes.data,
            len(counts), 4,
        )  # fmt: skip
        assert us > 0
        twin = cpu.new_state()
        for _ in range(3):  # once to warm up, then two of the four
            cpu.forward(tokens[: counts[0]], twin)
        for life in (lives[0], lives[len(counts)]):
            payload = np.empty_like(twin.payload)
            life.download(payload)
            assert np.abs(payload - twin.payload).max() < 1e-4


def script(tmp_path: Path, *steps: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(ROOT / "tools" / "bench_gpu.sh"), *steps],
        env={**os.environ, "OUT": str(tmp_path), **env},
        capture_output=True,
        text=True,
    )


def test_script_names_the_steps_that_time_did_not_allow(tmp_path: Path) -> None:
    done = script(tmp_path, LIMIT="10")
    assert done.returncode == 1
    lines = done.stdout.splitlines()[-5:]
    names = ["build", "test", "bench", "memcheck", "racecheck"]
    assert [line.split(":")[0] for line in lines] == names
    assert all("NOT RUN, no time was left; run: tools/bench_gpu.sh " in line for line in lines)
    assert (tmp_path / "summary.txt").read_text().splitlines()[-5:] == lines
    assert script(tmp_path, "tset").returncode == 2


def test_peer_does_the_same_step(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install torch")
    from torch.utils._python_dispatch import TorchDispatchMode

    from tools.peers.rwkv_graph import GraphPeer

    class Captured(TorchDispatchMode):  # what a CUDA graph forbids: asking for a number
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            assert func is not torch.ops.aten._local_scalar_dense.default
            return func(*args, **(kwargs or {}))

    bench_gpu.write_repeating_model(tmp_path / "m", Shape.standard(3, 64), TensorType.F32)
    model = Model.open(tmp_path / "m", threads=1)
    state, peer = model.new_state(), GraphPeer(tmp_path / "m", "cpu", torch.float32)
    for token in b"hello":
        expected = model.forward([token], state)
        peer.token[0] = token
        with Captured():
            peer.step()
        assert np.abs(peer.logits.numpy() - expected).max() < 1e-4
