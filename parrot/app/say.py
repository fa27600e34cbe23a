# SPDX-License-Identifier: Apache-2.0
"""Speak a text, each part in the voice of its language.

examples:
  parrot say "Hello! 你好，我是鹦鹉。"
  parrot say "It is 7:30." --to clock.wav
  echo "A long story" | parrot say -
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from parrot.app.mouth import Mouth
from parrot.app.speech_installed import add_device_options
from parrot.app.speech_organs import open_speaker, open_voice
from parrot.base.audio import write_wav
from parrot.base.errors import ConfigError
from parrot.base.text import clean_text
from parrot.faces.speaker import SoundSpeaker, Speaker

WAV_HZ = 24_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", metavar="TEXT", help="what to say; - reads standard input")
    parser.add_argument("--to", type=Path, metavar="WAV", help="write a file instead of playing")
    parser.add_argument("--speech-threads", type=int, default=1, metavar="N")
    add_device_options(parser, ears=False, mouth=True)


def run(args: argparse.Namespace) -> int:
    text = clean_text(sys.stdin.read() if args.text == "-" else args.text)
    if not any(char.isalnum() for char in text):
        raise ConfigError("say: nothing in this text can be spoken; give it words.")
    kept = SoundSpeaker(WAV_HZ) if args.to else None
    speaker: Speaker = kept or open_speaker(args.speaker)
    mouth = Mouth(open_voice(args.speech_threads), speaker)
    try:
        reply = mouth.begin()
        mouth.feed(text, reply)
        mouth.finish(reply)
        mouth.wait()
    finally:
        mouth.close()
    if mouth.trouble:
        raise ConfigError(mouth.trouble)
    if kept is None:
        return 0
    if not len(kept.sound.samples):
        raise ConfigError("say: no voice speaks this language; English and Mandarin are known.")
    write_wav(args.to, kept.sound)
    print(f"{args.to}: {kept.sound.seconds:.1f} s.")
    return 0
