"""Whether two sides took turns, so that drift during the measurement affects both: the rule `interleaved`.

In order of start the side has to change at least as often as the smaller side has processes, which rounds of A and B in
any order do (`compare --run`), and B has to be the later one in 25% to 75% of all pairs of an A and a B. Neither is
enough alone: A B A B B B B B changes sides often enough, but has B at the end; A B B A is balanced, but a slow hour in
the middle affects B alone. docs/compare.md has the rates of false claims with and without it (`scripts/false-claims`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from perfkit.analysis.runs.processes import Pair, Process

RULE = "interleaved"
_EARLIEST, _LATEST = 0.25, 0.75


@dataclass(frozen=True, slots=True)
class TimeOrder:
    """How the processes of two sides follow each other."""

    changes: int
    """How often the side changes, in order of start. Processes that started in the same second ran side by side: each
    pair of an A and a B among them is one change."""
    needed: int
    """The smaller side's number of processes."""
    later: float
    """Share of the pairs of an A and a B in which B started later, equal times as half; nan where that is unknown."""
    unknown: str = ""
    """Why the order is not known."""

    @property
    def interleaved(self) -> bool:
        """Whether the rule holds."""
        return not self.unknown and self.changes >= self.needed and _EARLIEST <= self.later <= _LATEST

    @property
    def evidence(self) -> str:
        """The rule's two numbers, or why there are none."""
        if self.unknown:
            return self.unknown
        return (
            f"in order of start the side changes {self.changes} time{'s' * (self.changes != 1)} ({self.needed} or more"
            f" are needed), and B started later in {self.later:.0%} of the pairs ({_EARLIEST:.0%} to {_LATEST:.0%})"
        )


def time_order(pair: Pair) -> TimeOrder:
    """Of the processes of one configuration."""
    needed = min(len(pair.a), len(pair.b))
    starts_a, starts_b = ([_start(process) for process in side] for side in (pair.a, pair.b))
    if None in starts_a or None in starts_b:
        return TimeOrder(0, needed, math.nan, "a start time is missing, or has no offset from UTC")
    hosts = {process.environment.hostname for process in (*pair.a, *pair.b)}
    if len(hosts) > 1:
        return TimeOrder(0, needed, math.nan, f"they ran on {len(hosts)} machines, which drift independently")
    return order_of(starts_a, starts_b)


def order_of(starts_a: Sequence[Any], starts_b: Sequence[Any]) -> TimeOrder:
    """Of start times, or places in the order, of at least one process a side."""
    count_a, count_b = Counter(starts_a), Counter(starts_b)
    moments = [(count_a[moment], count_b[moment]) for moment in sorted({*count_a, *count_b})]
    changes, before, later = sum(map(min, moments)), 0, 0.0
    changes += sum(a * next_a == 0 == b * next_b for (a, b), (next_a, next_b) in pairwise(moments))
    for of_a, of_b in moments:
        later += of_b * (before + of_a / 2)
        before += of_a
    return TimeOrder(changes, min(len(starts_a), len(starts_b)), later / (len(starts_a) * len(starts_b)))


def _start(process: Process) -> datetime | None:
    """None for a time without UTC offset too, because it may be from another time zone."""
    try:
        start = datetime.fromisoformat(process.created)
    except ValueError:
        return None
    return start if start.tzinfo else None
