# SPDX-License-Identifier: Apache-2.0
"""Commands by grammar, for boards without onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from parrot.base.audio import EAR_HZ, resampled
from parrot.base.errors import DeviceMissing, FormatError
from parrot.faces.espeak import Espeak
from parrot.senses.sphinx import Sphinx

pytest.importorskip("pocketsphinx", reason="the extra sphinx is not installed")


def test_a_phrase_of_the_grammar_is_heard() -> None:
    pytest.importorskip("soxr", reason="the extra speech is not installed")
    try:
        sound = Espeak().synthesize("tell me a story", "en")
    except DeviceMissing:
        pytest.skip("espeak-ng is not installed")
    assert Sphinx().recognize(resampled(sound, EAR_HZ)) == "tell me a story"


def test_no_sound_is_nothing_said() -> None:
    assert Sphinx().recognize(np.zeros(0, np.float32)) == ""


def test_a_broken_grammar_is_named(tmp_path: Path) -> None:
    (tmp_path / "own.gram").write_text("this is no grammar")
    with pytest.raises(FormatError, match=r"own\.gram: not a grammar"):
        Sphinx(tmp_path / "own.gram")
