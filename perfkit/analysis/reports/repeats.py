"""Several processes of one configuration: how much of the spread is between processes, and how much within."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from perfkit.analysis.reports.run import headline
from perfkit.analysis.runs.comparison import RECOMMENDED
from perfkit.analysis.runs.processes import UNFINISHED_RUNS, Process, Side
from perfkit.analysis.runs.summary import STEP
from perfkit.analysis.statistics.stats import geometric_interval, geometric_mean
from perfkit.errors import UsageError
from perfkit.schema import units
from perfkit.schema.finding import Evidence, Finding, Rule
from perfkit.schema.report import Report
from perfkit.schema.table import Column, Table

_INTERVAL = "95% t-interval between processes"
_SPREAD_COLUMNS = (
    Column("phase"),
    Column("processes", "", "count"),
    Column("mean_s", "s", "time", "mean", scale="time", note="geometric, of the processes' medians"),
    Column("low_s", "s", "time", "95% low", scale="time", note=_INTERVAL),
    Column("high_s", "s", "time", "95% high", scale="time", note=_INTERVAL),
    Column("between", "1", "share", "between processes", note="standard deviation of the logarithms of those medians"),
    Column("within", "1", "share", "within a process", note="the same of a process's steps (pooled)"),
)
_PROCESS_COLUMNS = (
    Column("process"),
    Column("created", title="started"),
    Column("steps", "", "count"),
    Column("median_s", "s", "time", "median step", scale="time"),
    Column("within", "1", "share", "spread of steps"),
)


CONFIGURATION = Rule("configuration", "processes", "what was measured")


def report(side: Side) -> Report:
    """The processes of one configuration, one by one and together. Raises UsageError where none finished."""
    if not side.processes:
        raise UsageError(f"{side.path}: no finished run: {', '.join(map(str, side.left_out))}")
    spread, each = spread_table(side.processes), process_table(side.processes)
    row = spread.frame.iloc[0]
    summary = {
        "processes": len(side.processes),
        "between": row["between"],
        "within": row["within"],
        "left_out": [left_out.what for left_out in side.left_out],
    }
    findings = [
        Finding(CONFIGURATION, headline(side.processes[0].config)),
        _spread_finding(row["between"], row["within"], len(side.processes)),
    ]
    if side.left_out:
        text = f"left out because they did not finish: {', '.join(map(str, side.left_out))}"
        findings.append(Finding(UNFINISHED_RUNS, text))
    return Report(str(side.path), summary, (each, spread), findings=tuple(findings), main=spread.name)


def process_table(processes: Sequence[Process]) -> Table:
    """One row a process, in the order they ran."""
    rows = [
        {"process": process.name, "created": process.created, "steps": process.steps, "median_s": process.medians[STEP],
         "within": process.spread[STEP]}
        for process in sorted(processes, key=lambda process: process.created)
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=[column.name for column in _PROCESS_COLUMNS])
    return Table("processes", "Processes", _PROCESS_COLUMNS, frame, pinned=len(frame))


def spread_table(processes: Sequence[Process]) -> Table:
    """One row for the step and one a phase: mean over processes with its interval, and the two spreads."""
    rows = [_spread_row(processes, what) for what in processes[0].medians]
    frame = pd.DataFrame(rows, columns=[column.name for column in _SPREAD_COLUMNS])
    return Table("spread", "Spread between and within processes", _SPREAD_COLUMNS, frame, pinned=len(frame))


def _spread_row(processes: Sequence[Process], what: str) -> dict[str, object]:
    medians = np.array([process.medians.get(what, math.nan) for process in processes])
    mean, between = geometric_mean(medians)
    low, high = geometric_interval(mean, between, len(medians))
    return {
        "phase": what, "processes": len(medians), "mean_s": mean, "low_s": low, "high_s": high,
        "between": between, "within": _pooled(processes, what),
    }  # fmt: skip


def _pooled(processes: Sequence[Process], what: str) -> float:
    """Root of the variances within the processes, each weighted by its degrees of freedom."""
    known = [
        (process.spread[what], process.steps - 1)
        for process in processes
        if not math.isnan(process.spread.get(what, math.nan))
    ]
    freedom = sum(weight for _, weight in known)
    return math.sqrt(sum(spread**2 * weight for spread, weight in known) / freedom) if freedom else math.nan


PROCESS_SPREAD = Rule(
    "process-spread", "processes", "how far processes differ, and how far the steps of one process do"
)


def _spread_finding(between: float, within: float, processes: int) -> Finding:
    evidence = (Evidence("spread", {"phase": STEP}),)
    if math.isnan(between):
        text = "one finished process: no spread between processes"
        return Finding(PROCESS_SPREAD, text, evidence=evidence, advice=f"--repeats {RECOMMENDED}")
    text = f"{processes} processes differ by {units.percent(between)}"
    if not math.isnan(within):
        text += (
            f", the steps of one process by {units.percent(within)}: more steps per process average out only the latter"
        )
    return Finding(PROCESS_SPREAD, text, evidence=evidence)
