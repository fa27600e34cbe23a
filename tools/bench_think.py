# SPDX-License-Identifier: Apache-2.0
"""Does thinking choose better replies, and what does it cost?

Quality: talks that the parrot was not trained on are told up to a turn of the companion. One reply
is thought (`--drafts`), one is said at once with another seed. The judge is a PPM of order 6 that
has read all the held-out talks: bits a byte of each reply after the same words. Chance is 0.5; the
p-value is of a two-sided sign test.

Cost: wall time of a thought reply to that of a plain one of the same length, interleaved, at shape
L with random weights (512 wide, 12 layers), which never end a reply early.

    python -m tools.bench_think --talks heldout.tar.xz:sft_en.heldout.jsonl --contexts 200
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import tempfile
import time
from pathlib import Path

from parrot.base.text import COMPANION, END_OF_DOCUMENT, END_OF_TURN, PARROT
from parrot.engine.generate import Sampler, Sampling, new_sampler
from parrot.engine.model import Model
from parrot.engine.state import State
from parrot.mind.speech import speak, utter
from parrot.mind.thinking import REPEAT, Thinker, repetition
from parrot.mind.turn import stop_of
from parrot.model.random_model import write_random_model
from parrot.model.shape import Shape
from tools.corpus_read import read_records

CONTEXT_BYTES = 700
LAST_BYTES = (1 << 64) - 1  # of a context as one number: the judge looks at fewer
MARKS = {"user": COMPANION, "assistant": PARROT}


def talks_of(places: list[str]) -> list[list[bytes]]:
    """Return framed turns of every talk in `FILE` or `TAR:MEMBER`."""
    talks = []
    for place in places:
        path, _, member = place.partition(":")
        for record in read_records(Path(path), member)[0]:
            talks.append([MARKS[r] + text.encode() + END_OF_TURN for r, text in record.turns])
    return talks


class Judge:
    """Held-out talk, as counts of what followed what."""

    def __init__(self, talks: list[list[bytes]]) -> None:
        from tools.ppm import PPM  # reads training recipes, so it needs PyTorch

        self._ppm = PPM()
        for talk in talks:
            context = 0
            for byte in b"".join(talk):
                self._ppm.learn(context, byte)
                context = (context << 8 | byte) & LAST_BYTES

    def bits_per_byte(self, before: bytes, reply: bytes) -> float:
        context, bits = int.from_bytes(before[-8:], "big"), 0.0
        for byte in reply:
            bits += self._ppm.price(context, byte)
            context = (context << 8 | byte) & LAST_BYTES
        return bits / len(reply)


def samplers(model: Model, seed: int, n: int) -> list[Sampler]:
    stop = frozenset(stop_of(model))
    return [
        new_sampler(Sampling(temperature=0.7), seed + i, 256, is_bytes=True, stop=stop)
        for i in range(n)
    ]


def reply(model: Model, state: State, seed: int, n_drafts: int, max_bytes: int) -> bytes:
    """Return a reply after `state`, which does not move."""
    chances, twin = samplers(model, seed, n_drafts), state.copy()
    utterance = utter(model, twin, chances[0], max_bytes)
    if n_drafts > 1:
        best = Thinker(model, twin, chances, max_bytes).run()
        utterance, twin = best.utterance, best.state
    for _ in speak(model, twin, utterance):
        pass
    return utterance.speech.whole


def sign_test(n_won: int, n: int) -> float:
    """Return the two-sided p-value of `n_won` of `n` under even chances."""
    far = max(n_won, n - n_won)
    tail = sum(math.comb(n, k) for k in range(far, n + 1)) / 2**n
    return min(1.0, 2 * tail)


def places_of(talks: list[list[bytes]]) -> list[tuple[list[bytes], int]]:
    """Return (talk, turn) of every turn of a companion that a parrot answered, shuffled."""
    places = [
        (talk, i)
        for talk in talks
        for i in range(len(talk) - 1)
        if talk[i][:1] == COMPANION and talk[i + 1][:1] == PARROT
    ]
    random.Random(7).shuffle(places)
    return places


def told(model: Model, talk: list[bytes], i: int) -> tuple[bytes, State]:
    """Return the end of `talk` up to its turn i, with the parrot to speak, and the state then."""
    before = (END_OF_DOCUMENT + b"".join(talk[: i + 1]))[-CONTEXT_BYTES:] + PARROT
    state = model.new_state()
    model.forward(before, state)
    return before, state


def quality(model: Model, talks: list[list[bytes]], n: int, n_drafts: int) -> dict[str, object]:
    judge = Judge(talks)
    gains, lengths = [], []
    for number, (talk, i) in enumerate(places_of(talks)[:n]):
        before, state = told(model, talk, i)
        thought = reply(model, state, 1_000 * number, n_drafts, 120)
        plain = reply(model, state, 1_000 * number + 500, 1, 120)
        gains.append(judge.bits_per_byte(before, plain) - judge.bits_per_byte(before, thought))
        lengths.append((len(thought), len(plain)))
    n_won = sum(gain > 0 for gain in gains)
    return {
        "contexts": len(gains),
        "thought_reply_wins": n_won / len(gains),
        "p": sign_test(n_won, len(gains)),
        "bits_per_byte_gained": statistics.mean(gains),
        "bytes_thought": statistics.mean(a for a, _ in lengths),
        "bytes_plain": statistics.mean(b for _, b in lengths),
    }


def weights(model: Model, talks: list[list[bytes]], n: int, n_drafts: int) -> dict[str, float]:
    """Return, by the weight of ln p(byte | nothing), how often the judge prefers the draft chosen
    to each other one, when all are spoken to the end."""
    judge, nothing = Judge(talks), model.new_state()
    model.forward(END_OF_DOCUMENT + PARROT, nothing)
    won = dict.fromkeys((0.0, 0.3, 0.5, 0.7, 1.0), 0.0)
    chosen = places_of(talks)[:n]
    for number, (talk, i) in enumerate(chosen):
        before, state = told(model, talk, i)
        drafts, given = [], []
        for chance in samplers(model, 1_000 * number, n_drafts):
            twin = state.copy()
            utterance = utter(model, twin, chance, 120)
            for _ in speak(model, twin, utterance):
                pass
            drafts.append(utterance.speech.whole)
            given.append(-utterance.speech.measure.surprise)
        alone = model.score(drafts, nothing)
        bits = [judge.bits_per_byte(before, draft) for draft in drafts]
        for weight in won:
            scores = [
                (g - weight * a) / len(draft) - REPEAT * repetition(draft)
                for g, a, draft in zip(given, alone, drafts, strict=True)
            ]
            best = scores.index(max(scores))
            worse = sum(bits[best] < each for j, each in enumerate(bits) if j != best)
            won[weight] += worse / (n_drafts - 1) / len(chosen)
    return {str(weight): share for weight, share in won.items()}


def cost(model: Model, n_rounds: int, n_drafts: int, max_bytes: int) -> dict[str, object]:
    state = model.new_state()
    model.forward(END_OF_DOCUMENT + b"hello" + PARROT, state)
    ratios, plain_ms = [], []
    for number in range(n_rounds):
        times = []
        for n in (1, n_drafts):
            begun = time.perf_counter()
            reply(model, state, number, n, max_bytes)
            times.append((time.perf_counter() - begun) * 1e3)
        ratios.append(times[1] / times[0])
        plain_ms.append(times[0])
    return {
        "threads": model.describe()["threads"],
        "reply_bytes": max_bytes,
        "plain_ms": statistics.median(plain_ms),
        "wall_ratio": statistics.median(ratios),
        "wall_ratio_range": [min(ratios), max(ratios)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--talks", nargs="*", default=[], metavar="FILE[:MEMBER]")
    parser.add_argument("--contexts", type=int, default=200)
    parser.add_argument("--drafts", type=int, default=5)
    parser.add_argument("--weights", action="store_true", help="try other scores, too")
    parser.add_argument("--rounds", type=int, default=0, help="of the cost at shape L")
    parser.add_argument("--bytes", type=int, default=80, help="of a reply whose cost is measured")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model")
    args = parser.parse_args()
    figures: dict[str, object] = {"drafts": args.drafts}
    if args.talks:
        model = Model.open(args.model, threads=args.threads)
        talks = talks_of(args.talks)
        figures["quality"] = quality(model, talks, args.contexts, args.drafts)
        if args.weights:
            figures["weights"] = weights(model, talks, args.contexts, args.drafts)
    if args.rounds:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "large.gguf"
            write_random_model(path, Shape.standard(12, 512), 1)
            large = Model.open(path, threads=args.threads)
            figures["cost"] = cost(large, args.rounds, args.drafts, args.bytes)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
