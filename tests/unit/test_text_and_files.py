# SPDX-License-Identifier: Apache-2.0
"""The border of text, and the only way a file is written."""

from __future__ import annotations

import errno
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parrot.base.errors import FileError
from parrot.base.files import read_file, replace_file, writing
from parrot.base.text import clean_text, companion_turn, text_from_bytes


@given(st.text())
def test_no_text_can_forge_a_turn(text: str) -> None:
    turn = companion_turn(text)
    assert turn[:1] == b"\x02"
    assert turn[-2:] == b"\x03\x06"
    assert not any(byte < 0x20 and byte not in (0x09, 0x0A) for byte in turn[1:-2])
    turn.decode("utf-8", "strict")


def test_clean_text_keeps_words_tabs_and_newlines() -> None:
    assert clean_text("a\tb\r\nc\rd\x00\x06\x7f\x85e 鹦鹉 🦜") == "a\tb\nc\nde 鹦鹉 🦜"
    assert clean_text("x\udc80y\ud800") == "x\ufffdy\ufffd"


@given(st.text(), st.integers(1, 4))
def test_text_comes_out_as_it_went_in_whatever_the_chunks(text: str, size: int) -> None:
    blob = text.encode("utf-8", "replace")
    chunks = [blob[i : i + size] for i in range(0, len(blob), size)]
    assert "".join(text_from_bytes(chunks)) == blob.decode()


def test_broken_character_shows_as_replacement() -> None:
    assert "".join(text_from_bytes([b"a\xe9\xb9", b"b", b"\xe9"])) == "a\ufffdb\ufffd"


class PowerCut(Exception):
    pass


@pytest.mark.parametrize("stage", ["open", "write", "fsync", "replace", "sync_folder", "none"])
def test_inv1_file_holds_the_old_bytes_or_the_new(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "soul"
    path.write_bytes(b"old")

    def cut(*args: Any, **kwargs: Any) -> Any:
        raise PowerCut

    if stage in ("fsync", "replace"):
        monkeypatch.setattr(os, stage, cut)
    elif stage == "sync_folder":
        monkeypatch.setattr("parrot.base.files.sync_folder", cut)
    elif stage == "open":
        monkeypatch.setattr("builtins.open", cut)
    try:
        with writing(path) as file:
            file.write(b"ne")
            if stage == "write":
                raise PowerCut
            file.write(b"w")
    except PowerCut:
        assert stage != "none"
    monkeypatch.undo()
    assert path.read_bytes() == (b"new" if stage in ("sync_folder", "none") else b"old")
    assert [p.name for p in tmp_path.iterdir()] == ["soul"]  # no part file is left


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "read-only"), (errno.EIO, "disk reported")],
)
def test_disk_that_refuses_is_named_with_what_to_do(
    code: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(FileError, match=f"a.state: cannot be written: .*{words}.*; "):
        replace_file(tmp_path / "a.state", b"x")


def test_small_file_costs_no_memory_for_what_it_might_have_held(tmp_path: Path) -> None:
    (tmp_path / "a.state").write_bytes(b"x" * 3_000_000)
    tracemalloc.start()
    try:
        assert len(read_file(tmp_path / "a.state", 1 << 30)) == 3_000_000
        assert tracemalloc.get_traced_memory()[1] < 16_000_000
    finally:
        tracemalloc.stop()


def test_read_file_refuses_what_is_larger_than_it_may_be(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 11)
    assert read_file(tmp_path / "big", 11) == b"x" * 11
    with pytest.raises(FileError, match="more than 10 bytes"):
        read_file(tmp_path / "big", 10)
    with pytest.raises(FileError, match="no such file"):
        read_file(tmp_path / "none", 10)
