"""What idle time costs and where it comes from, for findings: by cause, and by place in the program behind a cause.

Where a trace has steps, only time inside them counts; times are then per step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from perfkit.analysis.attribution.attribute import UNATTRIBUTED, Phase
from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.time.idle.folds import IDLE_TIME, WAITING_CALLS, WALL_TIME
from perfkit.analysis.time.idle.kinds import Cause, Kind
from perfkit.analysis.time.partial import Facts, Partial
from perfkit.schema import python_frames
from perfkit.schema.finding import Cost

By = Literal["scope", "phase", "operator", "range", "frame", "call"]


@dataclass(frozen=True, slots=True)
class Behind:
    """One place of the program, and the idle time of a cause that it is behind."""

    name: str | None
    """None where the recording names nothing of that kind there."""
    cost: Cost
    """Its share is that of the cause's time."""
    count: int
    """Pieces of idle time."""


def wall_ns(partial: Partial) -> float:
    """Wall time of the steps, per step and added up over devices, ns; without steps the span of all devices."""
    return float(_inside(partial, partial.of(WALL_TIME))["total_ns"].sum()) / max(len(partial.facts.steps), 1)


def cost_of(partial: Partial, what: Cause | Kind) -> Cost:
    """The time of a cause, or of a kind (compute, exposed communication, exposed copies, idle), and its share."""
    rows = _inside(partial, partial.of(WALL_TIME))
    column = "cause" if isinstance(what, Cause) else "kind"
    return _cost(partial, int(rows["total_ns"][rows[column] == what].sum()), int(rows["total_ns"].sum()))


def costs(partial: Partial) -> dict[Cause, Cost]:
    """The causes that there are, the one that costs most first."""
    found = [(cause, cost_of(partial, cause)) for cause in Cause]
    return dict(sorted(((cause, cost) for cause, cost in found if cost.ns), key=lambda item: -(item[1].ns or 0)))


def behind(partial: Partial, cause: Cause, by: By, most: int = 5) -> tuple[Behind, ...]:
    """The places behind a cause, those with most idle time first.

    `scope` and `phase` are of the work whose launch ended the gap; `operator`, `range` and `frame` are what the host
    was doing meanwhile; `call` is the one that waited (Cause.BLOCKING only).
    """
    rows = _inside(partial, partial.of(IDLE_TIME))
    rows = rows[rows["cause"] == cause]
    column = "path" if by == "scope" else by
    sums = rows.groupby(column)[["total_ns", "count"]].sum().reset_index()
    whole = int(sums["total_ns"].sum())
    found = [
        Behind(_text(partial.facts, by, int(number)), _cost(partial, int(ns), whole), int(count))
        for number, ns, count in zip(sums[column], sums["total_ns"], sums["count"], strict=True)
    ]
    return tuple(sorted(found, key=lambda place: (-(place.cost.ns or 0), place.name or ""))[:most])


def waits(partial: Partial) -> pd.DataFrame:
    """Calls that wait for the device: `call`, `operator`, `frame`, `scope`; sums: `count`, `total_ns`, `idle_ns`."""
    keys: tuple[By, ...] = ("call", "operator", "frame", "scope")
    rows = _inside(partial, partial.of(WAITING_CALLS)).rename(columns={"path": "scope"})
    sums = rows.groupby(list(keys))[["count", "total_ns", "idle_ns"]].sum().reset_index()
    texts = {key: [_text(partial.facts, key, int(number)) for number in sums[key]] for key in keys}
    named = sums.assign(**{key: pd.Series(column, sums.index, dtype=object) for key, column in texts.items()})
    return named.sort_values(["idle_ns", "total_ns"], ascending=False, kind="stable", ignore_index=True)


def _inside(partial: Partial, rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["step"] != NONE] if partial.facts.steps else rows


def _cost(partial: Partial, ns: int, whole: int) -> Cost:
    return Cost(round(ns / max(len(partial.facts.steps), 1)), ns / whole if whole else None)


def _text(facts: Facts, by: By, number: int) -> str | None:
    if by == "scope":
        return facts.paths[number] if number != NONE else UNATTRIBUTED
    if number == NONE:
        return None
    return Phase(number).label if by == "phase" else python_frames.short(facts.names[number])
