# SPDX-License-Identifier: Apache-2.0
"""One measurement of a whole talk, in a process of its own; prints one JSON object.

python -m tools.bench_talk latency en     end of speech -> first sound of the reply
python -m tools.bench_talk memory auto    resident memory, everything open and used once
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import numpy as np

from parrot.app.conversation import Conversation
from parrot.app.dialogue import Dialogue, Watcher
from parrot.app.engine_thread import EngineThread
from parrot.app.mouth import Mouth
from parrot.app.speech_organs import open_ears, open_voice
from parrot.base.audio import EAR_HZ, Samples, level
from parrot.base.clock import SystemClock
from parrot.engine.generate import Abort
from parrot.engine.model import Model
from parrot.faces.speaker import SoundSpeaker
from parrot.mind.companion import Companion, Manner
from parrot.mind.soul import Soul
from parrot.senses.microphone import BLOCK
from tools.bench_speech import sentences, speak

N_TURNS = 30
_LOUD = 0.01


def newborn(abort: Abort) -> Companion:
    model = Model.open(threads=1)
    return Companion(model, Soul.in_memory(), SystemClock(), Manner(seed=1), abort=abort)


class Party:
    """A whole talk in real time: ears, parrot and mouth, hands-free."""

    def __init__(self, language: str) -> None:
        voice = open_voice()
        for spoken in ("en", "zh") if language == "auto" else (language,):
            voice.warm(spoken)
        self.talk, self.mouth = Conversation(), Mouth(voice, SoundSpeaker(24_000))
        self.talk.engine = EngineThread(newborn, self.talk.awake)
        self.talk.mouth = self.mouth
        self.ears = open_ears(language)
        watcher = Watcher(
            partial=lambda text: None, heard=self.talk.say, interrupted=self.talk.stop
        )
        self.dialogue = Dialogue(
            self.ears, self.mouth, watcher, lambda: self.talk.is_answering, is_hands_free=True
        )

    def settle(self) -> None:
        """End the reply, and forget what was heard."""
        self.talk.stop()
        while self.dialogue.is_answering or self.mouth.loudness():
            self.talk.engine.deliver()
            time.sleep(0.01)
        self.ears.endpointer.reset()

    def close(self) -> None:
        self.mouth.close()
        self.talk.engine.close()


def wait_ms(party: Party, sound: Samples) -> float:
    """Play `sound` to the dialogue in real time; return how long after it the reply sounded."""
    begun = time.perf_counter()
    offset = time.monotonic() - begun
    ended, n_silent = 0.0, 0
    party.mouth.hush()
    party.mouth.first_sound_s = None
    blocks = [sound[at : at + BLOCK] for at in range(0, len(sound) - BLOCK + 1, BLOCK)]
    while party.mouth.first_sound_s is None and n_silent < 20 * EAR_HZ // BLOCK:
        i = int((time.perf_counter() - begun) * EAR_HZ / BLOCK)  # blocks the card has by now
        while len(blocks) and i > 0:
            block = blocks.pop(0)
            party.talk.engine.deliver()
            party.dialogue.feed(block)
            begun += BLOCK / EAR_HZ
            ended = begun if level(block) > _LOUD else ended
            i -= 1
        if not blocks:
            blocks.append(np.zeros(BLOCK, np.float32))
            n_silent += 1
        time.sleep(0.002)
    first = party.mouth.first_sound_s
    return (first - offset - ended) * 1e3 if first is not None else float("nan")


def latency(language: str) -> dict[str, object]:
    party, voice, waits = Party(language), open_voice(), []
    for text in sentences(language, N_TURNS + 1):
        sound = np.pad(speak(voice, text), (EAR_HZ // 4, EAR_HZ // 2))
        waits.append(wait_ms(party, sound))
        party.settle()
    party.close()
    waits = waits[1:]  # the first turn opens what is opened late
    answered = [wait for wait in waits if wait == wait]
    return {
        "language": language,
        "n_turns": len(waits),
        "n_answered": len(answered),
        "p50_ms": float(np.percentile(answered, 50)),
        "p95_ms": float(np.percentile(answered, 95)),
        "waits_ms": [round(wait) for wait in answered],
    }


def _status_mb(name: str) -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith(name))
    return int(line.split()[1]) // 1024


def memory(language: str) -> dict[str, object]:
    spoken = ("en", "zh") if language == "auto" else (language,)
    party, voices = Party(language), dict[str, Samples]()
    for name in spoken:
        sounds = party.mouth.voice.synthesize(sentences(name)[3])
        voices[name] = np.concatenate([s.samples[::2][: s.rate_hz * 8 // 16] for s in sounds])
    for sound in voices.values():
        party.ears.read(sound)
    party.talk.say("你好" if language == "zh" else "Hello!")
    while party.dialogue.is_answering:
        party.talk.engine.deliver()
        time.sleep(0.01)
    facts = {"language": language, "rss_mb": _status_mb("VmRSS"), "peak_mb": _status_mb("VmHWM")}
    party.close()
    return facts


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("latency", "memory"))
    parser.add_argument("language", choices=("en", "zh", "auto"))
    args = parser.parse_args(argv)
    print(json.dumps((latency if args.what == "latency" else memory)(args.language)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
