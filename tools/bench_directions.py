# SPDX-License-Identifier: Apache-2.0
"""Can a mood push the state? Directions from contrasting talk, and what they change.

A direction is the mean state after glad talk less the mean state after sad talk, each lived from
the same evening. Pushed along it, a state should find other glad words likelier, and other sad
words less likely, than before; and a neutral talk should not cost more. Each figure is the mean over
states reached by different chatter, with a 95 % interval of the gain over them.

    python -m tools.bench_directions --states 12
"""

from __future__ import annotations

import argparse
import json
import random
import zlib

import numpy as np
from numpy.typing import NDArray

from parrot.engine.model import Model
from parrot.engine.state import State
from tools.bench_drift import bits_per_byte, framed

F32 = NDArray[np.float32]
# (glad, sad): what the two of them say to each other. The last third is only asked for.
TALK = [
    ("Today was wonderful!", "Today was terrible."),
    ("I am so happy to see you.", "I am so sad and alone."),
    ("What a lovely morning, I want to sing!", "What a grey morning, I want to cry."),
    ("We won the game, hooray!", "We lost the game, and I feel awful."),
    ("Haha, that is very funny!", "That hurt me very much."),
    ("I love this song so much.", "Nobody likes me any more."),
    ("今天真开心！", "今天真难过。"),
    ("哈哈，太好笑了！", "我哭了很久。"),
    ("太好了，我很高兴！", "太糟了，我很伤心。"),
    ("我喜欢和你在一起。", "没有人喜欢我。"),
    ("我们去玩吧，好棒！", "我很累，什么都不想做。"),
    ("谢谢你，我好幸福。", "对不起，我很害怕。"),
    ("This is the best day of my life!", "This is the worst day of my life."),
    ("I feel great and full of joy.", "I feel bad and full of fear."),
    ("Wonderful! Let us dance.", "Leave me alone, I am crying."),
    ("真好，我爱这一天！", "真坏，我讨厌这一天。"),
    ("我笑得很开心。", "我哭得很伤心。"),
    ("好棒，我们成功了！", "唉，我们失败了。"),
]
N_TRAIN = 12


def after(model: Model, state: State, text: str) -> F32:
    twin = state.copy()
    model.forward(b"\x02" + text.encode() + b"\x03\x06" + text.encode() + b"\x03", twin)
    return twin.payload


def direction(model: Model, states: list[State]) -> F32:
    gaps = [
        after(model, state, glad) - after(model, state, sad)
        for state in states
        for glad, sad in TALK[:N_TRAIN]
    ]
    mean: F32 = np.mean(gaps, axis=0)
    return mean


def gladness(model: Model, state: State) -> float:
    """Return ln p a byte of glad replies less that of sad ones, when asked how it is."""
    twin = state.copy()
    model.forward("\x02How are you? 你好吗？\x03\x06".encode(), twin)
    texts = [[pair[i].encode() for pair in TALK[N_TRAIN:]] for i in (0, 1)]
    ln_p = model.score(texts[0] + texts[1], twin)
    n = len(texts[0])
    sizes = [len(text) for text in texts[0] + texts[1]]
    per_byte = np.array(ln_p) / sizes
    return float(per_byte[:n].mean() - per_byte[n:].mean())


def pushed(state: State, along: F32, strength: float) -> State:
    twin = state.copy()
    twin.payload += np.float32(strength) * along
    return twin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--states", type=int, default=12, help="half to train on, half to judge")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model")
    args = parser.parse_args()
    model, states = Model.open(args.model, threads=args.threads), []
    for i in range(args.states):
        state = model.new_state()
        model.forward([0, *framed(model, 800, f"before {i}")], state)
        states.append(state)
    random.Random(1).shuffle(states)
    half = len(states) // 2
    along = direction(model, states[:half])
    chance = np.random.default_rng(zlib.crc32(b"a direction of chance"))
    control = chance.standard_normal(along.size).astype(np.float32)
    control *= np.float32(np.linalg.norm(along) / np.linalg.norm(control))
    neutral = framed(model, 400, "neutral")
    figures: dict[str, object] = {
        "norm of direction to state": float(
            np.linalg.norm(along) / np.linalg.norm(states[-1].payload)
        )
    }
    for name, push in (("trained", along), ("by chance", control)):
        for strength in (-4.0, -1.0, 1.0, 4.0):
            gains, costs = [], []
            for state in states[half:]:
                moved = pushed(state, push, strength)
                gains.append(gladness(model, moved) - gladness(model, state))
                costs.append(
                    bits_per_byte(model, moved, neutral) - bits_per_byte(model, state, neutral)
                )
            error = 1.96 * np.std(gains, ddof=1) / len(gains) ** 0.5
            figures[f"{name} x {strength:+g}"] = {
                "gladness, nats a byte": [round(float(np.mean(gains)), 5), round(float(error), 5)],
                "neutral talk, bits a byte": round(float(np.mean(costs)), 5),
            }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
