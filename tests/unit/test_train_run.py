# SPDX-License-Identifier: Apache-2.0
"""A whole training run: killed and resumed, on two processes, and what it refuses."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install -e '.[train]'")

from parrot.base.errors import (  # noqa: E402
    ConfigError,
    CorruptError,
    EngineError,
    FormatError,
    MismatchError,
)
from tests.fault.test_hostile_files import small_disk  # noqa: E402
from tests.unit.train_world import write_recipe, write_shards  # noqa: E402
from tools import export  # noqa: E402
from tools.checkpoint import read_checkpoint  # noqa: E402
from tools.machine import Machine  # noqa: E402
from tools.recipe import Schedule, load_recipe  # noqa: E402
from tools.train import Trainer, main  # noqa: E402

ROOT = Path(__file__).parents[2]
PLAIN = Machine("cpu", bf16=False)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    write_shards(folder / "data")
    write_recipe(folder)
    return folder


def command(world: Path, out: Path, *launcher: str) -> list[str]:
    words = ["-m", "tools.train", str(world / "run.toml"), "--data", str(world / "data")]
    return [
        sys.executable,
        *launcher,
        *words,
        "--out",
        str(out),
        "--threads",
        "1",
        "--precision",
        "f32",
    ]


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def finish(words: list[str]) -> None:
    done = subprocess.run(
        words, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr


def curve(out: Path) -> list[tuple[str, ...]]:
    """The rows of curve.csv but the clock."""
    with open(out / "curve.csv", encoding="ascii") as file:
        return [tuple(v for k, v in row.items() if k != "seconds") for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def whole(world: Path) -> Path:
    """A run that was never disturbed."""
    assert main(command(world, world / "whole")[3:]) == 0
    return world / "whole"


def test_the_loss_falls_and_everything_is_left_to_read(whole: Path) -> None:
    bits = [float(row[2]) for row in curve(whole)]
    assert len(bits) == 20
    assert bits[-1] < bits[0] - 1
    assert (whole / "curve.png").read_bytes()[:4] == b"\x89PNG"
    assert (whole / "heldout.csv").read_text().startswith("step,bytes,tales,talk")
    assert "你叫什么名字" in (whole / "samples.txt").read_text("utf-8")


def test_killed_and_resumed_the_curve_is_the_same_bit_for_bit(world: Path, whole: Path) -> None:
    out = world / "killed"
    signalled(world, out, 10, signal.SIGKILL)
    killed = len(curve_lines(out))
    assert 10 <= killed < 21, "it was not killed in the middle"
    assert 0 < read_checkpoint(out / "last.safetensors")[1]["step"] < 20
    assert main(command(world, out)[3:]) == 0
    assert curve(out) == curve(whole)
    ours, theirs = (read_checkpoint(p / "last.safetensors")[0] for p in (out, whole))
    assert all(torch.equal(ours["model"][n], theirs["model"][n]) for n in theirs["model"])


def test_asked_to_stop_it_ends_its_step_saves_and_goes_on_later(world: Path, whole: Path) -> None:
    out = world / "paused"
    assert signalled(world, out, 5, signal.SIGTERM) == 3
    step = read_checkpoint(out / "last.safetensors")[1]["step"]
    assert 4 <= step == len(curve_lines(out)) - 1 < 20, "the last step is in the checkpoint"
    assert main(command(world, out)[3:]) == 0
    assert curve(out) == curve(whole)


def test_a_run_begins_with_given_weights(world: Path, whole: Path) -> None:
    half = world / "half.safetensors"
    assert export.main([str(whole / "last.safetensors"), "--safetensors", str(half)]) == 0
    assert main([*command(world, world / "later")[3:], "--from", str(half)]) == 0
    begun, fresh = (float(curve(p)[0][2]) for p in (world / "later", whole))
    assert begun < fresh - 1


@pytest.mark.parametrize("blob", [b"", b"not weights", None])
def test_weights_that_are_none_are_refused(
    world: Path, tmp_path: Path, blob: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "w.safetensors"
    if blob is not None:
        path.write_bytes(blob)
    assert main([*command(world, tmp_path / "run")[3:], "--from", str(path)]) == 1
    assert "w.safetensors: " in capsys.readouterr().err


def signalled(world: Path, out: Path, n_lines: int, number: signal.Signals) -> int:
    """Run until the curve has `n_lines`, send the signal; the exit status."""
    with subprocess.Popen(command(world, out), cwd=ROOT, env=ENVIRONMENT) as running:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and len(curve_lines(out)) < n_lines:
            time.sleep(0.01)
        running.send_signal(number)
        return running.wait(60)


def curve_lines(out: Path) -> list[str]:
    path = out / "curve.csv"
    return path.read_text().splitlines() if path.exists() else []


def test_two_processes_train_as_one(world: Path, whole: Path) -> None:
    out = world / "pair"
    finish(
        command(world, out, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone")
    )
    one, two = ([float(row[2]) for row in curve(p)] for p in (whole, out))
    assert two == pytest.approx(one, abs=2e-3)
    saved = read_checkpoint(out / "last.safetensors")[0]["state"]["0.2"]
    assert len(saved) == 4  # the rows of both


def trainer(world: Path, out: Path) -> Trainer:
    out.mkdir(exist_ok=True)
    return Trainer(load_recipe(world / "run.toml"), world / "data", out, PLAIN)


def test_the_state_is_carried_from_chunk_to_chunk_and_dropped_in_some_rows(
    world: Path, tmp_path: Path
) -> None:
    run = trainer(world, tmp_path)
    run.advance(1.0)
    before = run.state[1][2].clone()
    assert before.abs().sum((1, 2, 3)).gt(0).all()
    dropped = 0
    for run.step in range(1, 40):
        run.state = [tuple(torch.ones_like(x) for x in layer) for layer in run.state]
        run._forget_some()
        dropped += int((run.state[1][2].flatten(1)[:, 0] == 0).sum())
    assert dropped / (39 * 4) == pytest.approx(0.2, abs=0.08)


def test_a_step_that_blows_up_is_undone(world: Path, tmp_path: Path) -> None:
    run = trainer(world, tmp_path)
    for _ in range(3):
        run.advance(1.0)
    run._remember()
    good = run.optim.flat.clone()
    with torch.no_grad():
        run.model.head.weight[0, 0] = float("nan")
    bits, _ = run.advance(1.0)
    assert bits != bits
    assert torch.equal(run.optim.flat, good)
    assert not run.state[0][2].any()
    bits, _ = run.advance(1.0)
    assert 0 < bits < 10
    with pytest.raises(EngineError, match="lower rates"):
        for _ in range(9):
            run.optim.flat[-1] = float("nan")
            run.good["flat"][-1] = float("nan")
            run.advance(1.0)


def test_another_network_or_a_damaged_checkpoint_is_refused(world: Path, tmp_path: Path) -> None:
    run = trainer(world, tmp_path)
    run.save()
    text = (world / "run.toml").read_text().replace("layers = 3", "layers = 4")
    (tmp_path / "other.toml").write_text(text)
    with pytest.raises(MismatchError, match="take another --out"):
        Trainer(load_recipe(tmp_path / "other.toml"), world / "data", tmp_path, PLAIN)
    path = tmp_path / "last.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(CorruptError, match="whole safetensors file"):
        trainer(world, tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("width = 64", "width = 65", "model.width"),
        ("rows = 4", "row = 4", "batch.row"),
        ("muon = 0.02", "muons = 0.02", "rates.muons"),
        ("seed = 3", "sede = 3", "sede"),
        ("steps = 20", "steps = 0", "schedule.steps"),
        ("tales = 0.6", "tales = -1", "mix"),
        ("tales = 0.6", "tales = 'much'", "mix"),
        ("width = 64", "width = '64'", "model.width"),
        ("rows = 4", "rows = 4.5", "batch.rows"),
        ("rows = 4", "rows = true", "batch.rows"),
        ("reset = 0.2", "reset = nan", "batch.reset"),
        ("adam = 4e-3", "adam = -1.0", "rates.adam"),
        ("adam = 4e-3", "betas = [0.9]", "rates.betas"),
        ("seed = 3", "seed = -3", "seed"),
    ],
)
def test_a_wrong_recipe_is_refused_by_its_key(
    world: Path, tmp_path: Path, old: str, new: str, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.toml"
    path.write_text((world / "run.toml").read_text().replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load_recipe(path)
    assert caught.value.key == key
    words = [str(path), "--data", str(world / "data"), "--out", str(tmp_path / "out")]
    assert main(words) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_flipped_bit_of_a_checkpoint_is_seen(world: Path, tmp_path: Path) -> None:
    trainer(world, tmp_path).save()
    path = tmp_path / "last.safetensors"
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    for at in [*range(0, header, 41), *range(header, len(whole), 90_001), len(whole) - 1]:
        spoiled = bytearray(whole)
        spoiled[at] ^= 1 << at % 8
        path.write_bytes(spoiled)
        with pytest.raises((CorruptError, FormatError)) as refused:
            read_checkpoint(path)
        assert str(refused.value).startswith(f"{path}: "), at
    path.write_bytes(whole)
    assert read_checkpoint(path)[1]["step"] == 0


def test_a_disk_without_room_is_named_before_the_first_step(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "disk"
    out.mkdir()
    with small_disk(out):
        assert main(command(world, out)[3:]) == 1
        said = capsys.readouterr().err
        assert "MB are free, expected" in said and said.count("\n") == 1
        assert not list(out.iterdir())


def test_a_disk_that_fills_up_or_refuses_is_one_sentence(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "disk"
    out.mkdir()
    monkeypatch.setattr(Trainer, "check_room", lambda self: None)
    with small_disk(out):
        (out / "ballast").write_bytes(bytes(8192))
        assert main(command(world, out)[3:]) == 1
        said = capsys.readouterr().err.splitlines()[-1]
        assert "the disk is full; free some space and try again." in said
    (tmp_path / "file").write_text("in the way")
    assert main(command(world, tmp_path / "file" / "out")[3:]) == 1
    assert "a part of the path is a file" in capsys.readouterr().err


def test_the_schedule_warms_up_stays_and_ends_at_zero() -> None:
    by_step = Schedule(steps=100, warmup=10, decay=0.5)
    assert [round(by_step.scale(s, 0.0), 3) for s in (0, 9, 49, 75, 100)] == [0.1, 1, 1, 0.5, 0]
    by_clock = Schedule(minutes=2, warmup=0, decay=0.25)
    assert [by_clock.scale(9, t) for t in (0.0, 90.0, 105.0, 120.0)] == [1, 1, 0.5, 0]


def test_gpu_script_carries_a_run_over_several_commands_and_machines(
    world: Path, whole: Path, tmp_path: Path
) -> None:
    env = {**ENVIRONMENT, "PYTHON": sys.executable, "PARROT_SECONDS": "0.3"}
    env["PARROT_TRAIN"] = "--threads 1 --precision f32"
    script, packed, out = ROOT / "tools" / "gpu_run.sh", tmp_path / "packed", tmp_path / "out"
    (world / "data" / "manifest.json").write_text('{"shards": []}')
    subprocess.run([script, "pack", world / "data", packed], check=True, cwd=ROOT, timeout=60)

    def leg(work: str) -> int:
        words = [script, "run", packed, world / "run.toml", tmp_path / work, out]
        return subprocess.run(
            words, cwd=ROOT, env=env, timeout=120, stderr=subprocess.PIPE
        ).returncode

    assert leg("first") == 3  # paused
    env["PARROT_SECONDS"] = "500"
    assert leg("second") == 0  # a fresh machine goes on from the parts and completes
    assert curve(out) == curve(whole)
    assert max(p.stat().st_size for p in out.iterdir()) <= 16_000_000
