# SPDX-License-Identifier: Apache-2.0
"""espeak-ng: a formant voice for both languages, the fallback where no better voice is installed.

It is a program of the system (GPL-3), run and not linked. Its Mandarin is hard to follow, and the
voice `cmn` of version 1.51 reads pinyin as English: `cmn-latn-pinyin` with hanzi turned into pinyin
is right on every version.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np

from parrot.base.audio import Sound, parse_wav
from parrot.base.errors import DeviceMissing, DeviceTimeout, EngineError

_PROGRAM = "espeak-ng"
_VOICES = {"en": "en-us", "zh": "cmn-latn-pinyin"}
_WORDS_A_MINUTE = 175  # its own default
_TIMEOUT_S = 20


class Espeak:
    """espeak-ng, started for each clause (10 ms)."""

    languages: tuple[str, ...] = ("en", "zh")

    def __init__(self) -> None:
        if shutil.which(_PROGRAM) is None:
            raise DeviceMissing(
                f"{_PROGRAM}: not installed, expected as the fallback voice; run: "
                "apt install espeak-ng, or install a better voice: parrot speech install en.",
                device="voice",
            )

    def synthesize(self, text: str, language: str, speed: float = 1.0) -> Sound:
        words = _pinyin(text) if language == "zh" else text
        if not any(char.isalnum() for char in words):
            return Sound(np.zeros(0, np.float32), 22_050)
        try:
            run = subprocess.run(
                [
                    _PROGRAM,
                    "-v",
                    _VOICES[language],
                    "-s",
                    str(round(_WORDS_A_MINUTE * speed)),
                    "--stdin",
                    "--stdout",
                ],
                input=words.encode(),
                capture_output=True,
                timeout=_TIMEOUT_S,
                check=True,
            )
        except subprocess.TimeoutExpired as exc:
            raise DeviceTimeout(
                f"{_PROGRAM}: no sound in {_TIMEOUT_S} s; try: espeak-ng hello.", device="voice"
            ) from exc
        except subprocess.CalledProcessError as exc:
            said = exc.stderr.decode(errors="replace").strip()[:120]
            raise EngineError(f"{_PROGRAM}: {said}; try: espeak-ng --voices.") from exc
        return parse_wav(_with_size(run.stdout), Path(_PROGRAM))


def _with_size(wav: bytes) -> bytes:
    """A WAV written to a pipe does not know its size; write it in."""
    return wav[:40] + (len(wav) - 44).to_bytes(4, "little") + wav[44:]


def _pinyin(text: str) -> str:
    try:
        import pypinyin
    except ImportError as exc:
        raise EngineError(
            "pypinyin: not installed, expected for Mandarin by espeak-ng; run: "
            "pip install 'parrot-companion[speech]'."
        ) from exc
    style = pypinyin.Style.TONE3
    return " ".join(pypinyin.lazy_pinyin(text, style=style, neutral_tone_with_five=True))
