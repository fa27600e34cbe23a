# SPDX-License-Identifier: Apache-2.0
"""An I2C bus for a QEMU guest, made of Python.

QEMU's device `usb-redir` speaks the usbredir protocol over a socket. On the other end of it
stands this file and is an i2c-tiny-usb adapter: the guest's stock kernel driver binds it, so that
the guest has a real /dev/i2c-N, and every message arrives at the chips of a `ScriptedBus`.

Source: usbredirproto.h 0.7 (packets, capabilities), the Linux driver i2c-tiny-usb.c (its commands),
        USB 1.1 chapter 9 (descriptors).
"""

from __future__ import annotations

import socket
import struct
import threading
from pathlib import Path

from parrot.base.errors import DeviceError
from parrot.base.i2c import ScriptedBus

HELLO, CONNECT, DISCONNECT, RESET, INTERFACES, ENDPOINTS = 0, 1, 2, 3, 4, 5
SET_CONFIGURATION, GET_CONFIGURATION, CONFIGURATION = 6, 7, 8
SET_ALTERNATE, GET_ALTERNATE, ALTERNATE = 9, 10, 11
CONTROL = 100
CAP_DEVICE_VERSION, CAP_MAX_PACKET, CAP_IDS_64, CAP_BULK_32 = 1 << 1, 1 << 4, 1 << 5, 1 << 6
CAPS = (
    CAP_DEVICE_VERSION | CAP_MAX_PACKET | CAP_IDS_64 | CAP_BULK_32
)  # QEMU's xhci wants the last 3
VERSION_SIZE = 64
STALL = 4  # usb_redir_stall

VENDOR, PRODUCT = 0x0403, 0xC631
SET_DELAY, GET_FUNCTIONS, GET_STATUS, TRANSFER = 1, 1, 3, 4
I2C_FUNCTIONS = 0x00000001 | 0x0EFF0008  # I2C_FUNC_I2C | I2C_FUNC_SMBUS_EMUL
ACK, NAK = 1, 2

_DEVICE = struct.pack(
    "<BBHBBBBHHHBBBB", 18, 1, 0x0110, 0, 0, 0, 8, VENDOR, PRODUCT, 0x0205, 1, 2, 0, 1
)
_CONFIGURATION = struct.pack("<BBHBBBBB", 9, 2, 18, 1, 1, 0, 0x80, 50) + struct.pack(
    "<BBBBBBBBB", 9, 4, 0, 0, 0, 0xFF, 0, 0, 0
)
_STRINGS = {0: b"\x09\x04", 1: "parrot".encode("utf-16le"), 2: "I2C of Python".encode("utf-16le")}
_CONTROL_HEADER = struct.Struct("<BBBBHHH")  # endpoint, request, type, status, value, index, length


class TinyUsbI2C:
    """What the adapter answers to a control transfer: pure bytes, no socket.

    `n_messages` and `n_naks` count I2C messages; `bus` may be changed while the guest runs, under
    `lock`.
    """

    def __init__(self, bus: ScriptedBus) -> None:
        self.bus, self.lock = bus, threading.Lock()
        self.n_messages = self.n_naks = 0
        self._status = 0

    def transfer(self, kind: int, request: int, place: tuple[int, int, int], sent: bytes) -> bytes:
        """Answer one transfer; `place` is (value, index, length). Raises: ValueError to stall."""
        value, index, length = place
        if kind == 0x80:  # a standard request to the device
            return self._standard(request, value)[:length]
        if kind & 0x60 != 0x40:
            raise ValueError(f"request type {kind:#x}")
        if request & ~3 == TRANSFER:  # the low bits say start and stop
            return self._message(index, length if kind & 0x80 else None, sent)
        if request == GET_STATUS:
            return bytes([self._status])
        if request == GET_FUNCTIONS and kind & 0x80:
            return struct.pack("<I", I2C_FUNCTIONS)
        return b""  # the delay of a bit: we have none

    def _standard(self, request: int, value: int) -> bytes:
        kind, number = value >> 8, value & 0xFF
        if request == 0:
            return b"\0\0"  # status: bus powered
        if request != 6:
            raise ValueError(f"standard request {request}")
        if kind == 1:
            return _DEVICE
        if kind == 2:
            return _CONFIGURATION
        if kind == 3 and number in _STRINGS:
            return bytes([len(_STRINGS[number]) + 2, 3]) + _STRINGS[number]
        raise ValueError(f"descriptor {kind}")

    def _message(self, address: int, n_bytes: int | None, sent: bytes) -> bytes:
        """Carry one I2C message; a read of `n_bytes`, or a write of `sent`."""
        with self.lock:
            self.n_messages += 1
            self._status = ACK
            try:
                if n_bytes is not None:
                    return self.bus.read(address, n_bytes)
                self.bus.write(address, sent)
            except DeviceError:
                self.n_naks += 1
                self._status = NAK
            return b"" if n_bytes is None else bytes(n_bytes)


