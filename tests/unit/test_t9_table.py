# SPDX-License-Identifier: Apache-2.0
"""pinyin.bin: what is in it comes out, and no bytes at all make the reader misbehave."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from parrot.base.errors import CorruptError, FileError, FormatError, ParrotError
from parrot.senses.pinyin_table import PinyinTable
from parrot.senses.t9 import T9
from tests.unit.pinyin_fixture import ENGLISH, WORDS, pack, resealed, sections, write_table


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> PinyinTable:
    return PinyinTable(write_table(tmp_path_factory.mktemp("table")))


def key_of(table: PinyinTable, *digits: str) -> bytes:
    return bytes(table.key_byte[d] for d in digits)


def test_every_word_is_found_by_its_digits(table: PinyinTable) -> None:
    first, last = table.span([key_of(table, "64", "426")], [key_of(table, "64", "426")])[0]
    assert [table.text(w) for w in range(first, last)] == ["你好", "米高"]
    assert table.costs(first, last).tolist() == [60, 100]
    assert [table.spelling(w) for w in range(first, last)] == [("ni", "hao"), ("mi", "gao")]
    all_words = {table.text(w) for w in range(table.base[2], table.base[8])}
    assert all_words == {w for group in WORDS.values() for w, _ in group}


def test_key_that_begins_a_longer_word_is_known(table: PinyinTable) -> None:
    keys = [key_of(table, "64", "426"), key_of(table, "546", "8426")]
    assert table.has_longer(keys) == [True, False]  # 你好吗; nothing after 今天


def test_readings_of_one_character_are_different_words(table: PinyinTable) -> None:
    spans = table.span([key_of(table, d) for d in ("24264", "94264")],
                       [key_of(table, d) for d in ("24264", "94264")])  # fmt: skip
    assert [table.text(a) for a, _ in spans] == ["长", "长"]
    assert [table.costs(a, b).tolist() for a, b in spans] == [[76], [82]]


def test_pair_cost_beats_backoff(table: PinyinTable) -> None:
    words = {table.text(w): w for w in range(table.base[8])}
    ids = table.lm_ids(np.array([words["今天"], words["天气"], words["米高"]]))
    unigram, reading = np.array([70, 70, 140]), np.zeros(3, int)
    before = np.full(3, ids[0])
    assert table.follow_costs(before, ids, unigram, reading).tolist() == [76, 12, 146]
    assert table.follow_costs(np.full(3, -1), ids, unigram, reading).tolist() == [70, 70, 140]
    assert [table.text(w) for w, _ in table.followers(int(ids[0]), 5)] == ["天气"]
    assert table.followers(int(ids[1]), 5) == []  # only the clause's end follows


def test_english_words_come_out_in_order(table: PinyinTable) -> None:
    assert table.english() == [(word, cost) for cost, word in ENGLISH]


def test_other_files_are_named_for_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "pinyin.bin"
    path.write_bytes(b"PK\x03\x04" + bytes(60))
    with pytest.raises(FormatError, match="first bytes are 50 4b 03 04, expected 50 59 54 31"):
        PinyinTable(path)
    path.write_bytes(b"")
    with pytest.raises(FormatError, match="empty, expected a pinyin table"):
        PinyinTable(path)
    with pytest.raises(FileError, match="no such file"):
        PinyinTable(tmp_path / "absent.bin")
    blob = pack(sections())
    path.write_bytes(blob[:4] + b"\x02" + blob[5:])
    with pytest.raises(FormatError, match="table version 2, expected 1"):
        PinyinTable(path)
    path.write_bytes(blob[:-1])
    with pytest.raises(CorruptError, match=r"holds .* its header says"):
        PinyinTable(path)
    path.write_bytes(blob[:-1] + bytes([blob[-1] ^ 1]))
    with pytest.raises(CorruptError, match=r"checksum is .* expected"):
        PinyinTable(path)


def broken(tag: str, blob: bytes) -> bytes:
    return pack(sections() | {tag: blob})


SOUND = sections()
BROKEN = {
    "a section is missing": pack({t: b for t, b in SOUND.items() if t != "ENGL"}),
    "a section twice": pack(SOUND).replace(b"CST7", b"CST6"),
    "syllables unsorted": broken("SYLL", SOUND["SYLL"][6:] + SOUND["SYLL"][:6]),
    "syllable of letters": broken("SYLL", b"9z\0\0\0\0" * (len(SOUND["SYLL"]) // 6)),
    "offsets beyond the characters": broken("CHR0", SOUND["CHR0"][:-2] + b"\xff\xff"),
    "character is no hanzi": broken("CHAR", b"A\0" + SOUND["CHAR"][2:]),
    "reading that is not there": broken("CPIN", b"\xff\xff" + SOUND["CPIN"][2:]),
    "fewer costs than characters": broken("CCST", SOUND["CCST"][1:]),
    "key zero": broken("KEY2", b"\0" + SOUND["KEY2"][1:]),
    "key beyond the syllables": broken("KEY2", SOUND["KEY2"][:-1] + b"\xff"),
    "keys unsorted": broken("KEY2", SOUND["KEY2"][4:] + SOUND["KEY2"][:4]),
    "rank beyond the characters": broken("RNK3", b"\xff" + SOUND["RNK3"][1:]),
    "key cut": broken("KEY3", SOUND["KEY3"][:-1]),
    "vocabulary unsorted": broken("VOCW", SOUND["VOCW"][4:] + SOUND["VOCW"][:4]),
    "vocabulary id zero": broken("VOCI", b"\0\0" + SOUND["VOCI"][2:]),
    "vocabulary id too great": broken("VOCI", b"\xff\xff" + SOUND["VOCI"][2:]),
    "no vocabulary": pack(sections() | {"VOCW": b"", "VOCI": b""}),
    "pairs unsorted": broken("PAIR", SOUND["PAIR"][4:] + SOUND["PAIR"][:4]),
    "pair of unknown words": broken("PAIR", SOUND["PAIR"][:-4] + b"\xff\xff\xff\xff"),
    "no pairs": pack(sections() | {"PAIR": b"", "PCST": b""}),
    "odd number of bytes": broken("PAIR", SOUND["PAIR"][:-1]),
}


@pytest.mark.parametrize("blob", BROKEN.values(), ids=BROKEN)
def test_broken_rule_is_a_corrupt_file(blob: bytes, tmp_path: Path) -> None:
    path = tmp_path / "pinyin.bin"
    path.write_bytes(resealed(blob))
    with pytest.raises(CorruptError, match=r"pinyin.bin section \w+: "):
        PinyinTable(path)


def test_english_word_cut_short_is_a_corrupt_file(tmp_path: Path) -> None:
    path = tmp_path / "pinyin.bin"
    for tail in (b"\x05", b"\x05\x09abc", b"\x05\x00", b"\x05\x01\xff"):
        path.write_bytes(broken("ENGL", SOUND["ENGL"] + tail))
        with pytest.raises(CorruptError, match="section ENGL: a word is cut short"):
            PinyinTable(path).english()


def test_no_bytes_do_worse_than_a_parrot_error(tmp_path: Path) -> None:
    """One byte changed anywhere, resealed: it is refused, or it can be used to the end."""
    rng, blob, n_refused = random.Random(7), pack(sections()), 0
    for i in range(600):
        path = tmp_path / f"{i}.bin"
        hurt = bytearray(blob)
        for _ in range(rng.randint(1, 3)):
            hurt[rng.randrange(len(hurt))] = rng.choice([0, 1, 0x7F, 0xFF, rng.randrange(256)])
        if rng.random() < 0.2:
            del hurt[rng.randrange(len(hurt)) :]
        path.write_bytes(resealed(bytes(hurt)) if len(hurt) > 16 else bytes(hurt))
        try:
            table = PinyinTable(path)
            engine = T9(table)
            for digits in ("64426", "54684268", "9", "24264"):
                lattice = engine.lattice()
                lattice.extend(digits)
                list(engine.candidates(lattice))
                engine.spelling(lattice)
                engine.syllables(lattice, 0)
            engine.predictions(0, 9)
            table.english()
        except ParrotError:
            n_refused += 1
    assert 100 < n_refused < 600
