"""Every picture that `--plot` draws, by what it is of.

A new one is a function in a tuple here, and its name in the same place of `schema/page/pictures.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from msgspec.structs import replace

from perfkit.analysis.attention import chart as attention_chart
from perfkit.analysis.attention.results import Result
from perfkit.analysis.costs.roofline import chart as roofline_chart
from perfkit.analysis.memory.recorded.account import MemoryAccount
from perfkit.analysis.reports.page import layers, live_memory, memory, runs, steps, trace, wall
from perfkit.analysis.runs.comparison import Comparison, Row
from perfkit.analysis.sweeps import chart as sweep_chart
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.trace_table import View
from perfkit.errors import UsageError
from perfkit.schema import units
from perfkit.schema.chart import Chart, Panel, Series
from perfkit.schema.page import pictures
from perfkit.schema.page.figures import Bars, HeatMap, Tree
from perfkit.schema.page.pictures import Drawn, Picture
from perfkit.schema.page.sections import Section
from perfkit.schema.record import RunRecord
from perfkit.schema.report import Report
from perfkit.schema.sweep import SweepRow

_Source = TypeVar("_Source")


@dataclass(frozen=True, slots=True)
class Plot(Generic[_Source]):
    """A picture that can be asked for by name."""

    name: str
    says: str
    """What it shows, for the documents."""
    build: Callable[[_Source], Picture]
    """Raises UsageError where the source has nothing to show, and says what to record."""


@dataclass(frozen=True, slots=True)
class Traced:
    """A trace as it was looked at."""

    account: Account
    view: View


@dataclass(frozen=True, slots=True)
class Swept:
    """Rows of a sweep, and how the records of its runs are loaded."""

    rows: Sequence[SweepRow]
    varied: tuple[str, ...]
    records: Callable[[], Iterable[RunRecord]]


Compared: TypeAlias = tuple[Report, Comparison | None]
"""B against A; of traces without intervals."""


def _of(section: Section, kind: type[Drawn]) -> Picture:
    """A section's figure. Raises UsageError with what the section lacks."""
    figure = next((figure for figure in section.figures if isinstance(figure, kind)), None)
    if figure is None:
        raise UsageError(section.lacking or f"there is nothing to draw for {section.title.lower()}")
    notes = (*((section.lacking,) if section.lacking else ()), *section.notes)
    each = figure.steps if isinstance(figure, Tree | HeatMap) else 1
    return Picture(figure=figure, title=section.title, takeaway=section.takeaway, notes=notes, steps=each)


def _roofline(traced: Traced) -> Picture:
    chart = roofline_chart.chart(traced.account.partial, traced.view)
    return Picture(figure=chart, title="Roofline", takeaway=trace.near(chart), notes=chart.notes)


def _icicle(traced: Traced) -> Picture:
    found = _of(layers.section(traced.account.partial, ()), Tree)
    note = "rows: phases, then modules below what contains them; white below a box: its own time; name x24: 24 as one"
    return replace(found, notes=(note, *found.notes))


def _layers(traced: Traced) -> Picture:
    found = _of(layers.section(traced.account.partial, ()), HeatMap)
    return replace(found, title="Time of each layer in each phase")


def _wall_time(traced: Traced) -> Picture:
    return _of(wall.section(traced.account.partial, ()), Bars)


def _memory(traced: Traced) -> Picture:
    return _of(memory.section(traced.account.trace), Chart)


def _memory_timeline(account: MemoryAccount) -> Picture:
    return _of(live_memory.section(account), Chart)


def _steps_of_trace(traced: Traced) -> Picture:
    return _of(steps.of_trace(traced.account.partial), Chart)


def _steps(record: RunRecord) -> Picture:
    return _of(steps.of_record(record, ()), Chart)


def _growth(swept: Swept) -> Picture:
    chart = sweep_chart.chart(swept.rows, swept.varied)
    return Picture(figure=chart, title="Step time and peak memory", notes=chart.notes)


