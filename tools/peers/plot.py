# SPDX-License-Identifier: Apache-2.0
"""Draw the verdict of `tools.bench_peers`: ratios with quartiles, and shares of the bandwidth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from parrot.base.files import writing
from tools.peers.build import PeerError
from tools.peers.verdict import LLAMA_Q8_ALL, OURS, Row

COLOURS = {1: "#7fb0d8", 2: "#1f5f99"}
OURS_COLOUR, LLAMA_COLOUR = "#1f5f99", "#c9c9c9"


def plot(rows: Sequence[Row], path: Path) -> None:
    """Write a PNG with a panel for each work's ratios and one for the shares of bandwidth.

    Raises: PeerError without matplotlib or without ratios to draw; FileError from the disk.
    """
    try:
        import matplotlib
    except ImportError as exc:
        raise PeerError("--plot: matplotlib is missing; run: pip install matplotlib.") from exc
    matplotlib.use("Agg")
    from matplotlib import pyplot

    if not any(row.ratio for row in rows):
        raise PeerError(f"{path}: no ratios to draw, expected both ours and llama among --engines.")
    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    _draw_ratios(axes[0], rows, "decode")
    _draw_ratios(axes[1], rows, "prefill")
    _draw_shares(axes[2], rows)
    with writing(path) as file:
        figure.savefig(file, format="png", dpi=120)
    pyplot.close(figure)


def _draw_ratios(axis: Any, rows: Sequence[Row], work: str) -> None:
    mine = [row for row in rows if row.work == work and row.ratio]
    shapes = list(dict.fromkeys(row.shape for row in mine))
    threads = sorted({row.n_threads for row in mine})
    width = 0.8 / max(1, len(threads))
    for i, n in enumerate(threads):
        group = [(row, row.ratio) for row in mine if row.n_threads == n and row.ratio]
        at = [shapes.index(row.shape) + (i - (len(threads) - 1) / 2) * width for row, _ in group]
        median = [ratio.median for _, ratio in group]
        below = [ratio.median - ratio.q1 for _, ratio in group]
        above = [ratio.q3 - ratio.median for _, ratio in group]
        label = f"{n} thread{'s' * (n > 1)}"
        bars = axis.bar(
            at, median, width * 0.94, yerr=[below, above], capsize=3, label=label,
            color=COLOURS.get(n), error_kw={"elinewidth": 1},
        )  # fmt: skip
        labels = axis.bar_label(bars, fmt="%.2f×", padding=3, fontsize=8)
        for text in labels:  # readable across the line at 1
            text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})
    axis.axhline(1, color="#444444", linewidth=1, linestyle="--")
    rival = "llama.cpp Q8_0" if work == "decode" else "the better of llama.cpp Q8_0, F16"
    _finish(axis, shapes, f"{work}: ours ÷ {rival}")


def _draw_shares(axis: Any, rows: Sequence[Row]) -> None:
    mine = [row for row in rows if row.work == "decode" and OURS in row.shares]
    labels = [f"{row.shape}\n{row.n_threads}t" for row in mine]
    for i, (name, colour) in enumerate(((OURS, OURS_COLOUR), (LLAMA_Q8_ALL, LLAMA_COLOUR))):
        group = [(j, row.shares[name].median) for j, row in enumerate(mine) if name in row.shares]
        at = [j + (i - 0.5) * 0.4 for j, _ in group]
        axis.bar(at, [100 * share for _, share in group], 0.38, color=colour, label=name)
    axis.axhline(100, color="#444444", linewidth=1, linestyle="--")
    _finish(axis, labels, "decode: % of measured read bandwidth")


def _finish(axis: Any, labels: Sequence[str], title: str) -> None:
    axis.set_title(title, fontsize=10)
    axis.set_xticks(range(len(labels)), labels, fontsize=9 if len(labels) < 9 else 7)
    axis.margins(y=0.15)
    axis.set_ylim(0, 1.2 * axis.get_ylim()[1])  # room for the legend
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8)
