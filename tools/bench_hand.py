# SPDX-License-Identifier: Apache-2.0
"""The hand's times, one JSON line: `python -m tools.bench_hand [--presses N] [--threads N]`.

virtual   from the tick that reads a key to the last byte of its frame: processor time, and the time
          its bytes take on a 400 kHz bus as the model of the panel counts them. A reply is being
          made all the while in the loop's own thread, whose cost is therefore included.
real      the same with the engine on its own threads at full speed, by the wall clock, from the
          moment of the edge (any time between two polls); and how long A takes to stop a reply.
start     `parrot sim` in a terminal: from its start to the face, and its memory while it answers.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import random
import select
import signal
import struct
import sys
import tempfile
import termios
import threading
import time
from argparse import Namespace
from collections.abc import Callable

from parrot.app.assemble import Rig, add_composer, no_organs, sim_rig, waker
from parrot.app.conversation import Conversation
from parrot.app.engine_thread import EngineThread
from parrot.app.hand_voice import HandVoice, VoiceManner
from parrot.app.loop import TICK_MS
from parrot.base.clock import SystemClock
from parrot.engine.model import Model
from parrot.senses.live_keypad import LiveKeypad
from tests.hardware.sim_driver import SimHand

KEYS = "23456789C*#AB"
N_ABORTS = 20
START_S_MAX = 60
TALK_S = 5


def percentiles(name: str, values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        f"{name}_p50": round(ordered[len(ordered) // 2], 1),
        f"{name}_p95": round(ordered[int(0.95 * len(ordered))], 1),
    }


def virtual(n_presses: int) -> dict[str, float]:
    sim, dice = SimHand(Model.open(threads=1)), random.Random(1)
    glass_ms, draw_ms = [], []
    for _ in range(n_presses):
        if not sim.hand.engine.is_busy:
            sim.hand.talk.say("Tell me a story.")
        sim.keypad.tap(dice.choice(KEYS))
        bus_ms, begun = sim.glass.bus_ms(), time.thread_time()
        sim.hand.tick()
        spent_ms = (time.thread_time() - begun) * 1e3
        glass_ms.append(spent_ms + sim.glass.bus_ms() - bus_ms)
        sim.wait(120)
        begun = time.thread_time()
        sim.hand.frame.clear()
        sim.hand.screen.draw(sim.hand.frame, sim.clock.now_ms())
        draw_ms.append((time.thread_time() - begun) * 1e3)
    sim.close()
    return {**percentiles("key_to_glass_ms", glass_ms), **percentiles("draw_ms", draw_ms)}


class LiveHand:
    """A hand in real time on a thread of its own; `edge` presses a key and waits for its frame."""

    def __init__(self, threads: int | None) -> None:
        args = Namespace(model=None, lora=None, device="cpu", threads=threads, soul=None,
                         fresh=True, persona=None)  # fmt: skip
        self.keypad, talk = LiveKeypad(), Conversation()
        talk.engine = EngineThread(waker(args), talk.awake)
        voice = HandVoice(talk, no_organs, VoiceManner())
        self.rig: Rig = sim_rig(SystemClock(), self.keypad, voice, "en")
        self.talk, self.hand = talk, self.rig.hand
        add_composer(self.hand)
        self._is_over, self._seen = False, threading.Condition()
        self._shown: list[float] = []  # the time of each frame with a key in it, bus included
        self._thread = threading.Thread(target=self._turn)
        self._thread.start()
        self.until(lambda: self.talk.is_awake)

    def _turn(self) -> None:
        while not self._is_over:
            n_before, bus_ms = self.hand.n_events, self.rig.glass.bus_ms()
            self.hand.tick()
            if self.hand.n_events > n_before:
                bus_s = (self.rig.glass.bus_ms() - bus_ms) / 1e3
                with self._seen:
                    self._shown.append(time.perf_counter() + bus_s)
                    self._seen.notify_all()
            time.sleep(TICK_MS / 1000)

    def edge(self, key: str) -> float:
        """Press `key`; return the milliseconds until its frame was on the glass."""
        with self._seen:
            n_before, begun = len(self._shown), time.perf_counter()
            self.keypad.press(key)
            self._seen.wait_for(lambda: len(self._shown) > n_before, timeout=10)
            ms = (self._shown[-1] - begun) * 1e3
        self.keypad.release(key)
        return ms

    def until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_S_MAX
        while not is_so():
            if time.monotonic() > deadline:
                raise TimeoutError("the hand did not get there")
            time.sleep(0.001)

    def close(self) -> None:
        self._is_over = True
        self._thread.join()
        self.hand.engine.close()


def real(n_presses: int, threads: int | None) -> dict[str, float]:
    live, dice = LiveHand(threads), random.Random(1)
    glass_ms, abort_ms = [], []
    for _ in range(n_presses):
        if not live.talk.is_answering:
            live.talk.say("Tell me a story.")
        glass_ms.append(live.edge(dice.choice(KEYS.replace("A", ""))))
        time.sleep(dice.uniform(0.05, 0.15))
    live.talk.stop()
    for _ in range(N_ABORTS):
        live.until(lambda: not live.hand.engine.is_busy)
        live.talk.say("Tell me a story.")
        live.until(lambda: bool(live.talk.said) or not live.talk.is_answering)
        begun = time.perf_counter()
        live.talk.stop()
        live.until(lambda: not live.talk.is_answering)
        abort_ms.append((time.perf_counter() - begun) * 1e3)
    live.close()
    return {
        **percentiles("real_key_to_glass_ms", glass_ms),
        "real_abort_ms_max": round(max(abort_ms), 1),
    }


def start() -> dict[str, float]:
    """Run `parrot sim` in a terminal of 130 x 40; talk to it; return its times and its memory."""
    with tempfile.TemporaryDirectory() as home:
        begun = time.perf_counter()
        pid, screen = pty.fork()
        if pid == 0:
            os.environ["XDG_DATA_HOME"] = home
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 130, 0, 0))
            os.execv(sys.executable, [sys.executable, "-m", "parrot", "sim", "--language", "zh"])
        seen = b""
        while "█".encode() not in seen and time.perf_counter() - begun < START_S_MAX:
            if select.select([screen], [], [], 0.01)[0]:
                seen += os.read(screen, 65536)
        face_s = time.perf_counter() - begun
        os.write(screen, b"64426\r\r")
        deadline, rss_mb = time.perf_counter() + TALK_S, 0.0
        while time.perf_counter() < deadline:
            if select.select([screen], [], [], 0.05)[0]:
                os.read(screen, 65536)
            with open(f"/proc/{pid}/statm", encoding="ascii") as file:
                pages = int(file.read().split()[1])
            rss_mb = max(rss_mb, pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
        os.kill(pid, signal.SIGINT)
        os.close(screen)
        os.waitpid(pid, 0)
    return {"start_to_face_s": round(face_s, 2), "rss_mb": round(rss_mb, 1)}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.bench_hand", description=__doc__)
    parser.add_argument("--presses", type=int, default=300)
    parser.add_argument("--threads", type=int, help="of the engine (default: one a core)")
    args = parser.parse_args(argv)
    figures = {
        "presses": args.presses,
        **virtual(args.presses),
        **real(args.presses, args.threads),
        **start(),
    }
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
