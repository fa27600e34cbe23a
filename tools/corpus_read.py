# SPDX-License-Identifier: Apache-2.0
"""Read texts for the corpus: `.txt` with pieces parted by a line `<|doc|>`, and `.jsonl` with
`turns` or `text`.

Either may be packed (`.xz`), or a member of a tar file. What is missing, empty, binary, enormous or
misshapen is refused in one sentence, before anything is written.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import re
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from parrot.base.errors import CorruptError, FileError, FormatError
from parrot.base.files import file_error
from parrot.base.text import clean_text

FILE_BYTES_MAX = 1 << 30  # unpacked; a larger text is cut into several files by its owner
PIECE = "<|doc|>"
ROLES = ("user", "assistant", "memory")
EASY_WORDS = 14  # words to a sentence, at most
EASY_LETTERS = 4.3  # letters to a word, at most
LATIN = re.compile(r"[A-Za-z']+")
STOP = re.compile(r"[.!?]")


@dataclass(frozen=True)
class Record:
    """One document: prose as `text`, a talk as `turns` of (role, text)."""

    text: str | None
    turns: list[tuple[str, str]] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)  # the other strings of its line

    @property
    def size(self) -> int:
        """Bytes of text."""
        return sum(len(t.encode()) for t in self.texts())

    def texts(self) -> list[str]:
        return [self.text] if self.text is not None else [t for _, t in self.turns]

    def easy(self) -> bool:
        """English of short words and sentences, as stories for small children have."""
        text = " ".join(self.texts())
        words = LATIN.findall(text)
        if not words:
            return False
        letters = sum(map(len, words)) / len(words)
        return (
            letters <= EASY_LETTERS and len(words) / max(1, len(STOP.findall(text))) <= EASY_WORDS
        )


def read_records(path: Path, member: str = "") -> tuple[list[Record], dict[str, object]]:
    """The documents of a file, and its entry in the manifest."""
    try:
        packed = path.read_bytes() if path.stat().st_size <= FILE_BYTES_MAX else None
    except OSError as exc:
        raise file_error(path, exc, "read") from exc
    if packed is None:
        raise _enormous(path)
    name = member or path.name.removesuffix(".xz")
    text = _text(path, _unpacked(path, packed, member))
    records = _lines(path, text) if name.endswith(".jsonl") else _pieces(text)
    if not records:
        raise CorruptError(f"{path}: holds no text, expected documents; check the file.", path=path)
    entry = {"file": path.name, "member": member, "sha256": hashlib.sha256(packed).hexdigest()}
    return records, {k: v for k, v in entry.items() if v}


def _enormous(path: Path) -> FileError:
    return FileError(
        f"{path}: holds more than {FILE_BYTES_MAX >> 20} MB, expected less; cut it into parts.",
        path=path,
    )


def _unpacked(path: Path, packed: bytes, member: str) -> bytes:
    try:
        if member:
            with tarfile.open(path) as archive:
                info = archive.getmember(member)
                if info.size > FILE_BYTES_MAX:
                    raise _enormous(path)
                inner = archive.extractfile(info)
                if inner is None:
                    raise CorruptError(f"{path}: {member} is not a file; check it.", path=path)
                return inner.read()
        if path.suffix == ".xz":
            reader = lzma.LZMADecompressor()
            text = reader.decompress(packed, FILE_BYTES_MAX)
            if not reader.eof:
                raise _enormous(path) if len(text) >= FILE_BYTES_MAX else EOFError("cut short")
            return text
    except (lzma.LZMAError, EOFError, tarfile.TarError, KeyError) as exc:
        raise CorruptError(
            f"{path}: cannot be unpacked ({exc}); fetch it again.", path=path
        ) from exc
    return packed


def _text(path: Path, blob: bytes) -> str:
    try:
        text = blob.decode()
    except UnicodeDecodeError as exc:
        raise FormatError(
            f"{path}: byte {exc.start} is not UTF-8, expected text; convert or remove the file.",
            path=path,
            offset=exc.start,
        ) from exc
    at = text.find("\x00")
    if at >= 0:
        raise FormatError(
            f"{path}: has a zero byte, expected text; this is a binary file.", path=path, offset=at
        )
    return text


def _pieces(text: str) -> list[Record]:
    pieces = (clean_text(piece).strip() for piece in text.split(PIECE))
    return [Record(piece) for piece in pieces if piece]


def _lines(path: Path, text: str) -> list[Record]:
    # split("\n"), not splitlines: JSON strings may hold U+2028
    return [_record(path, n, s) for n, s in enumerate(text.split("\n"), 1) if s.strip()]


def _record(path: Path, number: int, line: str) -> Record:
    def wrong(what: str) -> CorruptError:
        return CorruptError(f"{path}: line {number} {what}; mend the line.", path=path)

    try:
        item = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise wrong("is not JSON, expected an object") from exc
    if not isinstance(item, dict):
        raise wrong("is not an object, expected turns or text")
    named = {k: v for k, v in item.items() if isinstance(v, str) and k != "text"}
    if isinstance(item.get("text"), str):
        return Record(clean_text(item["text"]).strip(), [], named)
    turns = item.get("turns")
    if not isinstance(turns, list) or not turns:
        raise wrong("has neither text nor turns, expected one of them")
    talk: list[tuple[str, str]] = []
    for turn in turns:
        if not isinstance(turn, dict) or turn.get("role") not in ROLES:
            raise wrong("has a turn whose role is not user, assistant or memory")
        if not isinstance(turn.get("text"), str):
            raise wrong("has a turn without text")
        talk.append((turn["role"], clean_text(turn["text"]).strip()))
    return Record(None, talk, named)
