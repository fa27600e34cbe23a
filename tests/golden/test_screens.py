# SPDX-License-Identifier: Apache-2.0
"""Every screen is still the picture somebody approved, in both languages.

After a change on purpose: python -m tools.screens, look at each changed file, commit it.
"""

from __future__ import annotations

import pytest

from parrot.app.catalogue import LANGUAGES
from parrot.engine.model import Model
from tools.frames import pixels_from_png
from tools.screens import FOLDER, SCRIPTS, screen


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.open(threads=1)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", SCRIPTS)
def test_screen_is_the_approved_one(model: Model, name: str, language: str) -> None:
    approved = pixels_from_png(FOLDER / f"{name}_{language}.png")
    assert int((approved != screen(model, name, language).pixels()).sum()) == 0
