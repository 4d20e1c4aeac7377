"""Whether B is faster or slower than A, with an interval: processes -> rows with a verdict (docs/compare.md).

A row needs two processes a side for an interval. The whole step has one row a configuration; its phases have rows of
their own. Holm's adjustment is made for steps and phases separately, so that the phases cost the step no power.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from perfkit.analysis.runs import conditions
from perfkit.analysis.runs.conditions import Difference
from perfkit.analysis.runs.processes import LeftOut, Match, Pair, Side, match, spelled
from perfkit.analysis.runs.summary import STEP
from perfkit.analysis.runs.time_order import TimeOrder, time_order
from perfkit.analysis.statistics import welch
from perfkit.analysis.statistics.stats import geometric_mean
from perfkit.analysis.statistics.welch import ALPHA, Welch
from perfkit.errors import UsageError

RECOMMENDED = 5
"""Processes a side: with fewer, intervals are several times wider than the spread between processes."""
ONE_PROCESS = "one process"
NOT_IN_TIME = "not comparable in time"
NO_RATIO = "-"

GateOutcome = Literal["pass", "slower", "inconclusive"]
Reason = Literal["lacking", "unfinished", "one process", "not interleaved", "no ratio", "undecided"]
_LISTED = 3
"""Configurations named in an error."""


@dataclass(frozen=True, slots=True)
class Row:
    """One time, on both sides. Ratios are B/A; nan where there is none."""

    config: dict[str, Any]
    """What tells its configuration from the others'."""
    what: str
    """step, or a phase of it."""
    n_a: int
    n_b: int
    a_s: float
    """Geometric mean of the processes' medians, seconds."""
    b_s: float
    spread_a: float
    """Between A's processes: standard deviation of the medians' logarithms, so nearly their CV; nan for one."""
    spread_b: float
    order: TimeOrder
    """Whether the sides took turns."""
    welch: Welch | None
    """None where a side has one process, or a time that is not above zero."""
    p: float = math.nan
    """Of "no difference", adjusted for the rows of its kind."""
    detectable: float = math.nan
    """Smallest true ratio - 1 that would be called different in 80% of repetitions."""
    verdict: str = NO_RATIO

    @property
    def ratio(self) -> float:
        """B/A."""
        return self.b_s / self.a_s

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of the ratio, of this row alone."""
        if self.welch is None:
            return math.nan, math.nan
        low, high = self.welch.interval()
        return math.exp(low), math.exp(high)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of comparing B with A."""

    a: Side
    b: Side
    match: Match
    differences: tuple[Difference, ...]
    steps: tuple[Row, ...]
    phases: tuple[Row, ...]
    margin: float
    forced: bool
    """Verdicts are given although the sides may not have taken turns."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether B may pass."""

    outcome: GateOutcome
    reasons: tuple[Reason, ...] = ()
    """Why it is neither pass nor slower; empty otherwise."""


def compare(
    a: Side, b: Side, *, margin: float = 0.01, intended: frozenset[str] = frozenset(), force: bool = False
) -> Comparison:
    """Compare B with A. `margin`: ratios within 1 +- this count as the same.

    Raises UsageError where there is nothing to compare, or where the conditions differ and `force` is not given.
    """
    for side in (a, b):
        if not side.processes:
            why = f": {', '.join(map(str, side.left_out))}" if side.left_out else ""
            raise UsageError(f"{side.name} ({side.path}): no finished run to compare{why}")
    matched = match(a, b)
    if not matched.pairs:
        raise UsageError(
            f"A and B have no configuration in common ({'; '.join(_alone(matched, side.name) for side in (a, b))}):"
            " compare runs that differ in the same flags throughout"
        )
    differences = conditions.differences(matched, intended)
    refused = conditions.refusals(differences)
    if refused and not force:
        listed = "; ".join(map(str, refused))
        raise UsageError(f"measured under different conditions: {listed}; --force compares them anyway")
    independent = a.independent and b.independent
    steps = [_row(pair, STEP, independent) for pair in matched.pairs]
    phases = [_row(pair, what, independent) for pair in matched.pairs for what in _phases(pair)]
    judged_steps, judged_phases = (judged(rows, margin, in_any_order=force) for rows in (steps, phases))
    return Comparison(a, b, matched, tuple(differences), judged_steps, judged_phases, margin, force)


