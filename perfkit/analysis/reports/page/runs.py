"""The parts of runs: one record, several processes, a sweep, a comparison of two sides or of two traces."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import pandas as pd

from perfkit.analysis.reports import run as run_report
from perfkit.analysis.reports.comparison import VERDICT
from perfkit.analysis.reports.differences import FASTER
from perfkit.analysis.reports.page import environment, steps
from perfkit.analysis.reports.recordings import NAME
from perfkit.analysis.sweeps import chart as sweep_chart
from perfkit.schema import units
from perfkit.schema.page.figures import BarPart, Bars
from perfkit.schema.page.sections import Part, Section
from perfkit.schema.record import RunRecord
from perfkit.schema.report import Report
from perfkit.schema.sweep import SweepRow

MOST_BARS = 30
"""Bars of a comparison: the first, where there are more."""
_LACKING_TRACE = (
    ("wall-time", "Wall time by cause", "to see when the device was idle, and why"),
    ("modules", "Where the time went", "to see the time of each module"),
    ("kernels", "Kernels", "to see the time of each kernel"),
    ("timeline", "Timeline", "to see what ran when"),
)


def run(
    record: RunRecord,
    traced: Part | None = None,
    more: Sequence[Report] = (),
    source: str = "",
    memory: Part | None = None,
) -> Part:
    """A run: its steps, then what its trace and what it recorded of memory say, then where it ran."""
    report = run_report.report(record)
    tables = [table for one in (report, *more) for table in one.seen_by("people").tables if len(table)]
    found = [finding for one in (report, *more) for finding in one.findings]
    if traced is None:
        lacking = tuple(
            Section(anchor=anchor, title=title, lacking=f"no trace: measure with --profiler torch {why}")
            for anchor, title, why in _LACKING_TRACE
        )
        sections: tuple[Section, ...] = lacking
    else:
        sections, found = traced.sections, [*found, *traced.findings]
    if memory is not None:  # instead of what a trace says of memory without kinds
        sections = (*(one for one in sections if one.anchor != "memory"), *memory.sections)
        found = [*found, *memory.findings]
    return Part(
        title=report.title,
        findings=found,
        sections=(steps.of_record(record, tables), *sections, environment.of_record(record)),
        source=source,
    )


def processes(report: Report, record: RunRecord, source: str) -> Part:
    """Several processes of one configuration."""
    tables = tuple(table for table in report.seen_by("people").tables if len(table))
    section = Section(anchor="processes", title="Processes", tables=tables)
    return Part(
        title=report.title, findings=report.findings, sections=(section, environment.of_record(record)), source=source
    )


def sweep(report: Report, rows: Sequence[SweepRow], varied: Sequence[str], source: str) -> Part:
    """The points of a sweep."""
    tables = {table.name: table for table in report.seen_by("people").tables if len(table)}
    measured = [row for row in rows if row.record is not None]
    figures = (sweep_chart.chart(rows, varied),) if measured else ()
    medians = [float(value) for value in tables["results"].frame.get("median_s", [])] if "results" in tables else []
    known = [value for value in medians if not math.isnan(value)]
    takeaway = ""
    if known:
        fastest, slowest = units.duration(min(known)), units.duration(max(known))
        of_all = f"from {fastest} to {slowest}" if len(known) > 1 else fastest
        takeaway = f"{len(known)} point{'s' if len(known) > 1 else ''} measured: median step {of_all}"
    section = Section(
        anchor="sweep",
        title="Sweep",
        takeaway=takeaway,
        figures=figures,
        tables=tuple(tables.values()),
        notes=figures[0].notes if figures else (),
        lacking="" if measured else "no point of the sweep was measured",
    )
    return Part(title=f"Sweep {source}", findings=report.findings, sections=(section,), source=source)


def recordings(report: Report, source: str) -> Part:
    """Ranks and cycles of one job, or what else a folder holds: the time of a step or, where one has none, busy."""
    frame = report.table(NAME).frame.reset_index(drop=True)  # type: ignore[union-attr]
    shown, *others = report.seen_by("people").tables
    has_steps = bool(frame["step_ns"].notna().all())
    times = [float(ns) for ns in frame["step_ns" if has_steps else "busy_ns"]]
    labels = _recording_names(frame)
    bar = BarPart(name="step" if has_steps else "busy", values=tuple(times[:MOST_BARS]), key="side-a")
    slow, quick = times.index(max(times)), times.index(min(times))
    most, least = units.duration_ns(times[slow]), units.duration_ns(times[quick])
    what = "a step takes" if has_steps else "devices are busy for"
    takeaway = f"{what} {most} in {labels[slow]}, the longest, and {least} in {labels[quick]}, the shortest"
    takeaway = f"{what} {most} in each" if most == least else takeaway
    cut = (f"the first {MOST_BARS} of {len(frame):,} are drawn",) if len(frame) > MOST_BARS else ()
    bars = Bars(labels=tuple(labels[:MOST_BARS]), parts=(bar,), stacked=False)
    section = Section(
        anchor="recordings", title=shown.title, takeaway=takeaway, figures=(bars,), tables=(shown, *others), notes=cut
    )
    return Part(title=report.title, findings=report.findings, sections=(section,), source=source)


def _recording_names(frame: pd.DataFrame) -> list[str]:
    """`rank 3, cycle 1`; traces of no job, and those without a rank, by their names."""
    if "cycle" not in frame:
        return [str(name) for name in frame["recording"]]
    several = int(frame["cycle"].max()) > 0
    rows = zip(frame["recording"], frame["rank"].notna(), frame["rank"].fillna(0), frame["cycle"], strict=True)
    return [
        f"rank {rank}" + (f", cycle {cycle}" if several else "") if is_ranked else str(name)
        for name, is_ranked, rank, cycle in rows
    ]


def comparison(report: Report) -> Part:
    """B against A: by phase as paired bars, with the verdicts."""
    tables = {table.name: table for table in report.seen_by("people").tables if len(table)}
    verdict = next((finding.what for finding in report.findings if finding.rule in (VERDICT, FASTER)), "")
    sections: list[Section] = []
    times = ("total_ns_a", "total_ns_b")
    for name, columns in (
        ("phases", ("a_s", "b_s")), ("wall_time", times), ("phases", times), ("categories", times), ("groups", times),
        ("kernels", times),
    ):  # fmt: skip
        table = tables.get(name)
        if table is None or not set(columns) <= set(table.frame):
            continue
        tables.pop(name)
        ahead = [tables.pop(other) for other in ("comparison", "differences", "recordings") if other in tables]
        steps_too = [one.frame.assign(phase="step") for one in ahead if one.name == "comparison"]
        frame = pd.concat([*steps_too, table.frame], ignore_index=True)
        frame = frame[frame[list(columns)].fillna(0).sum(axis="columns") > 0]
        labels = _labels(frame, [c.name for c in table.columns if c.kind == "text"])
        factor = 1e9 if columns[0].endswith("_s") else 1.0
        bars = _pair(labels, *(frame[column] * factor for column in columns))
        sections.append(
            Section(
                anchor=f"comparison-{name}",
                title="B against A" if not sections else table.title,
                takeaway="; ".join(
                    filter(None, ("" if sections else verdict, _change(labels, *(frame[c] * factor for c in columns))))
                ),
                figures=(bars,) if bars.labels else (),
                tables=(*ahead, table),
            )
        )
    if tables:
        sections.append(Section(anchor="comparison-tables", title="More of the comparison", tables=(*tables.values(),)))
    return Part(title=report.title, findings=report.findings, sections=tuple(sections))


def _labels(frame: pd.DataFrame, names: Iterable[str]) -> list[str]:
    told = [name for name in names if name not in ("verdict", "disagrees", "processes") and name in frame]
    return [", ".join(str(value) for value in line) for line in frame[told].itertuples(index=False)]


def _pair(labels: Sequence[str], a: pd.Series[float], b: pd.Series[float]) -> Bars:
    kept = slice(0, MOST_BARS)
    parts = tuple(
        BarPart(name=name, values=tuple(float(value) for value in side.iloc[kept]), key=f"side-{name.lower()}")
        for name, side in (("A", a), ("B", b))
    )
    return Bars(labels=tuple(labels[kept]), parts=parts, stacked=False)


def _change(labels: Sequence[str], a: pd.Series[float], b: pd.Series[float]) -> str:
    """The row whose time changed most."""
    change = (b.fillna(0) - a.fillna(0)).to_numpy()
    if not len(change):
        return ""
    row = int(abs(change).argmax())
    if not change[row]:
        return "the sides take the same time in every row"
    more = "more" if change[row] > 0 else "less"
    return f"{labels[row]} changed most: B takes {units.duration_ns(abs(change[row]))} {more}"


def not_compared(why: str) -> Part:
    """Two sides that say nothing of each other."""
    section = Section(anchor="comparison", title="B against A", lacking=f"not compared: {why}")
    return Part(title="Comparison", findings=(), sections=(section,))
