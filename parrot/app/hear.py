# SPDX-License-Identifier: Apache-2.0
"""Write down what is said, one line an utterance.

A WAV file may have any common rate, one channel or several, and any length: it is cut at its
pauses. Without a file the microphone is heard until Ctrl-C.

examples:
  parrot hear speech.wav
  parrot hear --language zh
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from parrot.app.ears import Ears, Heard
from parrot.app.speech_installed import add_device_options, add_language_option
from parrot.app.speech_organs import open_ears, open_microphone
from parrot.base.audio import read_wav
from parrot.base.errors import ConfigError
from parrot.senses.microphone import Microphone, SoundMicrophone


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("wav", nargs="?", type=Path, metavar="WAV", help="default: the microphone")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_language_option(parser)
    add_device_options(parser, ears=True, mouth=False)


def utterances(microphone: Microphone, ears: Ears) -> Iterator[str]:
    """Yield what is said until the sound ends. Raises: DeviceError when the device is absent."""
    while len(block := microphone.read()):
        yield from _final(ears.feed(block))
    yield from _final(ears.flush())


def _final(heard: Heard | None) -> Iterator[str]:
    if heard and heard.is_final and heard.text:
        yield heard.text


def run(args: argparse.Namespace) -> int:
    if args.wav and not len(read_wav(args.wav).samples):
        raise ConfigError(f"{args.wav}: holds no sound, expected some speech; record it again.")
    ears = open_ears(args.language, args.speech_threads)
    microphone: Microphone = (
        SoundMicrophone(read_wav(args.wav)) if args.wav else open_microphone(args.microphone)
    )
    texts = []
    try:
        for text in utterances(microphone, ears):
            texts.append(text)
            if not args.json:
                print(text, flush=True)
    except KeyboardInterrupt:
        if args.wav:
            raise
    finally:
        microphone.close()
    if args.json:
        print(json.dumps({"utterances": texts}, ensure_ascii=False))
    elif args.wav and not texts:
        print("parrot: no speech was found in this recording.", file=sys.stderr)
    return 0
