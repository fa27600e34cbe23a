# SPDX-License-Identifier: Apache-2.0
"""The handheld app without hardware: the real app on a model of the panel's controller.

In the terminal: digits, * and # as they are; Enter is D, Backspace or Esc is A, Tab is B, m is C,
the arrows are * and #, L makes the next key a long press, q leaves.

examples:
  parrot sim                                  in this terminal, 128 x 34 characters
  parrot sim --web                            in a browser on this machine
  parrot sim --script keys.txt --frames out   replay keys in virtual time, a PNG for every frame

A script holds lines of: tap KEYS, hold KEY MS, down KEY, up KEY, wait MS; ";" begins a comment.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

from parrot.app.options import add_model_options, add_soul_option
from parrot.app.persona import add_persona_option
from parrot.app.speech_installed import add_device_options, add_threads_option
from parrot.base.clock import ManualClock, SystemClock
from parrot.base.errors import ConfigError
from parrot.base.files import file_error, read_file, replace_file

SCRIPT_MAX = 1 << 20
SETTLE_MS = 60_000  # longest wait, after the last key, for a reply to end
STEP_MS = 5
PORT = 8765


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--web", action="store_true", help="serve a page instead of the terminal")
    parser.add_argument("--port", type=int, default=PORT, metavar="N", help=f"default: {PORT}")
    parser.add_argument("--script", metavar="FILE", type=Path, help="replay a key script")
    parser.add_argument("--frames", metavar="DIR", type=Path, help="where its frames are written")
    parser.add_argument("--language", choices=("en", "zh"), help="default: of LANG")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of a script's talk")
    parser.add_argument("--fresh", action="store_true", help="start from nothing and keep nothing")
    parser.add_argument(
        "--from", type=Path, dest="wav", metavar="WAV", help="hear a file at every press of D"
    )
    add_device_options(parser, ears=True, mouth=True)
    add_threads_option(parser)
    add_soul_option(parser)
    add_persona_option(parser)
    add_model_options(parser)


def run(args: argparse.Namespace) -> int:
    if (args.script is None) != (args.frames is None) or (args.web and args.script):
        raise ConfigError("sim: --script and --frames belong together, without --web; give both.")
    if args.script:
        return run_script(args)
    if args.web:
        from parrot.app.sim_web import serve

        return serve(args)
    return run_terminal(args)


def run_terminal(args: argparse.Namespace) -> int:
    """Play in this terminal until q or power off."""
    from parrot.app import loop
    from parrot.app.assemble import add_composer, real_voice, sim_rig
    from parrot.app.catalogue import language_of
    from parrot.app.sim_terminal import Terminal
    from parrot.senses.live_keypad import LiveKeypad

    keypad = LiveKeypad()
    with Terminal(keypad) as terminal:
        rig = sim_rig(SystemClock(), keypad, real_voice(args), args.language or language_of())
        add_composer(rig.hand)

        def watch() -> None:
            terminal.show(rig.glass.glass())
            if terminal.read_keys():
                rig.hand.is_off = True

        loop.run(rig.hand, watch)
    return 0


def run_script(args: argparse.Namespace) -> int:
    """Replay a script in virtual time and write every frame that differs from the one before."""
    from parrot.app.assemble import add_composer, virtual_rig
    from parrot.app.options import open_model
    from parrot.faces.png import png_bytes
    from parrot.senses.scripted_keypad import ScriptedKeypad, parse_script

    text = read_file(args.script, SCRIPT_MAX).decode("utf-8", "replace")
    edges, length_ms = parse_script(text, args.script.name)
    try:
        args.frames.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise file_error(args.frames, exc, "made") from exc
    rig = virtual_rig(open_model(args), ScriptedKeypad(edges), args.language or "en", args.seed)
    add_composer(rig.hand)
    assert isinstance(rig.clock, ManualClock)
    shown, n_written = b"", 0
    for now_ms in moments(rig.clock, length_ms, lambda: rig.hand.engine.is_busy):
        rig.hand.tick()
        glass = rig.glass.glass()
        if glass.to_bytes() != shown:
            shown = glass.to_bytes()
            replace_file(args.frames / f"{now_ms:08}.png", png_bytes(glass))
            n_written += 1
    rig.hand.close()
    print(f"{args.frames}: {n_written} frames of {rig.clock.now_ms() / 1000:.1f} s.")
    return 0


def moments(clock: ManualClock, length_ms: int, is_busy: Callable[[], bool]) -> Iterator[int]:
    """Yield the times of a script's rounds: to its end, and on until the reply has ended."""
    while clock.now_ms() <= length_ms or (is_busy() and clock.now_ms() <= length_ms + SETTLE_MS):
        yield clock.now_ms()
        clock.advance_ms(STEP_MS)
