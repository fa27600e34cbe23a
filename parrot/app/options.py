# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share, and what they open."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parrot.engine.generate import Abort, Sampling
    from parrot.engine.model import Model
    from parrot.mind.companion import Companion, Manner
    from parrot.mind.soul import Soul


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add --model, --lora, --device, --threads."""
    parser.add_argument("--model", metavar="FILE", help="a GGUF file (default: the bundled model)")
    parser.add_argument("--lora", metavar="FILE", help="low-rank updates trained on that model")
    parser.add_argument(
        "--device", default="cpu", metavar="NAME", help="where to compute: cpu, cuda or cuda:N"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="default: one a core")


def open_model(args: argparse.Namespace) -> Model:
    """Open the model the options name; say so when it could not be repacked for this CPU."""
    from parrot.engine.model import Model

    model = Model.open(args.model, device=args.device, threads=args.threads)
    about = model.describe()
    if not about["repacked"] and about["cpu"] != "scalar":
        print(
            "parrot: not enough memory to repack the model for this CPU; running slower from its "
            "file as it is.",
            file=sys.stderr,
        )
    return model.with_lora(args.lora) if args.lora else model


def add_sampling_options(parser: argparse.ArgumentParser) -> None:
    """Add --temperature, --top-p, --top-k, --min-p, --repetition, --seed, --max-bytes."""
    group = parser.add_argument_group("sampling")
    group.add_argument("--temperature", type=float, default=0.7, metavar="T", help="0 is greedy")
    group.add_argument("--top-p", type=float, default=0.9, metavar="P")
    group.add_argument("--top-k", type=int, default=0, metavar="K", help="0 keeps all")
    group.add_argument("--min-p", type=float, default=0.0, metavar="P")
    group.add_argument("--repetition", type=float, default=1.0, metavar="X", help="1 is off")
    group.add_argument("--seed", type=int, metavar="N", help="default: new each time")
    group.add_argument(
        "--recall",
        type=int,
        default=240,
        metavar="N",
        help="bytes of memory woven in before a turn (default: %(default)s); 0 for a model that "
        "was not trained on it",
    )
    group.add_argument("--max-bytes", type=int, default=400, metavar="N", help="of one reply")


def sampling_of(args: argparse.Namespace) -> Sampling:
    """Return the settings. Raises: ConfigError for one out of range."""
    from parrot.base.errors import ConfigError
    from parrot.engine.generate import Sampling

    if not 1 <= args.max_bytes <= 1_000_000:
        raise ConfigError(f"--max-bytes: {args.max_bytes}, expected 1 to 1000000; choose another.")
    return Sampling(
        temperature=args.temperature,
        top_p=args.top_p,
        top_k=args.top_k,
        min_p=args.min_p,
        repetition=args.repetition,
    )


def add_soul_option(parser: argparse.ArgumentParser) -> None:
    """Add --soul."""
    parser.add_argument("--soul", metavar="FILE", help="the file that holds its life")


def soul_path(args: argparse.Namespace) -> Path:
    """Return where the soul is: --soul, or soul.db in the user's data folder."""
    return Path(args.soul) if args.soul else data_folder() / "soul.db"


def data_folder() -> Path:
    """Return the user's folder for what parrot keeps."""
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "parrot"


def wake(
    args: argparse.Namespace, model: Model, manner: Manner | None = None, path: Path | None = None
) -> Companion:
    """Return the parrot that lives in the soul at `path`, or one that is kept nowhere for None.

    Where the soul cannot be written, its life so far is read, and the talk goes on unkept; the
    owner is told once, here.
    Raises: SoulBusyError, FormatError for what is no soul.
    """
    from parrot.base.clock import SystemClock
    from parrot.mind.companion import Companion

    soul = open_soul(path)
    try:
        companion = Companion(model, soul, SystemClock(), manner, say_progress)
    except BaseException:
        soul.close()
        raise
    if notice := companion.take_notice():
        print(f"parrot: {notice}", file=sys.stderr)
    return companion


def open_soul(path: Path | None) -> Soul:
    from parrot.base.errors import FileError, FormatError
    from parrot.mind.database import SoulBusyError
    from parrot.mind.soul import Soul

    if path is None:
        return Soul.in_memory()
    try:
        return Soul.open(path)
    except (SoulBusyError, FormatError):
        raise
    except FileError as exc:
        print(f"parrot: {exc} The talk goes on, unkept.", file=sys.stderr)
        return Soul.in_memory(path)


def say_progress(done: int, total: int) -> None:
    """Say on a terminal how far a replay of the journal has come."""
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(
            f"\rliving it again: {done:,} of {total:,} bytes", end=end, file=sys.stderr, flush=True
        )


@contextmanager
def ctrl_c_sets(abort: Abort) -> Iterator[None]:
    """While the parrot is busy, Ctrl-C ends that at the next byte and nothing else."""

    def stop(signum: int, frame: FrameType | None) -> None:
        abort.set()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        abort.clear()
