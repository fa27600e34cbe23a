# SPDX-License-Identifier: Apache-2.0
"""Compile the message catalogues: `python -m tools.assets_catalogue`.

Reads parrot/assets/locale/*.po and writes the .mo beside each, in the format of GNU gettext
(manual, section "The Format of GNU MO Files"): pairs of strings in the order of their sources.
"""

from __future__ import annotations

import ast
import struct
import sys
from pathlib import Path

from parrot.base.errors import FormatError
from parrot.base.files import read_file, replace_file

FOLDER = Path("parrot/assets/locale")
_MAGIC = 0x950412DE
_HEAD_SIZE = 28


def messages_of(path: Path) -> dict[str, str]:
    """Return what each source sentence becomes. Raises: FormatError that names the line."""
    found: dict[str, str] = {}
    source, into = "", ""
    for n, line in enumerate(read_file(path, 1 << 20).decode().splitlines(), 1):
        verb, _, quoted = line.partition(" ") if not line.startswith('"') else (into, "", line)
        if not line or line.startswith("#"):
            continue
        if verb not in ("msgid", "msgstr"):
            raise FormatError(f"{path.name} line {n}: {line[:40]!r}, expected msgid or msgstr.")
        text = ast.literal_eval(quoted)
        if verb == "msgid":
            source = source + text if verb == into else text
        else:
            found[source] = found[source] + text if verb == into else text
        into = verb
    return found


def mo_bytes(messages: dict[str, str]) -> bytes:
    """Return a catalogue as gettext reads it."""
    pairs = sorted((source.encode(), text.encode()) for source, text in messages.items() if text)
    tables: list[bytes] = []
    strings, at = b"", _HEAD_SIZE + 16 * len(pairs)
    for column in (0, 1):
        for pair in pairs:
            tables.append(struct.pack("<II", len(pair[column]), at + len(strings)))
            strings += pair[column] + b"\0"
    n = len(pairs)
    head = struct.pack("<7I", _MAGIC, 0, n, _HEAD_SIZE, _HEAD_SIZE + 8 * n, 0, _HEAD_SIZE + 16 * n)
    return head + b"".join(tables) + strings


def main() -> int:
    for path in sorted(FOLDER.glob("*.po")):
        messages = messages_of(path)
        replace_file(path.with_suffix(".mo"), mo_bytes(messages))
        print(f"{path.with_suffix('.mo')}: {len(messages) - 1} messages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
