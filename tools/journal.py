# SPDX-License-Identifier: Apache-2.0
"""What a run leaves to read: `curve.csv`, `heldout.csv`, `samples.txt`, and the picture
`curve.png`.
"""

from __future__ import annotations

import csv
from pathlib import Path

from parrot.base.files import replace_file

COLUMNS = ("step", "bytes", "seconds", "bits", "norm", "rate")


class Journal:
    """Appends rows; after a resume, first drops what lies beyond the checkpoint."""

    def __init__(self, folder: Path, step: int) -> None:
        self.folder = folder
        self._curve = folder / "curve.csv"
        self._heldout = folder / "heldout.csv"
        for path in (self._curve, self._heldout):
            _cut(path, step)
        if not self._curve.exists():
            replace_file(self._curve, (",".join(COLUMNS) + "\n").encode())

    def step(self, row: dict[str, float]) -> None:
        """One training step."""
        with open(self._curve, "a", encoding="ascii") as file:
            file.write(",".join(_number(row[name]) for name in COLUMNS) + "\n")

    def heldout(self, step: int, seen: int, bits: dict[str, float]) -> None:
        """Bits per byte of each held-out shard."""
        if not self._heldout.exists():
            replace_file(self._heldout, (",".join(("step", "bytes", *bits)) + "\n").encode())
        with open(self._heldout, "a", encoding="utf-8") as file:
            file.write(",".join((str(step), str(seen), *map(_number, bits.values()))) + "\n")

    def samples(self, step: int, pairs: list[tuple[str, str]]) -> None:
        """What the network answers now."""
        with open(self.folder / "samples.txt", "a", encoding="utf-8") as file:
            file.write(f"step {step}\n" + "".join(f"  {q} -> {a!r}\n" for q, a in pairs))

    def draw(self) -> None:
        """Draw both tables into curve.png."""
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        figure, axes = pyplot.subplots(figsize=(9, 5), dpi=110)
        steps = _table(self._curve)
        at, bits = [r["bytes"] / 1e6 for r in steps], [r["bits"] for r in steps]
        axes.plot(at, bits, color="0.85", linewidth=0.6)
        axes.plot(at, _smooth(bits), color="0.2", linewidth=1.4, label="training mixture")
        held = _table(self._heldout) if self._heldout.exists() else []
        for name in [n for n in (held[0] if held else {}) if n not in ("step", "bytes")]:
            places = [r["bytes"] / 1e6 for r in held]
            axes.plot(places, [r[name] for r in held], "o-", markersize=3, linewidth=1, label=name)
        axes.set_xlabel("megabytes seen")
        axes.set_ylabel("bits per byte")
        shown = bits + [r[name] for r in held for name in r if name not in ("step", "bytes")]
        if shown:
            axes.set_ylim(0, min(5.0, 1.05 * max(shown)))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, ncols=2, frameon=False)
        figure.tight_layout()
        figure.savefig(self.folder / "curve.png")
        pyplot.close(figure)


def _cut(path: Path, step: int) -> None:
    """Drop the rows after `step`; a run that was killed wrote some that it will write again."""
    if not path.exists():
        return
    head, *rows = path.read_text("utf-8").splitlines(keepends=True)
    kept = [row for row in rows if row.endswith("\n") and int(row.split(",")[0]) <= step]
    replace_file(path, "".join((head, *kept)).encode())


def _table(path: Path) -> list[dict[str, float]]:
    with open(path, encoding="utf-8") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def _smooth(values: list[float]) -> list[float]:
    """The mean of each value's neighbours, a fortieth of the run wide."""
    half = max(1, len(values) // 80)
    windows = (values[max(0, i - half) : i + half + 1] for i in range(len(values)))
    return [sum(w) / len(w) for w in windows]


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"
