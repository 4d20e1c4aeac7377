"""Every kernel of a file by name, from device events alone: the quickest look at a trace of any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from perfkit.analysis.findings import reading
from perfkit.analysis.kernels.short_names.unique import NAMES, short_names
from perfkit.errors import UsageError
from perfkit.schema import units
from perfkit.schema.finding import Finding, Rule
from perfkit.schema.report import Report
from perfkit.schema.table import Column, Table
from perfkit.trace.columns import DeviceKind, Trace

NAME = "kernel_summary"
"""The table's name, as --table takes it."""

_COLUMNS = (
    *NAMES,
    Column("count", "", "count", summed=True),
    Column("total_ns", "ns", "time", "sum", summed=True, scale="time"),
    Column("share", "1", "share", summed=True),
    Column("mean_ns", "ns", "time", "mean", scale="each", spare=True),
    Column("median_ns", "ns", "time", "median", scale="each", spare=True),
    Column("min_ns", "ns", "time", "min", scale="each", spare=True),
    Column("max_ns", "ns", "time", "max", scale="each", spare=True),
    Column("std_ns", "ns", "time", "std", scale="each", spare=True),
)


KERNEL_TOTALS = Rule("kernel-totals", "trace", "how many kernels a whole file has, and their time", read="first")


def report(trace: Trace) -> Report:
    """The table `kernel_summary` of a trace read with `Content.KERNELS`. Raises UsageError where it has no kernels."""
    kernels = table(trace)
    if not len(kernels):
        raise UsageError(f"{trace.source} holds no kernels: --table kernels shows its operators")
    total, count = int(kernels.frame["total_ns"].sum()), int(kernels.frame["count"].sum())
    summary = {"source": trace.source, "format": trace.recording.tool.value, "kernels": count, "kernel_time_ns": total}
    text = f"{count:,} kernels of {len(kernels):,} names, {units.duration_ns(total)} in sum: the whole file"
    findings = (Finding(KERNEL_TOTALS, text), *reading.findings(trace))  # the other checks need all of it
    return Report(Path(trace.source).name, summary, (kernels,), findings=findings)


def table(trace: Trace) -> Table:
    """One row a kernel name, longest first; times in ns."""
    events = trace.device
    rows = np.flatnonzero(events.kind == DeviceKind.KERNEL)
    duration = (events.end - events.start)[rows]
    grouped = pd.Series(duration).groupby(events.name[rows])
    times = grouped.agg(["size", "sum", "mean", "median", "min", "max", "std"])
    total = times["sum"].sum()
    frame = pd.DataFrame(
        {
            "name": np.asarray(trace.names, dtype=object)[times.index.to_numpy()] if len(times) else [],
            "count": times["size"].to_numpy(),
            "total_ns": times["sum"].to_numpy(),
            "share": times["sum"].to_numpy() / total if total else 0.0,
            **{f"{name}_ns": times[name].to_numpy() for name in ("mean", "median", "min", "max", "std")},
        }
    )
    short = short_names(frame["name"])
    frame["short_name"] = pd.Series([short[name] for name in frame["name"]], dtype=object)
    frame = frame.sort_values(["total_ns", "name"], ascending=[False, True], kind="stable", ignore_index=True)
    notes = ("every kernel in the file, without layers, phases or steps; the table kernels has those",)
    return Table(NAME, "Kernels by name", _COLUMNS, frame, notes)
