# SPDX-License-Identifier: Apache-2.0
"""Does a night help? Recall of a day's facts the next morning, after sleep and after two controls.

A day is `--facts` statements about made-up people among other talk. Three twins then go on from the
same evening: one as it is, one after living the day again in the order it came (plain replay), one
after a sleep's replay of the same number of bytes, the most surprising first (every cycle kept, so
that the arm measures replay itself; how often sleep would have kept them is counted beside it).
Each lives the same fresh talk of `--chatter` bytes; then it is asked for every fact. Right is the
answer told, among eight of its kind, that the model finds likeliest; chance is 1/8. The second
figure is the margin in nats: ln p of the right answer less the mean of the others. Differences of
sleep and each control come with a 95 % interval from 10,000 bootstrap draws over the facts.

    python -m tools.bench_sleep --days 8 --facts 26 --chatter 65536
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from dataclasses import dataclass

import numpy as np

from parrot.base.clock import SystemClock
from parrot.engine.generate import Sampling
from parrot.engine.model import Model
from parrot.engine.state import State
from parrot.mind import sleep
from parrot.mind.companion import Companion, Manner
from parrot.mind.soul import Soul
from parrot.mind.turn import opening, tokens_of
from tools.bench_memory import FORMS, WHATS, people
from tools.chatter import chatter

ARMS = ("none", "plain", "sleep")


@dataclass(frozen=True)
class Fact:
    """What is told, what is asked, and the statements to choose from; the first is right."""

    told: str
    asked: str
    options: list[str]


def facts_of(n: int, chance: random.Random) -> list[Fact]:
    """Return n facts about as many people, half in each language."""
    crowds = [chance.sample(people(is_chinese), n) for is_chinese in (False, True)]
    facts = []
    for i in range(n):
        form = chance.randrange(4) + 4 * (i % 2)
        told, asked = FORMS[form]
        who, whats = crowds[form >= 4][i], chance.sample(WHATS[form], 8)
        options = [told.format(who=who, what=what) for what in whats]
        facts.append(Fact(options[0], asked.format(who=who), options))
    return facts


def lived(model: Model, turns: list[tuple[str, str]]) -> list[int]:
    tokens: list[int] = []
    for heard, said in turns:
        tokens += opening(model, 1, heard.encode(), b"")
        tokens += model.tokenizer.encode(said.encode() + b"\x03")
    return tokens


def ask(model: Model, state: State, facts: list[Fact]) -> list[tuple[bool, float]]:
    """Return for each fact whether the answer was right, and by what margin."""
    answers = []
    for fact in facts:
        twin = state.copy()
        model.forward(opening(model, 1, fact.asked.encode(), b""), twin)
        ln_p = model.score([option.encode() for option in fact.options], twin)
        right, others = ln_p[0], ln_p[1:]
        answers.append((right > max(others), right - sum(others) / len(others)))
    return answers


def evening(model: Model, facts: list[Fact], chance: random.Random) -> Companion:
    manner = Manner(Sampling(temperature=0.7), max_bytes=40, seed=1)
    parrot = Companion(model, Soul.in_memory(), SystemClock(), manner)
    for fact in facts:
        for _ in parrot.hear(fact.told):
            pass
        for heard, _ in chatter(1, chance)[:2]:
            for _ in parrot.hear(heard):
                pass
    return parrot


def replays(parrot: Companion) -> tuple[dict[str, State], int, int]:
    """Return the state of each arm, the turns of the day, and those that sleep would have kept."""
    model = parrot.model
    day = parrot.recent(10_000)
    budget = sum(len(turn.heard) + len(turn.said) for turn in day) // 2
    states = {arm: parrot.state.copy() for arm in ARMS}
    for turn in _within(day, budget):
        model.forward(tokens_of(model, states["plain"].position, turn), states["plain"])
    for turn in _within(sleep.by_surprise(day), budget):
        model.forward(tokens_of(model, states["sleep"].position, turn), states["sleep"])
    night = parrot.sleeper()
    for _ in night.run(is_dry=True, with_replay=True, ms_max=None):
        pass
    return states, len(day), night.night.dreamt_turns


def _within(turns: list, budget: int) -> list:  # type: ignore[type-arg]
    kept = []
    for turn in turns:
        if budget <= 0:
            break
        budget -= len(turn.heard) + len(turn.said)
        kept.append(turn)
    return kept


def interval(gains: np.ndarray) -> list[float]:  # type: ignore[type-arg]
    """Return the mean of `gains` and the ends of its 95 % interval."""
    draws = np.random.default_rng(1).choice(gains, (10_000, len(gains))).mean(axis=1)
    return [float(gains.mean()), *(float(q) for q in np.quantile(draws, (0.025, 0.975)))]


def report(answers: dict[str, list[tuple[bool, float]]]) -> dict[str, object]:
    right = {arm: np.array([a for a, _ in got], float) for arm, got in answers.items()}
    margin = {arm: np.array([m for _, m in got]) for arm, got in answers.items()}
    figures: dict[str, object] = {"facts": len(right["none"])}
    for arm in right:
        figures[arm] = {"right": interval(right[arm]), "margin": interval(margin[arm])}
    for arm in ("none", "plain"):
        figures[f"sleep less {arm}"] = {
            "right": interval(right["sleep"] - right[arm]),
            "margin": interval(margin["sleep"] - margin[arm]),
        }
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--days", type=int, default=8)
    parser.add_argument("--facts", type=int, default=26, help="a day")
    parser.add_argument("--chatter", type=int, default=65_536, help="bytes of the next morning")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model")
    args = parser.parse_args()
    model = Model.open(args.model, threads=args.threads)
    answers: dict[str, list[tuple[bool, float]]] = {arm: [] for arm in (*ARMS, "evening")}
    n_turns = n_kept = 0
    for day in range(args.days):
        begun, chance = time.monotonic(), random.Random(f"day {day}")
        facts = facts_of(args.facts, chance)
        parrot = evening(model, facts, chance)
        states, turns, kept = replays(parrot)
        n_turns, n_kept = n_turns + turns, n_kept + kept
        answers["evening"] += ask(model, parrot.state, facts)
        fresh = lived(model, chatter(args.chatter, chance))
        for arm in ARMS:
            model.forward(fresh, states[arm])
            answers[arm] += ask(model, states[arm], facts)
        print(f"day {day + 1}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    figures = report(answers)
    figures["turns a sleep would have kept"] = [n_kept, n_turns]
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
