# SPDX-License-Identifier: Apache-2.0
"""Run by test_update_cut.py: end an update before each thing it does to the disk, in turn.

    python -m tests.fault.update_cut FOLDER

Every open for writing, rename, removal, link, new folder and child process of Python passes an
audit hook; a forked child dies there, at the k-th, for every k. What it leaves must start as the
old release or as the new one, whole, and the same update must then succeed. So for going back.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from parrot.app.cli import main
from parrot.app.release import Root
from tests.unit.small_release import entries_of, file_of, root_with, tree_of

CUT = 77
ENTRIES = {version: entries_of(version=version) for version in ("1.0", "2.0")}
_EVENTS = {"os.rename", "os.remove", "os.symlink", "os.mkdir", "os.rmdir", "subprocess.Popen"}


def dies_at(k: int, root: Path, word: str) -> bool:
    """Let a child update `root` and die before its k-th change there; say whether it did."""
    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code not in (0, CUT):
            raise SystemExit(f"update_cut: at {k}: exit code {code}")
        return code == CUT
    seen = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        is_change = event in _EVENTS
        if event == "open" and isinstance(arguments[2], int):
            is_change = bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if is_change and str(root) in str(arguments[0:2]):
            if seen == k:
                os._exit(CUT)
            seen += 1

    sys.addaudithook(hook)
    os._exit(main(["update", "--root", str(root), word]))


def start(root: Path) -> str:
    done = subprocess.run(["sh", root / "start", "run"], capture_output=True, text=True)
    return done.stdout


def check(k: int, root: Path, is_proved: bool) -> str:
    """Require one whole release to run; return which. `is_proved`: it may be without a trial."""
    name = Root(root).name_of("current")
    found = tree_of(root)
    for path, entry in ENTRIES[str(name)].items():
        if found.get(f"releases/{name}/{path}") != entry.data:
            raise SystemExit(f"update_cut: at {k}: {path} is not that of the release")
    if name == "2.0" and Root(root).starts_on_trial() is None and not is_proved:
        raise SystemExit(f"update_cut: at {k}: the new release runs without a trial")
    if start(root) != f"I am {name}: run\n":
        raise SystemExit(f"update_cut: at {k}: {name} does not start")
    return str(name)


def updates(folder: Path, soul: Path) -> str:
    path = file_of(folder, ENTRIES["2.0"])
    seen = {"1.0": 0, "2.0": 0}
    k, is_cut = 0, True
    while is_cut:
        root = root_with(folder / "opt")
        is_cut = dies_at(k, root, str(path))
        seen[check(k, root, False)] += 1
        if Root(root).name_of("current") == "1.0":
            if main(["update", "--root", str(root), str(path)]):
                raise SystemExit(f"update_cut: at {k}: the second try failed")
            check(k, root, False)
        names = {path.name for path in (root / "releases").iterdir()}
        if Root(root).name_of("previous") != "1.0" or not {"1.0"} < names:
            raise SystemExit(f"update_cut: at {k}: the old release is gone")
        shutil.rmtree(root)
        k += 1
    if soul.read_bytes() != b"a soul":
        raise SystemExit("update_cut: the soul was touched")
    return (
        f"update cut at each of {k - 1} steps: {seen['1.0']} times the old, {seen['2.0']} the new"
    )


def rollbacks(folder: Path) -> str:
    path = file_of(folder, ENTRIES["2.0"])
    k, is_cut = 0, True
    while is_cut:
        root = root_with(folder / "opt")
        main(["update", "--root", str(root), str(path)])
        Root(root).confirm()
        is_cut = dies_at(k, root, "--rollback")
        check(k, root, True)
        if not is_cut and Root(root).name_of("current") != "1.0":
            raise SystemExit("update_cut: it did not go back")
        shutil.rmtree(root)
        k += 1
    return f"rollback cut at each of {k - 1} steps"


if __name__ == "__main__":
    here = Path(sys.argv[1])
    stdout, devnull = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)  # what the updates say
    (here / "soul.db").write_bytes(b"a soul")
    said = [updates(here, here / "soul.db"), rollbacks(here)]
    os.write(stdout, ("\n".join(said) + "\n").encode())
