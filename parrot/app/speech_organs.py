# SPDX-License-Identifier: Apache-2.0
"""Opens ears and voices: which engine serves a language is decided here, by what is installed.

Files the owner brought go first (folders `sensevoice` and `melotts` beside the installed ones),
then what `parrot speech install` fetched, then what the system has. What is absent is named.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable
from importlib.util import find_spec
from shutil import which

import numpy as np

from parrot.app.ears import Ears
from parrot.app.speech_installed import PORTAUDIO, has, recognizer_name, speech_folder, voice_name
from parrot.app.voice_thread import Organs
from parrot.base.audio import Sound, level, read_wav
from parrot.base.errors import ConfigError
from parrot.faces.portaudio_speaker import PortAudioSpeaker
from parrot.faces.speaker import Aplay, SoundSpeaker, Speaker
from parrot.faces.synthesizer import Synthesizer
from parrot.faces.voice import Voice
from parrot.senses.microphone import Arecord, Microphone, PatientMicrophone, SoundMicrophone
from parrot.senses.portaudio_microphone import PortAudioMicrophone
from parrot.senses.recognizer import Recognizer
from parrot.senses.vad import Endpointer, Hush, Patience, Silero

RATE_HZ = 16_000  # of the doctor's tone


def open_recognizer(language: str, n_threads: int = 1) -> Recognizer:
    """Raises: ConfigError when nothing installed can hear `language`."""
    name, home = recognizer_name(language), speech_folder()
    if name == "sensevoice":
        from parrot.senses.sensevoice import SenseVoice

        return SenseVoice(home / name, language, n_threads)
    if name == "moonshine":
        from parrot.senses.moonshine import Moonshine

        return Moonshine(home / name, n_threads)
    if name == "whisper":
        from parrot.senses.whisper import Whisper

        return Whisper(home / name, language, n_threads)
    if name == "sphinx":
        from parrot.senses.sphinx import Sphinx

        return Sphinx()
    wanted = "zh" if language == "zh" else "en"
    raise ConfigError(
        f"ears: nothing installed hears {language!r}; run: parrot speech install {wanted}."
    )


def open_endpointer(patience: Patience | None = None) -> Endpointer:
    """Raises: ConfigError when the voice detector is not installed."""
    if not has("silero"):
        raise ConfigError("ears: no voice detector; run: parrot speech install en (or zh).")
    return Endpointer(Hush(Silero(speech_folder() / "silero" / "silero.onnx")), patience)


def open_ears(language: str, n_threads: int = 1) -> Ears:
    return Ears(open_endpointer(), open_recognizer(language, n_threads))


def _open_synthesizer(language: str, n_threads: int) -> Synthesizer:
    name, home = voice_name(language), speech_folder()
    if name == "melotts":
        from parrot.faces.melo import Melo

        return Melo(home / name, n_threads)
    if name == "hibari":
        from parrot.faces.hibari import Hibari

        return Hibari(home / name, n_threads)
    if name == "baker":
        from parrot.faces.baker import Baker

        return Baker(home / name, n_threads)
    from parrot.faces.espeak import Espeak

    return Espeak()


def open_voice(n_threads: int = 1) -> Voice:
    """Return the voice of both languages; each synthesizer is opened when first needed."""

    def opener(language: str) -> Callable[[], Synthesizer]:
        return lambda: _open_synthesizer(language, n_threads)

    return Voice({language: opener(language) for language in ("en", "zh")})


def open_microphone(device: str) -> Microphone:
    """Return a microphone of this machine. Raises: DeviceError when PortAudio has none."""
    name = portaudio_name(device, "arecord")
    return Arecord(device) if name is None else PortAudioMicrophone(name)


def open_speaker(device: str) -> Speaker:
    name = portaudio_name(device, "aplay")
    return Aplay(device) if name is None else PortAudioSpeaker(name)


def portaudio_name(device: str, program: str) -> str | None:
    """Return the name that PortAudio shall look for, "" for its default; None: use `program`.

    Where the program is not installed and the package is, "default" is PortAudio's.
    """
    kind, _, name = device.partition(":")
    if kind == PORTAUDIO:
        return name
    is_without = which(program) is None and find_spec(PORTAUDIO) is not None
    return "" if device == "default" and is_without else None


def organs_of(args: argparse.Namespace) -> Organs:
    """Return how ears and mouth are opened as the options say; `args.wav` is heard, in real time,
    in the place of a microphone."""

    def microphone(is_busy: Callable[[], bool]) -> Microphone:
        if args.wav:
            return PatientMicrophone(read_wav(args.wav), is_busy, is_paced=True)
        return open_microphone(args.microphone)

    return Organs(
        lambda language: open_ears(language, args.speech_threads),
        microphone,
        lambda: open_voice(args.speech_threads),
        lambda: open_speaker(args.speaker),
    )


def _no_ears(language: str) -> Ears:
    raise ConfigError("voice: keys replayed in virtual time have no sound; run: parrot sim.")


NO_ORGANS = Organs(
    _no_ears, lambda is_busy: SoundMicrophone(Sound(np.zeros(0, np.float32), RATE_HZ)),
    lambda: Voice({}), lambda: SoundSpeaker(RATE_HZ),
)  # fmt: skip


def play_and_record(device: str = "default") -> tuple[float, float]:
    """Return the level of the room, then with a tone played into it. Raises: DeviceError."""
    microphone, speaker = open_microphone(device), open_speaker(device)
    tone = 0.3 * np.sin(2 * np.pi * 880 * np.arange(RATE_HZ // 2) / RATE_HZ)
    player = threading.Thread(
        target=speaker.play, args=(Sound(tone.astype(np.float32), RATE_HZ),), daemon=True
    )
    try:
        quiet = [level(microphone.read()) for _ in range(10)][3:]
        player.start()
        loud = [level(microphone.read()) for _ in range(20)]
        player.join()
    finally:
        microphone.close()
        speaker.close()
    return float(np.median(quiet)), max(loud)
