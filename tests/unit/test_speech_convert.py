# SPDX-License-Identifier: Apache-2.0
"""Converted networks compute what the originals did: numpy says what that is."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pytest

from parrot.app.speech_lite_ops import Converter
from parrot.app.speech_tflite import LiteModel, LiteOperator, LiteTensor, Table, read_tflite
from parrot.app.speech_whisper import Weights, convert_whisper
from parrot.base.errors import CorruptError, FileError, FormatError
from parrot.base.onnx import open_session
from parrot.senses.whisper import LogMel, Whisper

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="the extra speech is not installed")
RNG = np.random.default_rng(11)


# ---- Lite operators


def options(**fields: tuple[str, float]) -> Table:
    """Return a FlatBuffer table: names are _0, _1, … for the fields' numbers."""
    places = {int(name[1:]): field for name, field in fields.items()}
    n = max(places, default=-1) + 1
    vtable, body = [4 + 2 * n, 4], b""
    for i in range(n):
        vtable.append(4 + len(body) if i in places else 0)
        body += struct.pack(*places[i]) if i in places else b""
    blob = struct.pack(f"<{len(vtable)}H", *vtable)
    return Table(blob + struct.pack("<i", len(blob)) + body, len(blob))


def tensor(values: object = None, shape: tuple[int, ...] = (), dtype: str = "<f4") -> LiteTensor:
    array = None if values is None else np.array(values, dtype)
    shape = shape if array is None else array.shape
    return LiteTensor("t", len(shape), shape, dtype, array, 0.5 if dtype == "i1" else None, 0)


def converted(
    tmp_path: Path, x: np.ndarray, code: int, constants: list[LiteTensor], table: Table | None
) -> np.ndarray:
    """Run one operator on `x` through the converter and onnxruntime."""
    tensors = [tensor(shape=x.shape, dtype="<f4"), *constants, tensor(dtype="<f4")]
    inputs = list(range(len(tensors) - 1))
    if code == 67:  # the shape first, then the kernel, then the input
        inputs = [1, 2, 0]
    op = LiteOperator(code, "", inputs, [len(tensors) - 1], table)
    model = LiteModel(tensors, [op], [0], [len(tensors) - 1])
    Converter(model, tmp_path / "a.tflite").convert(0, ["x"], "y", tmp_path / "a.onnx")
    return open_session(tmp_path / "a.onnx").run(None, {"x": x.astype(np.float32)})[0]


def test_a_convolution_with_channels_last(tmp_path: Path) -> None:
    x, kernel, bias = RNG.random((1, 1, 9, 3)), RNG.random((2, 1, 3, 3)), RNG.random(2)
    table = options(_0=("<b", 1), _1=("<i", 1), _2=("<i", 1))
    y = converted(tmp_path, x, 3, [tensor(kernel), tensor(bias)], table)
    windows = np.stack([x[0, 0, i : i + 3] for i in range(7)])
    expected = np.einsum("tkc,okc->to", windows, kernel[:, 0]) + bias
    assert np.abs(y[0, 0] - expected).max() < 1e-5


def test_a_transposed_convolution_is_as_long_as_input_times_stride(tmp_path: Path) -> None:
    x, kernel = RNG.random((1, 4, 1, 2)), RNG.random((3, 4, 1, 2))
    table = options(_0=("<b", 0), _1=("<i", 1), _2=("<i", 2))
    y = converted(tmp_path, x, 67, [tensor([1, 8, 1, 3], dtype="<i4"), tensor(kernel)], table)
    whole = np.zeros((4 * 2 + 2, 3))
    for t in range(4):
        whole[2 * t : 2 * t + 4] += np.einsum("c,okc->ko", x[0, t, 0], kernel[:, :, 0])
    assert y.shape == (1, 8, 1, 3)
    assert np.abs(y[0, :, 0] - whole[1:-1]).max() < 1e-5


