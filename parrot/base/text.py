# SPDX-License-Identifier: Apache-2.0
"""The border between people's text and the model's bytes.

The parrot lives on bytes. Turns of a talk are framed by control bytes, and every control byte but
tab and newline is removed from text that comes in, so no input can forge a turn. On the way out
bytes become characters at the last moment, and what was lost shows as U+FFFD.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator

END_OF_DOCUMENT = b"\x00"
SYSTEM = b"\x01"  # persona or system text follows
COMPANION = b"\x02"  # the companion's turn follows
END_OF_TURN = b"\x03"
PARROT = b"\x06"  # the parrot's turn follows
RECALLED = b"\x16"  # a recalled memory follows

# C0 but tab and newline, DEL, and C1: none of them is text.
_CONTROLS = {c: None for c in (*range(0x20), *range(0x7F, 0xA0)) if c not in (0x09, 0x0A)}
_SURROGATES = re.compile("[\ud800-\udfff]")


def clean_text(text: str) -> str:
    """Return `text` without control characters; CR LF and CR become newlines.

    Lone surrogates, which a terminal hands over for bytes that are not UTF-8, become U+FFFD.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _SURROGATES.sub("\ufffd", text.translate(_CONTROLS))


def companion_turn(text: str) -> bytes:
    """Frame what the companion said, and open the parrot's turn: the prompt of one reply."""
    return COMPANION + clean_text(text).encode() + END_OF_TURN + PARROT


def text_from_bytes(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yield text as soon as each character is whole.

    "鹦" arrives as three bytes, perhaps in three chunks. A broken character becomes U+FFFD: the
    reader sees that something was lost, not a shorter sentence.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for chunk in chunks:
        if text := decoder.decode(chunk):
            yield text
    if tail := decoder.decode(b"", final=True):
        yield tail