class Packets:
    """usbredir's framing on a stream: u32 type, u32 length, and an id of 32 or 64 bits."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream, self._header = stream, struct.Struct("<III")

    def agree(self) -> None:
        """Exchange hellos; ids have 64 bits from here on when both sides can."""
        self.send(HELLO, b"parrot".ljust(VERSION_SIZE, b"\0") + struct.pack("<I", CAPS))
        kind, _, body = self.receive()
        if kind != HELLO or len(body) < VERSION_SIZE:
            raise ValueError(f"usbredir: first packet is {kind}, expected a hello")
        theirs = struct.unpack_from("<I", body.ljust(VERSION_SIZE + 4, b"\0"), VERSION_SIZE)[0]
        if theirs & CAP_IDS_64:
            self._header = struct.Struct("<IIQ")

    def send(self, kind: int, body: bytes = b"", number: int = 0) -> None:
        self._stream.sendall(self._header.pack(kind, len(body), number) + body)

    def receive(self) -> tuple[int, int, bytes]:
        """Return (type, id, body). Raises: EOFError when the guest is gone."""
        kind, size, number = self._header.unpack(self._exactly(self._header.size))
        return kind, number, self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        received = bytearray()
        while len(received) < size:
            chunk = self._stream.recv(size - len(received))
            if not chunk:
                raise EOFError
            received += chunk
        return bytes(received)


class UsbAdapter(threading.Thread):
    """The adapter on a socket of its own, at `path`; plugged in as soon as QEMU connects."""

    def __init__(self, path: Path, adapter: TinyUsbI2C) -> None:
        super().__init__(daemon=True, name="usb-i2c")
        self._adapter = adapter
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(1)
        self._packets: Packets | None = None
        self.unknown: list[int] = []  # types of packets that we did not expect
        self.start()

    def run(self) -> None:
        stream, _ = self._server.accept()
        self._server.close()
        with stream:
            try:
                self.serve(Packets(stream))
            except (EOFError, OSError):
                return  # the guest's power was cut

    def serve(self, packets: Packets) -> None:
        self._packets = packets
        packets.agree()
        self.plug()
        while True:
            kind, number, body = packets.receive()
            if kind == CONTROL:
                self._control(packets, number, body)
            elif kind in (SET_CONFIGURATION, GET_CONFIGURATION):
                packets.send(CONFIGURATION, bytes([0, 1]), number)
            elif kind in (SET_ALTERNATE, GET_ALTERNATE):
                packets.send(ALTERNATE, bytes([0, body[0], 0]), number)
            elif kind != RESET:
                self.unknown.append(kind)

    def plug(self) -> None:
        """Show one interface of the vendor's own class, with nothing but the control endpoint."""
        assert self._packets
        one = [bytes([value]) + bytes(31) for value in (0, 0xFF, 0, 0)]
        self._packets.send(INTERFACES, struct.pack("<I", 1) + b"".join(one))
        types = bytearray([255] * 32)  # 255: there is no such endpoint
        types[0] = types[16] = 0
        sizes = [64 if i in (0, 16) else 0 for i in range(32)]
        self._packets.send(ENDPOINTS, bytes(types) + bytes(64) + struct.pack("<32H", *sizes))
        connect = struct.pack("<BBBBHHH", 1, 0, 0, 0, VENDOR, PRODUCT, 0x0205)  # 1: full speed
        self._packets.send(CONNECT, connect)

    def unplug(self) -> None:
        """Pull the whole adapter out of the guest."""
        assert self._packets
        self._packets.send(DISCONNECT)

    def _control(self, packets: Packets, number: int, body: bytes) -> None:
        endpoint, request, kind, _, *place = _CONTROL_HEADER.unpack_from(body)
        value, index, length = place
        status, answer = 0, b""
        try:
            sent = body[_CONTROL_HEADER.size :]
            answer = self._adapter.transfer(kind, request, (value, index, length), sent)
        except ValueError:
            status = STALL
        is_in = bool(kind & 0x80)
        size = len(answer) if is_in else length
        head = _CONTROL_HEADER.pack(endpoint, request, kind, status, value, index, size)
        packets.send(CONTROL, head + (answer if is_in else b""), number)
