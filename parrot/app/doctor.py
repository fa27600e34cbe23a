# SPDX-License-Identifier: Apache-2.0
"""Check every organ, one line each, with what to do about the ones that are not well.

The panel and the keys are those of the board that this machine is, or of --board.

examples:
  parrot doctor
  parrot doctor --json
  parrot doctor --board raspberrypi
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from parrot.app import board
from parrot.app.options import add_model_options, add_soul_option, open_model, soul_path
from parrot.base.errors import ConfigError, ParrotError


@dataclass(frozen=True)
class Finding:
    """What the doctor says of one organ. `is_well` False comes with what to do in `says`."""

    organ: str
    is_well: bool
    says: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_soul_option(parser)
    parser.add_argument("--board", metavar="NAME", help=f"{', '.join(board.names())}, or a .toml")
    parser.add_argument("--sound", action="store_true", help="play a tone and listen for it")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_model_options(parser)


def _python(args: argparse.Namespace) -> str:
    import numpy

    return f"{platform.python_version()}, numpy {numpy.__version__}, {platform.machine()}"


def _cpu(args: argparse.Namespace) -> str:
    from parrot import _native

    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores; kernels {', '.join(_native.cpu_names())} (PARROT_CPU chooses)"


def _memory(args: argparse.Namespace) -> str:
    sizes = {}
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            name, value = line.split(":")
            sizes[name] = int(value.split()[0]) // 1024
    return f"{sizes['MemAvailable']:,} MB free of {sizes['MemTotal']:,}"


def _model(args: argparse.Namespace) -> str:
    begun = time.perf_counter()
    model = open_model(args)
    state = model.new_state()
    model.forward(b"\x00", state)
    ms = (time.perf_counter() - begun) * 1e3
    begun = time.perf_counter()
    for _ in range(50):
        model.forward(b" ", state)
    rate = 50 / (time.perf_counter() - begun)
    about = model.describe()
    return (
        f"{model.path.name} {model.id}: {about['n_layer']} layers of {about['n_embd']}, "
        f"first byte in {ms:.0f} ms, {rate:,.0f} bytes/s ({about['cpu']} x {about['threads']})"
    )


def _gpu(args: argparse.Namespace) -> str:
    """Open the model on the GPU, if this machine has one and the library for it."""
    from parrot.engine.cuda import CudaModel
    from parrot.engine.cuda_library import library_path
    from parrot.engine.model import Model

    if not library_path().exists():
        return "not used; where there is an NVIDIA one: make cuda, then --device cuda"
    device = args.device if args.device.startswith("cuda") else "cuda"
    about = CudaModel(Model.open(args.model, threads=1).path, device).describe()
    return (
        f"{about['name']}, capability {about['capability']}, driver {about['driver']}, "
        f"{about['memory_mb']:,} MB; --device {device} uses it"
    )


def _soul(args: argparse.Namespace) -> str:
    from parrot.mind.soul import Soul

    path = soul_path(args)
    if not path.exists():
        return f"{path}: not born yet; the first talk makes it"
    with Soul.in_memory(path) as soul:
        soul.check()
        turn = soul.turn(soul.tip)
        n_turns = sum(int(str(day["turns"])) for day in soul.days())
    position = turn.position if turn else 0
    return f"{path}: every page is well; {n_turns:,} turns, {position:,} bytes lived"


def _disk(args: argparse.Namespace) -> str:
    folder = soul_path(args).parent
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        raise ParrotError(f"{folder}: not writable; remount it, or choose a place with --soul.")
    free = shutil.disk_usage(folder).free >> 20
    if free < 16:
        raise ParrotError(f"{folder}: {free} MB free, expected 16; free some space.")
    return f"{folder}: {free:,} MB free"


def _hand_board(args: argparse.Namespace) -> board.Board:
    """Return the board to look at: on a machine that is none, the simulator's."""
    if args.board:
        return board.load(args.board)
    try:
        return board.load(board.detected())
    except ConfigError:
        return board.load("sim")


def _panel(args: argparse.Namespace) -> str:
    from parrot.app.assemble import Buses
    from parrot.app.doctor_hand import panel_says

    return panel_says(_hand_board(args), Buses())


def _keys(args: argparse.Namespace) -> str:
    from parrot.app.assemble import Buses
    from parrot.app.doctor_hand import keys_say

    return keys_say(_hand_board(args), Buses())


def _ears(args: argparse.Namespace) -> str:
    from parrot.app.speech_installed import recognizer_name
    from parrot.app.speech_organs import open_endpointer

    names = {name: recognizer_name(name) for name in ("en", "zh")}
    if not any(names.values()):
        return "no recognizer; for ears run: parrot speech install en (or zh)"
    open_endpointer()
    heard = ", ".join(f"{name} by {engine}" for name, engine in names.items() if engine)
    return heard + "".join(f"; {name}: parrot speech install {name}"
                           for name, engine in names.items() if not engine)  # fmt: skip


def _voice(args: argparse.Namespace) -> str:
    from parrot.app.speech_installed import voice_name
    from parrot.app.speech_organs import open_voice

    voice, said = open_voice(), []
    for name, text in (("en", "Hello."), ("zh", "你好。")):
        voice.trouble = None
        is_heard = bool(voice.synthesize(text))
        engine = voice_name(name)
        said.append(f"{name} by {engine}" if is_heard else f"{name} silent ({voice.trouble})")
    return ", ".join(said)


def _sound(args: argparse.Namespace) -> str:
    """Name the sound cards; with --sound, play a tone and hear whether it comes back."""
    if args.sound:
        from parrot.app.speech_organs import play_and_record

        quiet, loud = play_and_record()
        if loud > max(2 * quiet, 1e-3):
            return f"played a tone and heard it back, {loud / max(quiet, 1e-6):.0f} x the room"
        raise ParrotError(
            "sound: the tone was not heard; turn up volume and microphone: alsamixer."
        )
    cards = Path("/proc/asound/cards")
    named = re.findall(r"\]: (.*)", cards.read_text()) if cards.exists() else []
    if not named:
        return "no sound card; text goes on without one"
    return ", ".join(named) + " (--sound plays a tone and listens)"


ORGANS: dict[str, Callable[[argparse.Namespace], str]] = {
    "python": _python,
    "cpu": _cpu,
    "memory": _memory,
    "model": _model,
    "gpu": _gpu,
    "soul": _soul,
    "disk": _disk,
    "panel": _panel,
    "keys": _keys,
    "ears": _ears,
    "voice": _voice,
    "sound": _sound,
}


def examine(args: argparse.Namespace) -> Iterator[Finding]:
    """Yield one finding an organ."""
    for organ, check in ORGANS.items():
        try:
            yield Finding(organ, True, check(args))
        except (ParrotError, OSError) as exc:
            yield Finding(organ, False, str(exc))


def run(args: argparse.Namespace) -> int:
    findings = []
    for finding in examine(args):
        findings.append(finding)
        if not args.json:
            print(f"{'ok ' if finding.is_well else 'ill'}  {finding.organ:<8} {finding.says}")
    if args.json:
        print(json.dumps({"organs": [asdict(finding) for finding in findings]}))
    return 0 if all(finding.is_well for finding in findings) else 1
