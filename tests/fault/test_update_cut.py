# SPDX-License-Identifier: Apache-2.0
"""Power that goes at any step of an update, or of `start`, leaves a board that starts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from parrot.app import release, update
from parrot.app.cli import main
from parrot.app.release import Root
from parrot.base import files
from tests.unit.small_release import entries_of, file_of, root_with

ROOT = Path(__file__).parents[2]


def test_an_update_or_rollback_cut_at_any_step_leaves_one_whole_release(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fault.update_cut", tmp_path],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    steps, old, new = map(
        int, re.findall(r"each of (\d+) steps: (\d+) times the old, (\d+) the new", done.stdout)[0]
    )
    assert steps > 15 and old == steps and new == 1  # current is renamed last
    assert int(re.findall(r"rollback cut at each of (\d+)", done.stdout)[0]) >= 4


def test_the_release_is_on_the_disk_before_its_name_and_each_link_before_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = root_with(tmp_path / "opt")
    path = file_of(tmp_path, entries_of(version="2.0"))
    order: list[str] = []

    def noted(real: Callable[..., object], name: Callable[..., str]) -> Callable[..., object]:
        def act(*arguments: object) -> object:
            order.append(name(*arguments))
            return real(*arguments)

        return act

    monkeypatch.setattr(update, "_write", noted(update._write, lambda *_: "write"))
    monkeypatch.setattr(os, "sync", noted(os.sync, lambda: "sync"))
    monkeypatch.setattr(os, "rename", noted(os.rename, lambda a, b: f"name {Path(b).name}"))
    monkeypatch.setattr(os, "replace", noted(os.replace, lambda a, b: f"name {Path(b).name}"))
    for module in (update, release, files):
        real = files.sync_folder
        monkeypatch.setattr(module, "sync_folder", noted(real, lambda f: f"sync {f.name}"))
    assert main(["update", "--root", str(root), str(path)]) == 0
    first_name = order.index("name 2.0")
    assert order[first_name - 1] == "sync" and "write" not in order[first_name:]
    assert order[first_name:] == [
        "name 2.0", "sync releases", "name trial.0", "sync 2.0", "sync 2.0",
        "name previous", "sync opt", "name current", "sync opt",
    ]  # fmt: skip


@pytest.mark.parametrize("n_done", range(8))
def test_start_cut_between_any_two_commands_starts_one_of_the_two_next_time(
    tmp_path: Path, n_done: int
) -> None:
    """`start` goes back by commands; each is replaced, in turn, by the end of the shell."""
    root = root_with(tmp_path / "opt")
    path = file_of(tmp_path, entries_of(version="2.0"))
    assert main(["update", "--root", str(root), str(path)]) == 0
    (root / "releases/2.0/trial.0").rename(root / "releases/2.0/trial.3")
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    count = tmp_path / "count"
    for command in ("rm", "ln", "mv", "sync"):
        real = shutil.which(command)
        script = bin_folder / command
        script.write_text(
            f"#!/bin/sh\necho x >>{count}\n[ $(wc -l <{count}) -gt {n_done} ] && kill -9 $PPID\n"
            f'[ $(wc -l <{count}) -gt {n_done} ] || exec {real} "$@"\n'
        )
        script.chmod(0o755)
    env = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
    cut = subprocess.run(["sh", root / "start", "run"], env=env)
    assert cut.returncode == -9, "the last step is the eighth"
    again = subprocess.run(["sh", root / "start", "run"], capture_output=True, text=True)
    assert again.stdout == "I am 1.0: run\n"
    assert Root(root).name_of("current") == "1.0"
