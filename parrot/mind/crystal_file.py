# SPDX-License-Identifier: Apache-2.0
"""Crystals as JSON lines: one object a line with `text`, and what else `export` writes.

The file may come from anybody. It is read line by line, each line is checked before it is kept, and
its text is cleaned as all text is at the border, so no crystal can forge a turn.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

from parrot.base.errors import CorruptError
from parrot.base.files import file_error
from parrot.base.text import clean_text
from parrot.mind.memory import EXPLICIT, Crystal

TEXT_BYTES_MAX = 4_000
_LINE_BYTES_MAX = 64_000


def read_crystals(path: Path, now_s: float) -> Iterator[Crystal]:
    """Yield the crystals of a file. Raises: CorruptError naming the line that is none; FileError.

    Cost: one line in memory at a time.
    """
    try:
        with open(path, "rb") as file:
            number = 0
            while line := file.readline(_LINE_BYTES_MAX + 1):
                number += 1
                if len(line) > _LINE_BYTES_MAX:
                    raise _no_crystal(path, number, f"longer than {_LINE_BYTES_MAX:,} bytes")
                if line.strip():
                    yield _crystal(path, number, line, now_s)
    except OSError as exc:
        raise file_error(path, exc, "read") from exc


def _crystal(path: Path, number: int, line: bytes, now_s: float) -> Crystal:
    try:
        item = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise _no_crystal(path, number, "not JSON") from exc
    if not isinstance(item, dict) or not isinstance(item.get("text"), str):
        raise _no_crystal(path, number, "without a text")
    text = clean_text(item["text"]).strip()
    if not 0 < len(text.encode()) <= TEXT_BYTES_MAX:
        raise _no_crystal(path, number, f"its text is not 1 to {TEXT_BYTES_MAX:,} bytes")
    # 0: the journal it came from is not this one
    return Crystal(
        id=0,
        wall_s=_number(path, number, item, "wall_s", now_s, now_s),
        turn=0,
        text=text,
        strength=_number(path, number, item, "strength", EXPLICIT, 1.0),
        resonated_s=_number(path, number, item, "resonated_s", now_s, now_s),
        is_pinned=int(bool(item.get("is_pinned"))),
    )


def _number(
    path: Path, number: int, item: dict[str, object], name: str, usual: float, most: float
) -> float:
    """Return item[name] within 0 … most; a time ahead of the clock counts as now."""
    value = item.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _no_crystal(path, number, f"{name} is no number")
    if not 0 <= value < math.inf:  # nor is NaN
        raise _no_crystal(path, number, f"{name} is negative or not finite")
    return float(min(value, most))


def _no_crystal(path: Path, number: int, why: str) -> CorruptError:
    return CorruptError(
        f"{path}: line {number} is no crystal ({why}), expected a JSON object with a text; mend or "
        "remove the line. Nothing was added.",
        path=path,
    )
