# SPDX-License-Identifier: Apache-2.0
"""The commands that stand on the soul, called as a person calls them."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from parrot.app.cli import main
from parrot.mind.soul import Soul
from tools.kill_soul import tiny_model


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    model = tiny_model(tmp_path_factory.mktemp("model"))
    return ["--model", str(model), "--threads", "1"]


def chat(options: list[str], *more: str) -> int:
    return main(["chat", *options, "--max-bytes", "12", *more])


def shown(options: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    capsys.readouterr()
    assert main(["state", "show", "--json", *options]) == 0
    facts: dict[str, object] = json.loads(capsys.readouterr().out)
    return facts


def test_once_prints_one_reply_and_the_next_talk_goes_on(
    options: list[str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert chat(options, "--once", "hello") == 0
    assert capsys.readouterr().out.endswith("\n")
    first = shown(options, capsys)
    assert chat(options, "--once", "again") == 0
    second = shown(options, capsys)
    assert int(str(second["position"])) > int(str(first["position"])) > 8
    assert second["turns"] == 2 and second["model"] == first["model"]
    assert second["soul"] == str(home / "data" / "parrot" / "soul.db")


def test_piped_lines_get_one_line_each(
    options: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = io.TextIOWrapper(io.BytesIO("one\n\n你好\n".encode() + b"\xff\xfe\n"), "utf-8")
    monkeypatch.setattr("sys.stdin", lines)
    assert chat(options) == 0
    assert capsys.readouterr().out.count("\n") == 3


def test_words_to_the_program_work_in_a_pipe_too(
    options: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = io.TextIOWrapper(io.BytesIO(b"one\n/good\ntwo\n/undo\n/again\n/help\n"), "utf-8")
    monkeypatch.setattr("sys.stdin", lines)
    assert chat(options) == 0
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 6
    assert said[1] == "felt as good" and said[3].startswith("taken back · ")
    assert said[5] == "there are /again, /undo, /good and /bad"
    assert shown(options, capsys)["turns"] == 3  # one, two, and one answered anew


def test_fresh_keeps_nothing(options: list[str], home: Path) -> None:
    assert chat(options, "--fresh", "--once", "hello") == 0
    assert not (home / "data").exists()


def test_a_seed_repeats_a_fresh_talk(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    outs = []
    for _ in range(2):
        chat(options, "--fresh", "--seed", "3", "--once", "hello")
        outs.append(capsys.readouterr().out)
    assert outs[0] == outs[1]


def test_a_soul_that_cannot_be_written_is_read_and_the_talk_goes_on(
    options: list[str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert chat(options, "--once", "hello") == 0
    capsys.readouterr()
    lock = home / "data" / "parrot" / "soul.db.lock"
    lock.unlink()
    lock.mkdir()  # what even root cannot open for writing
    assert chat(options, "--once", "do you remember?") == 0
    said = capsys.readouterr()
    assert said.out.endswith("\n")
    assert said.err.count("The talk goes on, unkept.") == 1 and "soul.db" in said.err
    with Soul.in_memory(home / "data" / "parrot" / "soul.db") as soul:
        assert soul.tip == 1


def test_names_of_states_work_from_the_command_line(
    options: list[str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chat(options, "--once", "hello")
    file = str(home / "grown.state")
    for words in (["save", "p"], ["branch", "x"], ["load", "main"], ["undo"], ["load", "before"]):
        assert main(["state", *words, *options]) == 0, words
    assert main(["state", "export", file, *options]) == 0
    before = shown(options, capsys)
    assert main(["state", "import", file, *options]) == 0
    assert shown(options, capsys)["position"] == before["position"]
    capsys.readouterr()
    assert main(["state", "list", "--json", *options]) == 0
    names = {row["name"]: row["kind"] for row in json.loads(capsys.readouterr().out)["states"]}
    assert names == {"main": "line", "x": "line", "p": "saved", "before": "saved"}
    assert main(["state", "diff", "p", "p", "--json", *options]) == 0
    assert json.loads(capsys.readouterr().out)["rms"] == 0
    assert main(["state", "undo", "7", *options]) == 2
    assert "expected at most 0; undo fewer" in capsys.readouterr().err


def test_a_soul_in_use_is_an_error_that_names_the_process(
    options: list[str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Soul.open(home / "data" / "parrot" / "soul.db"):
        assert chat(options, "--once", "hello") == 1
    assert f"in use by process {os.getpid()}" in capsys.readouterr().err


def test_mood_shows_four_levels_and_the_forecast(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    chat(options, "--once", "haha")
    capsys.readouterr()
    assert main(["mood", "--json"]) == 0
    mood = json.loads(capsys.readouterr().out)
    assert set(mood["hormones"]) == {"reward", "stress", "bond", "tiredness"}
    assert mood["hormones"]["reward"] > 0.5 and mood["nats_per_byte"]["heard_surprise"] > 0
    assert main(["mood"]) == 0
    assert "reward" in capsys.readouterr().out


def test_the_doctor_reads_every_page(
    options: list[str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chat(options, "--once", "hello")
    capsys.readouterr()
    main(["doctor", "--json", *options])
    organs = {row["organ"]: row for row in json.loads(capsys.readouterr().out)["organs"]}
    assert organs["soul"]["is_well"] and "every page is well; 1 turns" in organs["soul"]["says"]
    path = home / "data" / "parrot" / "soul.db"
    blob = bytearray(path.read_bytes())
    blob[2 * 4096 : 3 * 4096] = b"\xff" * 4096
    path.write_bytes(blob)
    main(["doctor", "--json", *options])
    organs = {row["organ"]: row for row in json.loads(capsys.readouterr().out)["organs"]}
    assert not organs["soul"]["is_well"]
