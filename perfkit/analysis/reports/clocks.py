"""A step by its run's own clock, beside the same step in the trace: the profiler's lasts until the next one begins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from perfkit.schema import units
from perfkit.schema.finding import APART, TRACE_TOTALS, Finding

if TYPE_CHECKING:
    from perfkit.schema.record import RunRecord


def by_both_clocks(findings: Iterable[Finding], record: RunRecord | None, steps_ns: tuple[int, ...]) -> list[Finding]:
    """The findings of a run's trace; its first line says both times of a step where they read differently.

    steps_ns: the lengths of the steps in the trace. Nothing is said where they are not all of the run's.
    """
    ordered = list(findings)
    if record is None or not steps_ns or len(steps_ns) != len(record.steps):
        return ordered
    own = units.duration(float(np.mean([sample.wall_s for sample in record.steps])))
    if own == units.duration_ns(float(np.mean(steps_ns))):
        return ordered
    said = f"{own} by the run's clock, and the rest between steps"
    return [replace(one, what=_after_the_first(one.what, said)) if one.rule is TRACE_TOTALS else one for one in ordered]


def _after_the_first(line: str, part: str) -> str:
    first, *others = line.split(APART)
    return APART.join((first, part, *others))
