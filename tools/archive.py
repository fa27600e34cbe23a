# SPDX-License-Identifier: Apache-2.0
"""Archives whose bytes depend only on what is in them: no clock, no owner, no order of a disk."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A file in an archive; `link`, where not empty, makes it a symbolic link instead."""

    data: bytes = b""
    mode: int = 0o644
    link: str = ""


def tar_of(entries: Mapping[str, Entry], prefix: str = "", first: str = "") -> bytes:
    """Return a tar of `entries`, sorted by name but for `first`, folders before what is in them.

    Names are relative; `prefix` ("./") is put before each.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        names = _folders(entries) | set(entries)
        for name in sorted(names, key=lambda name: (name != first, name)):
            member = tarfile.TarInfo(prefix + name)
            entry = entries.get(name)
            if entry is None:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
            elif entry.link:
                member.type, member.mode, member.linkname = tarfile.SYMTYPE, 0o777, entry.link
            else:
                member.mode, member.size = entry.mode, len(entry.data)
            tar.addfile(member, io.BytesIO(entry.data if entry else b""))
    return buffer.getvalue()


def gzip_of(blob: bytes) -> bytes:
    """Return `blob` as gzip, without the time in its header."""
    return gzip.compress(blob, 9, mtime=0)


def _folders(entries: Mapping[str, Entry]) -> set[str]:
    found = set()
    for name in entries:
        parts = name.split("/")[:-1]
        found |= {"/".join(parts[: i + 1]) for i in range(len(parts))}
    return found
