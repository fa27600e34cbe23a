# SPDX-License-Identifier: Apache-2.0
"""Checking that a file is from who it should be from: minisign's format, Ed25519 by PyNaCl.

A signature is a text file FILE.minisig of four lines, beside FILE:

    untrusted comment: anything
    base64 of "ED", key id (8), Ed25519 over BLAKE2b-512 of the file (64)
    trusted comment: anything
    base64 of Ed25519 over the first signature and the trusted comment (64)

A public key is two lines: a comment, and base64 of "Ed", key id (8), the key (32).
Source: jedisct1.github.io/minisign, "Signature format". minisign up to 0.9 signs so with -H.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from parrot.base.errors import FileError, FormatError, ParrotError
from parrot.base.files import file_error, read_file

TAIL = ".minisig"
_TEXT_MAX = 16 * 1024
_CHUNK = 1 << 20


class SignatureError(FileError):
    """A file that is not signed by a key that is trusted here."""


@dataclass(frozen=True)
class PublicKey:
    path: Path
    id: bytes  # 8
    point: bytes  # 32


@dataclass(frozen=True)
class Signature:
    path: Path
    key_id: bytes  # 8
    over_file: bytes  # 64
    comment: bytes  # trusted, once over_comment was checked
    over_comment: bytes  # 64


def load_key(path: Path) -> PublicKey:
    """Raises: FormatError for what is no public key; FileError."""
    lines = _lines(path)
    blob = _base64(path, lines[1]) if len(lines) >= 2 else b""
    if len(blob) != 42 or blob[:2] != b"Ed":
        raise FormatError(
            f"{path}: not a minisign public key; pass the .pub file that minisign -G wrote.",
            path=path,
        )
    return PublicKey(path, blob[2:10], blob[10:])


def load_signature(path: Path) -> Signature:
    """Raises: FormatError for what is no signature; FileError."""
    lines = _lines(path)
    head = b"trusted comment: "
    if len(lines) < 4 or not lines[2].startswith(head):
        raise FormatError(
            f"{path}: {len(lines)} lines, expected the 4 of a minisign signature; sign again with "
            "minisign -S.",
            path=path,
        )
    blob, over_comment = _base64(path, lines[1]), _base64(path, lines[3])
    if len(blob) != 74 or blob[:2] != b"ED" or len(over_comment) != 64:
        raise FormatError(
            f"{path}: not a signature over the file's hash; sign again with minisign -S -H.",
            path=path,
        )
    return Signature(path, blob[2:10], blob[10:], lines[2][len(head) :], over_comment)


def verify(file: BinaryIO, path: Path, signature: Signature, keys: Iterable[PublicKey]) -> str:
    """Read `file`, named `path`, to its end; return the trusted comment.

    Raises: SignatureError unless it was signed, as it is, by one of `keys`.
    """
    keys = list(keys)
    key = next((key for key in keys if key.id == signature.key_id), None)
    if key is None:
        known = ", ".join(f"{key.id[::-1].hex()} ({key.path.name})" for key in keys) or "none"
        raise SignatureError(
            f"{path}: signed by key {signature.key_id[::-1].hex()}, trusted here: {known}; pass "
            "the maker's public key with --key if you trust it.",
            path=path,
        )
    digest = hashlib.blake2b()
    try:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    except OSError as exc:
        raise file_error(path, exc, "read") from exc
    if not _is_signed(key, signature.over_file + signature.comment, signature.over_comment):
        raise SignatureError(
            f"{signature.path}: its trusted comment was changed after signing; copy it again.",
            path=path,
        )
    if not _is_signed(key, digest.digest(), signature.over_file):
        raise SignatureError(
            f"{path}: not the bytes that {key.path.name} signed, expected them unchanged; copy the "
            "file again, and do not use it if that does not help.",
            path=path,
        )
    return signature.comment.decode("utf-8", "replace")


def _is_signed(key: PublicKey, message: bytes, signature: bytes) -> bool:
    try:
        from nacl.exceptions import BadSignatureError
        from nacl.signing import VerifyKey
    except ImportError as exc:
        raise ParrotError(
            "pynacl: not installed, expected for checking signatures; run: pip install pynacl, or "
            "apt install python3-nacl, or opkg install python3-pynacl."
        ) from exc
    try:
        VerifyKey(key.point).verify(message, signature)
    except BadSignatureError:
        return False
    return True


def _lines(path: Path) -> list[bytes]:
    return read_file(path, _TEXT_MAX).replace(b"\r\n", b"\n").rstrip(b"\n").split(b"\n")


def _base64(path: Path, line: bytes) -> bytes:
    try:
        return base64.b64decode(line, validate=True)
    except binascii.Error as exc:
        raise FormatError(f"{path}: no base64 ({exc}); copy it again.", path=path) from exc
