# SPDX-License-Identifier: Apache-2.0
"""The GPU bench's own parts that need no GPU: its models, its table, and its peer's arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from parrot.engine.model import Model
from parrot.model.codec import TensorType
from parrot.model.shape import Shape
from parrot.model.weights import open_model
from tools import bench_gpu


def test_repeating_model_repeats_its_second_layer(tmp_path: Path) -> None:
    bench_gpu.write_repeating_model(tmp_path / "m", Shape.standard(4, 64), TensorType.F32)
    weights = open_model(tmp_path / "m").weights()
    key = "blk.{}.channel_mix_key.weight"
    assert np.array_equal(weights[key.format(1)], weights[key.format(3)])
    assert not np.array_equal(weights[key.format(0)], weights[key.format(1)])
    model = Model.open(tmp_path / "m", threads=1)
    assert np.isfinite(model.forward(b"ab", model.new_state())).all()


def test_table_says_what_was_reached_and_what_missed() -> None:
    row = {
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
    lines = bench_gpu.table([row])
    assert lines[0].startswith("G, compute capability 9.0")
    assert "reached: L decode_hot_per_s 6,666.00, wanted 5,000.00" in lines
    assert "MISSED: L batch_256_per_s 100,000.00, wanted 300,000.00" in lines
    assert "MISSED: L state_ms_inverse 0.25, wanted 0.50" in lines


def test_peer_does_the_same_step(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install torch")
    from tools.peers.rwkv_graph import GraphPeer

    bench_gpu.write_repeating_model(tmp_path / "m", Shape.standard(3, 64), TensorType.F32)
    model = Model.open(tmp_path / "m", threads=1)
    state, peer = model.new_state(), GraphPeer(tmp_path / "m", "cpu", torch.float32)
    for token in b"hello":
        expected = model.forward([token], state)
        peer.token[0] = token
        peer.step()
        assert np.abs(peer.logits.numpy() - expected).max() < 1e-4
