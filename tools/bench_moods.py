# SPDX-License-Identifier: Apache-2.0
"""Do moods show in what is said? Sampled replies with the state pushed, at three strengths.

For each hormone and each strength (-PUSH_MAX, 0, PUSH_MAX), `--n` replies to first turns of
held-out talks (tools/school/hand), with the same seeds: how many hold a word of the hormone's high
end, or of its low end (WORDS, chosen beforehand, in both languages); and whether they still hold
together as text, as tools.replies measures it. `--show` prints replies side by side.

    python -m tools.bench_moods --n 300 --words /usr/share/dict/words
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from parrot.base.text import END_OF_DOCUMENT, END_OF_TURN, companion_turn
from parrot.engine.generate import Sampling, new_sampler
from parrot.engine.model import Model
from parrot.engine.state import State
from parrot.mind.hormones import HORMONES
from parrot.mind.moods import PUSH_MAX, Moods, moods_of
from parrot.mind.speech import speak, utter
from tools.replies import Reply, figures, prompts, read_words

# Each: words of the high end, words of the low end.
WORDS = {
    "reward": (
        "happy glad love great wonderful fun hooray smile laugh proud lovely best "
        "开心 高兴 快乐 太好 真好 真棒 喜欢 哈哈 好玩",
        "sad lonely grey cry alone lost empty hard sorry dark 难过 伤心 孤单 哭 没意思 灰 闷 可惜",
    ),
    "stress": (
        "worry worried afraid scared scary hurry quick careful wrong happened "
        "糟 怕 快 担心 急 小心",
        "calm quiet slow slowly gentle breathe soft peace rest still 慢 静 轻 安 歇 不急 呼吸",
    ),
    "tiredness": (
        "sleep sleepy asleep tired bed dream yawn night 困 睡 累 梦 被窝 晚安",
        "awake run jump play go let's ready up fast quick 跑 跳 快 精神 出发 走 醒",
    ),
    "bond": (
        "friend dear together love miss we us our 朋友 亲爱 一起 想你 陪 咱 我们",
        "please question program answer need help 请 您 程序 问题 需要",
    ),
}
STRENGTHS = (-PUSH_MAX, 0.0, PUSH_MAX)
_LATIN = re.compile(r"[a-z]+(?:'[a-z]+)?")


def has_any(text: str, words: str) -> bool:
    spoken, text = set(_LATIN.findall(text.lower().replace("’", "'"))), text.lower()
    return any(w in spoken if w.isascii() else w in text for w in words.split())


def reply(model: Model, moods: Moods, asked: str, push: dict[str, float], seed: int) -> Reply:
    state = model.new_state()
    *tokens, mark = END_OF_DOCUMENT + companion_turn(asked)
    model.forward(tokens, state)
    twin: State = moods.voice(state, push).state
    model.forward([mark], twin)
    stop = frozenset(END_OF_TURN)
    sampler = new_sampler(Sampling(temperature=0.7), seed, model.n_vocab, is_bytes=True, stop=stop)
    utterance = utter(model, twin, sampler, 400)
    for _ in speak(model, twin, utterance):
        pass
    said = utterance.speech.whole.removesuffix(END_OF_TURN)
    return Reply(asked, said, len(said) < 400)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=300, help="replies each")
    parser.add_argument("--words", type=Path, metavar="FILE", help="dictionary, one word a line")
    parser.add_argument("--show", type=int, default=0, metavar="N")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model")
    args = parser.parse_args()
    model = Model.open(args.model, threads=args.threads)
    moods, why = moods_of(model)
    if why:
        raise SystemExit(why)
    asked, (words, _) = prompts(), read_words(args.words)
    for name in HORMONES:
        for strength in STRENGTHS:
            push = {name: strength} if strength else {}
            said = [reply(model, moods, asked[i % len(asked)], push, i + 1) for i in range(args.n)]
            texts = [r.said.decode("utf-8", "replace") for r in said]
            high, low = (sum(has_any(t, w) for t in texts) / args.n for w in WORDS[name])
            held = {k: round(v, 3) for k, v in figures(said, words).items()}
            print(json.dumps({"hormone": name, "strength": strength, "high": round(high, 3),
                              "low": round(low, 3), **held}), flush=True)  # fmt: skip
            for r, text in zip(said[: args.show], texts, strict=False):
                print(f"   {r.prompt} → {text}")


if __name__ == "__main__":
    main()