def test_space_to_batch_takes_every_nth_frame_and_back(tmp_path: Path) -> None:
    x = np.arange(10.0).reshape(1, 5, 2)
    block, pads = tensor([2], dtype="<i4"), tensor([[0, 1]], dtype="<i4")
    y = converted(tmp_path, x, 38, [block, pads], None)
    assert y[:, :, 0].tolist() == [[0, 4, 8], [2, 6, 0]]
    z = converted(tmp_path, y, 37, [block, pads], None)
    assert np.array_equal(z, x)


def test_a_strided_slice_drops_and_keeps_axes(tmp_path: Path) -> None:
    x = np.arange(24.0).reshape(2, 3, 4)
    parts = [tensor(v, dtype="<i4") for v in ([1, 0, 0], [2, 2, 0], [1, 1, 1])]
    table = options(_0=("<i", 4), _1=("<i", 4), _4=("<i", 1))
    assert np.array_equal(converted(tmp_path, x, 45, parts, table), x[1, 0:2, :])


def test_eight_bit_weights_are_scaled(tmp_path: Path) -> None:
    x, weight = RNG.random((3, 4)), RNG.integers(-127, 127, (5, 4))
    y = converted(tmp_path, x, 9, [tensor(weight, dtype="i1")], options(_0=("<b", 1)))
    assert np.abs(y - np.maximum(x @ (weight.T * 0.5), 0)).max() < 1e-3


def test_padding_and_squared_difference(tmp_path: Path) -> None:
    x = RNG.random((2, 3))
    pads = tensor([[1, 0], [0, 2]], dtype="<i4")
    assert np.allclose(converted(tmp_path, x, 34, [pads], None), np.pad(x, ((1, 0), (0, 2))))
    y = converted(tmp_path, x, 99, [tensor(np.ones((2, 3)))], None)
    assert np.allclose(y, (x - 1) ** 2, atol=1e-6)


def test_an_unknown_operator_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="operator 119, which this converter does not know"):
        converted(tmp_path, np.ones((1, 1)), 119, [], None)


def test_random_bytes_are_no_lite_model(tmp_path: Path) -> None:
    chance, path = random.Random(3), tmp_path / "x.tflite"
    for _ in range(500):
        blob = bytearray(chance.randbytes(chance.randint(8, 200)))
        blob[4:8] = b"TFL3"
        if chance.random() < 0.5:
            blob[:4] = struct.pack("<I", chance.randint(8, 60))
        path.write_bytes(blob)
        with pytest.raises(FileError, match="not a whole TensorFlow Lite model"):
            read_tflite(path)


# ---- Whisper

WIDTH, HEADS, LAYERS, N_WORDS = 16, 2, 2, 40
TAGS = ["<|endoftext|>", "<|startoftranscript|>", "<|zh|>", "<|en|>", "<|transcribe|>",
        "<|notimestamps|>"]  # fmt: skip


