# SPDX-License-Identifier: Apache-2.0
"""Synthesizers: plain words of one language in, sound out."""

from __future__ import annotations

from typing import Protocol

from parrot.base.audio import Sound


class Synthesizer(Protocol):
    """Speaks one clause at a time. Threads: one at a time."""

    @property
    def languages(self) -> tuple[str, ...]: ...

    def synthesize(self, text: str, language: str, speed: float = 1.0) -> Sound:
        """Return `text` spoken: words only, as `parrot.faces.spoken_text` makes them.

        `speed` 2 takes half the time. Text without anything to say gives a sound without samples.
        Raises: ParrotError when the voice cannot work.
        """
