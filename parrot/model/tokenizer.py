# SPDX-License-Identifier: Apache-2.0
"""Bytes ↔ token ids.

A parrot's own models read bytes, so there a token is a byte. The public RWKV checkpoints read the
World vocabulary: at each place the longest token that matches is taken. Both come from the list of
tokens inside the model file, where llama.cpp wants each token as an escaped string.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from parrot.base.errors import CorruptError, FormatError
from parrot.base.files import read_file

# The bytes of each token id; None where an id stands for no text (unused, or a control id).
Vocabulary = Sequence[bytes | None]

BYTE_VOCABULARY: Vocabulary = [bytes([b]) for b in range(256)]

VOCABULARY_SIZE_MAX = 16 << 20  # bytes of a vocabulary text; World's has 1.2 MB

_SHORT = {0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r", 0x5C: "\\\\"}
_ESCAPES = {b: _SHORT.get(b, chr(b) if 0x20 <= b < 0x7F else f"\\x{b:02x}") for b in range(256)}
_LETTERS = {"t": b"\t", "n": b"\n", "r": b"\r"}
_PIECE = re.compile(r"\\x([0-9a-fA-F]{2})|\\([^x])|([^\\]+)", re.DOTALL)


class Tokenizer(Protocol):
    """Turns bytes into token ids and back, without loss."""

    n_vocab: int

    def encode(self, text: bytes) -> list[int]: ...

    def decode(self, tokens: Iterable[int]) -> bytes: ...


class ByteTokenizer:
    """Token ids are byte values."""

    n_vocab = 256

    def encode(self, text: bytes) -> list[int]:
        return list(text)

    def decode(self, tokens: Iterable[int]) -> bytes:
        """Return the bytes; ValueError on an id above 255."""
        return bytes(tokens)


class WorldTokenizer:
    """Greedy longest match over a vocabulary that holds every single byte.

    Cost: encoding tries, at each place, only the lengths that some token with these first two
          bytes has, longest first.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.n_vocab = len(vocabulary)
        self._bytes = vocabulary
        self._ids = {token: i for i, token in enumerate(vocabulary) if token is not None}
        absent = [b for b in range(256) if bytes([b]) not in self._ids]
        if absent:
            raise FormatError(
                f"vocabulary: no token for byte {absent[0]:#04x}, expected all 256; this is "
                "not an RWKV vocabulary."
            )
        if len(self._ids) != sum(token is not None for token in vocabulary):
            raise FormatError(
                "vocabulary: a token appears twice, expected each once; convert the model again."
            )
        lengths: dict[bytes, set[int]] = {}
        for token in self._ids:
            lengths.setdefault(token[:2], set()).add(len(token))
        self._lengths = {start: sorted(found, reverse=True) for start, found in lengths.items()}

    def encode(self, text: bytes) -> list[int]:
        ids, lengths, tokens, place = self._ids, self._lengths, [], 0
        while place < len(text):
            for length in lengths.get(text[place : place + 2], ()):
                token = ids.get(text[place : place + length])
                if token is not None:
                    break
            else:
                length, token = 1, ids[text[place : place + 1]]
            tokens.append(token)
            place += length
        return tokens

    def decode(self, tokens: Iterable[int]) -> bytes:
        """Return the bytes; ids that stand for no text give none. IndexError on no id at all."""
        return b"".join(self._bytes[token] or b"" for token in tokens)


def tokenizer_of(vocabulary: Vocabulary) -> Tokenizer:
    """Return the tokenizer that reads this vocabulary."""
    if vocabulary == BYTE_VOCABULARY:
        return ByteTokenizer()
    return WorldTokenizer(vocabulary)


def escape_token(token: bytes) -> str:
    """Return `token` as printable ASCII, the form of llama.cpp's tokenizer `rwkv`."""
    return "".join(map(_ESCAPES.__getitem__, token))


def unescape_token(name: str) -> bytes:
    """Return the bytes of an escaped token, by the rules of llama.cpp.

    Raises: FormatError for an escape that is cut short, and for a token of no bytes.
    """
    if name and "\\" not in name:
        return name.encode()
    token, place = b"", 0
    for piece in _PIECE.finditer(name):
        if piece.start() != place:
            break
        number, letter, plain = piece.groups()
        if number:
            token += bytes([int(number, 16)])
        elif letter:
            token += _LETTERS.get(letter, letter.encode())
        else:
            token += plain.encode()
        place = piece.end()
    if place != len(name) or not token:
        raise FormatError(f"token {name!r}: not an escaped token; convert the model again.")
    return token


def read_vocabulary(path: Path, n_vocab: int) -> Vocabulary:
    """Return the vocabulary in a text file like RWKV's `rwkv_vocab_v20230424.txt`.

    Each line is an id, a Python string or bytes literal, and its length in bytes; ids without a
    line stand for no text.
    Raises: CorruptError naming the line that is wrong; FileError if it cannot be read.
    """
    vocabulary: list[bytes | None] = [None] * n_vocab
    for number, line in enumerate(read_file(path, VOCABULARY_SIZE_MAX).splitlines(), 1):
        try:
            index, _, rest = line.decode().partition(" ")
            literal, _, size = rest.rpartition(" ")
            token = ast.literal_eval(literal)
            token = token.encode() if isinstance(token, str) else token
            if not isinstance(token, bytes) or len(token) != int(size) or int(index) < 0:
                raise ValueError("the length is another")
            vocabulary[int(index)] = token
        except (ValueError, SyntaxError, IndexError, MemoryError, RecursionError) as exc:
            raise CorruptError(
                f"{path}, line {number}: {line[:60]!r}, expected an id below {n_vocab:,}, a quoted "
                "token and its length; pass the vocabulary of this model.",
                path=path,
            ) from exc
    return vocabulary
