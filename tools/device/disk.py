# SPDX-License-Identifier: Apache-2.0
"""A memory card that loses what was not flushed, for a QEMU guest: a network block device.

A killed QEMU forgets nothing that its guest has written, because the host keeps it; a card whose
power is cut does. This one holds writes in memory until the guest flushes. `cut_power` then lets
each of them reach the medium whole, in part (whole sectors from its start), or not at all.

Source: the NBD protocol, doc/proto.md of NetworkBlockDevice/nbd (newstyle negotiation, simple
        replies). One connection at a time; after a cut the same disk can be served again.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from pathlib import Path

SECTOR = 512
_INIT, _OPTION, _REPLY_MAGIC = b"NBDMAGIC", b"IHAVEOPT", 0x3E889045565A9
_FIXED_NEWSTYLE, _NO_ZEROES = 1, 2
_HAS_FLAGS, _SEND_FLUSH, _SEND_FUA = 1, 4, 8
_EXPORT_NAME, _ABORT, _INFO, _GO = 1, 2, 6, 7
_REP_ACK, _REP_INFO, _REP_UNSUPPORTED = 1, 3, (1 << 31) + 1
_READ, _WRITE, _DISCONNECT, _FLUSH = 0, 1, 2, 3
_REQUEST = struct.Struct(">IHHQQI")
_REQUEST_MAGIC, _SIMPLE_MAGIC, _FUA, _EINVAL = 0x25609513, 0x67446698, 1, 22


class FickleCard:
    """The medium and its volatile cache. `n_flushes` counts what made writes safe."""

    def __init__(self, image: bytes, seed: int = 1) -> None:
        self._safe, self._shown = bytearray(image), bytearray(image)
        self._pending: list[tuple[int, bytes]] = []
        self._chance, self._lock = random.Random(seed), threading.Lock()
        self.n_flushes = self.n_lost = 0
        self._n_left: int | None = None  # writes until it dies
        self._fatal_byte: int | None = None

    @property
    def size(self) -> int:
        return len(self._safe)

    def read(self, offset: int, size: int) -> bytes:
        with self._lock:
            return bytes(self._shown[offset : offset + size])

    def write(self, offset: int, data: bytes) -> None:
        with self._lock:
            self._shown[offset : offset + len(data)] = data
            self._pending.append((offset, data))
            if self._n_left is not None:
                self._n_left -= 1
            elif self._fatal_byte in range(offset, offset + len(data)):
                self._n_left = 0
            if self.is_dead:
                raise ConnectionResetError("the card's power is gone")

    def die_after(self, n_writes: int) -> None:
        """Answer nothing from the n-th write on: its power fails in the middle of a commit."""
        self._n_left = n_writes

    def die_at(self, offset: int) -> None:
        """Answer nothing from the write on that touches this byte."""
        self._fatal_byte = offset

    @property
    def is_dead(self) -> bool:
        return self._n_left is not None and self._n_left <= 0

    def flush(self) -> None:
        with self._lock:
            for offset, data in self._pending:
                self._safe[offset : offset + len(data)] = data
            self._pending.clear()
            self.n_flushes += 1

    def cut_power(self) -> int:
        """Decide what of the unflushed writes is on the medium; return how many were lost."""
        with self._lock:
            n_lost = 0
            for offset, data in self._pending:
                n_kept = self._chance.choice([0, len(data), self._torn(len(data))])
                self._safe[offset : offset + n_kept] = data[:n_kept]
                n_lost += n_kept < len(data)
            self._pending.clear()
            self._shown[:] = self._safe
            self._n_left = self._fatal_byte = None
            self.n_lost += n_lost
            return n_lost

    def _torn(self, size: int) -> int:
        return SECTOR * self._chance.randrange(size // SECTOR + 1)


class CardServer(threading.Thread):
    """Serves a FickleCard on a unix socket, to one QEMU after another."""

    def __init__(self, path: Path, card: FickleCard) -> None:
        super().__init__(daemon=True, name="card")
        self._card = card
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(1)
        self.start()

    def run(self) -> None:
        while True:
            try:
                stream, _ = self._server.accept()
            except OSError:
                return  # closed
            with stream, contextlib.suppress(EOFError, ConnectionError):
                if _negotiate(stream, self._card.size):
                    self._serve(stream)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _serve(self, stream: socket.socket) -> None:
        while True:
            head = _REQUEST.unpack(exactly(stream, _REQUEST.size))
            magic, flags, kind, handle, offset, size = head
            if magic != _REQUEST_MAGIC or kind == _DISCONNECT:
                return
            fault, answer = 0, b""
            data = exactly(stream, size) if kind == _WRITE else b""
            if kind > _FLUSH or offset + size > self._card.size:
                fault = _EINVAL
            elif kind == _READ:
                answer = self._card.read(offset, size)
            elif kind == _WRITE:
                self._card.write(offset, data)
            if not fault and (kind == _FLUSH or flags & _FUA):
                self._card.flush()
            stream.sendall(struct.pack(">IIQ", _SIMPLE_MAGIC, fault, handle) + answer)


def _negotiate(stream: socket.socket, size: int) -> bool:
    """Agree on the one export; say whether requests follow."""
    stream.sendall(_INIT + _OPTION + struct.pack(">H", _FIXED_NEWSTYLE | _NO_ZEROES))
    (client,) = struct.unpack(">I", exactly(stream, 4))
    export = struct.pack(">QH", size, _HAS_FLAGS | _SEND_FLUSH | _SEND_FUA)
    while True:
        magic, option, length = struct.unpack(">8sII", exactly(stream, 16))
        exactly(stream, length)
        if magic != _OPTION or option == _ABORT:
            return False
        if option == _EXPORT_NAME:
            stream.sendall(export + (b"" if client & _NO_ZEROES else bytes(124)))
            return True
        if option not in (_INFO, _GO):
            _reply(stream, option, _REP_UNSUPPORTED)
            continue
        _reply(stream, option, _REP_INFO, struct.pack(">H", 0) + export)
        _reply(stream, option, _REP_ACK)
        if option == _GO:
            return True


def _reply(stream: socket.socket, option: int, kind: int, body: bytes = b"") -> None:
    stream.sendall(struct.pack(">QIII", _REPLY_MAGIC, option, kind, len(body)) + body)


def exactly(stream: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        chunk = stream.recv(size - len(received))
        if not chunk:
            raise EOFError
        received += chunk
    return bytes(received)
