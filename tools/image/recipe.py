# SPDX-License-Identifier: Apache-2.0
"""`board/NAME/image.toml`: what an image of that board is made of."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from parrot.app import board
from parrot.base.errors import ConfigError

BOARDS = Path("board")


@dataclass(frozen=True)
class Recipe:
    """Sizes in MiB. `boot` says who loads the kernel: "efi" or "raspberrypi"."""

    name: str
    profile: str  # of parrot/assets/boards, or a path on the board that ends in .toml
    table: str  # gpt or dos
    boot: str
    boot_mib: int
    apps_mib: int
    soul_mib: int
    console: str
    cmdline: str
    initrd_modules: list[str]
    load_modules: list[str]
    packages: list[str]  # beyond those of the root; unpacked for their files only


def names() -> list[str]:
    return sorted(path.parent.name for path in BOARDS.glob("*/image.toml"))


def recipe(name: str) -> Recipe:
    """Return the recipe of a board. Raises: ConfigError that names the field."""
    path = BOARDS / name / "image.toml"
    if not path.exists():
        raise ConfigError(
            f"--board: {name[:60]!r}, expected one of {', '.join(names())}; choose one of these.",
            key="board",
        )
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    wanted = {field.name: field.type for field in fields(Recipe) if field.name != "name"}
    for key in {*table, *wanted}:
        kind = {"str": str, "int": int, "list[str]": list}.get(str(wanted.get(key)))
        if kind is None or not isinstance(table.get(key), kind):
            expected = f"expected {wanted[key]}" if key in wanted else "expected no such field"
            raise ConfigError(
                f"{path}, {key}: {table.get(key)!r}, {expected}; see board/README.md.",
                path=path,
                key=key,
            )
    made = Recipe(name, **table)
    if not made.profile.startswith("/"):
        board.load(made.profile)
    return made
