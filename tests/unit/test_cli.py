# SPDX-License-Identifier: Apache-2.0
"""The commands, run as a person runs them: exit codes, words, JSON."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from parrot.app.cli import COMMANDS
from parrot.model.codec import TensorType
from parrot.model.random_model import write_random_model
from tests.conftest import TINY

PARROT = [sys.executable, "-m", "parrot"]


def parrot(
    *args: str | Path, home: Path, stdin: bytes = b"", **extra: str
) -> subprocess.CompletedProcess[bytes]:
    env = {**os.environ, "HOME": str(home), "XDG_DATA_HOME": str(home / "data"), **extra}
    return subprocess.run(
        [*PARROT, *map(str, args)], input=stdin, capture_output=True, env=env, check=False
    )


def test_help_is_instant_and_names_every_command(tmp_path: Path) -> None:
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        run = parrot("--help", home=tmp_path)
        times.append(time.perf_counter() - begun)
        assert run.returncode == 0
    assert all(f"  {name} ".encode() in run.stdout for name in COMMANDS)
    bare = []
    for _ in range(5):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        bare.append(time.perf_counter() - begun)
    # 0.25 s on a quiet machine; on a busy one, little above bare Python.
    assert min(times) < 0.25 + 3 * statistics.median(bare)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_explains_itself_with_examples(name: str, tmp_path: Path) -> None:
    run = parrot(name, "--help", home=tmp_path)
    assert run.returncode == 0
    assert b"examples:" in run.stdout


def test_wrong_usage_is_two_with_words(tmp_path: Path) -> None:
    for args in [("sing",), ("chat", "--temperature", "hot"), ("chat", "--top-p", "7"), ()]:
        run = parrot(*args, home=tmp_path)
        assert run.returncode == 2
        assert run.stderr
        assert b"Traceback" not in run.stderr


def test_t9_prints_candidates_as_json_and_as_a_table(tmp_path: Path) -> None:
    plain = parrot("t9", "64426", "-n", "3", home=tmp_path)
    assert plain.stdout.decode().split()[1] == "你好"
    assert len(plain.stdout.splitlines()) == 3
    found = json.loads(parrot("t9", "64426", "-n", "3", "--json", home=tmp_path).stdout)
    assert found["candidates"][0]["text"] == "你好"
    assert all(set(c) == {"text", "score"} for c in found["candidates"])


def test_t9_asks_the_model_when_there_is_a_context(tmp_path: Path) -> None:
    found = []
    for context in ([], ["--context", "早上好！"], ["--context", "Good night!"]):
        run = parrot("t9", "94664486", *context, "--json", home=tmp_path)
        assert run.returncode == 0, run.stderr
        found.append(json.loads(run.stdout)["candidates"])
    assert found[0] != found[1] != found[2]
    assert {c["text"] for c in found[1]} & {c["text"] for c in found[0]}


@pytest.mark.parametrize("args", [("0",), ("6a",), ("",), ("2" * 65,), ("64426", "-n", "0")])
def test_t9_says_what_it_wants(args: tuple[str, ...], tmp_path: Path) -> None:
    run = parrot("t9", *args, home=tmp_path)
    assert run.returncode == 2
    assert run.stderr.startswith(b"parrot: t9:")
    assert b"expected" in run.stderr


def test_lines_in_lines_out(tmp_path: Path) -> None:
    run = parrot("chat", "--seed", "3", home=tmp_path, stdin="Hello!\n\n你好\n".encode())
    assert run.returncode == 0, run.stderr
    lines = run.stdout.decode("utf-8", "strict").splitlines()
    assert len(lines) == 2
    assert all(lines)


def test_bytes_that_are_no_text_do_no_harm(tmp_path: Path) -> None:
    hostile = b"\xff\xfe \x00\x02\x06\x03 hi\n" + b"x" * 10_000 + b"\n"
    run = parrot("chat", "--fresh", home=tmp_path, stdin=hostile)
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.decode("utf-8", "strict").splitlines()) == 2


def test_once_goes_on_from_the_last_talk_and_fresh_does_not(tmp_path: Path) -> None:
    def lived() -> int:
        run = parrot("state", "show", "--json", home=tmp_path)
        return int(json.loads(run.stdout)["position"])

    assert lived() == 0
    first = parrot("chat", "--once", "Hello!", "--seed", "1", home=tmp_path)
    assert first.returncode == 0
    after = lived()
    assert after > 8
    parrot("chat", "--once", "Hello!", "--seed", "1", "--fresh", home=tmp_path)
    assert lived() == after
    parrot("chat", "--once", "And you?", home=tmp_path)
    assert lived() > after


def test_chat_with_stdout_closed_ends_quietly(tmp_path: Path) -> None:
    script = (
        f"yes hello | head -50 | {' '.join(PARROT)} chat --fresh | head -1; exit ${{PIPESTATUS[2]}}"
    )
    env = {**os.environ, "HOME": str(tmp_path)}
    run = subprocess.run(["bash", "-c", script], capture_output=True, env=env, check=False)
    assert run.stderr == b""
    assert run.returncode in (1, 141)


def test_eval_prints_the_contracted_json(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The cat sat on the mat. " * 20)
    (tmp_path / "b.txt").write_text("我们一起去公园玩。" * 20)
    files = [tmp_path / "a.txt", tmp_path / "b.txt"]
    report = json.loads(parrot("eval", "--json", *files, home=tmp_path).stdout)
    sizes = [path.stat().st_size for path in files]
    assert [row["bytes"] for row in report["files"]] == sizes
    assert [row["path"] for row in report["files"]] == [str(path) for path in files]
    bits = [row["bits_per_byte"] for row in report["files"]]
    assert all(0 < value < 8 for value in bits)
    mean = sum(b * n for b, n in zip(bits, sizes, strict=True)) / sum(sizes)
    assert report["bits_per_byte"] == pytest.approx(mean)
    carried = json.loads(parrot("eval", "--json", "--state-carry", *files, home=tmp_path).stdout)
    assert carried["files"][0] == report["files"][0]
    assert carried["files"][1] != report["files"][1]


def test_eval_of_random_bytes_is_about_eight_bits(tmp_path: Path) -> None:
    path, text = tmp_path / "flat.gguf", tmp_path / "noise.bin"
    write_random_model(path, TINY, seed=1, matrix=TensorType.F32)
    text.write_bytes(bytes(range(256)) * 8)
    report = json.loads(parrot("eval", "--json", "--model", path, text, home=tmp_path).stdout)
    assert 7.5 < report["bits_per_byte"] < 10  # a random model is a little worse than none


def test_bench_prints_the_contracted_json(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    write_random_model(path, TINY, seed=1, matrix=TensorType.Q8_0)
    args = ("--rounds", "1", "--threads", "1", "--batch", "2", "--context", "64")
    run = parrot("bench", "--json", "--model", path, *args, home=tmp_path)
    report = json.loads(run.stdout)
    assert report["decode"]["bytes_per_s"] > 0
    assert report["decode"]["bandwidth_share"] > 0
    assert report["prefill"]["bytes_per_s"] > 0
    assert {"p50", "p95"} <= report["first_byte_ms"].keys()
    assert report["rss_mb"] > 1
    assert {"cpu", "cores", "arch"} <= report["machine"].keys()
    (tmp_path / "before.json").write_bytes(run.stdout)
    again = parrot(
        "bench", "--model", path, *args, "--compare", tmp_path / "before.json", home=tmp_path
    )
    assert b"decode:" in again.stdout
    assert b"times" in again.stdout
    wrong = parrot("bench", "--model", path, *args, "--compare", path, home=tmp_path)
    assert wrong.returncode == 1
    assert b"not the output of parrot bench --json" in wrong.stderr


def test_doctor_finds_a_healthy_machine_healthy_and_names_what_is_not(tmp_path: Path) -> None:
    run = parrot("doctor", "--json", home=tmp_path)
    organs = {row["organ"]: row for row in json.loads(run.stdout)["organs"]}
    assert {"model", "cpu", "memory", "soul", "disk"} <= organs.keys()
    assert organs["model"]["is_well"]
    ill = parrot("doctor", "--model", tmp_path / "none.gguf", home=tmp_path)
    assert ill.returncode == 1
    assert b"ill  model" in ill.stdout
    assert b"check the path" in ill.stdout


def test_model_commands_convert_and_check(tmp_path: Path) -> None:
    source, target = tmp_path / "f.gguf", tmp_path / "q.gguf"
    write_random_model(source, TINY, seed=1, matrix=TensorType.F16)
    assert parrot("model", "quantize", source, target, home=tmp_path).returncode == 0
    run = parrot("model", "verify", target, "--against", source, "--json", home=tmp_path)
    assert json.loads(run.stdout)["worst_error"] < 0.02
    info = json.loads(parrot("model", "info", target, "--json", home=tmp_path).stdout)
    assert info["description_bytes"] < 64_000 < info["weights_bytes"]


def test_chat_costs_little_memory_above_numpy(tmp_path: Path) -> None:
    peak = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    env = {**os.environ, "HOME": str(tmp_path)}

    def measure(code: str) -> int:
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, env=env, check=True)
        return int(run.stdout.splitlines()[-1])

    bare = measure(f"import numpy; {peak}")
    chat = measure(
        f"from parrot.app.cli import main; main(['chat', '--fresh', '--once', 'Hello!']); {peak}"
    )
    assert chat - bare < 64 * 1024  # KiB
