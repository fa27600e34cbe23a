# SPDX-License-Identifier: Apache-2.0
"""`parrot update`: what takes over, what is refused in one sentence, how a board goes back."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from parrot.app import release, update
from parrot.app.cli import main
from parrot.app.release import Proof, Root
from tests.unit.signing import Maker
from tests.unit.small_release import entries_of, file_of, odd_file, root_with, tree_of
from tools.archive import Entry

SHELLS = [["sh"], ["busybox", "sh"]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return root_with(tmp_path / "opt")


def run(root: Path, *words: str | Path) -> int:
    return main(["update", "--root", str(root), *map(str, words)])


def facts(root: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    capsys.readouterr()
    assert run(root, "--json") == 0
    return dict(json.loads(capsys.readouterr().out))


def start(root: Path, shell: list[str] | None = None) -> str:
    done = subprocess.run(
        [*(shell or ["sh"]), root / "start", "run"], capture_output=True, text=True
    )
    return done.stdout + done.stderr


def test_an_update_runs_from_the_next_start_on_and_the_one_before_is_kept(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(root) == "I am 1.0: run\n"
    assert run(root, file_of(tmp_path, entries_of(version="2.0"))) == 0
    said = capsys.readouterr().out
    assert "runs    2.0, on trial: 0 starts" in said and "before  1.0" in said
    assert "checked 2.0 for aarch64-linux-musl, a release" in said
    assert start(root) == "I am 2.0: run\n"
    assert (root / "releases/2.0/lib/parrot/__init__.py").read_text() == "VERSION = '2.0'\n"
    assert list((root / "releases/2.0/lib").rglob("*.pyc")), "it starts quickly"


def test_a_third_update_removes_the_oldest(root: Path, tmp_path: Path) -> None:
    for version in ("2.0", "3.0"):
        assert run(root, file_of(tmp_path, entries_of(version=version))) == 0
        Root(root).confirm()
    assert sorted(path.name for path in (root / "releases").iterdir()) == ["2.0", "3.0"]


def test_a_dry_run_checks_and_changes_nothing(root: Path, tmp_path: Path) -> None:
    before = tree_of(root)
    assert run(root, file_of(tmp_path, entries_of(version="2.0")), "--dry-run") == 0
    assert tree_of(root) == before


# ---- going back


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_after_three_starts_that_do_not_hold_the_board_goes_back(
    root: Path, tmp_path: Path, shell: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    if shutil.which(shell[0]) is None:
        pytest.skip(f"needs {shell[0]}")
    assert run(root, file_of(tmp_path, entries_of(version="2.0"))) == 0
    assert [start(root, shell) for _ in range(3)] == ["I am 2.0: run\n"] * 3
    assert start(root, shell) == (
        "I am 1.0: run\nparrot: 2.0 did not hold in 3 starts; going back to 1.0.\n"
    )
    assert [start(root, shell) for _ in range(5)] == ["I am 1.0: run\n"] * 5
    assert facts(root, capsys)["previous"] == "2.0"


def test_a_release_that_holds_is_never_left(root: Path, tmp_path: Path) -> None:
    assert run(root, file_of(tmp_path, entries_of(version="2.0"))) == 0
    start(root)
    Root(root).confirm()
    assert [start(root) for _ in range(6)] == ["I am 2.0: run\n"] * 6


def test_a_release_with_nothing_before_it_is_started_for_ever(root: Path) -> None:
    (root / "releases/1.0/trial.0").touch()
    assert [start(root) for _ in range(6)] == ["I am 1.0: run\n"] * 6


def test_an_update_of_a_release_on_trial_keeps_the_one_that_holds(
    root: Path, tmp_path: Path
) -> None:
    for version in ("2.0", "3.0"):
        assert run(root, file_of(tmp_path, entries_of(version=version))) == 0
    assert Root(root).name_of("previous") == "1.0"
    assert [start(root).split()[2] for _ in range(4)] == ["3.0:", "3.0:", "3.0:", "1.0:"]


def test_the_owner_goes_back_and_forth(root: Path, tmp_path: Path) -> None:
    assert run(root, file_of(tmp_path, entries_of(version="2.0"))) == 0
    for _ in range(4):
        start(root)
    assert run(root, "--rollback") == 0  # forward again: three more starts
    assert [start(root).split()[2] for _ in range(4)] == ["2.0:", "2.0:", "2.0:", "1.0:"]


def test_a_fixed_build_of_a_failed_version_is_installed_beside_it(
    root: Path, tmp_path: Path
) -> None:
    assert run(root, file_of(tmp_path, entries_of(version="2.0"))) == 0
    for _ in range(4):
        start(root)
    assert run(root, file_of(tmp_path, entries_of(version="2.0"))) == 0
    assert Root(root).name_of("current") == "2.0-2"
    assert start(root) == "I am 2.0: run\n"


def test_going_back_without_a_release_before_is_refused(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(root, "--rollback") == 2
    assert "no release before this one is kept" in capsys.readouterr().err


def test_the_loop_proves_a_release_after_twenty_seconds_and_once(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = root / "releases/1.0/trial.2"
    mark.touch()
    home = root / "releases/1.0/lib/parrot/app/release.py"
    monkeypatch.setattr(release, "__file__", str(home))
    proof = Proof(100.0)
    proof.feed(119.9)
    assert mark.exists()
    proof.feed(120.0)
    assert not mark.exists()
    mark.touch()
    proof.feed(140.0)
    assert mark.exists()


def test_outside_of_a_release_nothing_is_proved_and_nothing_updated(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Proof(0.0).feed(1e9)
    assert main(["update"]) == 2
    assert "not installed as a release" in capsys.readouterr().err


# ---- refused


@pytest.mark.parametrize(
    ("about", "sentence"),
    [
        (
            {"target": "armv7-linux-musl"},
            "for armv7-linux-musl, this board runs aarch64-linux-musl",
        ),
        ({"python": "3.9"}, "for Python 3.9, this board has 3."),
        ({"python": "4.0+"}, "for Python 4.0+, this board has 3."),
        ({"python": "new"}, "for Python new, this board has 3."),
        ({"soul_schema": 5, "soul_reader": 4}, "writes souls of schema 5, readable from 4 on; 1.0"),
        ({"soul_schema": 2, "soul_reader": 1}, "going back would lose the soul"),
        ({"unpacked_bytes": 1 << 60}, "MB free, expected 1,099,511,627,776 for 2.0"),
        ({"version": "1.0"}, "version 1.0 runs already"),
        ({"format": 2}, "release format 2, this parrot reads 1"),
        ({"version": 2}, "release.json, version: 2, expected str"),
        ({"soul_reader": True}, "release.json, soul_reader: True, expected int"),
    ],
)
def test_a_release_that_does_not_fit_is_refused_with_one_sentence(
    root: Path, tmp_path: Path, about: dict[str, object], sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    before = tree_of(root)
    assert run(root, file_of(tmp_path, entries_of(**{"version": "2.0", **about}))) == 1
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1
    assert tree_of(root) == before


def test_a_release_that_a_rollback_can_live_with_is_taken(root: Path, tmp_path: Path) -> None:
    path = file_of(tmp_path, entries_of(version="2.0", soul_schema=5, soul_reader=3))
    assert run(root, path) == 0


@pytest.mark.parametrize(
    ("launcher", "sentence"),
    [
        (
            "#!/bin/sh\necho no numpy here >&2; exit 1\n",
            "cannot speak on this board (no numpy here)",
        ),
        ("#!/bin/sh\nexit 0\n", "cannot speak on this board (exit code 0)"),
        ("#!/no/such/shell\n", "cannot speak on this board"),
    ],
)
def test_a_release_that_cannot_speak_here_does_not_take_over(
    root: Path, tmp_path: Path, launcher: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree_of(root)
    assert run(root, file_of(tmp_path, entries_of(launcher, version="2.0"))) == 1
    assert sentence in capsys.readouterr().err
    assert tree_of(root) == before


def test_a_stranger_s_release_is_refused_until_the_key_is_named(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Maker(9)
    path = file_of(tmp_path, entries_of(version="2.0"), other)
    assert run(root, path) == 1
    assert (
        "signed by key 0909090909090909, trusted here: 0101010101010101" in capsys.readouterr().err
    )
    assert run(root, path, "--key", other.write_key(tmp_path / "other.pub")) == 0


def test_without_a_trusted_key_nothing_is_accepted(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "keys/maker.pub").unlink()
    assert run(root, file_of(tmp_path, entries_of(version="2.0"))) == 1
    assert "trusted here: none" in capsys.readouterr().err


def test_a_file_cut_anywhere_is_refused_by_its_signature(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = file_of(tmp_path, entries_of(version="2.0"))
    blob, before = path.read_bytes(), tree_of(root)
    for n in range(0, len(blob), 23):
        path.write_bytes(blob[:n])
        assert run(root, path) == 1
        assert "not the bytes that maker.pub signed" in capsys.readouterr().err
    assert n > 200 and tree_of(root) == before


def test_a_maker_s_own_cut_file_is_refused_too(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = file_of(tmp_path, entries_of(version="2.0"))
    blob, before = path.read_bytes(), tree_of(root)
    for n in range(0, len(blob) - 8, 31):
        path.write_bytes(blob[:n])
        Maker().sign(path)
        assert run(root, path) == 1, n
        said = capsys.readouterr().err
        assert "cut short" in said or "no .tar.gz" in said, said
    path.write_bytes(blob[:-8] + bytes(8))  # whole, with another checksum
    Maker().sign(path)
    assert run(root, path) == 1
    assert "cut short" in capsys.readouterr().err
    assert tree_of(root) == before


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("lib/../../../evil", Entry(b"x")),
        ("lib/link", Entry(link="/etc/passwd")),
    ],
)
def test_members_that_lead_elsewhere_are_refused(
    root: Path, tmp_path: Path, name: str, entry: Entry, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree_of(tmp_path / "opt")
    assert run(root, odd_file(tmp_path, name, entry)) == 1
    assert "expected plain files below the release" in capsys.readouterr().err
    assert tree_of(root) == before and not (root / "evil").exists()


def test_an_absolute_member_stays_below_the_release(root: Path, tmp_path: Path) -> None:
    assert run(root, odd_file(tmp_path, "/lib/deep", Entry(b"x"))) == 0
    assert (root / "releases/2.0/lib/deep").read_bytes() == b"x"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["x.tar.gz", "--rollback"], "expected one of the two"),
        (["--dry-run"], "expected what to check"),
        (["nowhere.tar.gz"], "nowhere.tar.gz: cannot be read: no such file"),
    ],
)
def test_what_is_asked_wrongly_is_said(
    root: Path, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(root, *words) != 0
    assert sentence in capsys.readouterr().err


def test_a_folder_without_a_release_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path) == 2
    assert "no release is installed here" in capsys.readouterr().err


def test_two_updates_at_once_are_one_too_many(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Root(root).locked():
        assert run(root) == 1
    assert "another update is under way" in capsys.readouterr().err


def test_a_disk_that_fills_while_unpacking_leaves_what_was(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, before = file_of(tmp_path, entries_of(version="2.0")), tree_of(root)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(update, "_write", full)
    assert run(root, path) == 1
    assert "the disk is full; free some space" in capsys.readouterr().err
    assert tree_of(root) == before


def test_hold_time_is_that_of_the_document() -> None:
    text = (Path(__file__).parents[2] / "board" / "UPDATES.md").read_text()
    assert f"turned for {release.HOLD_S:.0f} s" in text
