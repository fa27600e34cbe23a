# SPDX-License-Identifier: Apache-2.0
"""Kill a parrot at random instants and see whether its soul is what was committed.

A scripted talk (turns, undo, save, branch, load, import of a state and of crystals, feedback from
keys, sleep with replay and packing) is lived once without interruption; after every step a
fingerprint of the soul is taken. Then children live the same script and are killed with SIGKILL.
After each kill the soul must be whole, must be at the last step that was acknowledged or at the
next one, or within that one when it is a night, and the talk goes on from there: at the end every
byte must equal the uninterrupted life. The life is then relived by a second model, under kills too.

    python -m tools.kill_soul --kills 2000
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from parrot.engine.generate import Sampling
from parrot.engine.model import Model
from parrot.mind import nights, sleep
from parrot.mind.companion import Companion, Manner
from parrot.mind.hormones import HORMONES
from parrot.mind.memory import Crystal
from parrot.mind.moods import SUFFIX
from parrot.mind.soul import Soul
from parrot.model.random_model import write_random_model
from parrot.model.shape import Shape

Step = Callable[[Companion], object]


class ScriptClock:
    """A clock that a script sets, and that moves a little at every look: replays seem to take time,
    so snapshots are taken."""

    def __init__(self, wall_s: float = 1.7e9, tick_ms: int = 40) -> None:
        self.wall, self._ms, self._tick_ms = wall_s, 0, tick_ms

    def now_ms(self) -> int:
        self._ms += self._tick_ms
        return self._ms

    def wall_s(self) -> float:
        return self.wall


def tiny_model(folder: Path, seed: int = 1) -> Path:
    """Write a random model that lives thousands of bytes a second, and random directions for its
    moods; return its path."""
    path = folder / f"tiny{seed}.gguf"
    if not path.exists():
        write_random_model(path, Shape.standard(1, 64, head_size=32), seed)
        state, moods = Model.open(path, threads=1).new_state(), path.with_suffix(SUFFIX)
        moods.mkdir()
        for i, name in enumerate(HORMONES):
            state.payload[:] = np.random.default_rng(i).normal(0, 3, len(state.payload))
            state.save(moods / f"{name}.state")
    return path


def wake(model: Model, path: Path, clock: ScriptClock) -> Companion:
    manner = Manner(Sampling(temperature=1.0), max_bytes=24, recall_bytes=60)
    return Companion(model, Soul.open(path), clock, manner)


def talk_script(n_turns: int, exported: Path) -> list[Step]:
    """Return the steps of a talk; each commits once. `exported` is a state file to import."""
    steps: list[Step] = []

    def say(text: str) -> Step:
        return lambda parrot: list(parrot.hear(text))

    for i in range(n_turns):
        begin = "Remember that" if i % 5 == 2 else "This is what I say as"
        steps.append(say(f"{begin} number {i}, {'哈哈' * (i % 3)} and some more."))
        if i % 7 == 3:
            steps.append(lambda parrot: parrot.undo(1))
        if i % 7 == 5:
            steps.append(lambda parrot, i=i: parrot.save(f"saved {i}"))
        if i % 11 == 4:
            steps.append(lambda parrot, i=i: parrot.branch(f"line {i}"))
        if i % 11 == 8:
            steps.append(lambda parrot: parrot.load("main"))
        if i % 13 == 6:
            steps.append(lambda parrot: parrot.feel("good"))
        if i % 10 == 9:
            steps.append(lambda parrot: list(parrot.sleeper().run(False, True, None)))
        if i % 19 == 12:
            steps.append(lambda parrot, i=i: parrot.soul.remember_all(_crystals(i)))
        if i % 17 == 9:
            steps.append(
                lambda parrot: parrot.import_state(parrot.model.load_state(exported), "a file")
            )
    return steps


def _crystals(i: int) -> list[Crystal]:
    return [Crystal(0, 1.0, 0, f"crystal {n} of import {i}", 0.5, 1.0) for n in range(20)]


def fingerprint(soul: Soul) -> str:
    """Return a digest of everything in the soul but its cache, and how words are packed."""
    tables = {
        "setting": "*", "name": "*", "hormone": "*", "feedback": "*", "crystal": "*",
        "day": "day, turns, heard, said", "diary": "id, wall_s", "draft": "*",
    }  # fmt: skip
    digest = hashlib.sha256(repr(list(soul.turns())).encode())
    for table, columns in tables.items():
        rows = soul._database.execute(f"SELECT {columns} FROM {table} ORDER BY 1").fetchall()
        digest.update(repr((table, rows)).encode())
    return digest.hexdigest()


class Script:
    """A talk, its uninterrupted life in `folder`, and the fingerprints of every step."""

    def __init__(self, folder: Path, n_turns: int) -> None:
        self.folder = folder
        self.model = Model.open(tiny_model(folder), threads=1)
        exported = folder / "exported.state"
        state = self.model.new_state()
        self.model.forward(b"\x00once upon a time", state)
        state.save(exported)
        self.steps = talk_script(n_turns, exported)
        # Steps of several commits: those after which the diary is one longer.
        self.nights: set[int] = set()
        self._n_nights = 0
        self.prints: list[str] = []
        reference = folder / "reference.db"
        self.final_state = self.live(reference, self._note)
        if len(set(self.prints)) != len(self.prints):
            raise SystemExit("kill_soul: two steps leave the same soul; the script proves nothing")

    def _note(self, parrot: Companion) -> None:
        n_nights = len(parrot.soul.diary())
        if n_nights > self._n_nights:
            self.nights.add(len(self.prints) - 1)
        self._n_nights = n_nights
        self.prints.append(fingerprint(parrot.soul))

    def live(self, path: Path, after: Callable[[Companion], object], first: int = 0) -> bytes:
        """Live the steps from `first` on, `after` on waking and after each; return the state."""
        clock = ScriptClock(1.7e9 + 60 * first)
        parrot = wake(self.model, path, clock)
        after(parrot)
        for i in range(first, len(self.steps)):
            clock.wall = 1.7e9 + 60 * i
            self.steps[i](parrot)
            if parrot.trouble:
                raise SystemExit(f"kill_soul: step {i}: {parrot.trouble}")
            after(parrot)
        state = parrot.state.to_bytes()
        parrot.close()
        return state

    def found(self, path: Path, acknowledged: int) -> int:
        """Return how many steps the soul at `path` has lived; it must be whole. A soul in the
        middle of a night has lived those before it."""
        with Soul.open(path) as soul:
            if soul.notice:
                raise SystemExit(f"kill_soul: damaged: {soul.notice}")
            soul.check()
            seen = fingerprint(soul)
            if seen not in self.prints and acknowledged in self.nights:
                return acknowledged
            return self.prints.index(seen)


def live_in_child(script: Script, path: Path, first: int) -> tuple[int, int]:
    """Fork a child that lives on; return its process id and where it acknowledges steps."""
    listen, tell = os.pipe()
    child = os.fork()
    if child:
        os.close(tell)
        return child, listen
    try:
        script.live(path, lambda parrot: os.write(tell, b"."), first)
        os._exit(0)
    except BaseException as exc:
        os.write(2, f"child: {exc!r}\n".encode())
        os._exit(1)


def kill_once(script: Script, path: Path, first: int, n_steps: int, delay_s: float) -> int:
    """Let a child live for `n_steps` acknowledgements (the first: it woke) and `delay_s`, then kill
    it and check the soul; return the steps lived."""
    child, listen = live_in_child(script, path, first)
    heard = 0
    while heard < n_steps and os.read(listen, 1):
        heard += 1
    time.sleep(delay_s)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit("kill_soul: the child failed by itself")
    with open(listen, "rb") as ears:
        acknowledged = first + max(0, heard + len(ears.read()) - 1)
    lived = script.found(path, acknowledged)
    if not acknowledged <= lived <= acknowledged + 1:
        raise SystemExit(f"kill_soul: {acknowledged} steps acknowledged, {lived} found")
    return lived


def relive_under_kills(script: Script, path: Path, chance: random.Random) -> int:
    """Let a second model live the soul at `path` again, killed until it gets through; return how
    often it was. Its state must be that of a replay without kills."""
    other = Model.open(tiny_model(script.folder, seed=2), threads=1)
    with Soul.in_memory(path) as soul:
        expected = Companion(other, soul, ScriptClock()).state.to_bytes()
    n_kills, is_through = 0, False
    while not is_through:
        child = os.fork()
        if child == 0:
            with Soul.open(path) as soul:  # slow: a snapshot is left after every few turns
                Companion(other, soul, ScriptClock(tick_ms=6_000))
            os._exit(0)
        time.sleep(chance.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
        is_through = os.WIFEXITED(os.waitpid(child, 0)[1])
        n_kills += not is_through
    with Soul.open(path) as soul:
        soul.check()
        if Companion(other, soul, ScriptClock()).state.to_bytes() != expected:
            raise SystemExit("kill_soul: another state after a replay that was killed")
    return n_kills


def run(n_kills: int, n_turns: int, seed: int, delay_max_s: float) -> str:
    # Nights of many small steps: the script's days are short.
    sleep._CYCLE_BYTES, nights.PACK_TURNS, nights.AWAKE_TURNS = 300, 6, 6
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = Script(folder, n_turns)
        path, lived, n_lives, n_mid, n_relived = folder / "life" / "soul.db", 0, 0, 0, 0
        for n in range(n_kills):
            before = lived
            lived = kill_once(
                script, path, lived, chance.randint(0, 6), chance.uniform(0, delay_max_s)
            )
            n_mid += before < lived < len(script.steps)
            if lived == len(script.steps) or n == n_kills - 1:
                if script.live(path, lambda parrot: None, lived) != script.final_state:
                    raise SystemExit("kill_soul: the state differs from the uninterrupted life's")
                if script.found(path, len(script.steps)) != len(script.steps):
                    raise SystemExit("kill_soul: the life did not end where the reference did")
                n_relived += relive_under_kills(script, path, chance)
                shutil.rmtree(path.parent)
                lived, n_lives = 0, n_lives + 1
        return (
            f"{n_kills} kills ({n_mid} within the talk, after progress), {n_lives} lives of "
            f"{len(script.steps)} steps, {len(script.nights)} of them nights, {n_relived} kills of "
            "replays by another model: every soul whole, every life byte-identical"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--delay-max-s", type=float, default=0.02)
    args = parser.parse_args()
    print(run(args.kills, args.turns, args.seed, args.delay_max_s))


if __name__ == "__main__":
    sys.exit(main())
