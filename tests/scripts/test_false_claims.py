"""The noise in which scripts/false-claims looks for patterns is what its table says."""

from __future__ import annotations

import numpy as np
import pytest

from perfkit.analysis.statistics import stats
from scripts.false_claims import main, patterns


@pytest.mark.parametrize("r", [-0.4, 0.3, 0.6, 0.9])
def test_ar1_series_have_their_autocorrelation(r):
    """GIVEN series of 2,000 steps WHEN drawn THEN the mean of their autocorrelations is r, and their variance 1 / (1 -
    r^2) from the first step on"""
    series = patterns.NOISE[f"AR(1), {r}"](np.random.default_rng(0), (200, 2000))
    assert np.mean([stats.lag1(one) for one in series]) == pytest.approx(r, abs=0.01)
    assert np.var(series[:, [0, -1]]) * (1 - r * r) == pytest.approx(1, abs=0.25)


def test_what_is_named_is_counted(monkeypatch):
    """GIVEN noise that alternates, and noise with a step of 8 deviations at random THEN a period, and two speeds"""
    noise = np.random.default_rng(1)
    monkeypatch.setitem(
        patterns.NOISE,
        "alternating",
        lambda rng, shape: rng.normal(size=shape) + 9 * (np.arange(shape[1]) % 2),
    )
    monkeypatch.setitem(
        patterns.NOISE, "two", lambda rng, shape: rng.normal(size=shape) + 20 * (noise.random(shape) < 0.5)
    )
    periods, speeds = patterns.named(np.random.default_rng(0), 40, "alternating", 20)
    assert (periods, speeds) == (1.0, pytest.approx(1.0, abs=0.2))
    periods, speeds = patterns.named(np.random.default_rng(0), 40, "two", 20)
    assert periods <= 0.1
    assert speeds >= 0.9


def test_one_table_can_be_asked_for(capsys):
    assert main.main(["--only", "patterns", "--trials", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Series of n")
    assert len(lines) == 2 + len(patterns.SIZES)
