# SPDX-License-Identifier: Apache-2.0
"""A training run as one TOML file says it (`tools/runs/*.toml`). A wrong key is refused by name."""

from __future__ import annotations

import math
import tomllib
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from parrot.base.errors import ConfigError
from parrot.base.files import file_error
from tools.net import HEAD, Shape
from tools.optim import Rates


@dataclass(frozen=True)
class Batch:
    rows: int = 8
    length: int = (
        512  # bytes of a row to each step; gradients stop at its start, the state does not
    )
    reset: float = 0.07  # share of the rows whose state is zeroed before a step


@dataclass(frozen=True)
class Schedule:
    """The rate: up over `warmup` steps, level, then down in a line to zero over the last `decay` of
    the run.
    """

    minutes: float = 0.0  # the run's length on the clock, or
    steps: int = 0  # in steps, where it must be the same every time
    warmup: int = 60
    decay: float = 0.6

    def scale(self, step: int, seconds: float) -> float:
        """Of the rates, 0 to 1, for this step (from 0)."""
        up = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        left = 1.0 - self.share(step, seconds)
        return up * min(1.0, max(0.0, left / self.decay)) if self.decay else up

    def share(self, step: int, seconds: float) -> float:
        """Of the run that is over, 0 to 1."""
        done = step / self.steps if self.steps else seconds / (60 * self.minutes)
        return min(1.0, done)


@dataclass(frozen=True)
class Recipe:
    model: Shape
    mix: dict[str, float]  # shard -> its weight among the bytes seen
    batch: Batch = field(default_factory=Batch)
    rates: Rates = field(default_factory=Rates)
    schedule: Schedule = field(default_factory=Schedule)
    seed: int = 1
    slow: int = 4  # key channels of each head that begin with a very slow decay
    save_minutes: float = 4.0

    def table(self) -> dict[str, Any]:
        """As plain values, for a checkpoint's header."""
        return asdict(self)


PARTS = {"model": Shape, "batch": Batch, "rates": Rates, "schedule": Schedule}


def load_recipe(path: Path, minutes: float | None = None) -> Recipe:
    """Read and check a run; `minutes` replaces the length that the file gives.

    Raises: ConfigError, naming the key.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as exc:
        raise file_error(path, exc, "read") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: {exc}, expected TOML; mend the file.", path=path) from exc
    parts = {
        key: _part(path, key, value) if key in PARTS else value for key, value in table.items()
    }
    recipe = _build(path, "", Recipe, parts)
    if minutes is not None:
        recipe = replace(recipe, schedule=replace(recipe.schedule, minutes=minutes, steps=0))
    _check(path, recipe)
    return recipe


def _part(path: Path, key: str, value: Any) -> Any:
    if not isinstance(value, dict):
        raise ConfigError(
            f"{path}: {key} is a value, expected a table [{key}].", path=path, key=key
        )
    return _build(path, f"{key}.", PARTS[key], value)


def _build(path: Path, prefix: str, kind: Any, values: dict[str, Any]) -> Any:
    known = {f.name for f in fields(kind)}
    if unknown := sorted(set(values) - known):
        key = prefix + unknown[0]
        raise ConfigError(
            f"{path}: {key} is not a key of a run, expected one of {', '.join(sorted(known))}; "
            "remove or rename it.",
            path=path,
            key=key,
        )
    for f in fields(kind):
        if f.name in values and not _is_of(f.type, values[f.name]):
            key = prefix + f.name
            raise ConfigError(
                f"{path}: {key} is {values[f.name]!r}, expected {f.type}; mend the value.",
                path=path,
                key=key,
            )
    try:
        return kind(**values)
    except TypeError as exc:
        raise ConfigError(f"{path}: {exc}; add the key.", path=path) from exc


def _is_of(annotation: str, value: Any) -> bool:
    """Whether TOML gave a value that the field can hold; tables were built before."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if annotation == "int":
        return is_number and isinstance(value, int)
    if annotation == "float":
        return is_number and math.isfinite(value)
    if annotation == "tuple[float, float]":
        return isinstance(value, (list, tuple)) and len(value) == 2 and all(map(_is_float, value))
    if annotation == "dict[str, float]":
        return isinstance(value, dict) and all(map(_is_float, value.values()))
    return is_dataclass(value)


def _is_float(value: Any) -> bool:
    return _is_of("float", value)


def _check(path: Path, recipe: Recipe) -> None:
    """Refuse what could not run, before any hour is spent."""
    model, batch, schedule, rates = recipe.model, recipe.batch, recipe.schedule, recipe.rates
    rules = {
        "model.width": model.width >= HEAD and model.width % HEAD == 0,
        "model.layers": 1 <= model.layers <= 256,
        "batch.rows": batch.rows >= 1,
        "batch.length": batch.length >= 1,
        "seed": recipe.seed >= 0,
        "rates.muon": rates.muon >= 0,
        "rates.adam": rates.adam >= 0,
        "rates.clip": rates.clip > 0,
        "batch.reset": 0 <= batch.reset <= 1,
        "schedule.steps": schedule.steps > 0 or schedule.minutes > 0,
        "schedule.decay": 0 <= schedule.decay <= 1,
        "slow": 0 <= recipe.slow <= HEAD,
        "mix": bool(recipe.mix) and all(w > 0 for w in recipe.mix.values()),
    }
    for key, fits in rules.items():
        if not fits:
            raise ConfigError(
                f"{path}: {key} is out of range or missing; see docs/training.md for its meaning.",
                path=path,
                key=key,
            )
