# SPDX-License-Identifier: Apache-2.0
"""Talk with the parrot in this terminal.

Every turn is kept in its soul, so the next talk goes on from this one. Ctrl-C stops a reply, Ctrl-D
leaves. When standard input is not a terminal, every line is one message and every reply one line on
standard output.

In the talk, /again answers anew, /undo takes the last turn back, /good and /bad tell it what you
think of its last reply.

examples:
  parrot chat
  parrot chat --once "Tell me a story." --temperature 0.5 --seed 1
  printf 'Hello!\\n你好\\n' | parrot chat --fresh
  parrot chat --fresh --persona cheerful
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Iterator

from parrot.app.options import (
    add_model_options,
    add_sampling_options,
    add_soul_option,
    ctrl_c_sets,
    open_model,
    sampling_of,
    soul_path,
    wake,
)
from parrot.app.persona import add_persona_option, begin_as
from parrot.base.errors import ConfigError, FileError
from parrot.engine.generate import Abort
from parrot.mind.companion import Companion, Manner
from parrot.mind.thinking import DRAFTS_MAX


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--once", metavar="TEXT", help="print one reply to TEXT and leave")
    parser.add_argument("--fresh", action="store_true", help="start from nothing and keep nothing")
    parser.add_argument(
        "--think", type=int, default=1, metavar="N", help="weigh N drafts before each reply"
    )
    add_soul_option(parser)
    add_persona_option(parser)
    add_model_options(parser)
    add_sampling_options(parser)


class Talk:
    """A companion in a terminal: says once, not every turn, that a disk refuses."""

    def __init__(self, companion: Companion) -> None:
        self.companion = companion
        self._told: str | None = None

    def reply(self, text: str, abort: Abort | None = None) -> Iterator[str]:
        """Yield the reply to `text` as it comes, or to the same text as before for /again."""
        if text == "/again":
            yield from self.companion.again(abort)
        else:
            yield from self.companion.hear(text, abort)
        self.tell_trouble()

    def tell_trouble(self) -> None:
        trouble = self.companion.trouble
        if trouble and not self._told:
            print(f"parrot: {trouble} The talk goes on, unkept.", file=sys.stderr)
        self._told = trouble


def _lines() -> Iterator[str]:
    """Yield messages from a standard input that is no terminal."""
    sys.stdin.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
    for line in sys.stdin:
        if text := line.strip():
            yield text


def _speak_lines(talk: Talk) -> None:
    for text in _lines():
        done = _obeyed(talk.companion, text)
        reply = "".join(talk.reply(text)) if done is None else done
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
    with ctrl_c_sets(abort):
        for piece in talk.reply(text, abort):
            sys.stdout.write(piece)
            sys.stdout.flush()
            n_bytes += len(piece.encode())
    seconds = time.perf_counter() - begun
    lived = talk.companion.position
    print(f"\n\x1b[2m{n_bytes / seconds:,.0f} bytes/s · {lived:,} bytes lived\x1b[0m")


def _obeyed(companion: Companion, text: str) -> str | None:
    """Carry out a word of the owner that is not talk; return what was done, None for talk."""
    if text == "/undo":
        companion.undo(1)
        return f"taken back · {companion.position:,} bytes lived"
    if text in ("/good", "/bad"):
        companion.feel(text[1:])
        return f"felt as {text[1:]}"
    if re.fullmatch("/[a-z]+", text) and text != "/again":
        return "there are /again, /undo, /good and /bad"
    return None


def _converse(talk: Talk) -> None:
    companion = talk.companion
    about = companion.model.describe()
    print(f"parrot · {companion.model.path.name} · {about['cpu']} x {about['threads']}")
    if companion.position:
        print(f"It remembers: {companion.position:,} bytes lived.")
    print("Ctrl-C stops a reply, Ctrl-D leaves. 按 Ctrl-C 打断，Ctrl-D 离开。")
    print("/again 重答 · /undo 撤回 · /good 夸 · /bad 批评\n")
    ask = _prompter()
    while True:
        try:
            text = ask().strip()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        try:
            if (done := _obeyed(companion, text)) is not None:
                print(f"\x1b[2m{done}\x1b[0m")
            elif text:
                _speak(talk, text)
        except (ConfigError, FileError) as exc:
            print(f"parrot: {exc}", file=sys.stderr)
        talk.tell_trouble()


def run(args: argparse.Namespace) -> int:
    if not 1 <= args.think <= DRAFTS_MAX:
        raise ConfigError(f"--think: {args.think}, expected 1 to {DRAFTS_MAX}; choose another.")
    manner = Manner(sampling_of(args), args.max_bytes, args.seed, args.recall, args.think)
    model = open_model(args)
    companion = wake(args, model, manner, None if args.fresh else soul_path(args))
    talk = Talk(companion)
    try:
        if args.persona:
            begin_as(companion, args.persona)
        if args.once is not None:
            print("".join(talk.reply(args.once)))
        elif sys.stdin.isatty():
            _converse(talk)
        else:
            _speak_lines(talk)
    finally:
        companion.close()
    talk.tell_trouble()
    return 0
