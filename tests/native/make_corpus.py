# SPDX-License-Identifier: Apache-2.0
"""Write the seeds of the fuzzers: the smallest models and states that are whole, and near misses.

    PYTHONPATH=. python tests/native/make_corpus.py

rewrites `tests/native/corpus/`. The same seeds are what the C tests run the kernels on.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import xxhash

from parrot.model.codec import TensorType
from parrot.model.random_model import write_random_model
from parrot.model.shape import Shape

HERE = Path(__file__).parent / "corpus"


def shape(n_layer: int, n_embd: int, head_size: int, n_ffn: int, n_vocab: int) -> Shape:
    """Return a shape with ranks as small and as odd as can be."""
    return Shape(
        n_layer=n_layer, n_embd=n_embd, head_size=head_size, n_ffn=n_ffn, n_vocab=n_vocab,
        rank_w=3, rank_a=2, rank_v=1, rank_g=5,
    )  # fmt: skip


MODELS = {
    "f32": (shape(2, 16, 16, 17, 16), TensorType.F32),
    "f16": (shape(1, 48, 24, 24, 17), TensorType.F16),  # heads that are no whole groups of 16
    "q8": (shape(2, 32, 32, 64, 31), TensorType.Q8_0),
}


def write_models(folder: Path) -> None:
    for name, (size, kind) in MODELS.items():
        write_random_model(folder / name, size, seed=7, matrix=kind)
    whole = (folder / "f32").read_bytes()
    misses = {
        "version2": whole[:4] + struct.pack("<I", 2) + whole[8:600],
        "other": whole.replace(b"rwkv7", b"llama", 1)[:600],
        "head-only": whole[:1500],
        "many-tensors": whole[:8] + b"\xff" * 8 + whole[16:600],
        "zip": b"PK\x03\x04" + bytes(40),
    }
    for name, blob in misses.items():
        (folder / name).write_bytes(blob)


def state_file(size: Shape, model_id: bytes, payload: bytes) -> bytes:
    """Return a state file as docs/formats.md has it, written by other code than the engine's."""
    head = b"PST1" + struct.pack("<I", 1) + model_id
    head += struct.pack("<IIIIQ", size.n_layer, size.n_embd, size.head_size, 0, 77)
    crc = zlib.crc32(payload, zlib.crc32(head + bytes(8)))
    return head + struct.pack("<II", crc, 0) + payload


def write_states(folder: Path, model: Path) -> None:
    """Write states of the model "f32", plain and of extreme floats."""
    size = MODELS["f32"][0]
    model_id = xxhash.xxh64_digest(model.read_bytes())
    rng = np.random.default_rng(7)
    plain = rng.standard_normal(size.state_len).astype("<f4")
    wild = plain.copy()
    wild[::7], wild[::11], wild[::13] = np.inf, np.nan, 3e38
    for name, payload in (("plain", plain), ("wild", wild)):
        (folder / name).write_bytes(state_file(size, model_id, payload.tobytes()))
    (folder / "head-only").write_bytes((folder / "plain").read_bytes()[:48])
    (folder / "other-model").write_bytes(state_file(size, bytes(8), plain.tobytes()))


def main() -> None:
    for name in ("gguf", "state"):
        (HERE / name).mkdir(parents=True, exist_ok=True)
    write_models(HERE / "gguf")
    write_states(HERE / "state", HERE / "gguf" / "f32")
    files = [path for path in HERE.rglob("*") if path.is_file()]
    print(f"{len(files)} seeds, {sum(path.stat().st_size for path in files):,} bytes")


if __name__ == "__main__":
    main()
