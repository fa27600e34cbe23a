# SPDX-License-Identifier: Apache-2.0
"""A board as data: reading and checking `board.toml`, and finding out which board this is."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parrot.base.errors import ConfigError
from parrot.base.files import read_file

FOLDER = Path(__file__).parents[1] / "assets" / "boards"
_SIZE_MAX = 64 * 1024
_I2C: dict[str, type] = {"bus": int, "address": int}
KEYPADS: dict[str, dict[str, type]] = {
    "gpio": {"chip": str, "rows": list, "columns": list},
    "rpi-gpio": {"rows": list, "columns": list},
    "pcf8574": _I2C,
    "mcp23017": _I2C,
    "tca8418": _I2C,
    "i2c-pad": _I2C,
    "serial": {"path": str, "baud": int},
    "evdev": {},
}
# how /proc/device-tree/compatible or a file betrays a board
_COMPATIBLE = {b"rockchip,rk3588": "rk3588", b"raspberrypi,": "raspberrypi"}
_DEVICE_TREE = Path("/proc/device-tree/compatible")
_OPENWRT = Path("/etc/openwrt_release")


@dataclass(frozen=True)
class PanelPlace:
    """Where the panel is. `bus` None: the model."""

    chip: str
    bus: int | None
    address: int


@dataclass(frozen=True)
class Board:
    """Invariant: each of `keys` has a known kind and exactly the fields of that kind."""

    name: str
    panel: PanelPlace
    keys: tuple[Mapping[str, Any], ...]


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def detected() -> str:
    """Return the board that this machine is. Raises: ConfigError when it is none of ours."""
    compatible = _DEVICE_TREE.read_bytes() if _DEVICE_TREE.exists() else b""
    for sign, name in _COMPATIBLE.items():
        if sign in compatible:
            return name
    if _OPENWRT.exists():
        return "openwrt"
    raise ConfigError(
        "board: this machine is no board that parrot knows; name one of "
        f"{', '.join(names())} with --board, or run: parrot sim.",
        key="board",
    )


def load(name: str) -> Board:
    """Return the board of a name, or of a path that ends in .toml.

    Raises: ConfigError that names the field; FileError.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not name.endswith(".toml") and name not in names():
        raise ConfigError(
            f"board: {name[:60]!r}, expected one of {', '.join(names())} or a file NAME.toml; "
            "choose one of these.",
            key="board",
        )
    try:
        profile = tomllib.loads(read_file(path, _SIZE_MAX).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path.name}: no TOML ({exc}); correct this place.", path=path) from exc
    return _board(path, profile)


def _board(path: Path, profile: dict[str, Any]) -> Board:
    panel, keys = profile.get("panel"), profile.get("keys", [])
    if not isinstance(panel, dict) or not isinstance(keys, list):
        raise ConfigError(
            f"{path.name}: expected a table [panel] and tables [[keys]]; see board/README.md.",
            path=path,
        )
    bus = panel.get("bus")
    if bus != "sim":
        _check(path, "panel", panel, {"chip": str, **_I2C})
    place = PanelPlace(
        str(panel.get("chip")), None if bus == "sim" else panel["bus"], panel.get("address", 0x3C)
    )
    for keypad in keys:
        kind = keypad.get("kind") if isinstance(keypad, dict) else None
        if kind not in KEYPADS:
            raise ConfigError(
                f"{path.name}, keys.kind: {kind!r}, expected one of {', '.join(KEYPADS)}; "
                "correct it.",
                path=path,
                key="keys.kind",
            )
        _check(path, f"keys ({kind})", keypad, {"kind": str, **KEYPADS[kind]})
    return Board(path.stem, place, tuple(keys))


def _check(path: Path, where: str, table: dict[str, Any], fields: dict[str, type]) -> None:
    """Raise ConfigError unless `table` has exactly `fields`."""
    for name in {*table, *fields}:
        value, kind = table.get(name), fields.get(name)
        if kind is None or not isinstance(value, kind):
            expected = f"expected {kind.__name__}" if kind else "expected no such field"
            raise ConfigError(
                f"{path.name}, {where}.{name}: {value!r}, {expected}; see board/README.md.",
                path=path,
                key=name,
            )
