# SPDX-License-Identifier: Apache-2.0
"""Frames as PNG files: one bit deep, enlarged, with nothing but the standard library."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from parrot.faces.framebuffer import Framebuffer

SCALE = 6


def png_bytes(frame: Framebuffer, scale: int = SCALE) -> bytes:
    """Return `frame` as a greyscale PNG in which each pixel is a square of `scale` × `scale`."""
    pixels = np.repeat(np.repeat(frame.pixels(), scale, axis=0), scale, axis=1)
    rows = np.packbits(pixels, axis=1)
    filtered = np.pad(rows, ((0, 0), (1, 0)))  # each row starts with filter type 0, "none"
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 1, 0, 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", head),
            _chunk(b"IDAT", zlib.compress(filtered.tobytes(), 9)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, payload: bytes) -> bytes:
    """Return a PNG chunk (ISO/IEC 15948, 5.3)."""
    return (
        struct.pack(">I", len(payload))
        + kind
        + payload
        + struct.pack(">I", zlib.crc32(payload, zlib.crc32(kind)))
    )
