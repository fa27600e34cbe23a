# SPDX-License-Identifier: Apache-2.0
"""The board of software: USB adapter, card and reader, each against what it imitates."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from parrot.base.i2c import ScriptedBus
from parrot.faces.font import Font
from parrot.faces.framebuffer import Framebuffer
from parrot.faces.view import TextView
from parrot.senses.keypad_model import Contacts, I2CPadModel, PCF8574Model
from tools.device import usbredir as usb
from tools.device.disk import SECTOR, CardServer, FickleCard, exactly
from tools.device.glass import CHAT_BOX, as_seen, read_lines

WRITE, READ = 0x40, 0xC0  # vendor requests to and from the device
START_STOP = usb.TRANSFER | 3


@pytest.fixture
def adapter() -> usb.TinyUsbI2C:
    return usb.TinyUsbI2C(ScriptedBus({0x20: PCF8574Model(Contacts()), 0x27: I2CPadModel()}))


def ask(adapter: usb.TinyUsbI2C, kind: int, request: int, index: int, length: int = 0) -> bytes:
    return adapter.transfer(kind, request, (0, index, length), b"")


# The adapter


def test_absent_address_is_a_nak_and_the_next_one_is_not(adapter: usb.TinyUsbI2C) -> None:
    ask(adapter, WRITE, START_STOP, 0x3C)
    assert ask(adapter, READ, usb.GET_STATUS, 0, 1) == bytes([usb.NAK])
    ask(adapter, WRITE, START_STOP, 0x20)
    assert ask(adapter, READ, usb.GET_STATUS, 0, 1) == bytes([usb.ACK])
    assert (adapter.n_messages, adapter.n_naks) == (2, 1)


def test_register_is_read_by_a_write_and_a_read(adapter: usb.TinyUsbI2C) -> None:
    adapter.transfer(WRITE, usb.TRANSFER | 1, (0, 0x27, 1), b"\x03")
    assert adapter.transfer(READ, usb.TRANSFER | 2, (1, 0x27, 1), b"") == b"\x10"


def test_functions_are_those_of_a_plain_i2c_master(adapter: usb.TinyUsbI2C) -> None:
    (functions,) = struct.unpack("<I", ask(adapter, READ, usb.GET_FUNCTIONS, 0, 4))
    assert functions & 1  # I2C_FUNC_I2C: messages of any length
    assert not functions & 2  # I2C_FUNC_10BIT_ADDR


def test_device_descriptor_names_the_driver_and_is_cut_to_what_was_asked(
    adapter: usb.TinyUsbI2C,
) -> None:
    whole = adapter.transfer(0x80, 6, (0x0100, 0, 64), b"")
    assert len(whole) == whole[0] == 18
    assert struct.unpack_from("<HH", whole, 8) == (usb.VENDOR, usb.PRODUCT)
    assert adapter.transfer(0x80, 6, (0x0100, 0, 8), b"") == whole[:8]


def test_unknown_descriptor_stalls(adapter: usb.TinyUsbI2C) -> None:
    with pytest.raises(ValueError, match="descriptor"):
        adapter.transfer(0x80, 6, (0x0F00, 0, 5), b"")


@pytest.fixture
def guest(tmp_path: Path, adapter: usb.TinyUsbI2C) -> Iterator[usb.Packets]:
    """The other end of an adapter's socket, greeted with 64-bit ids."""
    usb.UsbAdapter(tmp_path / "usb", adapter)
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(5)
        line.connect(str(tmp_path / "usb"))
        packets = usb.Packets(line)
        packets.agree()
        yield packets


def test_adapter_shows_itself_and_answers_a_control_transfer(guest: usb.Packets) -> None:
    shown = [guest.receive() for _ in range(3)]
    assert [kind for kind, _, _ in shown] == [usb.INTERFACES, usb.ENDPOINTS, usb.CONNECT]
    assert struct.unpack_from("<HH", shown[2][2], 4) == (usb.VENDOR, usb.PRODUCT)
    asked = struct.pack("<BBBBHHH", 0x80, usb.GET_STATUS, READ, 0, 0, 0, 1)
    guest.send(usb.CONTROL, asked, number=1 << 40)
    kind, number, body = guest.receive()
    assert (kind, number) == (usb.CONTROL, 1 << 40)
    assert body[10:] == b"\0"  # no message yet


