# SPDX-License-Identifier: Apache-2.0
"""Measure ears and voices: round trips over sentences, speed, waiting time, memory, idle cost.

    python -m tools.bench_speech accuracy --out scratch/speech     120 sentences a language
    python -m tools.bench_speech plain --out scratch/speech        100 plain Mandarin sentences
    python -m tools.bench_speech speed latency memory idle --out scratch/speech
    python -m tools.bench_speech noise --minutes 60 --out scratch/speech
    python -m tools.bench_speech plot --out scratch/speech --png docs/speech.png

Sentences are drawn from the hand-written talk (tools/school/hand), spoken by the installed voice
and heard by the installed recognizer: no recording with a licence is to be had. Each measurement
adds lines to OUT/results.jsonl.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from parrot.app.ears import Ears
from parrot.app.speech_organs import open_endpointer, open_recognizer, open_voice
from parrot.base.audio import EAR_HZ, Samples, resampled
from parrot.faces.spoken_text import spoken
from parrot.faces.voice import Voice
from parrot.senses.microphone import BLOCK
from parrot.senses.transcript import simplified
from tools.speech_sound import room_noise, spoiled

HAND = Path(__file__).parent / "school" / "hand"
N_SENTENCES = 120
_FIT = {
    "en": re.compile(r"(?=(\S+ ){4,13}\S+$)[A-Z][A-Za-z ,'’]+[.!?]"),
    "zh": re.compile("[\u4e00-\u9fff，]{7,20}[。！？]"),
}
CONDITIONS = {"clean": None, "20 dB": (20, False), "10 dB": (10, False), "10 dB + echo": (10, True)}


def sentences(language: str, n: int = N_SENTENCES) -> list[str]:
    """Return `n` different sentences, spread evenly over the hand-written daily talk."""
    found: list[str] = []
    for line in (HAND / f"daily_{language}.jsonl").read_text().splitlines():
        for turn in json.loads(line)["turns"]:
            parts = re.split(r"(?<=[.!?。！？])\s*", turn["text"])
            found += [part for part in parts if _FIT[language].fullmatch(part)]
    found = list(dict.fromkeys(found))
    return [found[i * len(found) // n] for i in range(n)]


def units(text: str, language: str) -> list[str]:
    """Return the words of English, the characters of Mandarin, that are counted."""
    if language == "zh":
        return [c for c in spoken(simplified(text), "zh") if c.isalnum()]
    text = spoken(text, "en")
    return re.sub(r"[^a-z0-9' ]", " ", text.lower().replace("’", "'")).split()


def distance(a: list[str], b: list[str]) -> int:
    """Return the least number of substitutions, insertions and deletions from a to b."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (x != y))
    return row[-1]


def speak(voice: Voice, text: str) -> Samples:
    return np.concatenate([resampled(sound, EAR_HZ) for sound in voice.synthesize(text)])


# ---- accuracy


def plain_mandarin() -> list[str]:
    """Return a hundred plain everyday sentences."""
    return (Path(__file__).parent / "speech_plain_zh.txt").read_text().split()


