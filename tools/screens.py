# SPDX-License-Identifier: Apache-2.0
"""Draw the golden screens of the app in both languages: `python -m tools.screens`.

Each is what the glass shows after some keys, in virtual time. Look at each file before committing.
"""

from __future__ import annotations

import sys
from pathlib import Path

from parrot.app.assemble import virtual_rig
from parrot.app.catalogue import LANGUAGES
from parrot.base.clock import ManualClock
from parrot.base.files import replace_file
from parrot.engine.model import Model
from parrot.faces.framebuffer import Framebuffer
from parrot.faces.png import png_bytes
from parrot.senses.scripted_keypad import ScriptedKeypad, parse_script

FOLDER = Path("tests/golden/screens")
SCRIPTS = {
    "home": "wait 400",
    "chat_empty": "wait 200\ntap *",
    "menu": "wait 200\ntap C",
    "mood": "wait 200\ntap C4D",
    "states": "wait 200\ntap C5D",
    "sampling": "wait 200\ntap C6D66",
    "brightness": "wait 200\ntap C7D4",
    "power_off": "wait 200\ntap C*D",
}


def screen(model: Model, name: str, language: str) -> Framebuffer:
    """Return the glass at the end of a script."""
    edges, length_ms = parse_script(SCRIPTS[name])
    rig = virtual_rig(model, ScriptedKeypad(edges), language)
    assert isinstance(rig.clock, ManualClock)
    for _ in range(length_ms // 10 + 20):
        rig.hand.tick()
        rig.clock.advance_ms(10)
    rig.hand.engine.close()
    return rig.glass.glass()


def main() -> int:
    model = Model.open(threads=1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in SCRIPTS:
        for language in LANGUAGES:
            glass = screen(model, name, language)
            replace_file(FOLDER / f"{name}_{language}.png", png_bytes(glass))
    print(f"{FOLDER}: {len(SCRIPTS) * len(LANGUAGES)} screens")
    return 0


if __name__ == "__main__":
    sys.exit(main())
