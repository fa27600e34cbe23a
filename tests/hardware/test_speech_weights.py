# SPDX-License-Identifier: Apache-2.0
"""With the weights installed: words survive the voice and the ears, and a talk works end to end.

parrot speech install en && parrot speech install zh --accept-voice-licence
"""

from __future__ import annotations

import time
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from parrot.app.cli import main
from parrot.app.speech_installed import has
from parrot.app.speech_organs import open_endpointer, open_recognizer, open_voice, organs_of
from parrot.base.audio import EAR_HZ, Samples, resampled
from parrot.engine.model import Model
from parrot.faces.speaker import SoundSpeaker
from parrot.senses.microphone import BLOCK
from parrot.senses.transcript import written
from tests.hardware.sim_driver import SimHand

ENGLISH = ("silero", "moonshine", "hibari")
MANDARIN = ("silero", "whisper", "baker")


def need(names: tuple[str, ...]) -> None:
    missing = [name for name in names if not has(name)]
    if missing:
        pytest.skip(f"no weights of {', '.join(missing)}: parrot speech install")


def spoken(text: str) -> Samples:
    return np.concatenate([resampled(s, EAR_HZ) for s in open_voice().synthesize(text)])


def test_english_survives_the_round_trip() -> None:
    need(ENGLISH)
    sound = spoken("The small house near the river has 3 windows.")
    heard = written(open_recognizer("en").recognize(sound), "en")
    assert heard == "The small house near the river has three windows."


def test_mandarin_survives_the_round_trip() -> None:
    need(MANDARIN)
    heard = written(
        open_recognizer("zh").recognize(spoken("今天天气很好，我们去公园散步吧。")), "zh"
    )
    assert heard.rstrip("。") == "今天天气很好，我们去公园散步吧"


def test_the_detector_finds_speech_in_150_ms_and_none_in_noise() -> None:
    need(ENGLISH)
    endpointer = open_endpointer()
    noise = (0.01 * np.random.default_rng(0).standard_normal(10 * EAR_HZ)).astype(np.float32)
    for at in range(0, len(noise) - BLOCK, BLOCK):
        assert endpointer.feed(noise[at : at + BLOCK]) is None
    assert not endpointer.is_speaking
    sound = spoken("Parrot, stop talking now.")
    begin = int(np.argmax(np.abs(sound) > 0.02))
    waited = 0
    for at in range(begin, len(sound) - BLOCK, BLOCK):
        endpointer.feed(sound[at : at + BLOCK])
        waited += 32
        if endpointer.speech_s >= 0.09:
            break
    assert waited <= 150


def test_a_talk_from_a_file_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    need(ENGLISH)
    question, answer = tmp_path / "q.wav", tmp_path / "a.wav"
    assert main(["say", "What is your name?", "--to", str(question)]) == 0
    argv = ["--from", str(question), "--to", str(answer), "--fresh", "--seed", "1"]
    assert main(["talk", *argv, "--language", "en"]) == 0
    out = capsys.readouterr().out
    assert "you: What is your name?" in out
    assert answer.stat().st_size > 10_000


def test_the_hand_hears_a_question_and_answers_aloud(tmp_path: Path) -> None:
    need(ENGLISH)
    question, speaker = tmp_path / "q.wav", SoundSpeaker(24_000)
    assert main(["say", "What is your name?", "--to", str(question)]) == 0
    args = Namespace(wav=question, speech_threads=1, microphone="default", speaker="default")
    organs = replace(organs_of(args), open_speaker=lambda: speaker)
    sim = SimHand(Model.open(threads=1), organs=lambda: organs)
    sim.hand.voice.change(is_on=True, language="en")
    sim.tap("D")  # the file ends, and sends itself
    deadline = time.monotonic() + 60
    while not sim.hand.talk.me.turns or sim.hand.voice.is_busy:
        assert time.monotonic() < deadline
        sim.wait(10)
        time.sleep(0.001)
    sim.close()
    assert sim.hand.talk.me.turns[-1].heard == b"What is your name?"
    assert speaker.sound.seconds > 0.3
