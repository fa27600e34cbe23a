# SPDX-License-Identifier: Apache-2.0
"""Talk with the parrot in this terminal.

Its state is kept after every turn, so the next talk goes on from this one. Ctrl-C stops a reply,
Ctrl-D leaves. When standard input is not a terminal, every line is one message and every reply one
line on standard output.

examples:
  parrot chat
  parrot chat --once "Tell me a story." --temperature 0.5 --seed 1
  printf 'Hello!\\n你好\\n' | parrot chat --fresh
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from parrot.app.options import (
    add_model_options,
    add_sampling_options,
    open_model,
    sampling_of,
    soul_path,
)
from parrot.base.errors import FileError
from parrot.base.files import file_error
from parrot.base.text import (
    END_OF_DOCUMENT,
    END_OF_TURN,
    clean_text,
    companion_turn,
    text_from_bytes,
)
from parrot.engine.generate import Abort, Sampling
from parrot.engine.model import Model
from parrot.engine.state import State

WORLD_STOP = b"\n\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--once", metavar="TEXT", help="print one reply to TEXT and leave")
    parser.add_argument("--soul", metavar="FILE", help="where its state is kept")
    parser.add_argument("--fresh", action="store_true", help="start from nothing and keep nothing")
    add_model_options(parser)
    add_sampling_options(parser)


class Talk:
    """One companion's talk: a state, how to sample, and where to keep the state."""

    def __init__(self, model: Model, sampling: Sampling, soul: Path | None) -> None:
        self.model, self.sampling, self.soul = model, sampling, soul
        self.seed, self.max_bytes = time.time_ns(), 400
        self.state = self._wake()
        self._is_kept = True

    def _wake(self) -> State:
        if self.soul is None or not self.soul.exists():
            return self.model.new_state()
        return self.model.load_state(self.soul)

    def prompt(self, text: str) -> bytes:
        """Return the bytes that open the parrot's turn after `text`."""
        if not self.model.is_bytes:
            return f"User: {clean_text(text).strip()}\n\nAssistant:".encode()
        return (END_OF_DOCUMENT if self.state.position == 0 else b"") + companion_turn(text)

    def reply(self, text: str, abort: Abort | None = None) -> Iterator[str]:
        """Yield the reply to `text` as it comes; afterwards the state is kept."""
        self.seed += 1
        pieces = self.model.generate(
            self.state,
            self.prompt(text),
            sampling=self.sampling,
            seed=self.seed,
            max_bytes=self.max_bytes,
            abort=abort,
            stop=END_OF_TURN if self.model.is_bytes else WORLD_STOP,
        )
        for piece in text_from_bytes(pieces):
            yield clean_text(piece)

    def keep(self) -> None:
        """Write the state. A disk that refuses is reported once; the talk goes on."""
        if self.soul is None:
            return
        try:
            self._make_folder(self.soul.parent)
            self.state.save(self.soul)
            self._is_kept = True
        except FileError as exc:
            if self._is_kept:
                print(f"parrot: {exc} The talk goes on, unkept.", file=sys.stderr)
            self._is_kept = False

    @staticmethod
    def _make_folder(folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise file_error(folder, exc, "made") from exc


@contextmanager
def _ctrl_c_sets(abort: Abort) -> Iterator[None]:
    """While a reply runs, Ctrl-C ends it at the next byte and nothing else."""

    def stop(signum: int, frame: FrameType | None) -> None:
        abort.set()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        abort.clear()


def _lines() -> Iterator[str]:
    """Yield messages from a standard input that is no terminal."""
    sys.stdin.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
    for line in sys.stdin:
        if text := line.strip():
            yield text


def _speak_lines(talk: Talk) -> None:
    for text in _lines():
        reply = "".join(talk.reply(text))
        talk.keep()
        print(" ".join(reply.split("\n")), flush=True)


def _prompter() -> Callable[[], str]:
    """Return what asks for one message: prompt_toolkit, or input() with a word about it."""
    try:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.history import InMemoryHistory
    except ImportError:
        print("(for line editing and history: pip install 'parrot-companion[chat]')")
        return lambda: input("> ")
    session: PromptSession[str] = PromptSession(history=InMemoryHistory())
    return lambda: session.prompt("> ")


def _speak(talk: Talk, text: str) -> None:
    """Stream one reply, then a dim line that says how fast it was."""
    abort, n_bytes, begun = Abort(), 0, time.perf_counter()
    with _ctrl_c_sets(abort):
        for piece in talk.reply(text, abort):
            sys.stdout.write(piece)
            sys.stdout.flush()
            n_bytes += len(piece.encode())
    seconds = time.perf_counter() - begun
    lived = talk.state.position
    print(f"\n\x1b[2m{n_bytes / seconds:,.0f} bytes/s · {lived:,} bytes lived\x1b[0m")


def _converse(talk: Talk) -> None:
    about = talk.model.describe()
    print(f"parrot · {talk.model.path.name} · {about['cpu']} x {about['threads']}")
    if talk.state.position:
        print(f"It remembers: {talk.state.position:,} bytes lived.")
    print("Ctrl-C stops a reply, Ctrl-D leaves. 按 Ctrl-C 打断，Ctrl-D 离开。\n")
    ask = _prompter()
    while True:
        try:
            text = ask().strip()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        if text:
            _speak(talk, text)
            talk.keep()


def run(args: argparse.Namespace) -> int:
    sampling = sampling_of(args)
    model = open_model(args)
    talk = Talk(model, sampling, None if args.fresh else soul_path(args, model))
    talk.max_bytes = args.max_bytes
    if args.seed is not None:
        talk.seed = args.seed
    if args.once is not None:
        print("".join(talk.reply(args.once)))
        talk.keep()
    elif sys.stdin.isatty():
        _converse(talk)
    else:
        _speak_lines(talk)
    return 0
