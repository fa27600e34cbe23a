# SPDX-License-Identifier: Apache-2.0
"""Random keys on the simulated hand: `python -m tools.stress_hand [--events N]`, one JSON line.

The real app, in virtual time, on the model of the panel and its bus. Quarter by quarter the bus is
sound, refuses 1 % of its transactions, refuses all of them, and has its panel unplugged and plugged
in again every few seconds. It ends with an error when a key is lost, a frame is not 1,024 bytes, a
fault outlives its cause, or anything raises.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter

from parrot.engine.model import Model
from parrot.faces.framebuffer import FRAME_SIZE
from parrot.faces.panel import ADDRESS
from parrot.senses.key import KEYS, KeyPress
from parrot.senses.live_keypad import LiveKeypad
from tests.hardware.sim_driver import SimHand

BACK_MS = 2_000
KEYS_LIKELY = KEYS + "23456789D"  # more talk than chance alone would make
PLUG_EVERY = 100  # taps


class CountingKeypad(LiveKeypad):
    """A LiveKeypad that counts what was read from it."""

    def __init__(self) -> None:
        super().__init__()
        self.n_read: Counter[str] = Counter()

    def poll(self, now_ms: int) -> list[KeyPress]:
        events = super().poll(now_ms)
        self.n_read.update(event.kind for event in events)
        return events


class Stress:
    """One hand under random keys; `tap` raises AssertionError when something is lost."""

    def __init__(self, model: Model, seed: int) -> None:
        self._dice = random.Random(seed)
        self._keypad = CountingKeypad()
        self.sim = SimHand(model, keypad=self._keypad)
        self.n_taps = self.n_frames = 0
        self.back_ms: list[int] = []

    @property
    def n_events(self) -> int:
        return sum(self._keypad.n_read.values())

    def tap(self) -> None:
        """Press a random key for a short or a long time, and let some time pass."""
        dice, sim = self._dice, self.sim
        sim.keypad.tap(dice.choice(KEYS_LIKELY), dice.choice((60, 60, 60, 420)))
        self.n_taps += 1
        for _ in range(2):
            self.n_frames += sim.hand.tick()
            sim.clock.advance_ms(dice.choice((10, 40, 250)))
        if len(sim.hand.frame.to_bytes()) != FRAME_SIZE:
            raise AssertionError("a frame of another size")
        if self._keypad.n_read["press"] != self.n_taps or sim.hand.n_events != self.n_events:
            raise AssertionError(
                f"{self.n_taps} taps, {self._keypad.n_read['press']} presses read, "
                f"{sim.hand.n_events} of {self.n_events} events fed: a key was lost."
            )
        sim.hand.is_off = False  # power off was confirmed: a person would switch it on again

    def recover(self) -> None:
        """Wait until the glass shows the frame again; not longer than BACK_MS."""
        waited_ms = 0
        while self.sim.glass.glass().to_bytes() != self.sim.hand.frame.to_bytes():
            if waited_ms == BACK_MS:
                raise AssertionError(f"the panel was not back within {BACK_MS} ms")
            self.sim.wait(50)
            waited_ms += 50
        self.back_ms.append(waited_ms)

    def replug(self) -> None:
        """Take the panel away; after a while give it back with its memory lost."""
        self.sim.bus.unplug(ADDRESS)
        for _ in range(5):
            self.tap()
        self.sim.glass.cut_power()
        self.sim.bus.plug(ADDRESS)
        self.recover()


def run(model: Model, n_events: int, seed: int) -> dict[str, float]:
    """Feed `n_events` key events in four quarters; return what was seen."""
    stress = Stress(model, seed)
    for quarter, fail_every in enumerate((0, 100, 1, 0), 1):
        stress.sim.bus.fail_every(fail_every)
        while stress.n_events < n_events * quarter // 4:
            stress.tap()
            if quarter == 4 and stress.n_taps % PLUG_EVERY == 0:
                stress.replug()
        stress.sim.bus.fail_every(0)
        stress.recover()
    n_lived = stress.sim.hand.talk.me.position
    stress.sim.close()
    return {
        "events": stress.n_events, "taps": stress.n_taps, "frames": stress.n_frames,
        "bytes_lived": n_lived, "replugs": len(stress.back_ms) - 4,
        "panel_back_ms_max": max(stress.back_ms),
    }  # fmt: skip


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.stress_hand", description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=20261122)
    args = parser.parse_args(argv)
    print(json.dumps(run(Model.open(threads=1), args.events, args.seed)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
