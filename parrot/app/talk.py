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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from parrot.app.conversation import Conversation
from parrot.app.engine_thread import EngineThread
from parrot.app.hand_voice import HandVoice, VoiceManner
from parrot.app.options import (
    add_model_options,
    add_sampling_options,
    add_soul_option,
    open_model,
    sampling_of,
    soul_path,
    wake,
)
from parrot.app.speech_installed import add_device_options, add_language_option
from parrot.app.speech_organs import open_ears, organs_of
from parrot.app.voice_thread import Organs
from parrot.base.audio import read_wav, write_wav
from parrot.base.errors import ConfigError
from parrot.engine.generate import Abort
from parrot.faces.speaker import SoundSpeaker
from parrot.mind.companion import Companion, Manner
from parrot.senses.microphone import PatientMicrophone

_WAV_HZ = 24_000
_ROUND_S = 0.005
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

    def __init__(self, voice: HandVoice) -> None:
        self._is_terminal = sys.stdout.isatty()
        self._voice, self._talk = voice, voice.talk
        self._partial, self._shown = "", ""
        self._is_open = False  # a reply that has not ended

    def heard(self, text: str) -> None:
        self._write(f"{_LINE if self._is_terminal else ''}you: {text}\nparrot: ")
        self._shown, self._is_open = "", True

    def refresh(self) -> None:
        """Show what came since."""
        talk, voice = self._talk, self._voice
        if talk.notice:
            print(f"parrot: {talk.notice}", file=sys.stderr)
            talk.notice = None
        if self._is_open:
            said = talk.said or (self._shown if talk.is_answering else _last_said(talk))
            self._write(said[len(self._shown) :])
            self._shown = said
            if not talk.is_answering:
                self._write("\n")
                self._is_open = False
        elif voice.partial != self._partial and self._is_terminal:
            self._write(f"{_LINE}{_DIM}… {voice.partial}{_PLAIN}")
        self._partial = voice.partial

    def state(self, text: str) -> None:
        if self._is_terminal:
            self._write(f"{_LINE}{_DIM}{text}{_PLAIN}")

    @staticmethod
    def _write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def _last_said(talk: Conversation) -> str:
    return talk.me.turns[-1].said.decode(errors="replace") if talk.me.turns else ""


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
    if not sys.stdin.isatty() or not select.select([sys.stdin], [], [], 0)[0]:
        return ""
    return os.read(sys.stdin.fileno(), 64).decode("utf-8", "ignore")


def _turn(voice: HandVoice, screen: Screen, is_over: Callable[[], bool]) -> None:
    """Turn the loop until the owner leaves, or it is over."""
    while not is_over():
        voice.deliver()
        voice.talk.engine.deliver()
        screen.refresh()
        keys = pressed()
        if "q" in keys:
            return
        if " " in keys:
            if voice.is_recording:
                voice.send()
                screen.state("reading")
            else:
                voice.press()
                screen.state("recording; space sends")
        time.sleep(_ROUND_S)


def _open(args: argparse.Namespace, organs: Organs) -> HandVoice:
    manner = Manner(sampling_of(args), args.max_bytes, args.seed, args.recall)

    def waker(abort: Abort) -> Companion:
        return wake(args, open_model(args), manner, None if args.fresh else soul_path(args))

    talk = Conversation()
    talk.engine = EngineThread(waker, talk.awake)
    is_hands_free = args.hands_free or args.wav is not None
    voice = HandVoice(
        talk, lambda: organs, VoiceManner(True, is_hands_free, args.edit, args.language)
    )
    voice.apply()
    return voice


def _organs(args: argparse.Namespace, kept: SoundSpeaker | None) -> Organs:
    """Return the organs; without ears there is no talk, so those are opened now."""
    ears = open_ears(args.language, args.speech_threads)
    organs = replace(organs_of(args), open_ears=lambda language: ears)
    if args.wav:
        sound = read_wav(args.wav)
        organs = replace(
            organs,
            open_microphone=lambda is_busy: PatientMicrophone(sound, is_busy, is_paced=False),
        )
    return replace(organs, open_speaker=lambda: kept) if kept else organs


def run(args: argparse.Namespace) -> int:
    if not (args.wav or args.hands_free or sys.stdin.isatty()):
        raise ConfigError("talk: no terminal for the space bar; use --hands-free, or --from WAV.")
    if args.edit and not sys.stdin.isatty():
        raise ConfigError("talk: --edit needs a terminal; leave it out.")
    kept = SoundSpeaker(_WAV_HZ) if args.to else None
    voice = _open(args, _organs(args, kept))
    screen = Screen(voice)

    def answer(text: str) -> None:
        said = (edited(text) if args.edit and text else text).strip()
        if said:
            screen.heard(said)
            voice.talk.say(said)

    voice.on_heard = answer
    try:
        if args.wav:
            _turn(voice, screen, lambda: voice.has_ended and not voice.is_busy)
        elif sys.stdin.isatty():
            print("Space speaks and sends, q leaves. 按空格说话，再按发送，q 离开。")
            with single_keys():
                _turn(voice, screen, lambda: False)
        else:
            _turn(voice, screen, lambda: False)
    except KeyboardInterrupt:
        pass
    finally:
        voice.close()
        voice.talk.engine.close()
    if kept is not None:
        write_wav(args.to, kept.sound)
    return 0
