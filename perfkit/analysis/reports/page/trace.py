"""The sections of a trace, made of the account that its tables are made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from perfkit.analysis.attribution.attribute import UNATTRIBUTED
from perfkit.analysis.costs.roofline import chart as roofline_chart
from perfkit.analysis.reports.page import layers, memory, steps, timeline, wall
from perfkit.analysis.reports.page.environment import of_recording
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.trace_table import View
from perfkit.errors import UsageError
from perfkit.schema import units
from perfkit.schema.chart import Chart
from perfkit.schema.page.sections import Part, Section
from perfkit.schema.record import RunRecord
from perfkit.schema.report import Report
from perfkit.schema.table import Table

_WALL = ("wall_time", "gaps", "syncs", "queue", "devices")
_MODULES = ("phases", "groups", "categories", "categories_by_phase")
_KERNELS = ("kernels", "copies")
_ROOFLINE = ("roofline", "roofline_layers", "roofline_steps", "attention", "work", "work_layers")
_NAME = 100
"""Characters of a name in a sentence."""
_APART = ("steps", "layers", "wall")
"""Tables that a section has in another form."""


def part(account: Account, view: View, report: Report, *, record: RunRecord | None = None) -> Part:
    """What there is to say of a trace that belongs to no run, or to this one: its account, and the report of it."""
    trace = account.trace
    own = () if record else (steps.of_trace(account.partial),)
    sections = (*own, *sections_of(account, view, report), of_recording(trace))
    return Part(title=Path(trace.source).name, findings=report.findings, sections=sections, source=str(trace.source))


def sections_of(account: Account, view: View, report: Report) -> tuple[Section, ...]:
    """Wall time, modules, kernels, roofline, timeline, memory, and the other tables."""
    tables = {table.name: table for table in report.seen_by("people").tables}
    shown = {*_WALL, *_MODULES, *_KERNELS, *_ROOFLINE, *_APART}
    others = [table for name, table in tables.items() if name not in shown]
    return (
        wall.section(account.partial, _of(tables, _WALL)),
        layers.section(account.partial, _of(tables, _MODULES)),
        _kernels(_of(tables, _KERNELS)),
        _roofline(account, view, report, _of(tables, _ROOFLINE)),
        timeline.section(account),
        memory.section(account.trace, account.attribution.steps),
        *((Section(anchor="tables", title="More tables", tables=tuple(others), folded=True),) if others else ()),
    )


def _of(tables: dict[str, Table], names: Sequence[str]) -> tuple[Table, ...]:
    return tuple(tables[name] for name in names if name in tables and len(tables[name]))


def _kernels(tables: Sequence[Table]) -> Section:
    title = "Kernels"
    main = next((table for table in tables if table.name == "kernels"), None)
    if main is None or not main.frame["total_ns"].sum():
        lacking = "the recording has no kernel and no operator: record with torch.profiler or nsys, not ranges alone"
        return Section(anchor="kernels", title=title, tables=tuple(tables), lacking=lacking)
    title = main.title
    frame = main.frame[main.frame["name"] != UNATTRIBUTED].reset_index(drop=True)
    if not frame["total_ns"].sum():
        return Section(anchor="kernels", title=title, tables=tuple(tables), takeaway="no operator has time of its own")
    first = frame.iloc[int(frame["total_ns"].to_numpy().argmax())]
    name = str(first["short_name"] if "short_name" in frame else first["name"])
    name = name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"
    ten = float(np.sort(frame["share"].to_numpy())[::-1][:10].sum())
    calls = int(first["count"])
    often = "once" if calls == 1 else f"{calls:,} times"
    takeaway = f"{name} takes {units.percent(float(first['share']))} of the sum, {often}"
    takeaway += f"; the first ten of {len(frame):,} take {units.percent(ten)}" if len(frame) > 10 else ""
    return Section(anchor="kernels", title=title, takeaway=takeaway, tables=tuple(tables))


def _roofline(account: Account, view: View, report: Report, tables: Sequence[Table]) -> Section:
    """Below the chart the table of its points, which `analyze` shows by name alone where no roof is known."""
    title = "Roofline"
    try:
        chart = roofline_chart.chart(account.partial, view)
    except UsageError as error:
        return Section(
            anchor="roofline",
            title=title,
            tables=tuple(tables),
            lacking=str(error).removeprefix("--plot: ").partition(": --table")[0],
        )
    if "roofline" not in {table.name for table in tables}:
        points = report.only("roofline").seen_by("people").tables
        tables = [*points, *tables]
    return Section(
        anchor="roofline", title=title, takeaway=near(chart), figures=(chart,), tables=tuple(tables), notes=chart.notes
    )


def near(chart: Chart) -> str:
    """The point with most time, and what speed it reaches."""
    points = [
        (share, y, series.label, text)
        for row in chart.rows
        for panel in row
        for series in panel.series
        for share, y, text in zip(series.share, series.y, series.texts or ("",) * len(series.y), strict=False)
    ]
    if not points:
        return ""
    share, speed, label, text = max(points)
    what = f"{text or label} has most time of all points, {units.percent(share)}"
    return f"{what}, at {units.rate(speed)}FLOP/s; {len(points):,} points"
