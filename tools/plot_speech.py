# SPDX-License-Identifier: Apache-2.0
"""Draw what tools.bench_speech measured: errors, speed, waiting time.

python -m tools.plot_speech scratch/speech/results.jsonl docs/speech.png
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

COLOURS = {"English": "#2a6f97", "Mandarin, plain": "#c1121f", "Mandarin, colloquial": "#e79b9b",
           "Mandarin": "#c1121f"}  # fmt: skip
Rows = list[dict[str, object]]


def talk_of(row: dict[str, object]) -> str:
    return "English" if row["language"] == "en" else f"Mandarin, {row.get('talk', 'colloquial')}"


def draw_errors(axes: Axes, rows: Rows) -> None:
    """Errors by condition, one bar a kind of talk."""
    latest = {(talk_of(r), r["condition"]): float(str(r["error"])) for r in rows}
    talks = [talk for talk in COLOURS if any(t == talk for t, _ in latest)]
    conditions = list(dict.fromkeys(r["condition"] for r in rows))
    width = 0.8 / max(1, len(talks))
    for i, talk in enumerate(talks):
        values = [100 * latest.get((talk, c), np.nan) for c in conditions]
        at = np.arange(len(conditions)) + (i - (len(talks) - 1) / 2) * width
        bars = axes.bar(at, values, width * 0.92, color=COLOURS[talk], label=talk)
        axes.bar_label(bars, ["" if v != v else f"{v:.1f}" for v in values], fontsize=7)
    axes.set_xticks(np.arange(len(conditions)), [str(c) for c in conditions])
    axes.set_ylabel("WER / CER, %")
    axes.set_title("Errors of a round trip", loc="left")
    axes.set_ylim(top=1.3 * axes.get_ylim()[1])  # room for the legend
    axes.legend(frameon=False, fontsize=8, loc="upper left")


def draw_speed(axes: Axes, rows: Rows) -> None:
    short = {"voice": "voice", "recognizer": "ears"}
    names = [f"{r['language']} {short[str(r['role'])]}\n{r['threads']} thr." for r in rows]
    values = [float(str(r["rtf"])) for r in rows]
    colours = [COLOURS["English" if r["language"] == "en" else "Mandarin"] for r in rows]
    bars = axes.bar(range(len(rows)), values, color=colours)
    axes.bar_label(bars, [f"{v:.3f}" for v in values], fontsize=7)
    axes.set_xticks(range(len(rows)), names, fontsize=6.5)
    axes.set_ylabel("seconds of work a second of speech")
    axes.set_title("Real-time factor", loc="left")


def draw_waits(axes: Axes, rows: Rows) -> None:
    for row in rows:
        language = "English" if row["language"] == "en" else "Mandarin"
        waits = np.sort(np.array(row["waits_ms"], float)) / 1e3
        share = np.arange(1, len(waits) + 1) / len(waits)
        axes.step(waits, share, where="post", color=COLOURS[language], label=language)
    for share, limit in ((0.5, 1.0), (0.95, 1.5)):
        axes.plot([0, limit, limit], [share, share, 0], color="#999999", lw=0.8, ls=":")
    axes.set_xlabel("s from end of speech to first sound")
    axes.set_ylabel("share of turns")
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1.02)
    axes.set_title("Waiting for the reply", loc="left")
    axes.legend(frameon=False, fontsize=8)


def main(source: Path, target: Path) -> None:
    rows: Rows = [json.loads(line) for line in source.read_text().splitlines()]
    latest = {(r["kind"], r.get("language"), r.get("role"), r.get("threads")): r for r in rows}
    figure, axes = plt.subplots(1, 3, figsize=(14, 4), width_ratios=(1.5, 1.3, 1))
    draw_errors(axes[0], [r for r in rows if r["kind"] == "accuracy"])
    draw_speed(axes[1], [r for r in latest.values() if r["kind"] == "speed"])
    draw_waits(axes[2], [r for r in latest.values() if r["kind"] == "latency"])
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(target, dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
