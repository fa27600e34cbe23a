# SPDX-License-Identifier: Apache-2.0
"""Sound cards through arecord and aplay: programs of ours stand on the path in their place."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from parrot.base.audio import Sound
from parrot.base.errors import DeviceMissing, DeviceRefused
from parrot.faces import speaker as speaker_module
from parrot.faces.speaker import Aplay, SoundSpeaker
from parrot.senses import microphone as microphone_module
from parrot.senses.microphone import BLOCK, Arecord, SoundMicrophone

SECOND = Sound(np.full(16_000, 0.25, np.float32), 16_000)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is looked in before the system's own; retries take no time."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(speaker_module, "RETRY_S", 0.01)
    monkeypatch.setattr(microphone_module, "RETRY_S", 0.01)
    return tmp_path


def put(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_a_sound_is_played_whole(programs: Path) -> None:
    put(programs, "aplay", f"cat > {programs}/played; echo $@ > {programs}/asked")
    assert Aplay("hw:1").play(SECOND)
    assert (programs / "played").stat().st_size == 32_000
    assert "-D hw:1 -t raw -f S16_LE -r 16000 -c 1" in (programs / "asked").read_text()


def test_a_card_that_is_unplugged_is_tried_again_with_the_rest(programs: Path) -> None:
    put(
        programs,
        "aplay",
        f"""
if [ -e {programs}/gone ]; then cat >> {programs}/after; exit 0; fi
head -c 16000 > {programs}/before; touch {programs}/gone
echo 'aplay: pcm_write: write error: No such device' >&2; exit 1""",
    )
    assert Aplay().play(SECOND)
    after = (programs / "after").stat().st_size
    assert 16_000 <= after < 32_000  # the rest, and what may not have been heard, not everything


def test_a_card_that_stays_away_is_named(programs: Path) -> None:
    put(programs, "aplay", "echo 'ALSA lib: Unknown PCM hw:7' >&2; exit 1")
    with pytest.raises(DeviceMissing, match=r"Unknown PCM hw:7.*aplay -L"):
        Aplay("hw:7").play(SECOND)


def test_a_busy_card_is_named(programs: Path) -> None:
    put(programs, "aplay", "echo 'aplay: audio open error: Device or resource busy' >&2; exit 1")
    with pytest.raises(DeviceRefused, match="busy"):
        Aplay().play(SECOND)


def test_no_aplay_says_what_to_install(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(DeviceMissing, match="apt install alsa-utils"):
        Aplay().play(SECOND)


def test_stop_is_silence_at_once_until_resume(programs: Path) -> None:
    put(programs, "aplay", f"exec 3>{programs}/on; exec sleep 30")
    aplay = Aplay()
    ended: list[bool] = []
    thread = threading.Thread(target=lambda: ended.append(aplay.play(SECOND)))
    thread.start()
    while not (programs / "on").exists():
        time.sleep(0.001)
    begun = time.monotonic()
    aplay.stop()
    thread.join(5)
    assert ended == [False]
    assert time.monotonic() - begun < 0.2
    assert not aplay.play(SECOND)
    put(programs, "aplay", "cat > /dev/null")
    aplay.resume()
    assert aplay.play(SECOND)


def test_the_microphone_gives_blocks(programs: Path) -> None:
    put(programs, "arecord", "head -c 2048 /dev/zero; exec sleep 30")
    microphone = Arecord()
    assert [len(microphone.read()) for _ in range(2)] == [BLOCK, BLOCK]
    microphone.close()
    assert len(microphone.read()) == 0


def test_a_microphone_that_goes_away_is_opened_again(programs: Path) -> None:
    put(
        programs, "arecord", "head -c 1024 /dev/zero; echo 'read error: No such device' >&2; exit 1"
    )
    microphone = Arecord()
    assert len(microphone.read()) == BLOCK
    with pytest.raises(DeviceMissing, match=r"No such device.*arecord -L"):
        microphone.read()
    assert len(microphone.read()) == BLOCK
    microphone.close()


def test_permission_is_named(programs: Path) -> None:
    put(programs, "arecord", "echo 'arecord: open error: Permission denied' >&2; exit 1")
    microphone = Arecord()
    with pytest.raises(DeviceRefused, match="group audio"):
        microphone.read()
    microphone.close()


def test_a_file_is_heard_once_and_padded() -> None:
    microphone = SoundMicrophone(Sound(np.ones(BLOCK + 10, np.float32), 16_000))
    first, second, third = (microphone.read() for _ in range(3))
    assert len(first) == len(second) == BLOCK
    assert second.sum() == 10
    assert len(third) == 0


def test_a_speaker_in_memory_keeps_what_it_plays() -> None:
    speaker = SoundSpeaker(16_000)
    assert speaker.play(SECOND)
    speaker.stop()
    assert not speaker.play(SECOND)
    assert len(speaker.sound.samples) == 16_000
