# SPDX-License-Identifier: Apache-2.0
"""A table of a few words, laid out by hand: small enough to read, and to damage everywhere."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

# character, pinyin, cost, reading cost; sorted by digits, then cost
CHARS = [
    ("一", "yi", 40, 0), ("以", "yi", 60, 0), ("你", "ni", 40, 0), ("米", "mi", 80, 0),
    ("高", "gao", 70, 0), ("好", "hao", 50, 0), ("吗", "ma", 50, 0), ("们", "men", 60, 0),
    ("天", "tian", 60, 0), ("今", "jin", 80, 0), ("气", "qi", 70, 0), ("长", "chang", 70, 6),
    ("长", "zhang", 70, 12),
]  # fmt: skip
WORDS = {2: [("你好", 60), ("你们", 50), ("今天", 60), ("天气", 70), ("米高", 100)],
         3: [("你好吗", 90)]}  # fmt: skip
PAIRS = [("", "你好", 30), ("你好", "吗", 20), ("今天", "天气", 12), ("天气", "", 20)]
ENGLISH = [(30, "I"), (40, "good"), (50, "home"), (60, "Hello"), (90, "goodness")]
KEYS = str.maketrans("abcdefghijklmnopqrstuvwxyz", "22233344455566677778889999")


def sections() -> dict[str, bytes]:
    # long because it lays out every section of the file, in the order of docs/formats_pinyin.md
    chars = sorted(CHARS, key=lambda c: c[1].translate(KEYS))
    syllables = sorted({c[1].translate(KEYS) for c in chars})
    pinyin = sorted({c[1] for c in chars})
    key_of = [syllables.index(c[1].translate(KEYS)) + 1 for c in chars]
    first = [key_of.index(k) for k in range(1, len(syllables) + 1)] + [len(chars)]
    at = {c[0]: i for i, c in reversed(list(enumerate(chars)))}
    ids = {c[0]: i for i, c in reversed(list(enumerate(chars)))}
    out = {
        "SYLL": b"".join(s.encode().ljust(6, b"\0") for s in syllables),
        "SPEL": b"".join(s.encode().ljust(6, b"\0") for s in pinyin),
        "CHR0": np.array(first, "<u2").tobytes(),
        "CHAR": np.array([ord(c[0]) for c in chars], "<u2").tobytes(),
        "CPIN": np.array([pinyin.index(c[1]) for c in chars], "<u2").tobytes(),
        "CCST": bytes(c[2] for c in chars),
        "CRDG": bytes(c[3] for c in chars),
    }
    base = len(chars)
    for n in range(2, 8):
        group = []
        for word, cost in WORDS.get(n, []):
            keys = bytes(key_of[at[c]] for c in word)
            ranks = bytes(at[c] - first[key_of[at[c]] - 1] for c in word)
            group.append((keys, cost, ranks, word))
        group.sort()
        out[f"KEY{n}"] = b"".join(g[0] for g in group)
        out[f"RNK{n}"] = b"".join(g[2] for g in group)
        out[f"CST{n}"] = bytes(g[1] for g in group)
        ids |= {g[3]: base + i for i, g in enumerate(group)}
        base += len(group)
    named = sorted({w for pair in PAIRS for w in pair[:2] if w})
    vocabulary = sorted((ids[w], i + 1) for i, w in enumerate(named))
    lm = {"": 0, **{w: i + 1 for i, w in enumerate(named)}}
    pairs = sorted((lm[v] << 16 | lm[w], cost) for v, w, cost in PAIRS)
    return out | {
        "VOCW": np.array([v[0] for v in vocabulary], "<u4").tobytes(),
        "VOCI": np.array([v[1] for v in vocabulary], "<u2").tobytes(),
        "BOFF": bytes([6] * len(lm)),
        "PAIR": np.array([p[0] for p in pairs], "<u4").tobytes(),
        "PCST": bytes(p[1] for p in pairs),
        "ENGL": b"".join(bytes([c, len(w)]) + w.encode() for c, w in ENGLISH),
    }


def pack(parts: dict[str, bytes]) -> bytes:
    at = 20 + 12 * len(parts)
    table, body = b"", b""
    for tag, blob in parts.items():
        body += bytes(-(at + len(body)) % 8)
        table += struct.pack("<4sII", tag.encode(), at + len(body), len(blob))
        body += blob
    rest = struct.pack("<I", len(parts)) + table + body
    return struct.pack("<4sIII", b"PYT1", 1, 16 + len(rest), zlib.crc32(rest)) + rest


def resealed(blob: bytes) -> bytes:
    """The bytes with size and checksum made right again, so that the damage behind them is met."""
    return blob[:8] + struct.pack("<II", len(blob), zlib.crc32(blob[16:])) + blob[16:]


def write_table(folder: Path) -> Path:
    path = folder / "pinyin.bin"
    path.write_bytes(pack(sections()))
    return path
