# SPDX-License-Identifier: Apache-2.0
"""The crystals of a soul: what parrot.mind.memory knows, within the soul's transactions."""

from __future__ import annotations

from collections.abc import Iterable

from parrot.base.errors import ConfigError
from parrot.mind import memory
from parrot.mind.ledger import Ledger
from parrot.mind.memory import Crystal


class Crystals(Ledger):
    """The part of a soul that is its memory."""

    def recall(self, text: str, wall_s: float, n: int, with_cold: bool = False) -> list[Crystal]:
        """Return at most `n` crystals that resonate with `text`, best first."""
        with self._reading():
            return memory.search(self._database, text, wall_s, n, with_cold)

    def crystals(self) -> list[Crystal]:
        with self._reading():
            return list(memory.every(self._database))

    def remember(self, text: str, wall_s: float) -> None:
        """Keep a text by command, as strong as a crystal can be."""
        with self._writing():
            memory.insert(self._database, wall_s, self.tip, text, memory.EXPLICIT)

    def remember_all(self, crystals: Iterable[Crystal]) -> int:
        """Keep crystals that came from elsewhere, all or none; return how many are new.

        One whose words are known becomes one with the crystal that has them. An error that
        `crystals` raises on the way takes back those before it.
        """
        with self._writing():
            memory.merge_twins(self._database)
            n_before = memory.count(self._database)
            for crystal in crystals:
                memory.add(self._database, crystal)
            memory.merge_twins(self._database)
            return memory.count(self._database) - n_before

    def turns_kept(self, first: int) -> set[int]:
        """Return the turns from `first` on that left a crystal."""
        with self._reading():
            rows = self._database.execute("SELECT turn FROM crystal WHERE turn >= ?", (first,))
            return {turn for (turn,) in rows}

    def forget(self, id: int) -> None:
        """Forget a crystal for good. Raises: ConfigError when there is none of that number."""
        # Its bytes are overwritten, not only let go: the owner asked for it.
        self._database.execute("PRAGMA secure_delete = ON")
        try:
            with self._writing():
                _found(memory.forget(self._database, id), id)
        finally:
            self._database.execute("PRAGMA secure_delete = OFF")

    def pin(self, id: int, is_pinned: bool) -> None:
        """Let a crystal never fade, or let it fade again. Raises: ConfigError."""
        with self._writing():
            _found(memory.pin(self._database, id, is_pinned), id)

    def edit(self, id: int, text: str) -> None:
        """Give a crystal other words. Raises: ConfigError when there is none of that number."""
        with self._writing():
            _found(memory.edit(self._database, id, text), id)


def _found(is_there: bool, id: int) -> None:
    if not is_there:
        raise ConfigError(f"memory: no crystal {id}; see parrot memory list.")
