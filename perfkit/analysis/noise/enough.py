"""Whether n was enough: how well the mean is known, what ended the run, and how many steps the target needs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from perfkit.analysis.noise.advice import written_for
from perfkit.analysis.noise.stability import FEWEST_PERIODS, Stability
from perfkit.analysis.statistics import stats
from perfkit.analysis.statistics.stats import Precision
from perfkit.schema import units
from perfkit.schema.finding import Finding, Rule
from perfkit.schema.record import RunRecord

_TARGET = 0.01
"""Half-width that is asked for where no --target-ci was given."""
_FEW = 10
"""Steps to advise where there are too few for any interval: the default."""
_ALIAS = "--target-cv"


MEAN_PRECISION = Rule(
    "mean-precision",
    "run",
    "how well the mean is known, and how many steps a narrower interval would take",
    read="detail",
)


def finding(record: RunRecord, noise: Stability | None = None) -> Finding | None:
    """The sentence `n = ...`; None without a step. Where a noise finding says why the interval is not
    reliable, the sentence repeats it.

    A period is not noise: the interval is then computed from the means of whole periods.
    """
    if not record.steps:
        return None
    said = _said(record, noise)
    asked = record.config.measurement.target_ci is not None  # then it is the answer
    rule = replace(MEAN_PRECISION, read="by topic") if asked else MEAN_PRECISION
    return Finding(rule, said.text, advice=written_for(record.config, said.advice), sure="derived")


class _Said(NamedTuple):
    """A sentence, and what to try."""

    text: str
    advice: str = ""


def _said(record: RunRecord, noise: Stability | None) -> _Said:
    wall = np.array([sample.wall_s for sample in record.steps], dtype=np.float64)
    config, period = record.config, noise.period if noise is not None else 1
    target = config.measurement.target_ci or _TARGET
    head = f"n = {len(wall)}{_ended(record)}"
    if noise is not None and noise.doubts:
        return _Said(f"{head}: {_unreliable(stats.precision(wall, target), noise)}", _periods_wanted(len(wall), noise))
    if period == 1:
        known = _known(stats.precision(wall, target), record, float(wall.mean()))
        return known._replace(text=f"{head}: {known.text}")
    whole = len(wall) // period
    means = wall[: whole * period].reshape(whole, period).mean(axis=1)
    known = _known(stats.precision(means, target), record, float(wall.mean()), period)
    text = f"{head}, {whole} whole periods of {period} steps: {known.text}"
    over = len(wall) % period
    if over:
        text += f"; the mean in the table includes {'1 step' if over == 1 else f'{over} steps'} of a partial period"
    return _Said(text, known.advice or (f"a multiple of {period} steps" if over else ""))


def _known(precision: Precision, record: RunRecord, mean_s: float, period: int = 1) -> _Said:
    if precision.needed is None:
        few = record.config.measurement.measure_steps < _FEW
        return _Said("too few steps to say how precise the mean is", f"--measure-steps {_FEW} or more" if few else "")
    what = "steps" if period == 1 else "periods"
    of = "the mean" if period == 1 else "the mean of a period"
    width, target = f"+-{units.percent(precision.half_width)}", f"+-{units.percent(precision.target)}"
    text = f"{of} is known to {width} (95%, with the autocorrelation of the {what})"
    if precision.half_width <= precision.target:
        return _Said(f"{text}: enough for {target}")
    needed = precision.needed * period
    return _Said(f"{text}; {target} would need about {needed:,} steps", _flag(record, needed, mean_s))


def _unreliable(precision: Precision, noise: Stability) -> str:
    why = f"the mean's interval cannot be relied on, because {' and '.join(noise.doubts)}"
    if precision.needed is None:
        return why
    width, target = f"+-{units.percent(precision.half_width)}", f"+-{units.percent(precision.target)}"
    would = f"by their autocorrelation alone it would be {width}"
    return f"{why}; {would}, and {precision.needed:,} steps would make it {target}"


def _periods_wanted(n: int, noise: Stability) -> str:
    if n // noise.period >= FEWEST_PERIODS:
        return ""
    return f"--measure-steps {noise.period * FEWEST_PERIODS} or a larger multiple of {noise.period}"


def _flag(record: RunRecord, needed: int, mean_s: float) -> str:
    """The flag that allows so many steps: the one that ended the run, or none where the run allowed them already."""
    config = record.config
    if config.measurement.target_ci is None:
        return f"--measure-steps {needed}" if needed > config.measurement.measure_steps else ""
    if record.ended_by == "max-time":
        return f"--max-time {units.significant(needed * mean_s, 3)}"
    return "" if needed <= config.measurement.most_steps else f"--max-steps {needed}"


def _ended(record: RunRecord) -> str:
    """`, ended by ...`, for runs with a target."""
    config = record.config
    if config.measurement.target_ci is None or record.ended_by is None:
        return ""
    rule = {
        "target-ci": f"ended by --target-ci {units.percent(config.measurement.target_ci)}",
        "max-time": f"ended by --max-time {units.significant(config.measurement.time_limit_s)} s, short of the target",
        "max-steps": f"ended by --max-steps {config.measurement.most_steps}, short of the target",
    }.get(record.ended_by, "")
    if any(argument.split("=")[0] == _ALIAS for argument in record.environment.argv):
        rule += f" ({_ALIAS} is another name for --target-ci: more steps narrow the interval of the mean, but not CV)"
    return f", {rule}"