def whisper_weights() -> dict[str, np.ndarray]:
    def rand(*shape: int) -> np.ndarray:
        return (RNG.standard_normal(shape) * 0.3).astype(np.float16)

    n_vocab = N_WORDS + len(TAGS)
    w = {"encoder/num_heads": np.array(HEADS, np.int8)}
    w |= {"encoder/conv1/weight": rand(WIDTH, 80, 3), "encoder/conv1/bias": rand(WIDTH)}
    w |= {"encoder/conv2/weight": rand(WIDTH, WIDTH, 3), "encoder/conv2/bias": rand(WIDTH)}
    w |= {"encoder/position_encodings/encodings": rand(1500, WIDTH)}
    w |= {"decoder/position_encodings/encodings": rand(448, WIDTH)}
    w |= {"decoder/embeddings/weight": rand(n_vocab, WIDTH)}
    for side, blocks in (
        ("encoder", ["self_attention"]),
        ("decoder", ["self_attention", "attention"]),
    ):
        w |= {f"{side}/layer_norm/gamma": rand(WIDTH) + 1, f"{side}/layer_norm/beta": rand(WIDTH)}
        for i in range(LAYERS):
            name = f"{side}/layer_{i}"
            sizes = {"ffn/linear_0": (4 * WIDTH, WIDTH), "ffn/linear_1": (WIDTH, 4 * WIDTH)}
            sizes |= {"self_attention/linear_0": (3 * WIDTH, WIDTH)}
            sizes |= {"self_attention/linear_1": (WIDTH, WIDTH)}
            if side == "decoder":
                sizes |= {
                    "attention/linear_0": (WIDTH, WIDTH),
                    "attention/linear_2": (WIDTH, WIDTH),
                }
                sizes |= {"attention/linear_1": (2 * WIDTH, WIDTH)}
            for part, shape in sizes.items():
                w |= {f"{name}/{part}/weight": rand(*shape), f"{name}/{part}/bias": rand(shape[0])}
            for part in [*blocks, "ffn"]:
                w |= {f"{name}/{part}/layer_norm/gamma": rand(WIDTH) + 1}
                w |= {f"{name}/{part}/layer_norm/beta": rand(WIDTH)}
    return w


def write_ct2(path: Path, weights: dict[str, np.ndarray]) -> None:
    def string(text: str) -> bytes:
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    kinds = {np.dtype(np.float16): 4, np.dtype(np.int8): 1}
    blob = struct.pack("<I", 6) + string("WhisperSpec") + struct.pack("<II", 3, len(weights))
    for name, values in weights.items():
        blob += string(name) + struct.pack("<B", values.ndim)
        blob += struct.pack(f"<{values.ndim}I", *values.shape)
        blob += struct.pack("<BI", kinds[values.dtype], values.nbytes) + values.tobytes()
    path.write_bytes(blob)


