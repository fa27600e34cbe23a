# SPDX-License-Identifier: Apache-2.0
"""The line the owner is writing: keys in, text out.

The composer holds a line of committed text and, before it is committed, a composition: digits, the
pieces already picked, the syllables already fixed. A composition is a stack of small unchanging
steps, so the back key takes back exactly the last thing that was done, whatever it was.

    key        composing                      not composing
    2-9        add a digit                    begin
    1          choose how a syllable is       punctuation, again for the next one
               spelled; English: letter case
    0          commit the first candidate     space
    D          commit the first candidate     (the app's: send)
    A          take the last step back        erase; (the app's when the line is empty)
    * #        page the candidates            page the predictions; (the app's without)
    B          next mode 中 En 12 符; long: word or letter typing in English
    long 1-9   pick that candidate of the page; without candidates the digit itself
    long A     clear                          erase, and on while held
    long C     forget the learned word on the page

A long press of a digit first undoes the press that began it. Whatever `feed` does not use (it
returns False) belongs to the app: C, push-to-talk, sending.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

from parrot.senses.composition import Piece, Step, View, n_common
from parrot.senses.english import MULTITAP_MS, EnglishWords, MultiTap
from parrot.senses.key import KeyPress
from parrot.senses.lattice import DIGITS_MAX, Lattice
from parrot.senses.symbol import CHINESE_WHEEL, SYMBOLS
from parrot.senses.t9 import N_RESCORED, T9, Candidate, rescored

CHINESE, ENGLISH, DIGITS, SYMBOL = MODES = ("中", "En", "12", "符")
LINE_MAX = 1000  # characters
_N_PREDICTIONS = 20


class Composer:
    """One input line. Feed it keys in order; read `view` and `line`; call `take_line` to send.

    Units: page_size candidates a page, at most 9.
    Cost:  a key costs one lattice column; only the shown candidates are made.
    """

    def __init__(self, engine: T9, page_size: int = 5) -> None:
        self._engine, self._page_size = engine, page_size
        self._english: EnglishWords | None = None
        self._multitap, self._is_multitap = MultiTap(), False
        self._wheel_ms, self._wheel_n = 0, 0
        self.mode, self.line = CHINESE, ""
        self._steps: list[Step] = []  # the composition, oldest step first
        self._before = 0  # vocabulary id of the last committed word; 0 at the start of a clause
        self._page, self._choosing = 0, False
        self._lattice: Lattice = engine.lattice()
        self._lattice_of: tuple[object, ...] = (0, 0, ())
        self._found: list[Candidate] = []  # as much of the candidates as was looked at
        self._found_of: tuple[object, ...] = ()
        self._rest: Iterator[Candidate] = iter(())
        self._ranked: tuple[Step, list[Candidate]] | None = None  # sentences after rescoring
        self._undo_press: Callable[[], None] | None = None
        self._mode_at_press = self.mode

    # ---- what is seen ------------------------------------------------------------------------

    @property
    def step(self) -> Step:
        return self._steps[-1] if self._steps else Step()

    @property
    def is_composing(self) -> bool:
        return bool(self._steps)

    @property
    def label(self) -> str:
        return "abc" if self.mode == ENGLISH and self._is_multitap else self.mode

    @property
    def view(self) -> View:
        shown, has_more = self._shown()
        return View(
            self.label, self.line, "".join(p.text for p in self.step.pieces), self._spelling(),
            tuple(c.text for c in shown), tuple(c.is_learned for c in shown), self._page, has_more,
            tuple(self._choices()) if self._choosing else (), self.is_composing,
        )  # fmt: skip

    def take_line(self) -> str:
        """Commit what is being composed, return the line and begin a new one."""
        self._commit_all()
        line, self.line = self.line, ""
        self._before, self._page = 0, 0
        self._multitap.reset()
        return line

    def put(self, text: str) -> None:
        """Commit what is being composed, and write `text` after it."""
        self._commit_all()
        self._append(text)

    def rescorable(self) -> tuple[Step, str, list[str]] | None:
        """Return a stamp, what is written, and the sentences the model may reorder after it."""
        if self.mode != CHINESE or not self.step.open_digits or self._ranked_now():
            return None
        sentences = self._engine.sentences(self._current_lattice())[:N_RESCORED]
        line = self.line + "".join(piece.text for piece in self.step.pieces)
        return (self.step, line, [c.text for c in sentences]) if len(sentences) > 1 else None

    def rescore(self, stamp: Step, log_likelihoods: list[float]) -> bool:
        """Take the model's opinion of `rescorable`'s texts; False when keys have come since."""
        if stamp != self.step or self.mode != CHINESE or self._page:
            return False
        sentences = self._engine.sentences(self._current_lattice())
        self._ranked = (stamp, rescored(sentences, log_likelihoods))
        return True

    # ---- keys --------------------------------------------------------------------------------

    def feed(self, press: KeyPress) -> bool:
        """Take one key event; whether it was used. A release is nobody's."""
        if press.kind == "press":
            self._undo_press, self._mode_at_press = self._remember(), self.mode
            return self._press(press.key, press.at_ms)
        if press.kind == "long_press":
            return self._long_press(press.key)
        if press.kind == "repeat" and press.key == "A":
            return self._erase()
        return False

    def _press(self, key: str, now_ms: int) -> bool:
        if key == "B":
            self._commit_all()
            self.mode = MODES[(MODES.index(self.mode) + 1) % len(MODES)]
            self._page = 0
        elif key == "A":
            return self._back()
        elif key in "*#" and self.mode != DIGITS:
            return self._turn_page(1 if key == "#" else -1)
        elif key == "D":
            return self._commit_first()
        elif key == "C":
            return False
        elif self._choosing:
            self._choose(key)
        elif self.mode == DIGITS:
            self._append(key)
        elif self.mode == SYMBOL:
            self._pick_symbol(key)
        elif key == "0":
            self._space()
        elif self.mode == ENGLISH and self._is_multitap:
            char, is_again = self._multitap.feed(key, now_ms)
            self._append(char, replaces=is_again)
        elif key == "1":
            self._one(now_ms)
        elif len(self.step.digits) < DIGITS_MAX:
            self._advance(replace(self.step, digits=self.step.digits + key))
        return True

    def _long_press(self, key: str) -> bool:
        if key == "A":
            return self._clear()
        if key == "B" and self._mode_at_press == ENGLISH:
            self._restore()
            self._is_multitap = not self._is_multitap
            return True
        if key == "C":
            return self._forget()
        if not key.isdigit():
            return False
        self._restore()
        shown, _ = self._shown()
        if key != "0" and int(key) <= len(shown) and not self._choosing:
            self._pick(shown[int(key) - 1])
        elif not self.is_composing:
            self._append(key)
        return True

    def _remember(self) -> Callable[[], None]:
        """Return what puts everything back as it is now."""
        kept = (self.mode, self.line, list(self._steps), self._before, self._page, self._choosing)
        ranked = self._ranked

        def restore() -> None:
            self.mode, self.line, self._steps, self._before, self._page, self._choosing = kept
            self._ranked = ranked

        return restore

    def _restore(self) -> None:
        if self._undo_press:
            self._undo_press()
            self._undo_press = None
        self._multitap.reset()

    # ---- steps -------------------------------------------------------------------------------

    def _advance(self, step: Step) -> None:
        self._steps.append(step)
        self._page, self._choosing = 0, False

    def _back(self) -> bool:
        if self._choosing:
            self._choosing = False
            return True
        if self.is_composing:
            self._steps.pop()
            self._page = 0
            return True
        return self._erase()

    def _erase(self) -> bool:
        """Erase a character of the line, or a step; False when there is nothing left."""
        if self.is_composing:
            return self._back()
        if not self.line:
            return False
        self.line, self._before, self._page = self.line[:-1], 0, 0
        self._multitap.reset()
        return True

    def _clear(self) -> bool:
        self._restore()
        if not self.is_composing:
            return self._erase()
        self._steps, self._page, self._choosing = [], 0, False
        return True

    def _turn_page(self, by: int) -> bool:
        shown, has_more = self._shown()
        if self._choosing or not shown or (self._page == 0 and not self.is_composing and by < 0):
            return self._choosing
        if by > 0 and has_more:
            self._page += 1
        elif by < 0:
            self._page = max(0, self._page - 1)
        return True

    def _one(self, now_ms: int) -> None:
        if self.mode == ENGLISH:
            if self.is_composing:
                self._advance(replace(self.step, case=(self.step.case + 1) % 3))
            else:
                char, is_again = self._multitap.feed("1", now_ms)
                self._append(char, replaces=is_again)
        elif self.is_composing:
            self._choosing = bool(self._choices())
        else:
            is_quick = bool(self.line) and now_ms - self._wheel_ms < MULTITAP_MS
            is_again = is_quick and self.line[-1] == CHINESE_WHEEL[self._wheel_n]
            self._wheel_n = (self._wheel_n + 1) % len(CHINESE_WHEEL) if is_again else 0
            self._append(CHINESE_WHEEL[self._wheel_n], replaces=is_again)
            self._wheel_ms = now_ms

    def _space(self) -> None:
        was_composing = self._commit_all()
        if not was_composing or self.mode == ENGLISH:
            self._append(" ")

    # ---- syllables ---------------------------------------------------------------------------

    def _choices(self) -> list[str]:
        """How the first syllable that is still free can be spelled."""
        at = sum(len(pinyin) for _, pinyin in self.step.fixed)
        if at >= len(self.step.open_digits):
            return []
        return self._engine.syllables(self._current_lattice(), at)[:9]

    def _choose(self, key: str) -> None:
        choices = self._choices()
        if key != "0" and int(key) <= len(choices):
            at = sum(len(pinyin) for _, pinyin in self.step.fixed)
            fixed = (*self.step.fixed, (at, choices[int(key) - 1]))
            self._advance(replace(self.step, fixed=fixed))
        self._choosing = False

    # ---- candidates --------------------------------------------------------------------------

    def _current_lattice(self) -> Lattice:
        """The lattice of the open digits; columns that still hold are kept."""
        step = self.step
        before = step.pieces[-1].lm_id if step.pieces else self._before
        stamp = (before, step.n_picked, step.fixed)
        if stamp != self._lattice_of:
            self._lattice, self._lattice_of = self._engine.lattice(before, dict(step.fixed)), stamp
        digits, known = step.open_digits, self._lattice.digits
        if not digits.startswith(known):
            self._lattice.shorten(n_common(digits, known))
        self._lattice.extend(digits[len(self._lattice.digits) :])
        return self._lattice

    def _ranked_now(self) -> list[Candidate] | None:
        return self._ranked[1] if self._ranked and self._ranked[0] == self.step else None

    def _shown(self) -> tuple[list[Candidate], bool]:
        """Return this page's candidates and whether there is another page."""
        stamp = (self.mode, self.step, self._before, id(self._ranked), len(self.line))
        if stamp != self._found_of:
            self._found, self._found_of, self._rest = [], stamp, self._source()
        size = self._page_size if self.mode != SYMBOL else 9
        first, last = self._page * size, (self._page + 1) * size
        self._found += islice(self._rest, max(0, last + 1 - len(self._found)))
        return self._found[first:last], len(self._found) > last

    def _source(self) -> Iterator[Candidate]:
        if self.mode == SYMBOL:
            return (_plain(symbol) for symbol in SYMBOLS)
        if self.mode == CHINESE and self.step.open_digits:
            return self._engine.candidates(self._current_lattice(), self._ranked_now())
        if self.mode == CHINESE and not self.is_composing and self._before >= 0:
            return iter(self._engine.predictions(self._before, _N_PREDICTIONS))
        if self.mode == ENGLISH and self.is_composing:
            self._english = self._english or EnglishWords(self._engine.table)
            words = self._english.candidates(self.step.digits)
            return (_plain(_in_case(word, self.step.case)) for word in words)
        return iter(())

    def _spelling(self) -> str:
        if self.mode == CHINESE and self.step.open_digits:
            return self._engine.spelling(self._current_lattice())
        return self.step.open_digits

    # ---- commit ------------------------------------------------------------------------------

    def _pick(self, candidate: Candidate) -> None:
        step = self.step
        if self.mode == CHINESE and 0 < candidate.n_digits < len(step.open_digits):
            piece = Piece(candidate.text, candidate.n_digits, candidate.pinyin, candidate.lm_id)
            self._engine.user.learn(candidate.text, candidate.pinyin)
            self._advance(replace(step, pieces=(*step.pieces, piece), fixed=()))
            return
        if self.mode == CHINESE and self.is_composing:
            self._learn(candidate)
        self._commit("".join(p.text for p in step.pieces) + candidate.text, candidate.lm_id)

    def _learn(self, last: Candidate) -> None:
        """Learn a correction: what was picked against the order, and what was put together."""
        pieces, user = self.step.pieces, self._engine.user
        is_first = not self._found or self._found[0].text == last.text
        if not is_first or user.knows(last.text):
            user.learn(last.text, last.pinyin)
        if pieces:
            text = "".join(p.text for p in pieces) + last.text
            user.learn(text, tuple(s for p in pieces for s in p.pinyin) + last.pinyin)

    def _commit_first(self) -> bool:
        if not self.is_composing:
            return False
        shown, _ = self._shown()
        self._pick(shown[0] if shown else _plain(self.step.open_digits))
        return True

    def _commit_all(self) -> bool:
        """Commit until nothing is being composed; whether there was anything."""
        was_composing = self.is_composing
        while self._commit_first():
            pass  # each round uses up digits
        return was_composing

    def _commit(self, text: str, lm_id: int) -> None:
        self._steps, self._choosing = [], False
        self._append(text)
        self._before = lm_id

    def _append(self, text: str, replaces: bool = False) -> None:
        """Put text at the end of the line; it does not grow beyond LINE_MAX."""
        kept = self.line[:-1] if replaces else self.line
        self.line = (kept + text)[:LINE_MAX]
        self._before, self._page = 0, 0

    def _pick_symbol(self, key: str) -> None:
        shown, _ = self._shown()
        if key == "0":
            self._append(" ")
        elif int(key) <= len(shown):
            page = self._page
            self._append(shown[int(key) - 1].text)
            self._page = page

    def _forget(self) -> bool:
        """Unlearn the first learned word on the page; False when there is none."""
        shown, _ = self._shown()
        for candidate in shown:
            if candidate.is_learned and self._engine.user.forget(candidate.text):
                self._found_of, self._lattice_of = (), ()
                return True
        return False


def _plain(text: str) -> Candidate:
    """A candidate that uses up everything and means nothing to the bigrams."""
    return Candidate(text, 0, DIGITS_MAX, (), -1)


def _in_case(word: str, case: int) -> str:
    return (word, word[:1].upper() + word[1:], word.upper())[case]
