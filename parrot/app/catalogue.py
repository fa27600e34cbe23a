# SPDX-License-Identifier: Apache-2.0
"""The words of the screens. English is the source; other languages are gettext catalogues.

`tools/assets_catalogue.py` compiles parrot/assets/locale/LANGUAGE.po to the .mo beside it.
"""

from __future__ import annotations

import gettext
import os
from collections.abc import Callable, Mapping
from pathlib import Path

LANGUAGES = ("en", "zh")
FOLDER = Path(__file__).parents[1] / "assets" / "locale"

Words = Callable[[str], str]


def language_of(environ: Mapping[str, str] = os.environ) -> str:
    """Return the language that LC_ALL, LC_MESSAGES or LANG asks for, if we have it, else en."""
    asked = next((environ[n] for n in ("LC_ALL", "LC_MESSAGES", "LANG") if environ.get(n)), "")
    return asked[:2] if asked[:2] in LANGUAGES else "en"


def words_in(language: str) -> Words:
    """Return what translates an English sentence of the screens."""
    if language == "en":
        return gettext.NullTranslations().gettext
    with open(FOLDER / f"{language}.mo", "rb") as file:
        return gettext.GNUTranslations(file).gettext
