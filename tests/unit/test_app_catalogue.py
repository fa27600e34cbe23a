# SPDX-License-Identifier: Apache-2.0
"""Every sentence of the screens has its Chinese, and the compiled catalogue is the written one."""

from __future__ import annotations

import re
from pathlib import Path

from parrot.app.catalogue import FOLDER, language_of, words_in
from tools.assets_catalogue import messages_of, mo_bytes

APP = Path(__file__).parents[2] / "parrot" / "app"


def test_every_sentence_has_its_chinese() -> None:
    said = {s for p in APP.glob("*.py") for s in re.findall(r'\bsay\(\s*"([^"]+)"', p.read_text())}
    assert len(said) > 30
    assert said - set(messages_of(FOLDER / "zh.po")) == set()


def test_compiled_catalogue_is_up_to_date() -> None:
    assert (FOLDER / "zh.mo").read_bytes() == mo_bytes(messages_of(FOLDER / "zh.po"))


def test_words_come_in_both_languages() -> None:
    assert words_in("zh")("Power off now?") == "现在关机吗？"
    assert words_in("en")("Power off now?") == "Power off now?"


def test_language_follows_the_environment() -> None:
    assert language_of({"LANG": "zh_CN.UTF-8"}) == "zh"
    assert language_of({"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}) == "en"
    assert language_of({}) == "en"
