# SPDX-License-Identifier: Apache-2.0
"""Hold llama.cpp and our numpy reference against each other: `python -m tools.peers.oracle`.

Both read the same random model file; llama.cpp gives the logits of every token one by one and in
batches. In F32 they must agree to 1e-4, or one of them misunderstands RWKV-7 or the file. F16 and
Q8_0 show what llama.cpp loses by rounding activations, beside which our own engine is judged.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from parrot.base.errors import ParrotError
from parrot.model.codec import TensorType
from parrot.model.random_model import SHAPES, write_random_model
from parrot.model.reference import Array, Reference
from parrot.model.weights import open_model
from tools.peers.build import CPU_FLAGS, PeerError, PeerFolder, last_line, prepare

F32_TOLERANCE = 1e-4  # on logits of standard deviation 1; seen: 4e-6
KINDS = (TensorType.F32, TensorType.F16, TensorType.Q8_0)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.peers.oracle", description=__doc__)
    parser.add_argument("--peers", type=Path, default=Path("~/.cache/parrot/peers"))
    parser.add_argument("--cpu", choices=list(CPU_FLAGS), default="native")
    parser.add_argument("--shape", choices=list(SHAPES), default="S")
    parser.add_argument("--tokens", type=int, default=64)
    args = parser.parse_args()
    peers = PeerFolder(args.peers.expanduser(), args.cpu)
    worst = 0.0
    try:
        prepare(peers, os.cpu_count() or 1)
        tokens = np.random.default_rng(7).integers(0, 256, args.tokens, np.int32)
        with tempfile.TemporaryDirectory() as folder:
            for kind in KINDS:
                path = Path(folder) / f"{kind.name}.gguf"
                write_random_model(path, SHAPES[args.shape], matrix=kind)
                judge = reference_logits(path, tokens)
                for batch in (1, 16, len(tokens)):
                    seen = llama_logits(peers, path, tokens, batch)
                    distance = compare(seen, judge)
                    print(json.dumps({"model": kind.name, "batch": batch, **distance}))
                    worst = max(worst, distance["max_abs"] if kind is TensorType.F32 else 0.0)
    except ParrotError as exc:
        print(exc, file=sys.stderr)
        return 1
    if worst > F32_TOLERANCE:
        print(f"F32: logits differ by {worst:.1e}, expected {F32_TOLERANCE}.", file=sys.stderr)
        return 1
    return 0


def reference_logits(path: Path, tokens: Array) -> Array:
    """Return the logits (T, V) of our reference in float64 on the weights of a model file."""
    model = open_model(path)
    reference = Reference(model.shape, model.weights())
    return reference.forward(tokens.tolist(), reference.new_state())


def llama_logits(peers: PeerFolder, path: Path, tokens: Array, batch: int) -> Array:
    """Return the logits (T, V) of llama.cpp, fed `batch` tokens at a time."""
    with tempfile.TemporaryDirectory() as folder:
        heard, said = Path(folder) / "tokens.i32", Path(folder) / "logits.f32"
        heard.write_bytes(tokens.astype("<i4").tobytes())
        command = [str(peers.llama_bench), "logits", str(path), "1", str(batch)]
        done = subprocess.run([*command, str(heard), str(said)], capture_output=True, text=True)
        if done.returncode:
            raise PeerError(f"{path}: no logits from llama.cpp: {last_line(done.stderr)}")
        return np.fromfile(said, "<f4").reshape(len(tokens), -1)


def compare(seen: Array, judge: Array) -> dict[str, float]:
    """Return the worst |Δlogit|, and KL(judge ‖ seen) in nats per token: mean and worst."""
    seen = seen.astype(np.float64)
    log_p, log_q = (x - np.logaddexp.reduce(x, axis=1, keepdims=True) for x in (judge, seen))
    kl = (np.exp(log_p) * (log_p - log_q)).sum(axis=1)
    return {
        "max_abs": float(np.abs(seen - judge).max()),
        "kl_mean": float(kl.mean()),
        "kl_max": float(kl.max()),
    }


if __name__ == "__main__":
    sys.exit(main())