class Plain:
    """Whisper in numpy, in f64."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        self.w = {name: values.astype(np.float64) for name, values in weights.items()}

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * self.w[f"{name}/gamma"] + self.w[f"{name}/beta"]

    def linear(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self.w[f"{name}/weight"].T + self.w[f"{name}/bias"]

    def gelu(self, x: np.ndarray) -> np.ndarray:
        from math import erf

        return 0.5 * x * (1 + np.vectorize(erf)(x / np.sqrt(2)))

    def heads(self, x: np.ndarray) -> np.ndarray:
        return x.reshape(len(x), HEADS, -1).transpose(1, 0, 2)

    def attend(self, q: np.ndarray, k: np.ndarray, v: np.ndarray, is_causal: bool) -> np.ndarray:
        scores = self.heads(q) @ self.heads(k).transpose(0, 2, 1) / np.sqrt(WIDTH / HEADS)
        if is_causal:
            scores = scores + np.triu(np.full(scores.shape[1:], -np.inf), 1)
        p = np.exp(scores - scores.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        return (p @ self.heads(v)).transpose(1, 0, 2).reshape(len(q), WIDTH)

    def block(
        self, x: np.ndarray, name: str, is_causal: bool, heard: np.ndarray | None
    ) -> np.ndarray:
        part = f"{name}/self_attention"
        q, k, v = np.split(
            self.linear(self.norm(x, f"{part}/layer_norm"), f"{part}/linear_0"), 3, -1
        )
        x = x + self.linear(self.attend(q, k, v, is_causal), f"{part}/linear_1")
        if heard is not None:
            part = f"{name}/attention"
            q = self.linear(self.norm(x, f"{part}/layer_norm"), f"{part}/linear_0")
            k, v = np.split(self.linear(heard, f"{part}/linear_1"), 2, -1)
            x = x + self.linear(self.attend(q, k, v, False), f"{part}/linear_2")
        hidden = self.linear(self.norm(x, f"{name}/ffn/layer_norm"), f"{name}/ffn/linear_0")
        return x + self.linear(self.gelu(hidden), f"{name}/ffn/linear_1")

    def conv(self, x: np.ndarray, name: str, stride: int) -> np.ndarray:
        padded = np.pad(x, ((0, 0), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, 3, axis=1)[:, ::stride]
        y = np.einsum("ctk,ock->ot", windows, self.w[f"{name}/weight"])
        return self.gelu(y + self.w[f"{name}/bias"][:, None])

    def encode(self, mel: np.ndarray) -> np.ndarray:
        x = self.conv(self.conv(mel, "encoder/conv1", 1), "encoder/conv2", 2).T
        x = x + self.w["encoder/position_encodings/encodings"][: len(x)]
        for i in range(LAYERS):
            x = self.block(x, f"encoder/layer_{i}", False, None)
        return self.norm(x, "encoder/layer_norm")

    def logits(self, tokens: list[int], heard: np.ndarray) -> np.ndarray:
        embedding = self.w["decoder/embeddings/weight"]
        x = embedding[tokens] + self.w["decoder/position_encodings/encodings"][: len(tokens)]
        for i in range(LAYERS):
            x = self.block(x, f"decoder/layer_{i}", True, heard)
        return self.norm(x, "decoder/layer_norm")[-1] @ embedding.T


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    folder = tmp_path_factory.mktemp("whisper")
    weights = whisper_weights()
    write_ct2(folder / "model.bin", weights)
    convert_whisper(folder / "model.bin", folder)
    pieces = [chr(ord("A") + i) for i in range(26)] + [chr(ord("a") + i) for i in range(14)]
    (folder / "vocabulary.json").write_text(str(pieces + TAGS).replace("'", '"'))
    return folder, weights


def test_the_converted_encoder_and_decoder_are_whispers(
    whisper: tuple[Path, dict[str, np.ndarray]],
) -> None:
    folder, weights = whisper
    plain, mel = Plain(weights), RNG.standard_normal((80, 60)).astype(np.float32)
    crossed = open_session(folder / "encoder.onnx").run(None, {"mel": mel[None]})
    heard = plain.encode(mel.astype(np.float64))
    keys = np.split(plain.linear(heard, "decoder/layer_1/attention/linear_1"), 2, -1)[0]
    assert np.abs(crossed[0][1, 0] - plain.heads(keys)).max() < 0.1  # 8-bit matrices
    listener = Whisper(folder, "en")
    tokens = listener._decode(crossed[0], crossed[1], 6, None)
    prompt = [N_WORDS + i for i in (1, 3, 4, 5)]
    for i, token in enumerate(tokens):
        expected = plain.logits(prompt + tokens[:i], heard)[:N_WORDS]
        assert expected[token] > expected.max() - 0.35  # the best, or as good as the best
    assert tokens


def test_a_runaway_decoder_is_capped(whisper: tuple[Path, dict[str, np.ndarray]]) -> None:
    text = Whisper(whisper[0], "auto").recognize(np.zeros(16_000, np.float32) + 0.01)
    assert len(text) <= 16


def test_weights_that_are_none_are_named(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    for blob, says in (
        (struct.pack("<I", 5) + bytes(40), "version 5"),
        (struct.pack("<I", 6) + b"\x02\x00a\x00" + struct.pack("<II", 1, 9), "unreadable"),
    ):
        path.write_bytes(blob)
        with pytest.raises(CorruptError, match=says):
            Weights(path)
    write_ct2(path, {"a": np.ones(4, np.float16)})
    with pytest.raises(CorruptError, match="no tensor encoder"):
        convert_whisper(path, tmp_path)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(CorruptError, match="tensor a of"):
        Weights(path)


def test_the_log_mel_picture_has_a_frame_each_ten_ms_and_shows_a_tone() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000).astype(np.float32)
    picture = LogMel()(tone)
    assert picture.shape == (80, 100)
    assert set(picture[:, 20:80].argmax(axis=0)) <= {24, 25, 26}  # 1 kHz is mel 15 of 45.2
    assert picture.max() - picture.min() <= 2
