# SPDX-License-Identifier: Apache-2.0
"""When the glass dims and when it goes dark, so that an OLED does not burn in."""

from __future__ import annotations

from parrot.faces.panel import Light


class IdlePolicy:
    """Full light while somebody is there; dim, then off, after a while without a key or a word.

    Units: milliseconds since the last `touch`; `off_after_ms` counts from the same moment.
    """

    def __init__(
        self, now_ms: int, dim_after_ms: int = 30_000, off_after_ms: int = 180_000
    ) -> None:
        if not 0 < dim_after_ms <= off_after_ms:
            raise ValueError(f"dim after {dim_after_ms} ms and off after {off_after_ms} ms")
        self._dim_after_ms, self._off_after_ms = dim_after_ms, off_after_ms
        self._touched_ms = now_ms

    def touch(self, now_ms: int) -> bool:
        """Note a key, a word or a reply; return whether the glass was dark until now."""
        was_off = self.light(now_ms) is Light.OFF
        self._touched_ms = now_ms
        return was_off

    def light(self, now_ms: int) -> Light:
        """Return the light the panel should have."""
        idle_ms = now_ms - self._touched_ms
        if idle_ms >= self._off_after_ms:
            return Light.OFF
        return Light.DIM if idle_ms >= self._dim_after_ms else Light.FULL
