# SPDX-License-Identifier: Apache-2.0
"""Is the hand there? The panel and the keypads of a board, and what to do where one is not.

Every address of the bus is asked for one byte when something is missing, so that a panel or a pad
that stands at another address than the board says is found and named.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from parrot.app.assemble import Buses, open_keypad
from parrot.app.board import Board
from parrot.base.clock import SystemClock
from parrot.base.errors import DeviceError, DeviceMissing, DeviceSilent
from parrot.base.i2c import I2CBus

NOP = b"\x00\xe3"  # a command that every controller of the family takes and ignores
FIRST_ADDRESS, LAST_ADDRESS = 0x08, 0x77
HOMES = {
    "panel": (0x3C, 0x3D),
    "pcf8574": (*range(0x20, 0x28), *range(0x38, 0x40)),
    "mcp23017": tuple(range(0x20, 0x28)),
    "tca8418": (0x34,),
    "i2c-pad": (0x27,),
}


def answering(bus: I2CBus) -> list[int]:
    """Return the addresses where something acknowledges. Raises: DeviceError of the adapter."""
    found = []
    for address in range(FIRST_ADDRESS, LAST_ADDRESS + 1):
        try:
            bus.read(address, 1)
        except DeviceSilent:
            continue
        found.append(address)
    return found


def elsewhere(bus: I2CBus, port: int, kind: str, address: int) -> str:
    """Say what else answers on the bus, and what to do about it."""
    found = answering(bus)
    likely = [a for a in HOMES[kind] if a in found and a != address]
    if likely:
        table = "[panel]" if kind == "panel" else "[[keys]]"
        return (
            f"0x{likely[0]:02x} answers: write address = 0x{likely[0]:02x} under {table} in your "
            "board.toml and name it with --board."
        )
    if found:
        names = ", ".join(f"0x{a:02x}" for a in found)
        return f"only {names} answers on i2c-{port}: check this one's four wires and its address."
    return f"nothing answers on i2c-{port}: check SDA, SCL, 3.3 V and ground (docs/hardware.md)."


def panel_says(board: Board, buses: Buses) -> str:
    """Return what answers as the panel. Raises: DeviceError that says what to do."""
    place = board.panel
    if place.bus is None:
        return "no board here: parrot sim draws it; --board NAME looks at a wired one"
    bus, where = buses.at(place.bus), f"{place.chip} at i2c-{place.bus} 0x{place.address:02x}"
    try:
        bus.write(place.address, NOP)
    except DeviceSilent as exc:
        hint = elsewhere(bus, place.bus, "panel", place.address)
        raise DeviceMissing(f"{where}: no answer; {hint}", device="panel") from exc
    return f"{where} answers"


def keys_say(board: Board, buses: Buses) -> str:
    """Return which keypads answer. Raises: DeviceError when there is not one."""
    if not board.keys:
        return "no board here: parrot sim takes them from the keyboard"
    works, faults = [], []
    for keys in board.keys:
        try:
            _ask(keys, buses)
        except DeviceError as exc:
            faults.append(f"{keys['kind']}: {_with_hint(keys, buses, exc)}")
        else:
            works.append(str(keys["kind"]))
    if not works:
        raise DeviceMissing(" ".join(faults), device="keys")
    absent = [str(k["kind"]) for k in board.keys if k["kind"] not in works]
    return f"answering: {', '.join(works)}" + (f"; absent: {', '.join(absent)}" if absent else "")


def _ask(keys: Mapping[str, Any], buses: Buses) -> None:
    """Poll the keypad twice: a pad answers the first question at the second."""
    keypad, clock = open_keypad(buses, keys), SystemClock()
    try:
        for _ in range(2):
            keypad.poll(clock.now_ms())
    finally:
        keypad.close()


def _with_hint(keys: Mapping[str, Any], buses: Buses, exc: DeviceError) -> str:
    if keys["kind"] not in HOMES or not isinstance(exc, DeviceSilent):
        return str(exc)
    hint = elsewhere(buses.at(keys["bus"]), keys["bus"], keys["kind"], keys["address"])
    return f"i2c-{keys['bus']} 0x{keys['address']:02x}: no answer; {hint}"
