# SPDX-License-Identifier: Apache-2.0
"""Draw what tools.ablate found: held-out bits per byte against the run that changes nothing.

python -m tools.ablate_plot tools/runs/ablate.json docs/ablate.png
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from parrot.base.errors import CorruptError, ParrotError
from parrot.base.files import read_file, replace_file

NOISE = 0.02  # bits per byte that two runs differ by for no reason
SIZE_MAX = 1 << 20


def draw(path: Path, out: Path) -> None:
    """Write the picture. Raises: CorruptError if a result is not as tools.ablate writes it."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    try:
        results = json.loads(read_file(path, SIZE_MAX))
        base = float(results["base"]["heldout"])
        rows = sorted(
            ((float(r["heldout"]) - base, name) for name, r in results.items() if name != "base"),
            reverse=True,
        )
    except (ValueError, KeyError, TypeError) as exc:
        raise CorruptError(
            f"{path}: {exc!r}, expected results of tools.ablate.", path=path
        ) from exc
    figure, axes = pyplot.subplots(figsize=(8.5, 0.9 + 0.34 * len(rows)), dpi=110)
    names = [name for _, name in rows]
    values = [value for value, _ in rows]
    axes.axvspan(-NOISE, NOISE, color="0.93", zorder=0, label=f"noise, ± {NOISE}")
    colours = ["#b5482f" if v > NOISE else "#2f7d4f" if v < -NOISE else "0.55" for v in values]
    axes.barh(names, values, color=colours, height=0.62)
    axes.axvline(0, color="0.2", linewidth=0.8)
    for at, value in enumerate(values):
        side = "left" if value >= 0 else "right"
        axes.text(value + (0.002 if value >= 0 else -0.002), at, f"{value:+.3f}", va="center",
                  ha=side, fontsize=8)  # fmt: skip
    axes.set_xlim(min(-0.05, min(values) * 1.3), max(values) * 1.18)
    axes.set_xlabel(f"held-out bits per byte, against {base:.3f} of the run that changes nothing")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="upper right")
    figure.tight_layout()
    part = out.with_name(f".{out.name}.png")
    figure.savefig(part, metadata={"Software": None})
    pyplot.close(figure)
    replace_file(out, part.read_bytes())
    part.unlink()


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.ablate_plot", description=__doc__)
    parser.add_argument("results", type=Path, help="JSON of tools.ablate")
    parser.add_argument("out", type=Path, help="PNG")
    args = parser.parse_args(argv)
    try:
        draw(args.results, args.out)
    except ParrotError as exc:
        print(exc, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
