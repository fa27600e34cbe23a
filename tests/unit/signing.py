# SPDX-License-Identifier: Apache-2.0
"""What minisign does on a maker's machine, for tests: a key pair, and FILE.minisig."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from nacl.signing import SigningKey


class Maker:
    """Invariant: two makers of one `seed` are the same."""

    def __init__(self, seed: int = 1) -> None:
        self._key = SigningKey(hashlib.sha256(bytes([seed])).digest())
        self.id = bytes([seed]) * 8

    def write_key(self, path: Path) -> Path:
        blob = b"Ed" + self.id + bytes(self._key.verify_key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"untrusted comment: a test\n{base64.b64encode(blob).decode()}\n")
        return path

    def sign(self, path: Path, comment: str = "a release") -> Path:
        over_file = self._key.sign(hashlib.blake2b(path.read_bytes()).digest()).signature
        over_comment = self._key.sign(over_file + comment.encode()).signature
        lines = [
            "untrusted comment: a test",
            base64.b64encode(b"ED" + self.id + over_file).decode(),
            f"trusted comment: {comment}",
            base64.b64encode(over_comment).decode(),
        ]
        tail = path.with_name(f"{path.name}.minisig")
        tail.write_text("\n".join(lines) + "\n")
        return tail
