# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parrot.base.errors import CorruptError, FormatError
from parrot.model.convert import WORLD_FILE
from parrot.model.tokenizer import (
    BYTE_VOCABULARY,
    ByteTokenizer,
    Vocabulary,
    WorldTokenizer,
    escape_token,
    read_vocabulary,
    tokenizer_of,
    unescape_token,
)

TEXT = "The parrot says 你好，世界！\n\n\tint main(void) { return 0x7f; }   ελληνικά 🦜\r\n"
# Ids as in World: 0 is no text, then the bytes, then longer tokens in no order of length.
TOY: Vocabulary = [None, *BYTE_VOCABULARY, b"abc", b"ab", b"bcde", b"\n\n", b"cde", None, b"aaaa"]


def world_file() -> Path:
    spec = importlib.util.find_spec("rwkv")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package rwkv is not installed")
    return Path(spec.submodule_search_locations[0]) / WORLD_FILE


def test_bytes_are_their_own_tokens() -> None:
    tokenizer = tokenizer_of(BYTE_VOCABULARY)
    assert isinstance(tokenizer, ByteTokenizer)
    assert tokenizer.n_vocab == 256
    assert tokenizer.encode("é".encode()) == [0xC3, 0xA9]
    assert tokenizer.decode([0xC3, 0xA9]) == "é".encode()


def test_the_longest_token_wins_even_where_a_shorter_start_would_need_fewer() -> None:
    tokenizer = WorldTokenizer(TOY)
    tokens = [TOY[i] for i in tokenizer.encode(b"abcdeaaaaab\n\nb")]
    assert tokens == [b"abc", b"d", b"e", b"aaaa", b"ab", b"\n\n", b"b"]


def greedy(text: bytes, vocabulary: Vocabulary) -> list[int]:
    """Return the tokens by the definition: of all that match here, the longest."""
    tokens, place = [], 0
    while place < len(text):
        matching = [
            i for i, token in enumerate(vocabulary) if token and text[place:].startswith(token)
        ]
        tokens.append(max(matching, key=lambda i: len(vocabulary[i] or b"")))
        place += len(vocabulary[tokens[-1]] or b"")
    return tokens


@settings(deadline=None)
@given(st.lists(st.sampled_from([*b"abcde\n", 0xFF]), max_size=30))
def test_encoding_is_greedy_and_loses_nothing(text: list[int]) -> None:
    tokenizer = WorldTokenizer(TOY)
    tokens = tokenizer.encode(bytes(text))
    assert tokens == greedy(bytes(text), TOY)
    assert tokenizer.decode(tokens) == bytes(text)


def test_ids_that_stand_for_no_text_say_nothing() -> None:
    assert WorldTokenizer(TOY).decode([0, 98, 262]) == b"a"


def test_a_vocabulary_without_every_byte_is_refused() -> None:
    with pytest.raises(FormatError, match="no token for byte 0x07, expected all 256"):
        WorldTokenizer([*BYTE_VOCABULARY[:7], *BYTE_VOCABULARY[8:]])


def test_a_vocabulary_with_a_token_twice_is_refused() -> None:
    with pytest.raises(FormatError, match="a token appears twice"):
        WorldTokenizer([*TOY, b"abc"])


@settings(deadline=None)
@given(st.binary(min_size=1))
def test_escaped_tokens_come_back_and_are_python_literals(token: bytes) -> None:
    escaped = escape_token(token)
    assert escaped.isascii()
    assert escaped.isprintable()
    assert unescape_token(escaped) == token
    quoted = escaped.replace('"', '\\"')
    assert ast.literal_eval(f'b"{quoted}"') == token


@pytest.mark.parametrize(
    ("name", "token"), [(r"\'\"\q", b"'\"q"), ("é", "é".encode()), (r"\xE4\n", b"\xe4\n")]
)
def test_escapes_are_read_by_the_rules_of_llama_cpp(name: str, token: bytes) -> None:
    assert unescape_token(name) == token


@pytest.mark.parametrize("name", ["", "\\", r"\x", r"\x4", r"a\xg0", r"\x4\x41"])
def test_an_escape_cut_short_is_refused(name: str) -> None:
    with pytest.raises(FormatError, match="not an escaped token"):
        unescape_token(name)


def test_world_text_gets_the_ids_of_the_package_rwkv() -> None:
    vocabulary = read_vocabulary(world_file(), 65_536)
    tokenizer = tokenizer_of(vocabulary)
    # rwkv 0.8.32: rwkv.rwkv_tokenizer.TRIE_TOKENIZER(path).encodeBytes(TEXT.encode())
    assert tokenizer.encode(TEXT.encode()) == [
        6699, 22263, 8642, 31947, 33, 10464, 11685, 19137, 10267, 14610, 19126, 3327, 7865, 31356,
        41, 27435, 42, 358, 47102, 283, 121, 56, 103, 60, 360, 3340, 2725, 27812, 2727, 2733,
        27806, 2717, 33, 3319, 167, 157, 263,
    ]  # fmt: skip
    assert sum(token is not None for token in vocabulary) == 65_529
    for text in (TEXT.encode(), bytes(range(256)) * 2, b" " * 300, Path(__file__).read_bytes()):
        assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize(
    "line",
    [
        "",
        "7",
        "x 'a' 1",
        "7 'a' 2",
        "300 'a' 1",
        "-1 'a' 1",
        "7 5 1",
        "7 f() 1",
        "7 'a",
        "7 " + "(" * 500,
    ],
)
def test_a_wrong_line_of_a_vocabulary_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.txt"
    path.write_text(f"1 'a' 1\n{line}\n2 b'\\xff' 1\n")
    with pytest.raises(CorruptError, match=r"vocabulary\.txt, line 2: .*expected an id below 256"):
        read_vocabulary(path, 256)


def test_a_vocabulary_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.txt"
    path.write_bytes(b"1 '\xff' 1\n")
    with pytest.raises(CorruptError, match="line 1"):
        read_vocabulary(path, 256)
