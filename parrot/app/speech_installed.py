# SPDX-License-Identifier: Apache-2.0
"""What is installed for ears and voice, and the options that choose among it.

This module imports nothing of speech, so that the hand starts at once where there is none.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

from parrot.app.options import data_folder

PORTAUDIO = "sounddevice"  # the package; devices are named sounddevice:NAME
LANGUAGES = ("auto", "en", "zh")


def add_language_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--language", choices=LANGUAGES, default="auto", help="what is spoken (default: auto)"
    )
    add_threads_option(parser)


def add_threads_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--speech-threads", type=int, default=1, metavar="N", help="for ears and voice (default: 1)"
    )


def has(name: str) -> bool:
    """Whether a set of weights is there."""
    return (speech_folder() / name / "manifest.json").is_file()


def has_files(name: str) -> bool:
    """Whether the owner brought files into the folder `name`."""
    folder = speech_folder() / name
    return folder.is_dir() and any(folder.glob("*.onnx"))


def recognizer_name(language: str) -> str | None:
    """Return which engine would hear `language`, None when nothing can."""
    if has_files("sensevoice"):
        return "sensevoice"
    if language == "auto":
        if has("whisper"):
            return "whisper"
        return recognizer_name("en")
    if language == "en" and has("moonshine"):
        return "moonshine"
    if has("whisper"):
        return "whisper"
    return "sphinx" if language == "en" and find_spec("pocketsphinx") else None


def can_hear() -> bool:
    """Whether ears are installed: a recognizer of some language, and the voice detector."""
    return has("silero") and recognizer_name("auto") is not None


def voice_name(language: str) -> str:
    """Return which engine would speak `language`; espeak-ng when nothing better is there."""
    if language == "zh" and has_files("melotts"):
        return "melotts"
    name = {"en": "hibari", "zh": "baker"}[language]
    return name if has(name) else "espeak"


def add_device_options(parser: argparse.ArgumentParser, *, ears: bool, mouth: bool) -> None:
    also = f"or {PORTAUDIO}:NAME, through the package sounddevice"
    if ears:
        parser.add_argument("--microphone", default="default", metavar="NAME",
                            help=f"ALSA device, see: arecord -L; {also}")  # fmt: skip
    if mouth:
        parser.add_argument("--speaker", default="default", metavar="NAME",
                            help=f"ALSA device, see: aplay -L; {also}")  # fmt: skip


def speech_folder() -> Path:
    """Return where speech weights live: in the user's data folder."""
    return data_folder() / "speech"
