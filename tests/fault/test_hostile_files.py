# SPDX-License-Identifier: Apache-2.0
"""Model and state files that are cut, flipped or something else: an error in words, never a crash.

`tests/native/test_files.c` does the same to the C readers alone, every bit under AddressSanitizer;
here the whole way from a path to an exception or to the words and the exit code of a command.
"""

from __future__ import annotations

import gzip
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from parrot.app.cli import main
from parrot.base.errors import CorruptError, FileError, FormatError, MismatchError, ParrotError
from parrot.engine.model import Model
from parrot.model.gguf import read_gguf
from parrot.model.random_model import write_random_model
from parrot.model.shape import Shape

SHAPE = Shape(
    n_layer=1, n_embd=16, head_size=16, n_ffn=16, n_vocab=256,
    rank_w=1, rank_a=1, rank_v=1, rank_g=1,
)  # fmt: skip

# STYLE of messages: where: seen[, expected]; what to do. One sentence, one line.
SENTENCE = re.compile(r"^[^\n]+: [^\n]+; [^;\n]+\.$")


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "tiny.gguf"
    write_random_model(path, SHAPE)
    return path


@pytest.fixture(scope="module")
def whole(model_path: Path) -> bytes:
    return model_path.read_bytes()


@pytest.fixture(scope="module")
def data_at(model_path: Path) -> int:
    """Return where the header ends and the data begins."""
    return min(entry.offset for entry in read_gguf(model_path).tensors.values())


@pytest.fixture(scope="module")
def model(model_path: Path) -> Model:
    return Model.open(model_path, threads=1)


@pytest.fixture(scope="module")
def state_blob(model: Model) -> bytes:
    state = model.new_state()
    model.forward(b"Hello", state)
    return state.to_bytes()


def assert_sentence(error: ParrotError) -> None:
    assert SENTENCE.match(str(error)), str(error)


def opens(path: Path) -> bool:
    """Open and live one byte: True, or False when it is refused in words."""
    try:
        model = Model.open(path, threads=1)
        model.forward(b"a", model.new_state())
    except ParrotError as exc:
        assert_sentence(exc)
        return False
    return True


# ---- models


