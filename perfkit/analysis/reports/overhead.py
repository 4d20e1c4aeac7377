"""What the profiler cost: a profiled run compared with plain steps of a fresh process, by phase."""

from __future__ import annotations

import math

import pandas as pd

from perfkit.analysis.noise import stability
from perfkit.analysis.runs.processes import process_of
from perfkit.analysis.runs.summary import STEP
from perfkit.schema.finding import NO_COST, Cost, Evidence, Finding, Rule
from perfkit.schema.record import RunRecord
from perfkit.schema.report import Report
from perfkit.schema.table import Column, Table

_COLUMNS = (
    Column("phase"),
    Column("plain_s", "s", "time", "plain", scale="time"),
    Column("profiled_s", "s", "time", "profiled", scale="time"),
    Column("added_s", "s", "time", "added", scale="time"),
    Column("ratio", "", "rate", "profiled/plain"),
)
_NOTE = (
    "medians of steps, one process each: processes differ too, so a small overhead proves nothing; rest: with zero_grad"
)


PROFILING_COST_UNKNOWN = Rule(
    "profiling-cost-unknown", "run", "there are no plain steps to compare the profiled ones with"
)
PROFILING_COST = Rule("profiling-cost", "run", "how many times as long profiled steps take as plain ones")


def report(profiled: RunRecord, plain: RunRecord) -> Report:
    """Plain and profiled medians side by side. Nothing where either has no measured steps."""
    title = f"Overhead of --profiler {profiled.config.measurement.profiler}"
    if not profiled.steps or not plain.steps:
        text = "the profiler's overhead is not known: there are no plain steps to compare with"
        return Report(title, {}, findings=(Finding(PROFILING_COST_UNKNOWN, text),))
    shown, base = process_of("profiled", profiled), process_of("plain", plain)
    rows = [
        {"phase": what, "plain_s": base.medians[what], "profiled_s": seconds,
         "added_s": seconds - base.medians[what],
         "ratio": seconds / base.medians[what] if base.medians[what] > 0 else float("nan")}
        for what, seconds in shown.medians.items() if what in base.medians
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=[column.name for column in _COLUMNS])
    table = Table("overhead", title, _COLUMNS, frame, (_NOTE,), len(rows))
    ratio = shown.medians[STEP] / base.medians[STEP]
    is_known = abs(math.log(ratio)) >= max(base.spread[STEP], shown.spread[STEP])
    doubt = "" if is_known else "; the steps of one process differ by as much, so the overhead is not known"
    if contended := [name for name, one in (("plain", plain), ("profiled", profiled)) if stability.taken(one)]:
        is_known = False
        doubt = f"; other programs took time from the {' and '.join(contended)} ones, so the overhead is not known"
    text = (
        f"profiled steps take {ratio:.2f} times as long as plain ones"
        f" ({shown.steps} against {base.steps} steps, one process each){doubt}"
    )
    finding = Finding(
        PROFILING_COST,
        text,
        Cost(round((shown.medians[STEP] - base.medians[STEP]) * 1e9), ratio - 1) if is_known else NO_COST,
        (Evidence("overhead", {"phase": STEP}),),
        sure="measured" if is_known else "guessed",
    )
    return Report(title, {"overhead_ratio": ratio}, (table,), findings=(finding,))
