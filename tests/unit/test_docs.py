# SPDX-License-Identifier: Apache-2.0
"""The documents: links lead somewhere, commands exist, the README's Python runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from parrot.app.cli import COMMANDS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_pages_are_there() -> None:
    assert {"design.md", "formats.md", "speed.md"} <= {page.name for page in PAGES}


def test_every_command_in_the_readme_exists_and_every_command_is_in_it() -> None:
    readme = (ROOT / "README.md").read_text()
    named = set(re.findall(r"`parrot ([a-z0-9]+)", readme))
    assert named == set(COMMANDS)


def test_every_make_target_in_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"make (?:-s )?([a-z]+)", (ROOT / "README.md").read_text()))
    assert targets
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_python_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(code, names)
    assert capsys.readouterr().out
    assert (tmp_path / "friend.state").exists()
    assert "10 bytes" in code
    assert names["state"].position > 10  # type: ignore[attr-defined]