def test_model_cut_anywhere_is_refused(whole: bytes, data_at: int, tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(whole)
    sizes = [*range(data_at, len(whole), 1009), *range(data_at)]
    for size in sorted(sizes, reverse=True):
        os.truncate(path, size)
        assert not opens(path), size


def test_model_with_a_flipped_bit_is_refused_or_runs(
    whole: bytes, data_at: int, tmp_path: Path
) -> None:
    path, n_refused = tmp_path / "flipped.gguf", 0
    path.write_bytes(whole)
    # Every bit of the first keys; then one bit of each byte, another one in each.
    bits = [*range(8 * 600), *(8 * at + at % 8 for at in range(600, data_at))]
    fd = os.open(path, os.O_RDWR)
    try:
        for bit in bits:
            os.pwrite(fd, bytes([whole[bit // 8] ^ 1 << bit % 8]), bit // 8)
            n_refused += not opens(path)
            os.pwrite(fd, whole[bit // 8 : bit // 8 + 1], bit // 8)
    finally:
        os.close(fd)
    assert n_refused > len(bits) // 4
    assert opens(path)


def test_model_of_extreme_weights_opens_and_lives(
    whole: bytes, data_at: int, tmp_path: Path
) -> None:
    for fill in (b"\xff", b"\x7f", b"\x00", b"\x80\x7f"):
        path = tmp_path / "extreme.gguf"
        path.write_bytes(whole[:data_at] + (fill * len(whole))[: len(whole) - data_at])
        assert opens(path)


# ---- states


def test_state_cut_or_flipped_is_refused(model: Model, state_blob: bytes) -> None:
    for size in range(len(state_blob)):
        with pytest.raises((CorruptError, FormatError)) as refused:
            model.state_from_bytes(state_blob[:size], "x.state")
        assert_sentence(refused.value)
    for bit in [*range(8 * 48), *range(8 * 48, 8 * len(state_blob), 97)]:
        flipped = bytearray(state_blob)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FileError) as refused:
            model.state_from_bytes(bytes(flipped), "x.state")
        assert_sentence(refused.value)
    assert model.state_from_bytes(state_blob, "x.state").position == 5


def test_state_of_another_model_is_refused(model: Model, state_blob: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.gguf"
    write_random_model(path, SHAPE, seed=2)
    with pytest.raises(MismatchError, match=r"grown by model [0-9a-f]{8}, this model is"):
        Model.open(path, threads=1).state_from_bytes(state_blob, "x.state")


# ---- commands

Spoil = Callable[[bytes], bytes]
WRONG_MODELS: dict[str, tuple[Spoil, str]] = {
    "zip": (lambda whole: b"PK\x03\x04" + whole, "zip"),
    "gzip": (gzip.compress, "gzip"),
    "text": (lambda whole: b"Once upon a time there was a parrot.", "expected 47 47 55 46"),
    "state": (lambda whole: b"PST1" + whole, "parrot state"),
    "version 2": (lambda whole: whole[:4] + b"\2" + whole[5:], "version 2"),
    "architecture": (lambda whole: whole.replace(b"rwkv7", b"llama", 1), "llama"),
    "absurd tensors": (lambda whole: whole[:8] + b"\xff" * 8 + whole[16:], "tensors"),
    "absurd width": (
        lambda whole: whole.replace(
            b"embedding_length\4\0\0\0\x10\0", b"embedding_length\4\0\0\0\x10\xff", 1
        ),
        "embedding_length",
    ),
    "cut": (lambda whole: whole[: len(whole) // 2], "copy it again"),
    "empty": (lambda whole: b"", "0 bytes"),
}


def run_main(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    """Return exit code and standard error of a command."""
    code = main(list(argv))
    return code, capsys.readouterr().err


@pytest.mark.parametrize("name", WRONG_MODELS)
def test_chat_with_a_wrong_model_says_what_it_is(
    name: str, whole: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, word = WRONG_MODELS[name]
    path = tmp_path / "wrong.gguf"
    path.write_bytes(spoil(whole))
    assert path.read_bytes() != whole
    code, said = run_main(capsys, "chat", "--once", "Hi", "--model", str(path), "--fresh")
    assert code == 1
    assert said.startswith("parrot: ")
    assert SENTENCE.match(said.removeprefix("parrot: ").rstrip("\n")), said
    assert word in said


@pytest.mark.parametrize("command", ["info", "verify"])
@pytest.mark.parametrize("name", ["zip", "version 2", "architecture", "cut", "empty"])
def test_model_commands_refuse_a_wrong_model(
    name: str, command: str, whole: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wrong.gguf"
    path.write_bytes(WRONG_MODELS[name][0](whole))
    code, said = run_main(capsys, "model", command, str(path))
    assert code == 1
    assert SENTENCE.match(said.removeprefix("parrot: ").rstrip("\n")), said


@pytest.mark.parametrize("what", ["a folder", "nothing", "below a file", "a pipe", "not UTF-8"])
def test_chat_with_a_path_that_is_no_model(
    what: str, model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    paths = {
        "a folder": str(tmp_path),
        "nothing": str(tmp_path / "no.gguf"),
        "below a file": str(model_path / "x.gguf"),
        "a pipe": str(tmp_path / "pipe"),
        "not UTF-8": os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.gguf"),
    }
    code, said = run_main(capsys, "chat", "--once", "Hi", "--model", paths[what], "--fresh")
    assert code == 1
    assert SENTENCE.match(said.removeprefix("parrot: ").rstrip("\n")), said


@pytest.mark.parametrize("spoil", ["cut", "flipped"])
def test_a_state_file_given_as_a_soul_is_refused_and_not_overwritten(
    spoil: str,
    model_path: Path,
    state_blob: bytes,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    soul = tmp_path / "last.state"
    flipped = bytearray(state_blob)
    flipped[100] ^= 1
    blob = {"cut": state_blob[:-1], "flipped": bytes(flipped)}[spoil]
    soul.write_bytes(blob)
    code, said = run_main(
        capsys, "chat", "--once", "Hi", "--model", str(model_path), "--soul", str(soul)
    )
    assert code == 1
    assert SENTENCE.match(said.removeprefix("parrot: ").rstrip("\n")), said
    assert soul.read_bytes() == blob


@pytest.mark.parametrize("spoil", ["cut", "flipped"])
def test_a_damaged_state_is_not_imported(
    spoil: str,
    model_path: Path,
    state_blob: bytes,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flipped = bytearray(state_blob)
    flipped[100] ^= 1
    source, soul = tmp_path / "sent.state", tmp_path / "soul.db"
    source.write_bytes({"cut": state_blob[:-1], "flipped": bytes(flipped)}[spoil])
    argv = ["--soul", str(soul), "--model", str(model_path)]
    code, said = run_main(capsys, "state", "import", str(source), *argv)
    assert code == 1
    assert SENTENCE.match(said.removeprefix("parrot: ").rstrip("\n")), said
    assert main(["state", "show", "--json", *argv]) == 0
    assert '"position": 0' in capsys.readouterr().out


# ---- disks


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mount 12 kB at `folder`; skip the test where that is not allowed."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=12k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no mount command here")
    if done.returncode != 0:
        pytest.skip(f"mounting needs root: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_full_disk_keeps_the_old_state(
    model_path: Path, state_blob: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "disk" / "old.state"
    target.parent.mkdir()
    with small_disk(target.parent):
        target.write_bytes(state_blob)
        (target.parent / "ballast").write_bytes(bytes(8192))
        argv = ["--soul", str(tmp_path / "soul.db"), "--model", str(model_path)]
        code, said = run_main(capsys, "state", "export", str(target), *argv)
        assert (code, target.read_bytes()) == (1, state_blob)
        assert "the disk is full" in said
        assert SENTENCE.match(said.removeprefix("parrot: ").rstrip("\n")), said
        assert sorted(path.name for path in target.parent.iterdir()) == ["ballast", "old.state"]


def test_home_that_cannot_be_written_is_told_once_and_the_talk_goes_on(
    model_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/sys/parrot")  # refuses folders, of root too
    argv = ["chat", "--once", "Hi", "--model", str(model_path), "--max-bytes", "8"]
    code = main(argv)
    said = capsys.readouterr()
    assert code == 0
    assert said.out.endswith("\n")
    assert said.err.count("/sys/parrot") == 1
    assert "permission denied" in said.err