def _attention(results: Sequence[Result]) -> Picture:
    chart = attention_chart.chart(results)
    return Picture(figure=chart, title="Attention alone", notes=chart.notes)


def _warmup(swept: Swept) -> Picture:
    if "warmup_steps" not in swept.varied:
        raise UsageError("the sweep has one number of warm-up steps: vary it, as in --warmup-steps 0 1 2 5")
    chart = sweep_chart.warmup_chart(list(swept.records()), swept.varied)
    return Picture(figure=chart, title="Every step, by the number of warm-up steps",
                   notes=chart.notes)  # fmt: skip


def _sides(compared: Compared) -> Picture:
    report, _ = compared
    sections = runs.comparison(report).sections
    return _of(next((one for one in sections if one.figures), sections[0]), Bars)


def _ratio(compared: Compared) -> Picture:
    report, comparison = compared
    if comparison is None:
        raise UsageError("two traces give no interval of their ratio: compare runs, or draw sides")
    rows = [row for row in (*comparison.steps, *comparison.phases) if not math.isnan(row.ratio)]
    if not rows:
        raise UsageError("no configuration has a ratio: --table comparison says why")
    several = len(comparison.steps) > 1
    places = tuple((float(place), _named(row, several=several)) for place, row in enumerate(rows))
    x = tuple(place for place, _ in places)
    edges = (-0.5, len(rows) - 0.5)
    points = Series(
        label="B/A", x=x, y=tuple(row.ratio for row in rows), look="marks",
        low=tuple(row.interval[0] for row in rows), high=tuple(row.interval[1] for row in rows),
    )  # fmt: skip
    margin = comparison.margin
    lines = [Series(label="the same", x=edges, y=(1.0, 1.0), look="roof", color=7)] + [
        Series(label=f"margin, +-{units.percent(margin)}", x=edges, y=(at, at), look="roof", color=7, dash=2)
        for at in (1 - margin, 1 + margin)
    ]
    is_known = [not math.isnan(row.interval[0]) for row in rows]
    bars = "; bars: 95% interval of the ratio, between processes" if any(is_known) else ""
    notes = [f"below 1, B is faster{bars}"]
    if not all(is_known):
        notes.append("no bar: one process a side has no interval of the ratio")
    panel = Panel(series=(*lines, points), x_title="part of the step", y_title="time of B / time of A", x_ticks=places,
                  y_from_zero=False)  # fmt: skip
    section = runs.comparison(report).sections[0]
    return Picture(figure=Chart(rows=((panel,),)), title="B against A", takeaway=section.takeaway,
                   notes=tuple(notes))  # fmt: skip


def _named(row: Row, *, several: bool) -> str:
    return "\n".join((row.what, *map(str, row.config.values()))) if several else row.what


def _plots(of: Mapping[str, str], *builds: Callable[[_Source], Picture]) -> tuple[Plot[_Source], ...]:
    """What draws each of the names, in their order."""
    return tuple(Plot(name, says, build) for (name, says), build in zip(of.items(), builds, strict=True))


OF_TRACES = _plots(pictures.OF_TRACES, _roofline, _icicle, _wall_time, _layers, _memory, _steps_of_trace)
OF_RUNS = _plots(pictures.OF_RUNS, _steps)
OF_SWEEPS = _plots(pictures.OF_SWEEPS, _growth, _warmup)
OF_COMPARISONS = _plots(pictures.OF_COMPARISONS, _ratio, _sides)
OF_ATTENTION = _plots(pictures.OF_ATTENTION, _attention)
OF_MEMORY = _plots(pictures.OF_MEMORY, _memory_timeline)


def of_sweep(varied: Sequence[str]) -> tuple[Plot[Swept], ...]:
    """Those of a sweep; the first is the one that says most of what was varied."""
    return OF_SWEEPS[:: -1 if "warmup_steps" in varied else 1]
