"""Is B faster or slower than A, and how sure is that: processes -> rows with a verdict (docs/compare.md).

A row needs two processes a side for an interval. The whole step has one row a configuration; its phases have rows of
their own. Holm's adjustment goes over the rows of either kind, so that reading phases costs the step no power.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from perfkit.analysis import conditions, welch
from perfkit.analysis.conditions import Contrast
from perfkit.analysis.processes import STEP, Match, Pair, Process, Side, match
from perfkit.analysis.stats import geometric_mean
from perfkit.analysis.welch import ALPHA, Welch
from perfkit.errors import UsageError

RECOMMENDED = 5
"""Processes a side: with fewer, intervals are several times wider than the spread that makes them."""
ONE_PROCESS = "one process"
NO_RATIO = "-"

Outcome = Literal["pass", "slower", "inconclusive"]


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
    found: Welch | None
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
        if self.found is None:
            return math.nan, math.nan
        low, high = self.found.interval()
        return math.exp(low), math.exp(high)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that setting B against A says."""

    a: Side
    b: Side
    match: Match
    contrasts: tuple[Contrast, ...]
    steps: tuple[Row, ...]
    phases: tuple[Row, ...]
    margin: float


def compare(
    a: Side, b: Side, *, margin: float = 0.01, intended: frozenset[str] = frozenset(), force: bool = False
) -> Comparison:
    """Set B against A. `margin`: ratios within 1 +- this count as the same.

    Raises UsageError where there is nothing to compare, or where the conditions differ and `force` is not given.
    """
    for side in (a, b):
        if not side.processes:
            why = f": {', '.join(side.left_out)}" if side.left_out else ""
            raise UsageError(f"{side.name} ({side.path}): no finished run to compare{why}")
    matched = match(a, b)
    if not matched.pairs:
        raise UsageError(
            "A and B have no configuration in common: compare runs that differ in the same flags throughout"
        )
    found = conditions.contrasts(matched, intended)
    refused = conditions.refusals(found)
    if refused and not force:
        listed = "; ".join(f"{one.what}: {one.a} against {one.b}" for one in refused)
        raise UsageError(f"measured under different conditions: {listed}; --force compares them all the same")
    independent = a.independent and b.independent
    steps = [_row(pair, STEP, independent) for pair in matched.pairs]
    phases = [_row(pair, what, independent) for pair in matched.pairs for what in _phases(pair)]
    return Comparison(a, b, matched, tuple(found), _judged(steps, margin), _judged(phases, margin), margin)


def _phases(pair: Pair) -> list[str]:
    return [name for name in dict.fromkeys(key for one in (*pair.a, *pair.b) for key in one.medians) if name != STEP]


def _row(pair: Pair, what: str, independent: bool) -> Row:
    a, b = (np.array([one.medians.get(what, math.nan) for one in side]) for side in (pair.a, pair.b))
    usable = bool((a > 0).all() and (b > 0).all())
    found = welch.welch(np.log(a), np.log(b)) if usable and independent and min(len(a), len(b)) > 1 else None
    (a_s, spread_a), (b_s, spread_b) = geometric_mean(a), geometric_mean(b)
    return Row(pair.config, what, len(a), len(b), a_s, b_s, spread_a, spread_b, found)


def _judged(rows: Sequence[Row], margin: float) -> tuple[Row, ...]:
    """The rows of one table with their verdicts, each kind of claim adjusted for being made on several rows."""
    limit = math.log1p(margin)
    different = welch.holm(np.array([math.nan if row.found is None else row.found.p_different() for row in rows]))
    within = welch.holm(np.array([math.nan if row.found is None else row.found.p_within(limit) for row in rows]))
    tested = max(int((~np.isnan(different)).sum()), 1)
    judged = []
    for row, p_different, p_within in zip(rows, different.tolist(), within.tolist(), strict=True):
        if row.found is None:
            judged.append(replace(row, verdict=NO_RATIO if math.isnan(row.ratio) else ONE_PROCESS))
            continue
        judged.append(
            replace(
                row,
                p=p_different,
                detectable=math.expm1(row.found.detectable(ALPHA / tested)),
                verdict=welch.verdict(float(row.found.difference), p_different, p_within),
            )
        )
    return tuple(judged)


def gate(compared: Comparison, limit: float) -> Outcome:
    """Whether B may pass as "not slower than A by more than `limit`", by the whole step of every configuration.

    pass: every 95% interval ends below 1 + limit (an error needs all of them to be wrong, so no adjustment is due).
    slower: for one or more rows the interval, adjusted for being several (Holm), lies above it. Anything else, also
    a run of B that did not finish or a configuration that it does not have, is inconclusive.
    """
    rows, bound = compared.steps, math.log1p(limit)
    p_above = np.array([math.nan if row.found is None else row.found.p_above(bound) for row in rows])
    if (welch.holm(p_above) < ALPHA / 2).any():
        return "slower"
    complete = not compared.match.alone and not compared.b.left_out
    below = all(row.found is not None and row.interval[1] < 1 + limit for row in rows)
    return "pass" if complete and below else "inconclusive"


def not_interleaved(pair: Pair) -> bool:
    """True where all runs of one side were over before the other's began, so that drift counts as a difference."""
    first, second = sorted((sorted(map(_created, pair.a)), sorted(map(_created, pair.b))))
    return min(len(first), len(second)) > 1 and first[-1] < second[0]


def _created(process: Process) -> str:
    return process.created
