# SPDX-License-Identifier: Apache-2.0
"""The corpus builder: framing, held-out text kept apart, and what it refuses."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import pytest

from parrot.base.errors import ConfigError, CorruptError, FileError, FormatError
from tests.unit.train_world import write_jsonl
from tools import corpus, corpus_read
from tools.neardup import Windows

MIX = """
[[source]]
name = "talk"
root = "hand"
files = ["*.jsonl"]
hold = true
licence = "CC0-1.0"
origin = "ours"

[[source]]
name = "tales"
root = "books"
files = ["tales.txt.xz"]
licence = "public domain"
origin = "books"
"""


def turns(i: int) -> dict:
    return {
        "turns": [
            {"role": "user", "text": f"What is {i} and {i * 7}?\r\n"},
            {"role": "assistant", "text": f"It is {i * 8}, \x02I think\x03."},
        ]
    }


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Forty talks and three tales, one of which repeats a held-out talk's words."""
    for name in ("hand", "books"):
        (tmp_path / name).mkdir()
    long = turns(19)
    long["turns"][1]["text"] = "The lighthouse keeper counted nineteen grey gulls before breakfast."
    write_jsonl(
        tmp_path / "hand" / "a.jsonl", [*map(turns, range(19)), long, *map(turns, range(20, 40))]
    )
    tales = (
        "Once a fox slept. It woke up.",
        "So. The lighthouse keeper counted nineteen grey gulls before breakfast. Yes.",
        "A boat sailed over the wide and quiet lake until the evening came.",
        "Once a fox slept. It woke up.",
    )
    (tmp_path / "books" / "tales.txt.xz").write_bytes(
        lzma.compress("\n<|doc|>\n".join(tales).encode())
    )
    (tmp_path / "mix.toml").write_text(MIX)
    return tmp_path


def build(world: Path) -> dict:
    roots = {"hand": world / "hand", "books": world / "books"}
    return corpus.build(world / "mix.toml", roots, world / "out", 1)


def test_turns_are_framed_and_no_text_can_forge_a_turn(world: Path) -> None:
    build(world)
    documents = (world / "out" / "talk.bin").read_bytes().split(b"\0")
    assert documents[-1] == b""
    assert b"\x02What is 3 and 21?\x03\x06It is 24, I think.\x03" in documents


def test_every_twentieth_item_is_held_out_and_its_near_copy_dropped(world: Path) -> None:
    manifest = build(world)
    held = (world / "out" / "heldout" / "talk.bin").read_bytes()
    assert held.count(b"\0") == 2
    assert b"nineteen grey gulls" in held
    tales = (world / "out" / "tales.bin").read_bytes()
    assert tales.count(b"fox") == 1  # the second is the same
    assert b"quiet lake" in tales
    assert b"gulls" not in tales
    by_file = {s["file"]: s for s in manifest["shards"]}
    assert by_file["tales.bin"]["near"] == 1
    assert by_file["tales.bin"]["repeated"] == 1
    assert by_file["heldout/talk.bin"]["documents"] == 2


def test_manifest_names_licence_hash_and_share(world: Path) -> None:
    build(world)
    manifest = json.loads((world / "out" / "manifest.json").read_text())
    shards = {s["file"]: s for s in manifest["shards"]}
    assert shards["tales.bin"]["licence"] == "public domain"
    assert len(shards["tales.bin"]["inputs"][0]["sha256"]) == 64
    assert sum(s["share"] for s in manifest["shards"]) == pytest.approx(1, abs=1e-4)


def test_the_same_seed_writes_the_same_bytes(world: Path) -> None:
    first = build(world)
    assert build(world) == first


@pytest.mark.parametrize(
    ("name", "blob", "error", "says"),
    [
        ("tales.txt.xz", None, FileError, "no such file"),
        ("tales.txt.xz", b"", CorruptError, "cannot be unpacked"),
        ("tales.txt.xz", lzma.compress(b"   "), CorruptError, "holds no text"),
        ("tales.txt.xz", lzma.compress(b"\xff\xfe"), FormatError, "not UTF-8"),
        ("tales.txt.xz", lzma.compress(b"a\0b"), FormatError, "binary file"),
        ("tales.txt.xz", lzma.compress(b"x" * 5000)[:-40], CorruptError, "cannot be unpacked"),
        ("tales.txt.xz", lzma.compress(b"x" * 200_000), FileError, "cut it into parts"),
    ],
)
def test_unusable_files_are_refused_before_anything_is_written(
    world: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    blob: bytes | None,
    error: type,
    says: str,
) -> None:
    monkeypatch.setattr(corpus_read, "FILE_BYTES_MAX", 100_000)
    path = world / "books" / name
    path.unlink()
    if blob is not None:
        path.write_bytes(blob)
    with pytest.raises(error, match=says):
        build(world)
    assert not (world / "out" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 1 is not JSON"),
        ("[]", "line 1 is not an object"),
        ("[" * 100_000, "line 1 is not JSON"),
        ("{}", "neither text nor turns"),
        ('{"turns": [{"role": "bird", "text": "x"}]}', "role is not user, assistant or memory"),
        ('{"turns": [{"role": "user"}]}', "without text"),
    ],
)
def test_a_wrong_line_is_named(world: Path, line: str, says: str) -> None:
    (world / "hand" / "a.jsonl").write_text(line + "\n")
    with pytest.raises(CorruptError, match=says):
        build(world)


def test_wrong_keys_and_missing_folders_are_named(world: Path) -> None:
    with pytest.raises(ConfigError, match="--root books=DIR"):
        corpus.build(world / "mix.toml", {"hand": world / "hand"}, world / "out", 1)
    (world / "mix.toml").write_text(MIX.replace("origin", "orgin"))
    with pytest.raises(ConfigError, match="orgin is not a key"):
        build(world)


def test_windows_find_a_sentence_wherever_it_stands() -> None:
    held = "海边的小灯塔每天晚上都亮着，船长们都靠它回家，谁也不会迷路。".encode()
    windows = Windows([held])
    near, far = windows.share_of(
        ["从前，".encode() + held, b"Nothing of it is repeated in this text."]
    )
    assert near > 0.8
    assert far == 0
