# SPDX-License-Identifier: Apache-2.0
"""Rows of bytes for training: whole documents, in the shares asked for, resumable."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from parrot.base.errors import CorruptError, FileError
from tests.unit.train_world import write_shards
from tools.feed import Feed


def feed(folder: Path, weights: dict[str, float] | None = None, rows: int = 3) -> Feed:
    return Feed(folder, weights or {"tales": 0.7, "talk": 0.3}, rows, 50, seed=2)


def test_chunks_of_a_row_overlap_by_one_byte_and_hold_whole_documents(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "data")
    source = feed(folder)
    chunks = [source.next() for _ in range(40)]
    for before, after in itertools.pairwise(chunks):
        assert (before[:, -1] == after[:, 0]).all()
    row = b"".join(c[1, :-1].tobytes() for c in chunks)
    known = {d for n in ("tales", "talk") for d in (folder / f"{n}.bin").read_bytes().split(b"\0")}
    documents = row.split(b"\0")[1:-1]  # a row begins with one 0x00
    assert len(documents) > 50
    assert all(d in known for d in documents)


def test_each_shard_gets_its_share_of_the_bytes(tmp_path: Path) -> None:
    source = feed(write_shards(tmp_path / "data"))
    text = np.concatenate([source.next().ravel() for _ in range(200)]).tobytes()
    documents = text.split(b"\0")
    talk = sum(len(d) + 1 for d in documents if b"\x06" in d)
    assert talk / len(text) == pytest.approx(0.3, abs=0.03)


def test_no_document_comes_twice_before_all_came_once(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "n.bin").write_bytes(b"".join(b"%06d\0" % i for i in range(300)))
    source = Feed(folder, {"n": 1.0}, 1, 70, seed=1)
    row = b"".join(source.next()[0, :-1].tobytes() for _ in range(29))
    numbers = row.split(b"\0")[1:-1]
    assert len(numbers) > 285
    assert len(set(numbers)) == len(numbers)
    assert numbers != sorted(numbers)


def test_restored_feed_goes_on_with_the_very_next_byte(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "data", 3000)
    source = feed(folder)
    for _ in range(30):  # past the end of a shard
        source.next()
    saved = {k: v.copy() for k, v in source.state().items()}
    expected = [source.next() for _ in range(30)]
    again = feed(folder)
    again.restore(saved)
    assert all((again.next() == e).all() for e in expected)


def test_a_new_mixture_keeps_the_place_in_the_shards_it_knows(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "data")
    source = feed(folder)
    for _ in range(10):
        source.next()
    place = source.shards[1].cursor
    again = feed(folder, {"tales": 0.1, "talk": 0.9})
    again.restore(source.state())
    assert again.shards[1].cursor == place > 0
    text = np.concatenate([again.next().ravel() for _ in range(200)]).tobytes()
    talk = sum(len(d) + 1 for d in text.split(b"\0") if b"\x06" in d)
    assert talk / len(text) == pytest.approx(0.9, abs=0.06)


def test_a_slightly_new_mixture_starves_no_shard(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "data")
    source = feed(folder)
    for _ in range(400):
        source.next()
    again = feed(folder, {"tales": 0.65, "talk": 0.35})
    again.restore(source.state())
    text = np.concatenate([again.next().ravel() for _ in range(20)]).tobytes()
    talk = sum(len(d) + 1 for d in text.split(b"\0") if b"\x06" in d)
    assert talk / len(text) == pytest.approx(0.35, abs=0.08)


def test_missing_empty_or_foreign_shards_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such file"):
        Feed(tmp_path, {"absent": 1.0}, 1, 8, seed=1)
    for blob in (b"", b"no end"):
        (tmp_path / "bad.bin").write_bytes(blob)
        with pytest.raises(CorruptError, match="build the corpus again"):
            Feed(tmp_path, {"bad": 1.0}, 1, 8, seed=1)
