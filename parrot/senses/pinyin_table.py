# SPDX-License-Identifier: Apache-2.0
"""The nine-key table: `parrot/assets/pinyin.bin`, mapped into memory and checked once.

docs/formats_pinyin.md is the format; tools/assets_pinyin.py writes it. The one idea needed to read
this file: a word of n syllables is n key bytes and n rank bytes. A key byte names the digits of a
syllable ("94"), a rank byte picks the character among all that are typed with those digits. The
words of one length lie sorted by key, so looking digits up is a binary search over the map, and
nothing is unpacked. Word ids run through the characters first, then the words of 2, 3 ... 7.

Costs are -12 ln p, whole numbers, so that adding them is exact everywhere.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from bisect import bisect_right
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from parrot.base.errors import CorruptError, FormatError
from parrot.base.files import file_error

MAGIC, VERSION = b"PYT1", 1
N_MAX = 7  # syllables in the longest word
COST_UNIT, COST_MAX = 12, 255
LETTER_KEYS = str.maketrans("abcdefghijklmnopqrstuvwxyz", "22233344455566677778889999")
SYLLABLE_SIZE = 6
_SIZE_MAX = 64 << 20
_FIXED = ("SYLL", "SPEL", "CHR0", "CHAR", "CPIN", "CCST", "CRDG", "VOCW", "VOCI", "BOFF", "PAIR",
          "PCST", "ENGL")  # fmt: skip
_TAGS = (*_FIXED, *(f"{kind}{n}" for n in range(2, N_MAX + 1) for kind in ("KEY", "RNK", "CST")))

Array = npt.NDArray[Any]


class PinyinTable:
    """Words by key digits, their costs and how they follow each other. Never changes after open.

    Raises: FormatError when it is not our file, CorruptError when it is damaged.
    Cost:   one pass over the file for the checksum; later only the pages that are used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with open(path, "rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as exc:  # an empty file cannot be mapped
            raise FormatError(
                f"{path}: empty, expected a pinyin table; copy it again.", path=path, offset=0
            ) from exc
        except OSError as exc:
            raise file_error(path, exc, "read") from exc
        self._sections = self._read_sections()
        self._read_chars()
        self._read_words()
        self._read_pairs()

    # ---- words -------------------------------------------------------------------------------

    def span(self, lows: list[bytes], highs: list[bytes]) -> list[tuple[int, int]]:
        """Return for each pair of keys, all of one length, the ids [first, last) of the words
        from one to the other."""
        n = len(lows[0])
        if n == 1:
            return [
                (int(self._char0[low[0] - 1]), int(self._char0[high[0]]))
                for low, high in zip(lows, highs, strict=True)
            ]
        group, base = self._keys[n], self.base[n]
        first = group.searchsorted(np.array(lows, f"S{n}"), "left") + base
        last = group.searchsorted(np.array(highs, f"S{n}"), "right") + base
        return list(zip(first.tolist(), last.tolist(), strict=True))

    def has_longer(self, keys: list[bytes]) -> list[bool]:
        """Return for each key, all of one length, whether a longer word begins with it."""
        found = [False] * len(keys)
        for n_more in range(1, N_MAX + 1 - len(keys[0])):
            spans = self.span(
                [key + b"\x01" * n_more for key in keys], [key + b"\xff" * n_more for key in keys]
            )
            found = [known or a < b for known, (a, b) in zip(found, spans, strict=True)]
        return found

    def costs(self, first: int, last: int) -> Array:
        """Return the unigram costs of the words first ... last - 1, all of one length."""
        n = self.length(first)
        base = self.base[n]
        if n == 1:
            return self._char_cost[first:last].astype(np.int32) + self._reading_cost[first:last]
        return self._costs[n][first - base : last - base].astype(np.int32)

    def reading_costs(self, first: int, last: int) -> Array:
        """Return what the readings of the words add to a bigram's cost; 0 but for characters."""
        if self.length(first) == 1:
            return self._reading_cost[first:last].astype(np.int32)
        return np.zeros(last - first, np.int32)

    def length(self, word: int) -> int:
        """Return how many syllables the word has."""
        return bisect_right(self._bases, word)

    def key(self, word: int) -> bytes:
        """Return the key bytes of the word."""
        n = self.length(word)
        if n == 1:
            return bytes([int(self._char0.searchsorted(word, "right"))])
        return bytes(self._keys_of[n][word - self.base[n]])

    @lru_cache(maxsize=8192)  # noqa: B019  (the table lives as long as the program)
    def text(self, word: int) -> str:
        """Return the characters of the word."""
        return "".join(chr(self._char[i]) for i in self._char_ids(word))

    def spelling(self, word: int) -> tuple[str, ...]:
        """Return the pinyin of each character of the word."""
        return tuple(self.pinyin[self._char_pinyin[i]] for i in self._char_ids(word))

    def _char_ids(self, word: int) -> list[int]:
        n = self.length(word)
        if n == 1:
            return [word]
        row = word - self.base[n]
        keys, ranks = self._keys_of[n][row], self._ranks[n][row]
        return [int(self._char0[k - 1]) + int(r) for k, r in zip(keys, ranks, strict=True)]

    # ---- how words follow each other ---------------------------------------------------------

    def lm_ids(self, words: Array) -> Array:
        """Return the bigram vocabulary's id of each word; -1 where it has none."""
        words = np.asarray(words, np.uint32)  # another type would copy the map at each search
        at = np.minimum(self._voc_word.searchsorted(words), len(self._voc_word) - 1)
        return np.where(self._voc_word[at] == words, self._voc_id[at].astype(np.int32), -1)

    def follow_costs(self, before: Array, after: Array, unigram: Array, reading: Array) -> Array:
        """Return the cost of each word after another: their bigram's, else back-off + unigram.

        Shapes: all (n,) i32. `before` and `after` are vocabulary ids, -1 for a word without one;
        0 before is the start of a clause, 0 after its end.
        """
        first, second = (np.maximum(ids, 0).astype(np.uint32) for ids in (before, after))
        pair = first << 16 | second
        at = np.minimum(self._pair.searchsorted(pair), len(self._pair) - 1)
        is_known = (self._pair[at] == pair) & (before >= 0) & (after >= 0)
        backoff = np.where(before >= 0, self._backoff[np.maximum(before, 0)], 0)
        return np.where(is_known, self._pair_cost[at] + reading, backoff + unigram)

    def followers(self, before: int, n: int) -> list[tuple[int, int]]:
        """Return up to `n` (word, cost) that follow the vocabulary id, likeliest first."""
        first, last = self._pair.searchsorted(
            np.array([before << 16, (before << 16) + 0xFFFF], np.uint32)
        )
        row, costs = self._pair[first:last] & 0xFFFF, self._pair_cost[first:last]
        order = np.argsort(costs, kind="stable")[: n + 1]
        found = [(int(self._word_of_id[row[i]]), int(costs[i])) for i in order if row[i]]
        return found[:n]

    def english(self) -> list[tuple[str, int]]:
        """Return (word, cost) of every English word, commonest first."""
        blob, words, at = self._blob("ENGL"), [], 0
        while at < len(blob):
            cost, size = blob[at], blob[at + 1] if at + 1 < len(blob) else 0
            letters = blob[at + 2 : at + 2 + size]
            self._check(
                0 < size == len(letters) and letters.isascii(), "ENGL", "a word is cut short"
            )
            words.append((letters.decode("ascii"), cost))
            at += 2 + size
        return words

    # ---- opening -----------------------------------------------------------------------------

    def _read_sections(self) -> dict[str, tuple[int, int]]:
        size, blob, path = len(self._map), self._map, self._path
        if size < 20 or blob[:4] != MAGIC:
            raise FormatError(
                f"{path}: first bytes are {blob[:4].hex(' ')}, expected {MAGIC.hex(' ')}; "
                "this is not a pinyin table, make one with tools/assets_pinyin.py.",
                path=path, offset=0,
            )  # fmt: skip
        version, claimed, crc, n = struct.unpack_from("<IIII", blob, 4)
        if version != VERSION:
            raise FormatError(
                f"{path}: table version {version}, expected {VERSION}; update parrot or the table.",
                path=path, offset=4,
            )  # fmt: skip
        if claimed != size or size > _SIZE_MAX:
            raise CorruptError(
                f"{path}: holds {size:,} bytes, its header says {claimed:,}; copy it again.",
                path=path, offset=8,
            )  # fmt: skip
        with memoryview(blob) as view:
            seen = zlib.crc32(view[16:])
        if seen != crc:
            raise CorruptError(
                f"{path}: checksum is {seen:08x}, expected {crc:08x}; copy it again.",
                path=path, offset=12,
            )  # fmt: skip
        self._check(n == len(_TAGS) and 20 + 12 * n <= size, "header", f"{n} sections")
        sections = {}
        for i in range(n):
            tag, offset, length = struct.unpack_from("<4sII", blob, 20 + 12 * i)
            name = tag.decode("ascii", "replace")
            is_inside = offset % 8 == 0 and offset + length <= size
            self._check(name in _TAGS and is_inside, name, "its place is outside the file")
            sections[name] = (offset, length)
        self._check(len(sections) == n, "header", "a section appears twice")
        return sections

    def _read_chars(self) -> None:
        self.syllables = self._names("SYLL")
        self.pinyin = self._names("SPEL")
        self.key_byte = {digits: i + 1 for i, digits in enumerate(self.syllables)}
        self._char0, self._char = self._array("CHR0", "<u2"), self._array("CHAR", "<u2")
        self._char_pinyin = self._array("CPIN", "<u2")
        self._char_cost, self._reading_cost = self._array("CCST", "u1"), self._array("CRDG", "u1")
        n = len(self._char)
        is_sorted = all(a < b for a, b in zip(self.syllables, self.syllables[1:], strict=False))
        typed_right = all(set(s) <= set("23456789") for s in self.syllables)
        self._check(is_sorted and typed_right and 0 < len(self.syllables) < 256, "SYLL", "order")
        self._check(
            len(self._char0) == len(self.syllables) + 1
            and int(self._char0[0]) == 0 and int(self._char0[-1]) == n
            and bool((np.diff(self._char0.astype(np.int32)) > 0).all()),
            "CHR0", "characters do not fill the syllables",
        )  # fmt: skip
        in_range = (self._char >= 0x3400) & (self._char < 0xA000)
        self._check(bool(in_range.all()), "CHAR", "not a hanzi")
        same = len(self._char_pinyin) == len(self._char_cost) == len(self._reading_cost) == n
        self._check(same and int(self._char_pinyin.max()) < len(self.pinyin), "CPIN", "size")

    def _read_words(self) -> None:
        self.base = {1: 0, 2: len(self._char)}
        self._keys: dict[int, Array] = {}
        self._keys_of, self._ranks, self._costs = {}, {}, {}
        n_chars = np.diff(self._char0.astype(np.int32))
        for n in range(2, N_MAX + 1):
            keys, ranks = self._array(f"KEY{n}", "u1"), self._array(f"RNK{n}", "u1")
            costs = self._array(f"CST{n}", "u1")
            same = len(keys) == len(ranks) == n * len(costs)
            self._check(same, f"KEY{n}", "keys, ranks and costs differ in number")
            in_range = len(keys) == 0 or (keys.min() > 0 and keys.max() <= len(n_chars))
            self._check(bool(in_range), f"KEY{n}", "a syllable that does not exist")
            self._check(bool((ranks < n_chars[keys - 1]).all()), f"RNK{n}", "no such character")
            self._keys[n] = keys.view(f"S{n}")
            in_order = bool((self._keys[n][1:] >= self._keys[n][:-1]).all())
            self._check(in_order, f"KEY{n}", "not sorted")
            self._keys_of[n], self._ranks[n] = keys.reshape(-1, n), ranks.reshape(-1, n)
            self._costs[n] = costs
            self.base[n + 1] = self.base[n] + len(costs)

        self._bases = [self.base[n] for n in range(1, N_MAX + 1)]

    def _read_pairs(self) -> None:
        self._voc_word, self._voc_id = self._array("VOCW", "<u4"), self._array("VOCI", "<u2")
        self._backoff = self._array("BOFF", "u1")
        self._pair, self._pair_cost = self._array("PAIR", "<u4"), self._array("PCST", "u1")
        n = len(self._backoff)
        words = self._voc_word.astype(np.int64)
        self._check(
            0 < len(words) == len(self._voc_id)
            and bool((np.diff(words) > 0).all()) and int(words[-1]) < self.base[N_MAX + 1]
            and int(self._voc_id.min()) > 0 and int(self._voc_id.max()) < n,
            "VOCW", "the vocabulary names words that do not exist",
        )  # fmt: skip
        # a word of several readings is spoken in its first, cheapest one
        self._word_of_id = np.full(n, -1, np.int32)
        self._word_of_id[self._voc_id[::-1]] = words[::-1]
        singles = np.flatnonzero(words < self.base[2])
        dearest_first = singles[np.argsort(-self._reading_cost[words[singles]].astype(np.int32))]
        self._word_of_id[self._voc_id[dearest_first]] = words[dearest_first]
        self._check(bool((self._word_of_id[1:] >= 0).all()), "VOCI", "an id without a word")
        in_order = len(self._pair) > 0 and bool((self._pair[1:] > self._pair[:-1]).all())
        self._check(in_order and len(self._pair) == len(self._pair_cost), "PAIR", "not sorted")
        in_range = int(self._pair[-1] >> 16) < n and int((self._pair & 0xFFFF).max()) < n
        self._check(in_range, "PAIR", "a word outside the vocabulary")

    def _names(self, tag: str) -> list[str]:
        blob = self._blob(tag)
        whole = len(blob) % SYLLABLE_SIZE == 0
        self._check(whole and blob.isascii(), tag, "not a list of syllables")
        names = [blob[i : i + SYLLABLE_SIZE] for i in range(0, len(blob), SYLLABLE_SIZE)]
        return [name.rstrip(b"\0").decode("ascii") for name in names]

    def _blob(self, tag: str) -> bytes:
        offset, size = self._sections[tag]
        return self._map[offset : offset + size]

    def _array(self, tag: str, dtype: str) -> Array:
        offset, size = self._sections[tag]
        item = np.dtype(dtype).itemsize
        self._check(size % item == 0, tag, "its size is not whole")
        return np.frombuffer(self._map, dtype, size // item, offset)

    def _check(self, is_right: bool, tag: str, seen: str) -> None:
        if not is_right:
            raise CorruptError(
                f"{self._path} section {tag}: {seen}, expected what docs/formats_pinyin.md says; "
                "copy it again.",
                path=self._path,
            )
