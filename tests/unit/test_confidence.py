# SPDX-License-Identifier: Apache-2.0
"""Confidence: a forecast that learns from the last turns how far it was off."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from parrot.app.cli import main
from parrot.mind.confidence import Calibration, calibrate, foreseen, sureness
from parrot.mind.entry import Entry
from parrot.mind.soul import Soul
from parrot.mind.turn import Turn
from tools.bench_confidence import calibration_error

TURN = Turn(1, 0, 1.0, bytes(8), 9, heard_expected=1.0, heard_surprise=1.5, said_expected=0.7)


def test_without_turns_the_entropy_is_believed() -> None:
    assert calibrate([]) == Calibration(0.0, 1.0)
    assert calibrate([]).forecast(1.2) == 1.2
    assert calibrate([(1.0, 9.0)]).forecast(1.0) < 3.0, "one turn is no proof"


def test_a_constant_error_is_corrected() -> None:
    chance = random.Random(1)
    pairs = [(e, e + 0.4) for e in (chance.uniform(0.5, 2.0) for _ in range(100))]
    known = calibrate(pairs)
    for expected in (0.6, 1.2, 1.9):
        assert known.forecast(expected) == pytest.approx(expected + 0.4, abs=0.03)


def test_an_error_that_grows_is_corrected_and_no_forecast_is_negative() -> None:
    chance = random.Random(2)
    pairs = [(e, 0.5 * e) for e in (chance.uniform(0.2, 4.0) for _ in range(100))]
    known = calibrate(pairs)
    assert known.slope == pytest.approx(0.5, abs=0.05)
    assert Calibration(-2.0, 1.0).forecast(1.0) == 0.0


def test_sureness_is_that_of_the_newest_reply() -> None:
    assert sureness([]) is None
    assert sureness([replace(TURN, said_expected=None)]) is None
    assert sureness([TURN]) == pytest.approx(math.exp(-0.7))
    surprised = [TURN, *[TURN] * 60]
    assert sureness(surprised) == pytest.approx(math.exp(-1.2), abs=0.03)
    assert foreseen([TURN, replace(TURN, heard_expected=None)], "heard") == [(1.0, 1.5)]


def test_calibration_error_is_the_mean_gap_of_the_bins() -> None:
    forecast = np.linspace(0.0, 3.0, 300)
    assert calibration_error(forecast, forecast) == 0.0
    assert calibration_error(forecast, forecast + 0.25) == pytest.approx(0.25)


def test_mood_shows_the_forecast(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "soul.db"
    with Soul.open(path) as soul:
        for i in range(1, 4):
            soul.add(Entry(replace(TURN, id=i, parent=i - 1, said_surprise=0.5)))
    assert main(["mood", "--json", "--soul", str(path)]) == 0
    nats = json.loads(capsys.readouterr().out)["nats_per_byte"]
    assert nats["heard_expected"] == 1.0 and 1.0 < nats["forecast"] < 1.5
    assert 0 < nats["confidence"] < math.exp(-0.7)
    assert main(["mood", "--soul", str(path)]) == 0
    assert "confidence  █" in capsys.readouterr().out
