# SPDX-License-Identifier: Apache-2.0
"""How well the parrot knows how unsure it is: plain entropy, entropy corrected, and a trained head.

Held-out talks are lived one after another with one state. For every byte of the companion the model
gives a forecast of its own cross-entropy and then finds it. Forecasts:

- entropy     that of the model's distribution
- corrected   entropy, with the correction of parrot.mind.confidence from the turns before
- affine      entropy, with offset and slope fitted to the first half of the talks
- head        a head over the logits, the largest shares, and what was found just before, trained on
              the first half by Ouro's loss: (p/√2 - √2 c)² + p²/2 for forecast p and found c. Its
              gradient by p is 2 (p - c), that of least squares, so the best linear head is solved
              for, not descended to.

Judged on the second half: expected calibration error (15 bins of equal mass, nats a byte) and root
of the mean squared error, by turn and by byte.

    python -m tools.bench_confidence --talks heldout.tar.xz:sft_en.heldout.jsonl --plot FILE.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parrot.base.text import COMPANION, END_OF_DOCUMENT
from parrot.engine.model import Model
from parrot.mind.confidence import RECENT_TURNS, calibrate
from tools.bench_think import talks_of

F64 = NDArray[np.float64]
BINS = 15
_TOP = 8
_WINDOWS = (4, 16, 64)  # bytes that "just before" means
_RIDGE = 10.0


def features(log_p: F64, found: F64) -> F64:
    """Return what the head sees before each byte: (n, features)."""
    top = -np.sort(-log_p, axis=1)[:, :_TOP]
    entropy = -(np.exp(log_p) * log_p).sum(axis=1, keepdims=True)
    past = []
    for width in _WINDOWS:
        sums = np.concatenate([[0.0], np.cumsum(found)])
        ends = np.arange(len(found))
        begins = np.maximum(ends - width, 0)
        past.append((sums[ends] - sums[begins]) / np.maximum(ends - begins, 1))
    return np.hstack([np.ones((len(found), 1)), entropy, entropy**2, top, np.array(past).T, log_p])


class Lived:
    """Bytes heard in held-out talks: entropy, cross-entropy, features, and the turn of each."""

    def __init__(self, model: Model, talks: list[list[bytes]], n_bytes: int) -> None:
        state = model.new_state()
        parts: list[tuple[F64, F64, F64]] = []
        self.turn_of: list[int] = []
        n_turns = size = 0
        for talk in talks:
            framed = END_OF_DOCUMENT + b"".join(talk)
            log_p, found = _foresee(model, state, framed)
            seen, begin = features(log_p, found), 1
            for turn in talk:
                if turn[:1] == COMPANION:
                    rows = slice(begin, begin + len(turn) - 2)  # the words, not the marks
                    entropy = -(np.exp(log_p[rows]) * log_p[rows]).sum(axis=1)
                    parts.append((entropy, found[rows], seen[rows]))
                    self.turn_of += [n_turns] * (len(turn) - 2)
                    n_turns += 1
                begin += len(turn)
            size += len(framed)
            if size > n_bytes:
                break
        self.entropy, self.found, self.features = (
            np.concatenate([part[i] for part in parts]) for i in range(3)
        )

    def by_turn(self, values: F64) -> F64:
        """Return the mean of `values` over each turn."""
        turns = np.array(self.turn_of)
        return np.bincount(turns, values) / np.bincount(turns)


def _foresee(model: Model, state: object, framed: bytes) -> tuple[F64, F64]:
    """Live `framed`; return ln p of every byte after each byte but the last, and what was found."""
    ids = np.frombuffer(framed, np.uint8)
    logits = model.forward(framed, state, every=True)[:-1].astype(np.float64)  # type: ignore[arg-type]
    log_p = logits - logits.max(axis=1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))
    return log_p, -log_p[np.arange(len(log_p)), ids[1:]]


def calibration_error(forecast: F64, found: F64) -> float:
    """Return the mean distance of forecast and found over bins of equal mass, in nats."""
    bins = np.array_split(np.argsort(forecast), BINS)
    gaps = [abs(forecast[b].mean() - found[b].mean()) * len(b) for b in bins if len(b)]
    return float(sum(gaps) / len(found))


def corrected(entropy: F64, found: F64, half: int) -> F64:
    """Return the forecasts of turns from `half` on, each corrected by those before it."""
    forecasts = []
    for i in range(half, len(entropy)):
        past = slice(max(0, i - RECENT_TURNS), i)
        known = calibrate(zip(entropy[past].tolist(), found[past].tolist(), strict=True))
        forecasts.append(known.forecast(float(entropy[i])))
    return np.array(forecasts)


def fit(seen: F64, found: F64) -> F64:
    penalty = np.eye(seen.shape[1]) * _RIDGE
    penalty[0, 0] = 0.0
    solved: F64 = np.linalg.solve(seen.T @ seen + penalty, seen.T @ found)
    return solved


def judge(lived: Lived) -> tuple[dict[str, object], dict[str, tuple[F64, F64]]]:
    """Return figures of every forecast on the second half, and (forecast, found) by turn."""
    turns = np.array(lived.turn_of)
    half = int(turns[-1]) // 2
    rows, later = turns < half, turns >= half
    plain = np.stack([np.ones(len(turns)), lived.entropy], axis=1)
    by_byte = {
        "entropy": lived.entropy,
        "affine": plain @ fit(plain[rows], lived.found[rows]),
        "head": lived.features @ fit(lived.features[rows], lived.found[rows]),
    }
    found = lived.by_turn(lived.found)
    by_turn = {name: lived.by_turn(values)[half:] for name, values in by_byte.items()}
    by_turn["corrected"] = corrected(lived.by_turn(lived.entropy), found, half)
    figures: dict[str, object] = {
        "turns": len(found) - half, "bytes": int(later.sum()), "found": float(found[half:].mean()),
    }  # fmt: skip
    for name, values in by_turn.items():
        figures[name] = {"turn": _errors(values, found[half:])}
        if name in by_byte:
            figures[name]["byte"] = _errors(by_byte[name][later], lived.found[later])  # type: ignore[index]
    return figures, {name: (values, found[half:]) for name, values in by_turn.items()}


def _errors(forecast: F64, found: F64) -> dict[str, float]:
    return {
        "calibration_error": calibration_error(forecast, found),
        "root_mean_square": float(np.sqrt(((forecast - found) ** 2).mean())),
    }


def plot(curves: dict[str, tuple[F64, F64]], path: Path) -> None:
    """Draw what was found against what was forecast, a point a bin."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5, 4.2), layout="constrained")
    low = high = 0.0
    for name, (forecast, found) in curves.items():
        bins = np.array_split(np.argsort(forecast), BINS)
        at = np.array([(forecast[b].mean(), found[b].mean()) for b in bins])
        axes.plot(at[:, 0], at[:, 1], marker="o", markersize=3, linewidth=1, label=name)
        low, high = min(low or at.min(), at.min()), max(high, at.max())
    axes.plot([low, high], [low, high], color="grey", linewidth=0.8, linestyle="--")
    axes.set_xlabel("forecast, nats a byte")
    axes.set_ylabel("found, nats a byte")
    axes.set_title("A turn's cross-entropy, forecast and found", fontsize=10)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--talks", nargs="+", metavar="FILE[:MEMBER]")
    parser.add_argument("--bytes", type=int, default=80_000, help="of talk, all files together")
    parser.add_argument("--plot", type=Path, metavar="PNG")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model")
    args = parser.parse_args()
    model = Model.open(args.model, threads=args.threads)
    talks = talks_of(args.talks)
    np.random.default_rng(3).shuffle(talks)  # type: ignore[arg-type]
    figures, curves = judge(Lived(model, talks, args.bytes))
    print(json.dumps(figures, indent=1))
    if args.plot:
        plot(curves, args.plot)


if __name__ == "__main__":
    main()
