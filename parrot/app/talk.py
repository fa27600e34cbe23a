# SPDX-License-Identifier: Apache-2.0
"""Talk by voice: the parrot hears, answers, and speaks while it still thinks.

The space bar begins to record and, pressed again, sends (push to talk). With --hands-free it
listens all the time, and falls silent when you speak. q leaves.

examples:
  parrot talk
  parrot talk --hands-free --language zh
  parrot talk --from question.wav --to answer.wav --fresh
"""

from __future__ import annotations

import argparse
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from parrot.app.dialogue import Dialogue, Watcher
from parrot.app.engine_thread import EngineThread
from parrot.app.mouth import Mouth
from parrot.app.options import (
    add_model_options,
    add_sampling_options,
    add_soul_option,
    open_model,
    sampling_of,
    soul_path,
    wake,
)
from parrot.app.speech_organs import (
    add_device_options,
    add_language_option,
    open_ears,
    open_microphone,
    open_speaker,
    open_voice,
)
from parrot.base.audio import write_wav
from parrot.base.errors import ConfigError, DeviceError, ParrotError
from parrot.engine.generate import Abort
from parrot.faces.speaker import SoundSpeaker, Speaker
from parrot.mind.companion import Companion, Manner
from parrot.senses.microphone import Microphone

_WAV_HZ = 24_000
_DIM, _PLAIN, _LINE = "\x1b[2m", "\x1b[0m", "\r\x1b[K"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hands-free", action="store_true", help="no key: listen all the time")
    parser.add_argument(
        "--edit", action="store_true", help="correct each transcript before it is sent"
    )
    parser.add_argument("--from", type=Path, dest="wav", metavar="WAV", help="hear a file, once")
    parser.add_argument("--to", type=Path, metavar="WAV", help="write the voice into a file")
    parser.add_argument("--fresh", action="store_true", help="start from nothing and keep nothing")
    add_language_option(parser)
    add_device_options(parser, ears=True, mouth=True)
    add_soul_option(parser)
    add_model_options(parser)
    add_sampling_options(parser)


class Screen:
    """The talk on a terminal, or plain lines where there is none."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()
        self.watcher = Watcher(self._partial, self._heard, self._piece, self._said, self._trouble)

    def _partial(self, text: str) -> None:
        if self._is_terminal:
            self._write(f"{_LINE}{_DIM}… {text}{_PLAIN}")

    def _heard(self, text: str) -> None:
        self._write(f"{_LINE if self._is_terminal else ''}you: {text}\nparrot: ")

    def _piece(self, text: str) -> None:
        self._write(text)

    def _said(self, _: str) -> None:
        self._write("\n")

    def _trouble(self, text: str) -> None:
        print(f"parrot: {text}", file=sys.stderr)

    def state(self, text: str) -> None:
        if self._is_terminal:
            self._write(f"{_LINE}{_DIM}{text}{_PLAIN}")

    @staticmethod
    def _write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


@contextmanager
def single_keys() -> Iterator[None]:
    """While the block runs, keys arrive one by one, unechoed."""
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def edited(text: str) -> str:
    """Let the owner correct `text` on the terminal, line by line again while that lasts."""
    import readline

    keys = termios.tcgetattr(sys.stdin)
    lines = termios.tcgetattr(sys.stdin)
    lines[3] |= termios.ICANON | termios.ECHO
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, lines)
    readline.set_startup_hook(lambda: readline.insert_text(text))
    try:
        return input("you> ")
    except EOFError:
        return ""
    finally:
        readline.set_startup_hook(None)
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, keys)


def pressed() -> str:
    """Return the keys pressed since the last call."""
    if not select.select([sys.stdin], [], [], 0)[0]:
        return ""
    return os.read(sys.stdin.fileno(), 64).decode("utf-8", "ignore")


def _talk_live(dialogue: Dialogue, microphone: Microphone, screen: Screen) -> None:
    """Talk until the owner leaves; a microphone that is away is told once, and waited for."""
    told = ""
    while True:
        try:
            block = microphone.read()
        except DeviceError as exc:
            if str(exc) != told:
                screen.watcher.trouble(told := str(exc))
            dialogue.deliver()
        else:
            told = ""
            dialogue.feed(block)
        keys = pressed() if sys.stdin.isatty() else ""
        if "q" in keys:
            return
        if " " in keys:
            dialogue.press()
            if dialogue.is_recording:
                screen.state("recording; space sends")


def _talk_once(dialogue: Dialogue, microphone: Microphone) -> None:
    """Answer what a file says, one utterance after another."""
    while len(block := microphone.read()):
        dialogue.feed(block)
        _let_speak(dialogue)
    dialogue.end()
    _let_speak(dialogue)


def _let_speak(dialogue: Dialogue) -> None:
    """Wait until the reply is said, and its echo is over: the file hears none of it."""
    while dialogue.is_answering or dialogue.mouth.loudness():
        dialogue.deliver()
        time.sleep(0.005)
    dialogue.deliver()


def _engine(args: argparse.Namespace, screen: Screen) -> EngineThread:
    manner = Manner(sampling_of(args), args.max_bytes, args.seed, args.recall)

    def waker(abort: Abort) -> Companion:
        return wake(args, open_model(args), manner, None if args.fresh else soul_path(args))

    def on_awake(error: ParrotError | None) -> None:
        if error:
            screen.watcher.trouble(str(error))

    return EngineThread(waker, on_awake)


def run(args: argparse.Namespace) -> int:
    if not (args.wav or args.hands_free or sys.stdin.isatty()):
        raise ConfigError("talk: no terminal for the space bar; use --hands-free, or --from WAV.")
    if args.edit and not sys.stdin.isatty():
        raise ConfigError("talk: --edit needs a terminal; leave it out.")
    ears = open_ears(args)
    microphone = open_microphone(args.microphone, args.wav)
    kept = SoundSpeaker(_WAV_HZ) if args.to else None
    speaker: Speaker = kept or open_speaker(args.speaker)
    voice = open_voice(args.speech_threads)
    voice.warm("zh" if args.language == "zh" else "en")
    screen, mouth = Screen(), Mouth(voice, speaker)
    engine = _engine(args, screen)
    hands_free = args.hands_free or args.wav is not None
    dialogue = Dialogue(ears, mouth, engine, screen.watcher, hands_free=hands_free)
    dialogue.edit = edited if args.edit else None
    try:
        if args.wav:
            _talk_once(dialogue, microphone)
        elif sys.stdin.isatty():
            print("Space speaks and sends, q leaves. 按空格说话，再按发送，q 离开。")
            with single_keys():
                _talk_live(dialogue, microphone, screen)
        else:
            _talk_live(dialogue, microphone, screen)
    except KeyboardInterrupt:
        pass
    finally:
        microphone.close()
        mouth.close()
        engine.close()
    if kept is not None:
        write_wav(args.to, kept.sound)
    return 0
