# SPDX-License-Identifier: Apache-2.0
"""Ask a network in training: bits per byte on held-out text, and a few replies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from parrot.base.text import END_OF_DOCUMENT, END_OF_TURN, companion_turn
from tools.net import LayerState, Model

TEMPERATURE = 0.7
STOPS = (END_OF_TURN[0], END_OF_DOCUMENT[0])
ROW = 1024  # bytes of a held-out row; each row begins with an empty state
PROMPTS = (
    "Hello!",
    "What is your name?",
    "I am sad today.",
    "My cat is called Momo. What is my cat called?",
    "Tell me a story.",
    "你好",
    "你叫什么名字？",
    "我有点累。",
    "我的小狗叫豆豆。我的小狗叫什么？",
    "给我讲个故事吧。",
)


@torch.no_grad()
def bits_per_byte(model: Model, text: np.ndarray) -> float:
    """Mean cost of `text` (bytes), in rows of 1024 that know nothing of each other."""
    rows = max(1, (len(text) - 1) // ROW)
    length = min(ROW, len(text) - 1)
    cut = np.stack([text[i * ROW : i * ROW + length + 1] for i in range(rows)])
    device = model.emb.weight.device
    total = 0.0
    for part in np.array_split(cut, -(-rows // 16)):
        x = torch.from_numpy(part.astype(np.int64)).to(device)
        logits, _ = model(x[:, :-1], model.new_state(len(part)))
        loss = F.cross_entropy(logits.float().flatten(0, 1), x[:, 1:].flatten(), reduction="sum")
        total += loss.item()
    return total / (rows * length) / math.log(2)


def heldout_bits(model: Model, folder: Path, size: int) -> dict[str, float]:
    """Of the first `size` bytes of every held-out shard."""
    return {
        path.stem: bits_per_byte(model, np.fromfile(path, np.uint8, size + 1))
        for path in sorted(folder.glob("*.bin"))
    }


@torch.no_grad()
def replies(model: Model, prompts: Sequence[str], seed: int, size: int = 160) -> list[str]:
    """What the network says to each prompt, from an empty state; all of them at once."""
    device = model.emb.weight.device
    dice = torch.Generator().manual_seed(seed)
    logits, states = zip(*(_read(model, prompt, device) for prompt in prompts), strict=True)
    last = torch.cat(logits)
    state = [
        tuple(torch.cat([s[i][j] for s in states]) for j in range(3))
        for i in range(model.shape.layers)
    ]
    said = [bytearray() for _ in prompts]
    over = [False] * len(prompts)
    for _ in range(size):
        odds = F.softmax(last.float().cpu() / TEMPERATURE, -1)
        bytes_ = torch.multinomial(odds, 1, generator=dice)
        for i, byte in enumerate(bytes_.flatten().tolist()):
            over[i] = over[i] or byte in STOPS
            if not over[i]:
                said[i].append(byte)
        if all(over):
            break
        logits_, state = model(bytes_.to(device), state)
        last = logits_[:, -1]
    return [s.decode("utf-8", "replace") for s in said]


def _read(model: Model, prompt: str, device: torch.device) -> tuple[Tensor, list[LayerState]]:
    """The last logits (1, V) and the state after the prompt."""
    text = torch.tensor([list(END_OF_DOCUMENT + companion_turn(prompt))], device=device)
    logits, state = model(text, model.new_state(1))
    return logits[:, -1], state
