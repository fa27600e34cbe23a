# SPDX-License-Identifier: Apache-2.0
"""An open model: bytes and a state in, logits out, and the state has lived on.

Thin over the C library: this file turns bytes and numbers into buffers, keeps scratch memory for
reuse, and offers the handful of calls of DESIGN section 5. A model never changes after open and may
be shared by threads; a state belongs to one call at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parrot import _native
from parrot.base.errors import Aborted, ConfigError, EngineError, FileError
from parrot.base.text import END_OF_DOCUMENT, END_OF_TURN
from parrot.engine.cuda import CudaModel, CudaState, Speech
from parrot.engine.cuda_library import SAY_MAX
from parrot.engine.generate import Abort, Sampling, banned_of, new_sampler
from parrot.engine.state import State, load_state, state_from_bytes
from parrot.model.lora import MATRICES, read_lora
from parrot.model.shape import Shape
from parrot.model.tokenizer import ByteTokenizer, Tokenizer, tokenizer_of
from parrot.model.weights import open_model

F32 = NDArray[np.float32]
Tokens = bytes | Sequence[int] | NDArray[np.integer[Any]]

BUNDLED = Path(__file__).parent.parent / "assets" / "parrot.gguf"

_NONE, _ENDS, _ALL = 0, 1, 2  # parrot_logits of parrot.h
_CHUNK = 64  # rows a large work area holds
_CONTINUATION = bytes(range(0x80, 0xC0))  # UTF-8's further bytes of a character


class Model:
    """An RWKV-7 model file, read, checked and ready to run.

    Threads: may be shared; concurrent calls run, the second one on its own thread alone.
    """

    def __init__(
        self,
        native: _native.Model,
        path: Path,
        tokenizer: Tokenizer,
        plain: Model | None = None,
        cuda: CudaModel | None = None,
    ) -> None:
        self._native, self.cuda = native, cuda
        self._plain = plain  # of a twin with a LoRA: the model it was made from
        self._about = native.describe()
        if cuda is not None:
            self._about |= {"cpu": f"cuda, {cuda.describe()['name']}", "repacked": True}
        self._small: list[_native.Work] = []
        self._large: list[_native.Work] = []
        self.path = path
        self.tokenizer = tokenizer

    @classmethod
    def open(
        cls,
        path: str | Path | None = None,
        device: str = "cpu",
        threads: int | None = None,
        mapped: bool = False,
    ) -> Model:
        """Open a GGUF file; None is the bundled model.

        `threads` None is one a core. The file is read once; `mapped` computes from the mapped file
        and spends no memory, and if that is cut short later the process ends: rename a new one over
        it. PARROT_CPU in the environment names kernels to use (`parrot doctor` lists them).
        `device` is "cpu", or "cuda:N" for a GPU (docs/cuda.md).
        Raises: FileError and its kinds for the file; ConfigError for device or threads;
                EngineError when PARROT_CPU asks for what this CPU lacks, or the GPU's memory is too
                small; DeviceMissing without a GPU that can run it.
        """
        if threads is not None and not 1 <= threads <= 256:
            raise ConfigError(
                f"threads: {threads}, expected 1 to 256; leave it out for one a core.",
                key="threads",
            )
        where = Path(path) if path is not None else BUNDLED
        if path is None and not where.exists():
            raise FileError(f"{where}: the bundled model is missing; install parrot again.")
        cpu = os.environ.get("PARROT_CPU") or None
        if device == "cpu":
            native, cuda = _native.Model(where, threads or 0, mapped, cpu), None
        else:  # the host keeps the file mapped, for state files and the vocabulary
            native = _native.Model(where, 1, True, cpu)
            cuda = CudaModel(where, device)
        return cls(native, where, tokenizer_of(open_model(where).vocabulary), cuda=cuda)

    def with_lora(self, path: str | Path) -> Model:
        """Return a twin of this model with the low-rank updates of a LoRA file.

        The twin shares weights and threads; states of one live on in the other, so switching is
        using the other object. Called on a twin, it starts from the plain model again.
        Raises: MismatchError for another model's file; FormatError, CorruptError, FileError.
        Cost:   milliseconds; memory for the updates.
        """
        if self.cuda is not None:
            raise ConfigError("lora: this model is on a GPU; open it with device cpu for a LoRA.")
        shape = Shape(**{f.name: self._about[f.name] for f in fields(Shape)})  # type: ignore[literal-required]
        updates = tuple(
            (u.layer, list(MATRICES).index(u.matrix), len(u.a), u.a, u.b)
            for u in read_lora(Path(path), shape, self.id)
        )
        plain = self._plain or self
        return Model(plain._native.adapt(updates), self.path, self.tokenizer, plain)

    # ---- what it is

    @property
    def n_vocab(self) -> int:
        return self._about["n_vocab"]

    @property
    def is_bytes(self) -> bool:
        """True for the 256-byte vocabulary, which speaks the chat framing of parrot.base.text."""
        return isinstance(self.tokenizer, ByteTokenizer)

    @property
    def id(self) -> str:
        """Sixteen hex digits that name the model file (docs/formats.md)."""
        return self._about["id"].hex()

    def describe(self) -> _native.Description:
        """Return shape, id, kernels, threads and bytes of weights read per token."""
        return self._about

    def bandwidth(self, n_threads: int, size: int) -> float:
        """Return bytes/s read where this model computes: by threads here, by a copy on a GPU; 0.0
        without the memory. `size` is what a thread reads, many times the caches."""
        if self.cuda is None:
            return _native.read_bandwidth(n_threads, size)
        return self.cuda.copy_bandwidth(size)

    # ---- states

    def new_state(self) -> State:
        """Return the state of a parrot that has lived nothing."""
        return self._at_home(State(self._native, np.zeros(self._about["state_len"], np.float32)))

    def load_state(self, path: str | Path) -> State:
        """Return the state in a file.

        Raises: FileError, FormatError, CorruptError; MismatchError for another model's (INV-2).
        """
        return self._at_home(load_state(self._native, self._about["state_len"], Path(path)))

    def state_from_bytes(self, blob: bytes, where: str = "state") -> State:
        """Return the state in `blob`, a whole state file; `where` names it in messages."""
        state = state_from_bytes(self._native, self._about["state_len"], blob, where)
        return self._at_home(state)

    def _at_home(self, state: State) -> State:
        """Return the state where this model computes."""
        if self.cuda is None:
            return state
        return CudaState(self._native, self.cuda, state.payload, state.position)

    # ---- forward

    def forward(
        self, tokens: Tokens, state: State, every: bool = False, abort: Abort | None = None
    ) -> F32:
        """Live `tokens`; return the logits after the last, or after each with `every`.

        Shapes: (n_vocab,) f32, or (len(tokens), n_vocab).
        Raises: EngineError for a token outside the vocabulary (nothing was lived); Aborted when
                `abort` was set: `state.position` says how far it came; ValueError without tokens.
        """
        ids = _ids(tokens)
        logits = self._run(ids, (state,), np.array([len(ids)], np.int32), every, abort)
        state.logits = logits[-1]
        return logits if every else logits[-1]

    def forward_batch(self, tokens: Tokens, states: Sequence[State]) -> F32:
        """Live one token in each of n different states, reading the weights once; (n, n_vocab)."""
        ids = _ids(tokens)
        if len(ids) != len(states):
            raise ValueError(f"{len(ids)} tokens for {len(states)} states; expected one each")
        logits = self._run(ids, tuple(states), np.ones(len(ids), np.int32), False, None)
        for state, row in zip(states, logits, strict=True):
            state.logits = row
        return logits

    def score(self, texts: Sequence[bytes], state: State) -> list[float]:
        """Return ln p(text | state) of each text, in one batch; `state` does not move.

        Units: nats, the sum over the text's tokens. Needs the logits of the last forward call, so
               a state fresh from a file has to live at least one token first.
        """
        before = _log_softmax(self._last_logits(state))
        runs = [self.tokenizer.encode(text) for text in texts]
        scores = [float(before[run[0]]) if run else 0.0 for run in runs]
        longer = [i for i, run in enumerate(runs) if len(run) > 1]
        if longer:
            ids = np.array([t for i in longer for t in runs[i][:-1]], np.int32)
            counts = np.array([len(runs[i]) - 1 for i in longer], np.int32)
            twins = tuple(state.copy() for _ in longer)
            after = _log_softmax(self._run(ids, twins, counts, True, None))
            wanted = np.array([t for i in longer for t in runs[i][1:]])
            picked = after[np.arange(len(wanted)), wanted]
            ends = np.cumsum(counts)
            for i, end, n in zip(longer, ends, counts, strict=True):
                scores[i] += float(picked[end - n : end].sum())
        return scores

    def generate(
        self,
        state: State,
        prompt: bytes = b"",
        *,
        sampling: Sampling | None = None,
        temperature: float = 0.8,
        top_p: float = 0.9,
        seed: int = 1,
        stop: bytes = END_OF_TURN,
        max_bytes: int = 400,
        abort: Abort | None = None,
    ) -> Iterator[bytes]:
        """Live `prompt`, then say bytes and live them, until `stop`, `max_bytes` or `abort`.

        Yields whole characters (byte models) or tokens. `stop` is lived but not yielded. However
        it ends, also when the caller leaves early, `stop` has been lived at the end: the next turn
        begins at a border. `sampling` replaces temperature and top_p when given.
        Raises: ConfigError for settings out of range; EngineError as `forward`.
        """
        how = sampling or Sampling(temperature=temperature, top_p=top_p)
        if prompt:
            try:
                self.forward(self._ids_of(prompt), state, abort=abort)
            except Aborted:
                if stop:
                    self.forward(self._ids_of(stop), state)
                return iter(())
        elif state.position == 0:
            self.forward(self._ids_of(END_OF_DOCUMENT), state)
        if isinstance(state, CudaState) and self.is_bytes and len(stop) <= 1:
            banned = np.array(banned_of(frozenset(stop)), np.int32)
            speech = Speech(how, seed, banned, stop[0] if stop else -1, is_utf8=True)
            return self._say_there(state, speech, stop, max_bytes, abort)
        sampler = new_sampler(how, seed, self.n_vocab, is_bytes=self.is_bytes, stop=frozenset(stop))
        return self._say(state, sampler, stop, max_bytes, abort)

    def _say_there(
        self, state: CudaState, speech: Speech, stop: bytes, max_bytes: int, abort: Abort | None
    ) -> Iterator[bytes]:
        """As `_say`, the choices made on the GPU, a few bytes a call."""
        logits = self._last_logits(state).copy()
        piece, n_said, is_closed = b"", 0, not stop
        try:
            while n_said < max_bytes and not (is_closed and stop):
                if abort is not None and abort.is_set() and not speech.utf8_need():
                    return
                said = bytes(
                    speech.say(state, min(SAY_MAX, max_bytes - n_said), max_bytes - n_said, logits)
                )
                state.logits = logits.copy()
                n_said += len(said)
                if stop and said.endswith(stop):
                    said, is_closed = said[:-1], True
                piece += said
                held = len(piece.rstrip(_CONTINUATION)) - 1 if speech.utf8_need() else len(piece)
                if held > 0:
                    yield piece[:held]
                piece = piece[held:]
        finally:
            if not is_closed and not (self.cuda and self.cuda.is_lost):
                self.forward(self._ids_of(stop), state)

    def _say(
        self,
        state: State,
        sampler: _native.Sampler,
        stop: bytes,
        max_bytes: int,
        abort: Abort | None,
    ) -> Iterator[bytes]:
        logits = self._last_logits(state).copy()
        piece, said, n_said = b"", b"", 0
        is_closed = not stop
        try:
            while n_said < max_bytes:
                if abort is not None and abort.is_set() and not sampler.utf8_need():
                    return
                token = sampler.choose(logits, max_bytes - n_said)
                sampler.feed(token)
                np.copyto(logits, self.forward([token], state))
                piece += self.tokenizer.decode([token])
                said = (said + self.tokenizer.decode([token]))[-len(stop) or None :]
                n_said += len(self.tokenizer.decode([token]))
                if stop and said == stop:
                    is_closed = True
                    return
                if not sampler.utf8_need():
                    yield piece
                    piece = b""
        finally:
            if not is_closed and not (self.cuda and self.cuda.is_lost):
                self.forward(self._ids_of(stop), state)

    # ---- inside

    def _ids_of(self, text: bytes) -> list[int]:
        return self.tokenizer.encode(text)

    def _last_logits(self, state: State) -> F32:
        if state.logits is None:
            raise EngineError(
                "state: it was just loaded and has no logits to go on from; pass a prompt of at "
                "least one byte."
            )
        return state.logits

    def _run(
        self,
        ids: NDArray[np.int32],
        states: tuple[State, ...],
        counts: NDArray[np.int32],
        every: bool,
        abort: Abort | None,
    ) -> F32:
        """Run rows; states[i] lives counts[i] of the ids. Logits of all rows or of each end."""
        if len(ids) == 0:
            raise ValueError("no tokens; expected at least one")
        logits = np.empty((len(ids) if every else len(states), self.n_vocab), np.float32)
        live = self._live if self.cuda is None else self._live_there
        n_done = live(ids, states, counts, logits, abort)
        self._advance(states, counts, n_done)
        if n_done < len(ids):
            raise Aborted(
                f"forward: stopped by its abort flag after {n_done} of {len(ids)} tokens; "
                "live the rest, or go back to a copy of the state.",
                n_done=n_done,
            )
        return logits

    def _live(
        self,
        ids: NDArray[np.int32],
        states: tuple[State, ...],
        counts: NDArray[np.int32],
        logits: F32,
        abort: Abort | None,
    ) -> int:
        pool, n_rows = (self._small, 1) if len(ids) == 1 else (self._large, _CHUNK)
        work = pool.pop() if pool else self._native.work(n_rows)
        payloads = tuple(state.payload for state in states)
        which = _ALL if len(logits) == len(ids) else _ENDS
        try:
            return self._native.forward(work, ids, payloads, counts, which, logits, abort)
        finally:
            pool.append(work)

    def _live_there(
        self,
        ids: NDArray[np.int32],
        states: tuple[State, ...],
        counts: NDArray[np.int32],
        logits: F32,
        abort: Abort | None,
    ) -> int:
        assert self.cuda is not None
        there = [state for state in states if isinstance(state, CudaState)]
        if len(there) < len(states) or len(set(map(id, states))) < len(states):
            raise ValueError("forward: every state must be one of this model's, and none twice")
        if ids.min() < 0 or ids.max() >= self.n_vocab:
            raise EngineError(
                "forward: a token outside the vocabulary; pass tokens of this model's tokenizer."
            )
        return self.cuda.run(ids, there, counts, logits, abort)

    @staticmethod
    def _advance(states: tuple[State, ...], counts: NDArray[np.int32], n_done: int) -> None:
        for state, count in zip(states, counts.tolist(), strict=True):
            lived = count if count < n_done else n_done
            state.position += lived
            state.logits = None
            n_done -= lived


def _ids(tokens: Tokens) -> NDArray[np.int32]:
    if isinstance(tokens, (bytes, bytearray, memoryview)):
        return np.frombuffer(tokens, np.uint8).astype(np.int32)
    return np.ascontiguousarray(tokens, np.int32)


def _log_softmax(logits: F32) -> F32:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    result: F32 = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result
