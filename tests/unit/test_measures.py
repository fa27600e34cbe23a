# SPDX-License-Identifier: Apache-2.0
"""What tools.replies and tools.recall count, on replies whose counts are known; and personas."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

pytest.importorskip("tqdm", reason="tools need tqdm: pip install parrot-companion[train]")

import parrot
from parrot.app.cli import main
from parrot.mind.soul import Soul
from parrot.model.random_model import write_random_model
from parrot.model.shape import Shape
from tools import pairs, recall, replies
from tools.replies import Reply
from tools.school.families_recall import recall_item


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("measures") / "tiny.gguf"
    write_random_model(path, Shape.standard(1, 64, head_size=32))
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the cat sat on the mat", False),
        ("I like it so much. I like it so much.", True),
        ("I like it so, I like it so", False),  # four words
        ("我喜欢你呀，我喜欢你呀", True),
        ("我喜欢你，我喜欢你", False),
        ("hop " * 5, False),  # one run of five words, not two
        ("hop " * 6, True),
        ("It's he's she's I'm we're; it’s he’s she’s I’m we’re", True),
        ("", False),
    ],
)
def test_a_loop_is_five_words_or_characters_that_come_again(text: str, expected: bool) -> None:
    assert replies.has_loop(text) is expected


def test_words_are_looked_up_with_their_contractions() -> None:
    words = frozenset({"cat", "do", "it", "they", "i"})
    for word in ("cat", "cat's", "don't", "it's", "they'll", "i'm"):
        assert replies.is_word(word, words), word
    for word in ("dog", "dog's", "catz", "it'x", "'s"):
        assert not replies.is_word(word, words), word


def test_figures_of_replies_that_are_known() -> None:
    said = [
        Reply("a", b"the cat sat", True),
        Reply("b", b"the cat zzz", True),
        Reply("你好", b"\xe4\xbd", True),
        Reply("d", b"cat the cat the cat the cat the", False),
    ]
    found = replies.figures(said, frozenset({"the", "cat", "sat"}))
    assert found["utf8"] == found["ended"] == 0.75
    assert found["looped"] == 0.25
    assert found["answered"] == 0.75
    assert found["english_words"] == 14
    assert found["words"] == 13 / 14


def test_the_default_dictionary_knows_this_parrot_and_a_file_replaces_it(tmp_path: Path) -> None:
    words, about = replies.read_words(None)
    assert {"parrot", "hello", "feathers", "don't"} <= words and "zzyzx" not in words
    assert "tools/school/hand" in about
    (tmp_path / "words").write_text("Cat\nOK\n")
    assert replies.read_words(tmp_path / "words")[0] == {"cat", "ok"}


def test_prompts_alternate_between_languages() -> None:
    asked = replies.prompts()
    assert len(asked) > 200
    assert all(
        (replies.HAN.search(text) is not None) == bool(i % 2) for i, text in enumerate(asked)
    )


def test_replies_of_a_seed_are_the_same_and_end_or_are_cut(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "words").write_text("cat\n")
    words = ["--model", str(path), "--threads", "1", "--n", "5", "--max-bytes", "30", "--json"]
    words += ["--words", str(tmp_path / "words")]
    outs = []
    for _ in range(2):
        assert replies.main(words) == 0
        outs.append(json.loads(capsys.readouterr().out))
    assert outs[0] == outs[1]
    assert outs[0]["replies"] == 5 and outs[0]["utf8"] == 1.0
    assert outs[0]["sampling"]["temperature"] == 0.7
    assert outs[0]["ended"] < 1.0  # a random model seldom ends a turn within 30 bytes


# ---- recall


@pytest.mark.parametrize(
    ("reply", "answer", "expected"),
    [
        ("Her name is Momo.", "Momo", True),
        ("MOMO!", "Momo", True),
        ("Momola", "Momo", False),
        ("You said 79.", "79", True),
        ("You said 179.", "79", False),
        ("它叫豆豆呀", "豆豆", True),
        ("它叫豆子", "豆豆", False),
    ],
)
def test_an_answer_is_a_word_of_its_own(reply: str, answer: str, expected: bool) -> None:
    assert recall.says(reply, answer) is expected


def test_items_end_with_the_question_and_hold_the_answer_before_it() -> None:
    for distance in (0, 600):
        rows = recall.items(8, distance, ["en", "zh"], seed=3)
        assert [row.lang for row in rows] == ["en", "zh"] * 4
        for row in rows:
            assert row.talk.startswith(b"\0\x02") and row.talk.endswith(b"\x03\x06")
            question = row.question.encode()
            assert row.talk.removesuffix(b"\x03\x06").endswith(question)
            assert len(row.talk) > distance
            assert row.answer not in row.others and len(set(row.others)) == len(row.others)
    assert recall.items(4, 0, ["en"], 3) == recall.items(4, 0, ["en"], 3)


def test_some_items_can_be_answered_from_the_talk() -> None:
    rows = recall.items(20, 0, ["en", "zh"], seed=1)
    told = [row.answer.lower() in row.talk.decode().lower() for row in rows]
    assert sum(told) >= 18, "the answer is not in the talk"


class Oracle:
    """Stands for a model that answers with what the talk told: the test of the measure itself."""

    def __init__(self, model: parrot.Model, answers: dict[bytes, str]) -> None:
        self.model, self.answers, self.talk = model, answers, b""

    def new_state(self) -> parrot.State:
        return self.model.new_state()

    def forward(self, talk: bytes, state: parrot.State) -> None:
        self.talk = talk if talk in self.answers else self.talk
        self.model.forward(talk[-4:], state)

    def score(self, texts: list[bytes], state: parrot.State) -> list[float]:
        right = self.answers.get(self.talk, "").encode()
        return [1.0 if text == right else 0.0 for text in texts]

    def generate(self, state: parrot.State, **settings: object) -> list[bytes]:
        return [f"It is {self.answers[self.talk]}!".encode()]


def test_one_that_remembers_scores_all_and_a_random_one_next_to_nothing(path: Path) -> None:
    model = parrot.Model.open(path, threads=1)
    rows = recall.items(6, 0, ["en", "zh"], seed=1)
    oracle = Oracle(model, {row.talk: row.answer for row in rows})
    found = recall.measure(oracle, 6, 0, ["en", "zh"], 1)  # type: ignore[arg-type]
    assert found["said"] == found["said_en"] == found["said_zh"] == 1.0
    assert recall.measure(model, 6, 0, ["en"], 1)["said"] == 0.0


def test_held_out_items_are_those_of_the_school() -> None:
    row = recall.items(1, 300, ["en"], seed=5)[0]
    item = recall_item("en", random.Random("recall 5 300 0"), 300)
    assert row.answer == item["answers"][0]


# ---- pairs


def test_pairs_set_a_person_against_the_parrots_longest_draft(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    talk = {"turns": [{"role": r, "text": t} for r, t in (("user", "hi"), ("assistant", "ho"))]}
    (tmp_path / "talks.jsonl").write_text(json.dumps(talk) + "\n")
    out = tmp_path / "pairs.jsonl"
    words = [str(tmp_path / "talks.jsonl"), "--out", str(out), "--model", str(path)]
    assert pairs.main([*words, "--drafts", "2", "--threads", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["pairs"] == 1
    (pair,) = map(json.loads, out.read_text("utf-8").splitlines())
    assert pair["chosen"] == "ho" and len(pair["rejected"].encode()) > 2
    assert pair["context"] == [{"role": "user", "text": "hi"}]


# ---- personas in the chat


def test_a_new_life_begins_as_its_persona_and_goes_on(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = parrot.Model.open(path, threads=1)
    born = model.new_state()
    born.payload[:] = 0.5
    born.save(tmp_path / "bold.state")
    ask = ["chat", "--model", str(path), "--threads", "1", "--max-bytes", "20", "--seed", "2"]
    bold = ["--persona", str(tmp_path / "bold.state")]
    said = []
    for more in (["--fresh"], ["--fresh", *bold], ["--soul", str(tmp_path / "s.db"), *bold]):
        assert main([*ask, "--once", "hello", *more]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] != said[1] == said[2]
    again = [*ask, "--soul", str(tmp_path / "s.db"), "--once", "hello"]
    assert main([*again, *bold]) == 0  # the same words a second time: the same life goes on
    with Soul.in_memory(tmp_path / "s.db") as soul:
        turns = [turn.origin for turn in soul.path_to(soul.tip)]
    assert turns == [None, None, "persona bold"]
    born.save(tmp_path / "shy.state")
    capsys.readouterr()
    assert main([*again, "--persona", str(tmp_path / "shy.state")]) in (1, 2)
    assert "has lived" in capsys.readouterr().err


def test_bundled_personas_belong_to_the_bundled_model() -> None:
    model = parrot.Model.open(threads=1)
    found = sorted((Path(parrot.__file__).parent / "assets" / "personas").glob("*.state"))
    assert [path.stem for path in found] == ["calm", "cheerful"]
    for path in found:
        state = model.load_state(path)
        assert state.position == 0 and state.payload.any()
