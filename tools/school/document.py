# SPDX-License-Identifier: Apache-2.0
"""A finished document: its turns as text, and how many bytes each template gave."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tools.school.grammar import Teller
from tools.school.surface import as_typed, polish

ROLES = {"U": "user", "P": "assistant", "M": "memory"}
MAX_REPLY = 420  # bytes; longer tellings are cut into several turns by their scripts


@dataclass
class Document:
    """One line of the output file and where its bytes came from."""

    family: str
    lang: str
    turns: list[tuple[str, str]]  # role U, P, M or N and text
    shares: list[tuple[str, int]]  # template id, bytes

    def to_json(self) -> str:
        """The JSONL line: `turns` for a dialogue, `text` for prose."""
        head = {"family": self.family, "lang": self.lang}
        if self.turns[0][0] == "N":
            return json.dumps({**head, "text": self.text()}, ensure_ascii=False)
        turns = [{"role": ROLES[role], "text": text} for role, text in self.turns]
        return json.dumps({**head, "turns": turns}, ensure_ascii=False)

    def text(self) -> str:
        """All turns, one a line."""
        return "\n".join(text for _, text in self.turns)


def finish(teller: Teller, family: str) -> Document:
    """Polish what a teller has made; what the companion said, now or once, is typed by hand."""
    lang = teller.book.lang
    glue = " " if lang == "en" else ""
    turns: list[tuple[str, str]] = []
    shares: list[tuple[str, int]] = []
    for turn in teller.turns:
        text = polish(glue.join(part for _, part in turn.parts if part), lang)
        if turn.role in "UM":
            text = as_typed(text, lang, teller.rng, teller.protect)
        if not text:
            raise ValueError(f"{turn.parts[0][0]}: an empty turn, expected words; fix the line")
        turns.append((turn.role, text))
        shares.extend((tid, len(part.encode())) for tid, part in turn.parts)
    return Document(family, lang, turns, shares)
