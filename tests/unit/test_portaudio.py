# SPDX-License-Identifier: Apache-2.0
"""PortAudio: what is absent is named, and sound goes through it where ALSA lends it a file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from parrot.app import speech_organs
from parrot.app.speech_organs import open_microphone, open_speaker, portaudio_name
from parrot.base.audio import Sound
from parrot.base.errors import DeviceError, DeviceMissing
from parrot.faces import portaudio_speaker
from parrot.faces.portaudio_speaker import PortAudioSpeaker
from parrot.faces.speaker import Aplay
from parrot.senses.microphone import Arecord
from parrot.senses.portaudio_microphone import PortAudioMicrophone

ALSA = Path("/usr/share/alsa/alsa.conf")
PCM = """<{alsa}>
pcm.bird {{ type file; slave.pcm null; format raw; file "{out}"; infile "{heard}" }}
"""
TALK = """
import numpy as np
from parrot.base.audio import Sound
from parrot.base.errors import DeviceMissing
from parrot.faces.portaudio_speaker import PortAudioSpeaker
from parrot.senses.portaudio_microphone import PortAudioMicrophone
ear = PortAudioMicrophone("bird")
print([len(ear.read()) for _ in range(3)], float(ear.read()[5]))
ear.close()
print(len(ear.read()))
mouth = PortAudioSpeaker("bird")
print(mouth.play(Sound(np.full(16_000, 0.25, np.float32), 16_000)))
mouth.stop()
print(mouth.play(Sound(np.zeros(100, np.float32), 16_000)))
try:
    PortAudioMicrophone("no such bird").read()
except DeviceMissing as exc:
    print(exc)
"""


def need_portaudio() -> None:
    try:
        import sounddevice  # noqa: F401
    except (ImportError, OSError) as exc:
        pytest.skip(f"{exc}; pip install sounddevice, apt install libportaudio2")


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(DeviceMissing, match=r"pip install 'parrot-companion\[sound\]'"):
        PortAudioMicrophone().read()
    monkeypatch.setattr("parrot.faces.speaker.RETRY_S", 0)
    with pytest.raises(DeviceMissing, match="expected for the speaker"):
        PortAudioSpeaker().play(Sound(np.zeros(10, np.float32), 16_000))


def test_which_sound_a_name_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech_organs, "which", lambda program: "/usr/bin/" + program)
    assert isinstance(open_microphone("default"), Arecord)
    assert isinstance(open_speaker("hw:1"), Aplay)
    assert isinstance(open_microphone("sounddevice:USB"), PortAudioMicrophone)
    assert portaudio_name("sounddevice:USB", "arecord") == "USB"
    monkeypatch.setattr(speech_organs, "which", lambda program: None)
    monkeypatch.setattr(speech_organs, "find_spec", lambda name: object())
    assert isinstance(open_speaker("default"), PortAudioSpeaker)
    assert portaudio_name("hw:1", "aplay") is None
    monkeypatch.setattr(speech_organs, "find_spec", lambda name: None)
    assert portaudio_name("default", "aplay") is None  # then aplay is named as missing


def test_sound_goes_through_portaudio_both_ways(tmp_path: Path) -> None:
    need_portaudio()
    if not ALSA.exists():
        pytest.skip(f"{ALSA} is not there; apt install libasound2-data")
    heard, out, conf = (tmp_path / name for name in ("heard", "out", "asound.conf"))
    heard.write_bytes(np.full(8_000, 0.5, np.float32).tobytes())
    conf.write_text(PCM.format(alsa=ALSA, out=out, heard=heard))
    run = subprocess.run(
        [sys.executable, "-c", TALK],
        capture_output=True,
        text=True,
        env={**os.environ, "ALSA_CONFIG_PATH": str(conf)},
        timeout=60,
    )
    lines = run.stdout.splitlines()
    assert lines[:4] == ["[512, 512, 512] 0.5", "0", "True", "False"], run.stderr
    assert "No input device matching 'no such bird'" in lines[4]
    assert "python -m sounddevice" in lines[4]
    said = np.frombuffer(out.read_bytes(), np.float32)
    assert (said == 0.25).sum() == 16_000


class LooseStream:
    """A card whose plug is pulled at the third piece of the first stream."""

    heard: ClassVar[list[bytes]] = []
    n_streams = 0

    def __init__(self, kind: str, name: str, rate_hz: int) -> None:
        LooseStream.n_streams += 1

    def write(self, piece: bytes) -> None:
        if LooseStream.n_streams == 1 and len(self.heard) == 2:
            raise DeviceError("sounddevice: gone; plug it in.", device="speaker")
        self.heard.append(piece)

    def finish(self) -> None:
        assert self.heard

    def close(self) -> None:
        assert LooseStream.n_streams <= 2


def test_a_card_that_comes_back_plays_what_was_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portaudio_speaker, "PortAudioStream", LooseStream)
    monkeypatch.setattr("parrot.faces.speaker.RETRY_S", 0)
    samples = np.arange(4_000, dtype=np.float32)
    assert PortAudioSpeaker("bird").play(Sound(samples, 16_000))
    assert b"".join(LooseStream.heard) == samples.tobytes()
    assert LooseStream.n_streams == 2
