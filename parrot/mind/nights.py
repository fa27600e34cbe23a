# SPDX-License-Identifier: Apache-2.0
"""What sleep leaves in a soul: its diary, and words packed to a fraction of their size.

Old turns keep their row in the journal (who, when, where in the tree); their words move into a
pack, a compressed run of turns. Nothing is dropped: a packed turn reads as it did before.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from parrot.mind import memory
from parrot.mind.ledger import Ledger
from parrot.mind.turn import Turn

PACK_TURNS = 256  # to a pack; about 20 kB of talk, read whole to see one turn of it
AWAKE_TURNS = 512  # the newest are never packed
_PACK_BYTES_MAX = 64 << 20  # unpacked; a pack that claims more is damage
_WORDS = ("recalled", "heard", "said", "tokens", "sampling")


class Nights(Ledger):
    """The part of a soul that sleep writes."""

    _opened: tuple[int, dict[str, list[str | None]]] | None = None  # the pack read last

    def diary(self) -> list[tuple[float, dict[str, object]]]:
        """Return (wall_s, figures) of every sleep, oldest first."""
        with self._reading():
            rows = self._database.execute("SELECT wall_s, figures FROM diary ORDER BY id")
            return [(wall_s, json.loads(figures)) for wall_s, figures in rows]

    def end_night(
        self, wall_s: float, figures: dict[str, object], told: Iterable[tuple[int, float, str]]
    ) -> int:
        """Keep what was `told` (turn, wall_s, text), merge twins, write the diary, and note up to
        where the day has been slept on: all at once. Return how many twins went."""
        with self._writing():
            for turn, said_s, text in told:
                memory.insert(self._database, said_s, turn, text, memory.SURPRISING)
            n_gone = memory.merge_twins(self._database)
            figures["crystals_merged"] = n_gone
            self._database.execute(
                "INSERT INTO diary (wall_s, figures) VALUES (?, ?)", (wall_s, json.dumps(figures))
            )
            self._set("slept", self.tip)
        return n_gone

    def n_unpacked(self) -> int:
        """Return how many turns are old enough to be packed."""
        row = self._one("SELECT count(*) FROM turn WHERE pack IS NULL AND id <= ?", self._old())
        return int(row[0]) if row else 0

    def pack_some(self) -> tuple[int, int, int] | None:
        """Pack the next run of old turns; return how many, and bytes before and after; None when
        none is left.

        A run shorter than PACK_TURNS waits for more. One transaction: done whole or not at all.
        """
        columns = ", ".join(_WORDS)
        with self._reading():
            rows = self._database.execute(
                f"SELECT id, {columns} FROM turn WHERE pack IS NULL AND id <= ?"
                " ORDER BY id LIMIT ?",
                (self._old(), PACK_TURNS),
            ).fetchall()
        if len(rows) < PACK_TURNS:
            return None
        words = {str(id): [_text(value) for value in values] for id, *values in rows}
        packed = zlib.compress(json.dumps(words, ensure_ascii=False).encode(), 9)
        with self._writing():
            row = self._database.execute("INSERT INTO pack (words) VALUES (?)", (packed,))
            self._database.executemany(
                "UPDATE turn SET recalled = x'', heard = x'', said = x'', tokens = NULL,"
                " sampling = '', pack = ? WHERE id = ?",
                [(row.lastrowid, id) for id, *_ in rows],
            )
        n_before = sum(len(value) for _, *values in rows for value in values if value is not None)
        return len(rows), n_before, len(packed)

    def _old(self) -> int:
        row = self._one("SELECT max(id) FROM turn")
        return ((row and row[0]) or 0) - AWAKE_TURNS

    def _unpacked(self, turn: Turn, pack: int) -> Turn | None:
        """Return `turn` with its words, or None when damage took them."""
        if self._opened is None or self._opened[0] != pack:
            row = self._one("SELECT words FROM pack WHERE id = ?", pack)
            opened = _read_pack(row[0]) if row else None
            if opened is None:
                return None
            self._opened = pack, opened
        words = self._opened[1].get(str(turn.id))
        if words is None:
            return None
        recalled, heard, said, tokens = (_blob(text) for text in words[:4])
        return replace(
            turn, recalled=recalled or b"", heard=heard or b"", said=said or b"", tokens=tokens,
            sampling=words[4] or "{}",
        )  # fmt: skip


def _text(value: bytes | str | None) -> str | None:
    """Return what JSON can hold of a value: text where it is text, else base64 behind a NUL."""
    if value is None or isinstance(value, str):
        return value
    with suppress(UnicodeDecodeError):
        if not value.startswith(b"\x00"):
            return value.decode()
    return "\x00" + base64.b64encode(value).decode()


def _blob(text: str | None) -> bytes | None:
    if text is None:
        return None
    return base64.b64decode(text[1:]) if text.startswith("\x00") else text.encode()


def _read_pack(packed: bytes) -> dict[str, list[str | None]] | None:
    unpacker = zlib.decompressobj()
    try:
        words = json.loads(unpacker.decompress(packed, _PACK_BYTES_MAX))
    except (zlib.error, ValueError):
        return None
    return words if isinstance(words, dict) else None