def accuracy(language: str, out: Path, *, is_plain: bool = False) -> None:
    voice, recognizer = open_voice(), open_recognizer(language)
    texts = plain_mandarin() if is_plain else sentences(language)
    sounds = [speak(voice, text) for text in texts]
    for name in ("clean", "10 dB") if is_plain else tuple(CONDITIONS):
        condition = CONDITIONS[name]
        rng, n_wrong, n_all, worst = np.random.default_rng(1), 0, 0, []
        for text, sound in zip(texts, sounds, strict=True):
            padded = np.pad(sound, (EAR_HZ // 4, EAR_HZ // 4))
            heard = recognizer.recognize(spoiled(padded, rng, *condition) if condition else padded)
            reference = units(text, language)
            wrong = distance(reference, units(heard, language))
            n_wrong, n_all = n_wrong + wrong, n_all + len(reference)
            if wrong:
                worst.append({"said": text, "heard": heard, "wrong": wrong})
        talk = "plain" if is_plain else "colloquial"
        note(out, "accuracy", language=language, talk=talk, condition=name, error=n_wrong / n_all,
             n_wrong=n_wrong, n_units=n_all, n_sentences=len(texts), worst=worst)  # fmt: skip


# ---- speed


def speed(language: str, out: Path) -> None:
    """Real-time factors at 1 and 2 threads: the best of three passes over ten sentences."""
    texts = sentences(language)[::12]
    for n_threads in (1, 2):
        voice, recognizer = open_voice(n_threads), open_recognizer(language, n_threads)
        sounds = [speak(voice, text) for text in texts]
        seconds = sum(len(sound) for sound in sounds) / EAR_HZ
        for role, work in (
            ("voice", lambda i, v=voice: v.synthesize(texts[i])),
            ("recognizer", lambda i, r=recognizer, s=sounds: r.recognize(s[i])),
        ):
            walls, cpus = [], []
            for _ in range(3):
                wall, cpu = time.perf_counter(), time.process_time()
                for i in range(len(texts)):
                    work(i)
                walls.append(time.perf_counter() - wall)
                cpus.append(time.process_time() - cpu)
            note(out, "speed", language=language, role=role, threads=n_threads,
                 rtf=min(walls) / seconds, cpu_rtf=min(cpus) / seconds)  # fmt: skip


# ---- idle and noise


def idle(out: Path) -> None:
    """Share of one core while nobody speaks: a quiet room, and one with a restless noise."""
    endpointer, rng = open_endpointer(), np.random.default_rng(2)
    quiet = (0.0005 * rng.standard_normal(60 * EAR_HZ)).astype(np.float32)
    for name, sound in (("quiet room", quiet), ("restless room", room_noise(rng, 60))):
        begun = time.process_time()
        for at in range(0, len(sound) - BLOCK, BLOCK):
            endpointer.feed(sound[at : at + BLOCK])
        note(out, "idle", room=name, cpu_share=(time.process_time() - begun) / 60)


def noise(minutes: int, out: Path) -> None:
    """Count what is taken for a turn in a room where nobody speaks, faster than real time."""
    for language in ("en", "zh"):
        ears, turns, n_utterances = Ears(open_endpointer(), open_recognizer(language)), [], 0
        for minute in range(minutes):
            sound = room_noise(np.random.default_rng(1000 + minute), 60)
            for at in range(0, len(sound) - BLOCK + 1, BLOCK):
                heard = ears.feed(sound[at : at + BLOCK])
                if heard and heard.is_final:
                    n_utterances += 1
                    turns += [heard.text] if heard.text else []
        note(out, "noise", language=language, minutes=minutes, n_utterances=n_utterances,
             n_turns=len(turns), turns=turns)  # fmt: skip


def note(out: Path, kind: str, **facts: object) -> None:
    """Add one line of results, and print it."""
    out.mkdir(parents=True, exist_ok=True)
    line = {"kind": kind, **facts}
    with open(out / "results.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
    shown = {name: fact for name, fact in line.items() if name != "worst"}
    print(json.dumps(shown, ensure_ascii=False), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = ("accuracy", "plain", "speed", "latency", "memory", "idle", "noise", "plot")
    parser.add_argument("what", nargs="+", choices=kinds)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--languages", nargs="+", default=["en", "zh"], choices=("en", "zh"))
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--png", type=Path)
    args = parser.parse_args()
    for what in args.what:
        if what in ("accuracy", "speed"):
            for language in args.languages:
                {"accuracy": accuracy, "speed": speed}[what](language, args.out)
        elif what == "plain":
            accuracy("zh", args.out, is_plain=True)
        elif what == "idle":
            idle(args.out)
        elif what == "noise":
            noise(args.minutes, args.out)
        elif what == "plot":
            argv = ["-m", "tools.plot_speech", str(args.out / "results.jsonl"), str(args.png)]
            subprocess.run([sys.executable, *argv], check=True)
        else:
            for language in args.languages + (["auto"] if what == "memory" else []):
                argv = ["-m", "tools.bench_talk", what, language]
                run = subprocess.run([sys.executable, *argv], check=True, capture_output=True)
                note(args.out, what, **json.loads(run.stdout))


if __name__ == "__main__":
    main()
