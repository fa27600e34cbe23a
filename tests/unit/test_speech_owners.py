# SPDX-License-Identifier: Apache-2.0
"""SenseVoice and MeloTTS, whose weights the owner brings: tiny random networks with exactly their
interfaces, and the whole path restated in numpy from the published front ends and decoders."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from parrot.base.errors import FileError, FormatError
from parrot.faces.melo import Melo
from parrot.senses.fbank import filter_banks, read_mvn, stacked
from parrot.senses.sensevoice import SenseVoice

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="the extra speech is not installed")
pytest.importorskip("kaldi_native_fbank", reason="the extra speech is not installed")
V = 30
RNG = np.random.default_rng(5)
SOUND = (0.1 * RNG.standard_normal(16_000) * np.sin(np.arange(16_000) / 900)).astype(np.float32)


def constant(name: str, values: np.ndarray):
    return onnx.numpy_helper.from_array(np.ascontiguousarray(values), name)


def save(path: Path, nodes, inputs, outputs, constants, about: dict[str, str]) -> None:
    helper, kinds = onnx.helper, {"f": onnx.TensorProto.FLOAT, "i": onnx.TensorProto.INT32,
                                  "l": onnx.TensorProto.INT64}  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node(kind, ins.split(), [out], **more) for kind, ins, out, more in nodes],
        "tiny",
        [helper.make_tensor_value_info(name, kinds[kind], shape) for name, kind, shape in inputs],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, about)
    onnx.save(model, path)


# ---- the front end, restated


def kaldi_fbank(samples: np.ndarray) -> np.ndarray:
    """25 ms frames every 10 ms: mean away, pre-emphasis, Hamming, 512 bins, 80 mel triangles."""
    x = samples.astype(np.float64) * 32768
    n = 1 + (len(x) - 400) // 160
    frames = np.stack([x[i * 160 : i * 160 + 400] for i in range(n)])
    frames -= frames.mean(axis=1, keepdims=True)
    frames -= 0.97 * np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    frames *= 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(400) / 399)
    power = np.abs(np.fft.rfft(frames, 512)[:, :256]) ** 2

    def mel(hz):
        return 1127 * np.log(1 + np.asarray(hz) / 700)

    edges = np.linspace(mel(20), mel(8000), 82)
    bins = mel(np.arange(256) * 16_000 / 512)
    up = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    down = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    weights = np.maximum(0, np.minimum(up, down))
    return np.log(np.maximum(power @ weights.T, np.finfo(np.float32).eps))


def lfr(frames: np.ndarray, m: int = 7, n: int = 6) -> np.ndarray:
    """FunASR's low frame rate: ⌈T/6⌉ stacks of seven, the first frame thrice before."""
    n_out = int(np.ceil(len(frames) / n))
    frames = np.vstack([np.tile(frames[0], ((m - 1) // 2, 1)), frames])
    out = []
    for i in range(n_out):
        stack = frames[i * n : i * n + m]
        while len(stack) < m:
            stack = np.vstack([stack, frames[-1]])
        out.append(np.hstack(stack))
    return np.array(out)


def test_filter_banks_are_kaldis() -> None:
    assert np.abs(filter_banks(SOUND) - kaldi_fbank(SOUND)).max() < 5e-3


@pytest.mark.parametrize("n", [1, 3, 5, 6, 7, 12, 13, 98])
def test_stacking_is_funasrs(n: int) -> None:
    frames = RNG.standard_normal((n, 80)).astype(np.float32)
    assert np.array_equal(stacked(frames), lfr(frames).astype(np.float32))


# ---- SenseVoice


def sensevoice_files(folder: Path, names: tuple[str, ...], about: dict[str, str]) -> dict:
    x, length, language, norm, logits = names
    weights = {
        "W": (0.3 * RNG.standard_normal((560, V))).astype(np.float32),
        "E": RNG.standard_normal((16, V)).astype(np.float32),
    }
    nodes = [
        ("MatMul", f"{x} W", "spoken", {}),
        ("Gather", f"E {language}", "a", {}),
        ("Gather", f"E {norm}", "b", {}),
        ("Add", "a b", "tag", {}),
        ("Unsqueeze", "tag one", "row", {}),
        ("Concat", "row row row row", "rows", {"axis": 1}),
        ("Concat", "rows spoken", logits, {"axis": 1}),
        ("Cast", length, "lengths_out", {"to": 1}),
    ]
    inputs = [(x, "f", ["N", "T", 560]), (length, "i", ["N"]), (language, "i", ["N"]),
              (norm, "i", ["N"])]  # fmt: skip
    constants = [constant(name, values) for name, values in weights.items()]
    constants.append(constant("one", np.array([1], np.int64)))
    save(folder / "model.onnx", nodes, inputs, [logits, "lengths_out"], constants, about)
    return weights


def expected_text(weights: dict, shift, scale, language: int, pieces: list[str]) -> str:
    """The published decoder: arg max, runs count once, blank 0 away, tags away."""
    x = ((lfr(kaldi_fbank(SOUND)) + shift) * scale).astype(np.float32)
    tag = weights["E"][language] + weights["E"][14]
    best = np.vstack([np.tile(tag, (4, 1)), x @ weights["W"]]).argmax(axis=1)
    tokens = [token for token, _ in groupby(best) if token != 0]
    text = "".join(pieces[token] for token in tokens).replace("\u2581", " ")
    for piece in pieces:
        if piece.startswith("<|"):
            text = text.replace(piece, "")
    return text.strip()


PIECES = ["<blank>", "<s>", "</s>", "<|zh|>", "<|en|>", *(f"\u2581w{i}" for i in range(V - 5))]


@pytest.mark.parametrize(("language", "number"), [("auto", 0), ("zh", 3), ("en", 4)])
def test_the_export_of_sherpa(tmp_path: Path, language: str, number: int) -> None:
    shift = -stacked(filter_banks(SOUND)).mean(axis=0)
    scale = RNG.uniform(0.1, 0.3, 560).astype(np.float32)
    about = {"neg_mean": ",".join(map(repr, shift.tolist())),
             "inv_stddev": ",".join(map(repr, scale.tolist()))}  # fmt: skip
    names = ("x", "x_length", "language", "text_norm", "logits")
    weights = sensevoice_files(tmp_path, names, about)
    lines = "".join(f"{piece} {i}\n" for i, piece in enumerate(PIECES))
    (tmp_path / "tokens.txt").write_text(lines)
    text = SenseVoice(tmp_path, language).recognize(SOUND)
    assert text == expected_text(weights, shift, scale, number, PIECES)
    assert len(text) > 10


def test_the_export_of_funasr(tmp_path: Path) -> None:
    sentencepiece = pytest.importorskip("sentencepiece", reason="the extra speech is not installed")
    shift = -stacked(filter_banks(SOUND)).mean(axis=0)
    scale = RNG.uniform(0.1, 0.3, 560).astype(np.float32)
    (tmp_path / "am.mvn").write_text(
        "<Nnet>\n<Splice> 560 560\n[ 0 ]\n<AddShift> 560 560\n<LearnRateCoef> 0 [ "
        + " ".join(map(repr, shift.tolist()))
        + " ]\n<Rescale> 560 560\n<LearnRateCoef> 0 [ "
        + " ".join(map(repr, scale.tolist()))
        + " ]\n</Nnet>\n"
    )
    names = ("speech", "speech_lengths", "language", "textnorm", "ctc_logits")
    weights = sensevoice_files(tmp_path, names, {})
    text = tmp_path / "text"
    text.write_text("the parrot says hello to you\nyou say hello to the parrot\n" * 20)
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(tmp_path / "tiny.bpe"), vocab_size=V, model_type="bpe",
        minloglevel=3,
    )  # fmt: skip
    table = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tiny.bpe.model"))
    pieces = [table.id_to_piece(i) for i in range(V)]
    heard = SenseVoice(tmp_path, "zh").recognize(SOUND)
    assert heard == expected_text(weights, shift, scale, 3, pieces)
    assert len(heard) > 10


def test_silence_of_no_length_is_nothing_said(tmp_path: Path) -> None:
    about = {"neg_mean": ",".join(["0"] * 560), "inv_stddev": ",".join(["1"] * 560)}
    names = ("x", "x_length", "language", "text_norm", "logits")
    sensevoice_files(tmp_path, names, about)
    (tmp_path / "tokens.txt").write_text("".join(f"{p} {i}\n" for i, p in enumerate(PIECES)))
    assert SenseVoice(tmp_path).recognize(np.zeros(100, np.float32)) == ""


def test_what_does_not_belong_together_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"holds none of model\.int8\.onnx"):
        SenseVoice(tmp_path)
    names = ("x", "x_length", "language", "text_norm", "logits")
    sensevoice_files(tmp_path, names, {})
    with pytest.raises(FormatError, match="lacks neg_mean"):
        SenseVoice(tmp_path)
    (tmp_path / "am.mvn").write_text("<AddShift> [ 1 2 3 ] <Rescale> [ 1 ]")
    with pytest.raises(FormatError, match="3 shifts and 1 scales, expected 560"):
        read_mvn(tmp_path / "am.mvn")
    sensevoice_files(tmp_path, ("sound", "n", "language", "text_norm", "logits"), {})
    with pytest.raises(FormatError, match="expected those of SenseVoice"):
        SenseVoice(tmp_path)


# ---- MeloTTS


def melo_files(folder: Path) -> dict[str, np.ndarray]:
    weights = {
        "P": (0.1 * RNG.standard_normal((20, 8))).astype(np.float32),
        "T": (0.1 * RNG.standard_normal((12, 8))).astype(np.float32),
        "S": (0.1 * RNG.standard_normal((3, 8))).astype(np.float32),
    }
    nodes = [
        ("Gather", "P x", "p", {}),
        ("Gather", "T tones", "t", {}),
        ("Gather", "S sid", "s", {}),
        ("Add", "p t", "pt", {}),
        ("Mul", "pt length_scale", "long", {}),
        ("Mul", "s noise_scale", "sn", {}),
        ("Mul", "sn noise_scale_w", "snw", {}),
        ("Add", "long snw", "all", {}),
        ("Reshape", "all flat", "y", {}),
        ("Cast", "x_lengths", "lengths_out", {"to": 1}),
    ]
    inputs = [(name, "l", shape) for name, shape in
              (("x", [1, "L"]), ("x_lengths", [1]), ("tones", [1, "L"]), ("sid", [1]))]  # fmt: skip
    inputs += [(name, "f", [1]) for name in ("noise_scale", "length_scale", "noise_scale_w")]
    constants = [constant(name, values) for name, values in weights.items()]
    constants.append(constant("flat", np.array([1, 1, -1], np.int64)))
    about = {"sample_rate": "44100", "speaker_id": "1", "add_blank": "1"}
    save(folder / "model.onnx", nodes, inputs, ["y", "lengths_out"], constants, about)
    symbols = ["_", ",", ".", "!", "?", "…", "'", "-", "n", "i", "h", "ao", "sh", "ie", "t", "om"]
    (folder / "tokens.txt").write_text("".join(f"{s} {i}\n" for i, s in enumerate(symbols)))
    (folder / "lexicon.txt").write_text(
        "你 n i 3 3\n好 h ao 3 3\n你好 n i h ao 2 2 3 3\n世 sh i 4 4\n界 sh ie 4 4\ntom t om 7 8\n"
    )
    return weights


def test_melo_speaks_words_characters_english_and_marks(tmp_path: Path) -> None:
    pytest.importorskip("jieba", reason="the extra speech is not installed")
    weights = melo_files(tmp_path)
    melo = Melo(tmp_path)
    sound = melo.synthesize("你好，世界 Tom！鹦")
    ids = [8, 9, 10, 11, 1, 12, 9, 12, 13, 14, 15, 3]
    tones = [2, 2, 3, 3, 0, 4, 4, 4, 4, 7, 8, 0]
    assert melo.symbols("你好，世界 Tom！鹦") == (ids, tones)
    x = np.zeros(2 * len(ids) + 1, int)
    t = x.copy()
    x[1::2], t[1::2] = ids, tones
    expected = weights["P"][x] + weights["T"][t] + weights["S"][1] * 0.6 * 0.8
    assert sound.rate_hz == 44_100
    assert np.abs(sound.samples - expected.reshape(-1)).max() < 1e-6
    assert len(melo.synthesize("鹦").samples) == 0


def test_a_lexicon_of_another_model_is_named(tmp_path: Path) -> None:
    pytest.importorskip("jieba", reason="the extra speech is not installed")
    melo_files(tmp_path)
    (tmp_path / "lexicon.txt").write_text("你 n i 3 3\n好 q ao 3 3\n")
    with pytest.raises(FormatError, match="line 2: 'q' is no phone"):
        Melo(tmp_path)
    (tmp_path / "tokens.txt").write_text("nonsense\n")
    with pytest.raises(FormatError, match="no line `symbol number`"):
        Melo(tmp_path)