def test_stalled_transfer_says_so_and_the_next_is_served(guest: usb.Packets) -> None:
    for _ in range(3):
        guest.receive()
    guest.send(usb.CONTROL, struct.pack("<BBBBHHH", 0x80, 6, 0x80, 0, 0x0F00, 0, 5), number=1)
    _, _, body = guest.receive()
    assert body[3] == usb.STALL
    guest.send(usb.SET_CONFIGURATION, b"\x01", number=2)
    assert guest.receive() == (usb.CONFIGURATION, 2, b"\0\x01")


# The card


def test_flushed_bytes_survive_a_cut_and_others_may_not() -> None:
    fates = set()
    for seed in range(40):
        card = FickleCard(bytes(4096), seed)
        card.write(0, b"a" * 1024)
        card.flush()
        card.write(1024, b"b" * 1024)
        assert card.read(1024, 1) == b"b"
        card.cut_power()
        assert card.read(0, 1024) == b"a" * 1024
        fates.add(card.read(1024, 1024).count(b"b"))
    assert fates == {0, 512, 1024}  # not at all, torn, whole


def test_dying_card_answers_nothing_after_its_last_write() -> None:
    card = FickleCard(bytes(4096))
    card.die_after(2)
    card.write(0, b"a" * 512)
    with pytest.raises(ConnectionResetError):
        card.write(512, b"b" * 512)
    assert card.is_dead
    card.cut_power()
    assert not card.is_dead
    card.write(0, b"c" * 512)


def test_card_dies_at_the_write_that_touches_a_byte_and_lives_after_the_cut() -> None:
    card = FickleCard(bytes(4 * SECTOR))
    card.die_at(2 * SECTOR)
    card.write(0, b"\1" * 2 * SECTOR)
    assert not card.is_dead
    with pytest.raises(ConnectionResetError):
        card.write(SECTOR, b"\2" * 2 * SECTOR)
    assert card.is_dead
    card.cut_power()
    card.write(2 * SECTOR, b"\3" * SECTOR)
    assert card.read(2 * SECTOR, 1) == b"\3"


def test_card_is_served_over_the_network_protocol(tmp_path: Path) -> None:
    card = FickleCard(bytes(8192))
    server = CardServer(tmp_path / "card", card)
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(5)
        line.connect(str(tmp_path / "card"))
        assert exactly(line, 18)[:16] == b"NBDMAGICIHAVEOPT"
        line.sendall(struct.pack(">I8sII", 3, b"IHAVEOPT", 7, 6) + struct.pack(">IH", 0, 0))
        export = exactly(line, 20 + 12)[20:]
        assert struct.unpack(">HQH", export) == (0, 8192, 1 | 4 | 8)  # has flush, has FUA
        exactly(line, 20)
        request = struct.Struct(">IHHQQI")
        line.sendall(request.pack(0x25609513, 0, 1, 7, 512, 4) + b"soul")  # write
        line.sendall(request.pack(0x25609513, 0, 3, 8, 0, 0))  # flush
        line.sendall(request.pack(0x25609513, 0, 0, 9, 512, 4))  # read
        line.sendall(request.pack(0x25609513, 0, 0, 10, 8190, 4))  # read beyond the end
        assert exactly(line, 3 * 16 + 4)[-4:] == b"soul"
        assert struct.unpack(">IIQ", exactly(line, 16)) == (0x67446698, 22, 10)
    card.cut_power()
    assert card.read(512, 4) == b"soul"
    server.close()
    server.join(5)
    assert not server.is_alive()


# The reader


@pytest.mark.parametrize(
    "text",
    ["▸你好\n你好，我是鹦鹉。今天好吗？", 'Hello, I am "parrot"; it\'s 3:15!', "①②③ αβγ ★→ ……"],
)
def test_text_is_read_off_the_glass(text: str) -> None:
    frame, view = Framebuffer(), TextView(Font(), CHAT_BOX)
    view.feed(text)
    view.draw(frame)
    assert "".join(read_lines(frame)) == as_seen(text)


def test_spoiled_pixel_is_not_read_as_a_letter() -> None:
    frame, view = Framebuffer(), TextView(Font(), CHAT_BOX)
    view.feed("你好")
    view.draw(frame)
    frame.columns[6] ^= 1 << 8
    assert read_lines(frame)[0] != "你好"
