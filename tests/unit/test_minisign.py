# SPDX-License-Identifier: Apache-2.0
"""Signatures: what minisign itself wrote is accepted, and nothing that was changed since."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from parrot.base.errors import FileError
from parrot.base.minisign import SignatureError, load_key, load_signature, verify
from tests.unit.signing import Maker

# Written by minisign 0.11 for the file "hello\n", 2026-11-22.
KEY = """untrusted comment: minisign public key 5EA4489638636268
RWRoYmM4lkikXiPiJNB3iLQ0lkaklO0OTOvgQVw/tV8Kq3oc9o4AEUcb
"""
SIGNATURE = """untrusted comment: signature from minisign secret key
RURoYmM4lkikXkidJXYADBTC0e7yL9ov7hirsrszI6LFCQvM69YypbBlGM0Y9++ljLeL+CIqmsT3Os1fMGpMgqUUNOelfIiviAM=
trusted comment: parrot 0.2.0
hrlyPDrPZVYtE7CuL9qczqIV57c4XqRZ3fXJYNiJbDzU2mp9toTu/XyirsOpfw4a/ezNUJStEpzGTbHhWb5TCQ==
"""


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    path = tmp_path / "hello"
    path.write_bytes(b"hello\n")
    (tmp_path / "hello.minisig").write_text(SIGNATURE)
    (tmp_path / "maker.pub").write_text(KEY)
    return path


def check(path: Path) -> str:
    key = load_key(path.with_name("maker.pub"))
    with open(path, "rb") as file:
        return verify(file, path, load_signature(path.with_name(f"{path.name}.minisig")), [key])


def test_what_minisign_signed_is_accepted(signed: Path) -> None:
    assert check(signed) == "parrot 0.2.0"


@pytest.mark.skipif(shutil.which("minisign") is None, reason="needs minisign")
def test_minisign_accepts_what_the_tests_sign(tmp_path: Path) -> None:
    path, maker = tmp_path / "file", Maker()
    path.write_bytes(b"of a test")
    maker.sign(path)
    maker.write_key(tmp_path / "k.pub")
    subprocess.run(["minisign", "-Vqm", path, "-p", tmp_path / "k.pub"], check=True)


def test_every_changed_byte_of_the_file_is_noticed(signed: Path) -> None:
    for i in range(6):
        blob = bytearray(b"hello\n")
        blob[i] ^= 1
        signed.write_bytes(blob)
        with pytest.raises(SignatureError, match=r"not the bytes that maker\.pub signed"):
            check(signed)
    for blob in (b"", b"hello", b"hello\n\n"):
        signed.write_bytes(blob)
        with pytest.raises(SignatureError, match="not the bytes"):
            check(signed)


def test_a_changed_comment_or_signature_is_noticed(signed: Path) -> None:
    tail = signed.with_name("hello.minisig")
    for before, after, sentence in (
        ("parrot 0.2.0", "parrot 9.9.9", "trusted comment was changed"),
        ("RURoYmM4lkikXkid", "RURoYmM4lkikXkie", "trusted comment was changed"),
        ("hrlyPDrP", "hrlyPDrQ", "trusted comment was changed"),
        ("RURoYmM4lki", "RURoYmM4lkj", "signed by key 5ee4489638636268"),
    ):
        assert SIGNATURE.count(before) == 1
        tail.write_text(SIGNATURE.replace(before, after))
        with pytest.raises(SignatureError, match=sentence):
            check(signed)


def test_a_key_that_is_not_trusted_is_named_with_those_that_are(signed: Path) -> None:
    other = Maker(7)
    other.sign(signed)
    with pytest.raises(SignatureError) as caught:
        check(signed)
    assert "by key 0707070707070707, trusted here: 5ea4489638636268 (maker.pub)" in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("maker.pub", "", "not a minisign public key"),
        ("maker.pub", "one line\nRWRoYmM4\n", "not a minisign public key"),
        ("maker.pub", "one line\n!!!!\n", "no base64"),
        ("hello.minisig", "", "1 lines, expected the 4"),
        ("hello.minisig", SIGNATURE.replace("trusted comment: p", "p"), "expected the 4"),
        ("hello.minisig", SIGNATURE.replace("RURo", "RWRo"), "sign again with minisign -S -H"),
        ("hello.minisig", SIGNATURE.replace("RURo", "RU*o"), "no base64"),
        ("hello.minisig", "\x00" * 20_000, "holds more than"),
    ],
)
def test_what_is_no_key_and_no_signature_is_refused(
    signed: Path, name: str, text: str, sentence: str
) -> None:
    signed.with_name(name).write_text(text)
    with pytest.raises(FileError, match=sentence):
        check(signed)


def test_a_signature_that_is_not_there_is_said(signed: Path) -> None:
    signed.with_name("hello.minisig").unlink()
    with pytest.raises(FileError, match=r"hello.minisig: cannot be read: no such file"):
        check(signed)
