# SPDX-License-Identifier: Apache-2.0
"""The command `parrot`: finds the subcommand's module, and turns errors into words and exit codes.

Each subcommand is a module with `add_arguments(parser)` and `run(args) -> int`; it is imported only
when asked for, so that `parrot --help` is instant. Exit codes: 0 done, 1 an error, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from parrot.base.errors import ConfigError, ParrotError

# name -> (module, one line of help)
COMMANDS = {
    "chat": ("parrot.app.chat", "talk with the parrot in this terminal"),
    "bench": ("parrot.app.bench", "measure decode and prefill speed on this machine"),
    "eval": ("parrot.app.evaluate", "bits per byte of the model on files"),
    "model": ("parrot.app.model_files", "model files: info, import, quantize, verify"),
    "state": ("parrot.app.states", "named states of the soul: save, load, branch, undo, ..."),
    "memory": ("parrot.app.memory", "what it remembers: list, search, add, forget, export"),
    "mood": ("parrot.app.mood", "how it feels, and how well it foresees the talk"),
    "sleep": ("parrot.app.sleep", "put the day in order: keep, merge, pack; see its diary"),
    "run": ("parrot.app.run", "the handheld app on this board: glass and sixteen keys"),
    "sim": ("parrot.app.sim", "the handheld app without hardware: terminal, browser or script"),
    "t9": ("parrot.app.nine_keys", "Chinese candidates for the digits of nine keys, best first"),
    "say": ("parrot.app.say", "speak a text, through the speaker or into a WAV file"),
    "hear": ("parrot.app.hear", "write down what was said, from a WAV file or the microphone"),
    "talk": ("parrot.app.talk", "talk by voice: hear, answer, speak"),
    "speech": ("parrot.app.speech", "weights for ears and voice: install, list"),
    "update": ("parrot.app.update", "put another release on this board, or the one before"),
    "flash": ("parrot.app.flash", "write an image to a card, and read it back"),
    "doctor": ("parrot.app.doctor", "check every organ, one line each"),
}

_EXAMPLES = """examples:
  parrot chat                        talk; it remembers the state of the last talk
  parrot chat --once "Hello!"        one reply on standard output
  parrot bench --json                speed, as JSON
  parrot doctor                      what works on this machine and what to do about the rest

`parrot COMMAND --help` explains each one."""


def _top_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="parrot",
        description="An offline talking companion whose state is never reset.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    lines = "\n".join(f"  {name:<10} {about}" for name, (_, about) in COMMANDS.items())
    parser.add_argument("--version", action="store_true", help="print the version and leave")
    parser.add_argument("command", nargs="?", metavar="COMMAND", help="one of the commands below")
    parser.description = f"{parser.description}\n\ncommands:\n{lines}"
    return parser


def _print_version() -> int:
    from importlib.metadata import version

    print(f"parrot {version('parrot-companion')}")
    return 0


def _run(argv: Sequence[str]) -> int:
    if not argv or argv[0].startswith("-"):
        parser = _top_parser()
        if parser.parse_args(argv).version:
            return _print_version()
        parser.print_help(sys.stderr)
        return 2
    if argv[0] not in COMMANDS:
        _top_parser().error(f"unknown command {argv[0]!r}; see parrot --help")
    module = import_module(COMMANDS[argv[0]][0])
    parser = argparse.ArgumentParser(
        prog=f"parrot {argv[0]}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    code: int = module.run(parser.parse_args(argv[1:]))
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except ParrotError as exc:
        print(f"parrot: {exc}", file=sys.stderr)
        return 2 if isinstance(exc, ConfigError) else 1
    except BrokenPipeError:
        # The reader of our output left. Point stdout at nothing, so that the interpreter's own
        # flush at exit does not complain a second time.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