def _alone(matched: Match, name: str) -> str:
    configs = [spelled(config) for side, config in matched.alone if side == name]
    more = [f"{len(configs) - _LISTED} more"] if len(configs) > _LISTED else []
    return f"{name}: {' | '.join(configs[:_LISTED] + more)}"


def _phases(pair: Pair) -> list[str]:
    return [
        name for name in dict.fromkeys(key for process in (*pair.a, *pair.b) for key in process.medians) if name != STEP
    ]


def _row(pair: Pair, what: str, independent: bool) -> Row:
    a, b = (np.array([process.medians.get(what, math.nan) for process in side]) for side in (pair.a, pair.b))
    usable = bool((a > 0).all() and (b > 0).all())
    tested = welch.welch(np.log(a), np.log(b)) if usable and independent and min(len(a), len(b)) > 1 else None
    (a_s, spread_a), (b_s, spread_b) = geometric_mean(a), geometric_mean(b)
    return Row(pair.config, what, len(a), len(b), a_s, b_s, spread_a, spread_b, time_order(pair), tested)


def judged(rows: Sequence[Row], margin: float, *, in_any_order: bool) -> tuple[Row, ...]:
    """The rows of one table with their verdicts, each kind of claim adjusted for the number of rows.

    Sides that did not take turns also differ by drift between them, which no interval covers: they get no verdict,
    unless `in_any_order`.
    """
    limit = math.log1p(margin)
    different = welch.holm(np.array([math.nan if row.welch is None else row.welch.p_different() for row in rows]))
    within = welch.holm(np.array([math.nan if row.welch is None else row.welch.p_within(limit) for row in rows]))
    tested = max(int((~np.isnan(different)).sum()), 1)
    verdicts = []
    for row, p_different, p_within in zip(rows, different.tolist(), within.tolist(), strict=True):
        if row.welch is None:
            verdicts.append(replace(row, verdict=NO_RATIO if math.isnan(row.ratio) else ONE_PROCESS))
            continue
        in_time = in_any_order or row.order.interleaved
        verdict = welch.verdict(float(row.welch.difference), p_different, p_within) if in_time else NOT_IN_TIME
        detectable = math.expm1(row.welch.detectable(ALPHA / tested))
        verdicts.append(replace(row, p=p_different, detectable=detectable, verdict=verdict))
    return tuple(verdicts)


def gate(compared: Comparison, limit: float) -> Gate:
    """Whether B may pass as "not slower than A by more than `limit`", by the whole step of every configuration.

    pass: every 95% interval ends below 1 + limit (an error needs all of them to be wrong, so no adjustment is due).
    slower: for one or more rows the interval, adjusted for being several (Holm), lies above it. Anything else is
    inconclusive: also sides that did not take turns, and what B lacks: a configuration that A has, or a run of one
    that did not finish. What only B has is not judged.
    """
    bound = math.log1p(limit)
    tested = [row for row in compared.steps if row.welch is not None and row.verdict != NOT_IN_TIME]
    p_above = np.array([math.nan if row.welch is None else row.welch.p_above(bound) for row in tested])
    if (welch.holm(p_above) < ALPHA / 2).any():
        return Gate("slower")
    verdicts = {row.verdict for row in compared.steps}
    reasons: dict[Reason, bool] = {
        "lacking": any(side == compared.a.name for side, _ in compared.match.alone),
        "unfinished": bool(unfinished(compared)),
        "not interleaved": NOT_IN_TIME in verdicts,
        "one process": ONE_PROCESS in verdicts,
        "no ratio": NO_RATIO in verdicts,
        "undecided": not all(row.interval[1] < 1 + limit for row in tested),
    }
    why = tuple(reason for reason, holds in reasons.items() if holds)
    return Gate("inconclusive" if why else "pass", why)


def unfinished(compared: Comparison) -> tuple[LeftOut, ...]:
    """Runs of B that did not finish, of configurations that A has."""
    return tuple(
        left_out
        for left_out in compared.b.left_out
        if any(compared.match.same(left_out.config, process.config) for process in compared.a.processes)
    )
