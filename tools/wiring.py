# SPDX-License-Identifier: Apache-2.0
"""Draw how panels and keypads are wired: `python -m tools.wiring`, one SVG each into docs/pictures.

Which lines a Raspberry Pi gives to rows and columns, and every address, is read from the board
profiles; which pin of a module is called what is the table MODULES below.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from parrot.app import board
from parrot.senses.key import PAD_4X4

OUT = Path("docs/pictures")
# BCM line -> pin of the 40-pin header (raspberrypi.com, GPIO pinout)
HEADER = {
    2: 3, 3: 5, 4: 7, 5: 29, 6: 31, 7: 26, 8: 24, 9: 21, 10: 19, 11: 23, 12: 32, 13: 33, 14: 8,
    15: 10, 16: 36, 17: 11, 18: 12, 19: 35, 20: 38, 21: 40, 22: 15, 23: 16, 24: 18, 25: 22, 26: 37,
    27: 13,
}  # fmt: skip
COLOURS = {"3V3": "#c62828", "5V": "#c62828", "GND": "#212121", "SDA": "#1565c0", "SCL": "#ef6c00",
           "row": "#6a1b9a", "column": "#00796b"}  # fmt: skip
I2C = (("3V3", "pin 1"), ("GND", "pin 6"), ("SDA", "pin 3"), ("SCL", "pin 5"))
STEP, TOP, WIDE = 24, 58, 150


@dataclass(frozen=True)
class Wire:
    """A line from one label to another; `kind` picks the colour."""

    kind: str
    left: str
    right: str


@dataclass(frozen=True)
class Box:
    """A part of the drawing and the wires that lead to the part on its right."""

    title: str
    note: str
    wires: list[Wire] = field(default_factory=list)


# module -> title, names of its four I2C pins, of its row pins, of its column pins
MODULES = {
    "panel": ("OLED 128 x 64", ("VCC", "GND", "SDA", "SCL"), (), ()),
    "i2c-pad": ("16-key I2C pad", ("VCC", "GND", "SDA", "SCL"), (), ()),
    "pcf8574": ("PCF8574", ("VCC", "GND", "SDA", "SCL"), ("P0", "P1", "P2", "P3"),
                ("P4", "P5", "P6", "P7")),
    "mcp23017": ("MCP23017", ("VDD", "VSS", "SDA", "SCL"), ("GPA0", "GPA1", "GPA2", "GPA3"),
                 ("GPB0", "GPB1", "GPB2", "GPB3")),
    "tca8418": ("TCA8418", ("VCC", "GND", "SDA", "SCL"), ("ROW0", "ROW1", "ROW2", "ROW3"),
                ("COL0", "COL1", "COL2", "COL3")),
}  # fmt: skip
NOTES = {"mcp23017": "RESET to VDD, A0-A2 to VSS", "tca8418": "RESET to VCC, INT free",
         "pcf8574": "A0-A2 to GND"}  # fmt: skip
ADDRESSES = {"panel": 0x3C, "i2c-pad": 0x27, "pcf8574": 0x20, "mcp23017": 0x20, "tca8418": 0x34}


def pad_wires(rows: tuple[str, ...], columns: tuple[str, ...]) -> list[Wire]:
    made = [Wire("row", name, f"row {i}") for i, name in enumerate(rows, 1)]
    return made + [Wire("column", name, f"column {i}") for i, name in enumerate(columns, 1)]


def i2c_drawing(kind: str) -> list[Box]:
    """Return board, module, and the pad behind it where the module only scans one."""
    title, pins, rows, columns = MODULES[kind]
    wires = [
        Wire(signal, f"{signal}  {place}", pin)
        for (signal, place), pin in zip(I2C, pins, strict=True)
    ]
    note = f"address 0x{ADDRESSES[kind]:02x}"
    if kind in NOTES:
        note += f"; {NOTES[kind]}"
    boxes = [Box("board", "pins of a 40-pin header", wires)]
    return [*boxes, Box(title, note, pad_wires(rows, columns))]


def gpio_drawing() -> list[Box]:
    (keys,) = (k for k in board.load("raspberrypi").keys if k["kind"] == "gpio")
    rows, columns = (
        tuple(f"GPIO{line}  pin {HEADER[line]}" for line in keys[name])
        for name in ("rows", "columns")
    )
    return [Box("Raspberry Pi", "pins of the 40-pin header", pad_wires(rows, columns))]


def serial_drawing() -> list[Box]:
    (keys,) = (k for k in board.load("openwrt").keys if k["kind"] == "serial")
    wires = [Wire("5V", "5V", "5V"), Wire("GND", "GND", "GND"), Wire("SDA", "RX", "TX")]
    return [
        Box("USB serial adapter", f"{keys['path']}, {keys['baud']} baud", wires),
        Box("microcontroller", "sends +5 and -5 as key 5 moves",
            pad_wires(("row 1", "row 2", "row 3", "row 4"),
                      ("column 1", "column 2", "column 3", "column 4"))),
    ]  # fmt: skip


def svg(boxes: list[Box]) -> str:
    """Return the boxes side by side, their wires level, the pad last if there is one."""
    has_pad = bool(boxes[-1].wires)
    n = len(boxes) + has_pad
    height = TOP + STEP * max(len(b.wires) for b in boxes) + 16
    gap = 70
    width = n * WIDE + (n - 1) * gap + 20 + (130 if has_pad else 0)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    titles = [(b.title, b.note) for b in boxes] + [("4 x 4 pad", "")] * has_pad
    for i, (title, note) in enumerate(titles):
        x = 10 + i * (WIDE + gap)
        out.append(
            f'<rect x="{x}" y="40" width="{WIDE}" height="{height - 50}" rx="6" '
            'fill="#f5f5f5" stroke="#757575"/>'
        )
        out.append(f'<text x="{x}" y="16" font-weight="bold">{escape(title)}</text>')
        out.append(f'<text x="{x}" y="32" fill="#616161" font-size="10">{escape(note)}</text>')
    for i, box in enumerate(boxes):
        for row, wire in enumerate(box.wires):
            out += _wire(wire, 10 + i * (WIDE + gap) + WIDE, TOP + STEP * row + 6, gap)
    if has_pad:
        out += _pad(width - 130, TOP)
    return "\n".join([*out, "</svg>", ""])


def _wire(wire: Wire, x: int, y: int, gap: int) -> list[str]:
    colour = COLOURS[wire.kind]
    return [
        f'<line x1="{x}" y1="{y}" x2="{x + gap}" y2="{y}" stroke="{colour}" stroke-width="2.5"/>',
        f'<circle cx="{x}" cy="{y}" r="3.5" fill="{colour}"/>',
        f'<circle cx="{x + gap}" cy="{y}" r="3.5" fill="{colour}"/>',
        f'<text x="{x - 8}" y="{y + 4}" text-anchor="end">{escape(wire.left)}</text>',
        f'<text x="{x + gap + 8}" y="{y + 4}">{escape(wire.right)}</text>',
    ]


def _pad(x: int, y: int) -> list[str]:
    """The sixteen keys, rows counted from above and columns from the left."""
    out = []
    for i, key in enumerate(PAD_4X4):
        left, top = x + 18 + 26 * (i % 4), y + 12 + 26 * (i // 4)
        out.append(
            f'<rect x="{left}" y="{top}" width="22" height="22" rx="4" fill="#eceff1" '
            f'stroke="#455a64"/><text x="{left + 11}" y="{top + 16}" '
            f'text-anchor="middle">{escape(key)}</text>'
        )
    for i in range(4):
        out.append(
            f'<text x="{x + 8}" y="{y + 28 + 26 * i}" fill="{COLOURS["row"]}">{i + 1}</text>'
        )
        out.append(
            f'<text x="{x + 26 + 26 * i}" y="{y + 6}" fill="{COLOURS["column"]}">{i + 1}</text>'
        )
    return out


def header_uses(name: str) -> dict[int, tuple[str, str]]:
    """Return pin of the header -> (kind, label) for all that board `name` is wired to."""
    uses = {1: ("3V3", "panel VCC"), 6: ("GND", "panel GND"), 3: ("SDA", "SDA"), 5: ("SCL", "SCL")}
    for keys in board.load(name).keys:
        if keys["kind"] == "gpio":
            for kind, lines in (("row", keys["rows"]), ("column", keys["columns"])):
                uses |= {HEADER[line]: (kind, f"{kind} {i}") for i, line in enumerate(lines, 1)}
        elif keys["kind"] in MODULES:
            for (signal, place), pin in zip(I2C, MODULES[keys["kind"]][1], strict=True):
                number = int(place.split()[1])
                uses[number] = (signal, f"{uses[number][1]}, pad {pin}")
    return uses


def header_svg(name: str) -> str:
    """Return the 40-pin header seen from above, pin 1 top left, with what goes where."""
    uses, step, top, left = header_uses(name), 20, 44, 170
    height, width = top + 20 * step + 10, 2 * left + 40
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="10" y="18" font-weight="bold">{escape(name)}: the 40-pin header</text>',
        '<text x="10" y="33" fill="#616161" font-size="10">pin 1 is marked on the board</text>',
        f'<rect x="{left - 6}" y="{top - 4}" width="52" height="{20 * step + 8}" rx="4" '
        'fill="#37474f"/>',
    ]
    for pin in range(1, 41):
        row, is_right = divmod(pin - 1, 2)
        x, y = left + 10 + 20 * is_right, top + 10 + step * row
        kind, label = uses.get(pin, ("", ""))
        colour = COLOURS.get(kind, "#90a4ae")
        edge = left + 52 if is_right else left - 12
        anchor = "start" if is_right else "end"
        out.append(f'<circle cx="{x}" cy="{y}" r="6.5" fill="{colour}" stroke="#eceff1"/>')
        text = f"{pin}  {label}" if is_right else f"{label}  {pin}"
        shade = colour if kind else "#b0bec5"
        out.append(f'<text x="{edge}" y="{y + 4}" text-anchor="{anchor}" fill="{shade}">'
                   f"{escape(text.strip())}</text>")  # fmt: skip
    return "\n".join([*out, "</svg>", ""])


def drawings() -> dict[str, str]:
    """Return every picture by the name of its file."""
    made = {f"wiring_{kind}.svg": svg(i2c_drawing(kind)) for kind in MODULES}
    made |= {f"header_{name}.svg": header_svg(name) for name in ("raspberrypi", "rk3588")}
    return {
        **made,
        "wiring_gpio.svg": svg(gpio_drawing()),
        "wiring_serial.svg": svg(serial_drawing()),
    }


def main() -> int:
    OUT.mkdir(parents=True, exist_ok=True)
    for name, text in drawings().items():
        (OUT / name).write_text(text, encoding="utf-8")
        print(OUT / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
