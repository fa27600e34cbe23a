# SPDX-License-Identifier: Apache-2.0
"""The house rules: who may import whom, and how long things may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALLOWED = {
    "base": "",
    "model": "base",
    "engine": "base model _native",
    "mind": "base model engine",
    "senses": "base engine",
    "faces": "base engine",
    "app": "base model engine mind senses faces _native",
}
MODULES = sorted(ROOT.glob("parrot/*/*.py"))
PYTHON = [p for top in ("parrot", "tools", "tests") for p in sorted((ROOT / top).rglob("*.py"))]
NATIVE = sorted(p for ext in ("c", "h", "cu") for p in (ROOT / "native").rglob(f"*.{ext}"))


def imported(node: ast.AST, where: str) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"{where}: use an absolute import"
        if node.module == "parrot":
            return [f"parrot.{alias.name}" for alias in node.names]
        return [str(node.module)]
    return []


@pytest.mark.parametrize("path", MODULES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_imports_point_down(path: Path) -> None:
    home = path.parent.name
    allowed = {home, *ALLOWED[home].split()}
    for node in ast.walk(ast.parse(path.read_bytes())):
        for name in imported(node, f"{path}"):
            top, _, rest = name.partition(".")
            if top == "parrot":
                assert rest.split(".")[0] in allowed, f"{path}: {home} imports {name}"
            assert top != "tools", f"{path}: {home} imports {name}"


def test_layer_test_sees_the_code() -> None:
    assert len(MODULES) > 25
    assert len(PYTHON) > len(MODULES)
    assert len(NATIVE) > 10


def long_functions(path: Path, limit: int) -> list[str]:
    found = []
    lines = path.read_text().splitlines()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if not isinstance(node, ast.FunctionDef):
            continue
        body = node.body
        is_documented = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
        documented = body[0].end_lineno - body[0].lineno + 1 if is_documented else 0  # type: ignore[operator]
        length = node.end_lineno - node.lineno + 1 - documented  # type: ignore[operator]
        explained = any(
            "# long because" in line for line in lines[node.lineno - 1 : node.lineno + 2]
        )
        if length > limit and not explained:
            found.append(f"{path.name}:{node.lineno} {node.name} has {length} lines")
    return found


@pytest.mark.parametrize("path", PYTHON, ids=lambda p: str(p.relative_to(ROOT)))
def test_python_files_and_functions_stay_short(path: Path) -> None:
    limit = 700 if "tests" in path.parts else 400
    assert len(path.read_text().splitlines()) <= limit
    assert long_functions(path, 40) == []


@pytest.mark.parametrize("path", NATIVE, ids=lambda p: str(p.relative_to(ROOT)))
def test_native_files_stay_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= (400 if path.suffix == ".h" else 800)


@pytest.mark.parametrize("path", [*PYTHON, *NATIVE], ids=lambda p: str(p.relative_to(ROOT)))
def test_every_source_names_its_licence(path: Path) -> None:
    first = path.read_text().splitlines()[:2]
    assert any("SPDX-License-Identifier: Apache-2.0" in line for line in first)


def test_reference_can_be_read_in_one_sitting() -> None:
    assert len((ROOT / "parrot/model/reference.py").read_text().splitlines()) <= 150


def test_importing_parrot_imports_no_extra() -> None:
    heavy = "torch onnxruntime luma starlette prompt_toolkit sentencepiece numpy"
    code = (
        "import sys, parrot; "
        f"seen = [m for m in '{heavy}'.split() if m in sys.modules]; "
        "parrot.Model; "
        "seen += [m for m in 'torch onnxruntime luma starlette'.split() if m in sys.modules]; "
        "print(seen)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
