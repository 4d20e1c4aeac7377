"""Rows of a sweep -> charts: time and memory against the varied fields, and the steps after each warm-up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from perfkit.analysis.runs.summary import wall_times
from perfkit.analysis.statistics import stats
from perfkit.analysis.sweeps.points import SweepPoint, points_of
from perfkit.schema import units
from perfkit.schema.chart import Chart, Look, Missing, Panel, Series
from perfkit.schema.config import FIELDS, title_of
from perfkit.schema.parts.workloads import SIZES
from perfkit.schema.record import RunRecord
from perfkit.schema.sweep import SweepRow

_LOG_RATIO = 8.0
"""An axis whose values span this much is logarithmic: with less, a linear one from zero shows ratios better."""
_TITLES = {"model_size": "model size", "context_length": "context length (tokens)", "batch_size": "batch (sequences)"}
_FAILED = {"oom": "out of memory", "predicted-oom": "predicted not to fit"}
_COLUMNS = 3
"""Panels of a warm-up study side by side."""
_MEDIAN_AFTER = 0.1
"""How far to the right of a group's last step its median stands."""
_CATEGORY = 0.65
"""Share of the way to the next category that its steps take up."""


def chart(rows: Sequence[SweepRow], varied: Sequence[str]) -> Chart:
    """Median time (above) and peak memory (below) against each number that the sweep varies, or else by category."""
    points = points_of(rows)
    axes = [name for name in varied if _is_axis(name, points)] or [""]
    times, memory = ([_panel(points, varied, axis, what) for axis in axes] for what in ("time", "memory"))
    of_memory = "memory: peak of the measured steps; on a CPU the resident set"
    return Chart(rows=(_alike(times), _alike(memory)), notes=(_said_of_bars(points), of_memory))


def _said_of_bars(points: Sequence[SweepPoint]) -> str:
    """What the points of time are, and what their bars span: of those that are drawn."""
    drawn = [point for point in points if point.processes]
    if any(point.processes > 1 for point in drawn):
        what, how = "geometric mean of the processes' median steps", "Student's t over processes"
    else:
        what, how = "median step", "order statistics over the steps of one process"
    bars = {point.bar for point in drawn}
    few = f"fewer than {stats.LEAST_FOR_INTERVAL} steps have no 95% interval"
    said = []
    if "interval" in bars:
        said.append(f"bars: its 95% interval ({how})")
    if "steps" in bars:
        said.append(f"{'other ' if said else ''}bars: from the fastest to the slowest step ({few})")
    if "" in bars:
        said.append("a point without a bar: nothing tells how far it varies")
    return "; ".join((f"time: {what}", *said))


def _is_axis(name: str, points: Sequence[SweepPoint]) -> bool:
    """Whether a field is a number; an argument of an own model where all of its values are."""
    if name in FIELDS:
        return name == "model_size" or (FIELDS[name].kind in (int, int | None) and name != "seed")
    return "." in name and all(is_number(point.config.value(name)) for point in points)


def _panel(points: Sequence[SweepPoint], varied: Sequence[str], axis: str, what: str) -> Panel:
    others = [name for name in varied if name != axis] if axis else []
    groups: dict[tuple[Any, ...], list[SweepPoint]] = {}
    for point in sorted(points, key=lambda point: _ranks(point, others)):
        groups.setdefault(tuple(point.config.value(name) for name in others), []).append(point)
    places = _places(points, varied, axis)
    colors, dashes = _looks(list(groups))
    series, missing = [], []
    for values, members in groups.items():
        at = sorted((places[_place_key(point, varied, axis)][0], index) for index, point in enumerate(members))
        placed = [(x, members[index]) for x, index in at]
        label = ", ".join(_said(name, value) for name, value in zip(others, values, strict=True))
        series.append(_series(placed, what, label, "line" if axis else "marks", colors[values], dashes[values]))
        missing += [
            Missing(x=x, label=_FAILED.get(point.outcome, point.outcome), color=colors[values])
            for x, point in placed
            if not point.processes
        ]
    return Panel(
        series=tuple(series),
        missing=tuple(missing),
        x_title=_TITLES.get(axis, title_of(axis)),
        y_title="step time" if what == "time" else "peak memory",
        y_quantity="s" if what == "time" else "B",
        x_ticks=tuple(dict.fromkeys(places.values())),
        x_log=bool(axis) and is_wide([place for place, _ in places.values()]),
    )


def _alike(panels: Sequence[Panel]) -> tuple[Panel, ...]:
    """With one kind of axis for what is compared across them: logarithmic where their values span much."""
    y_log = is_wide([y for panel in panels for series in panel.series for y in series.y])
    return tuple(replace(panel, y_log=y_log) for panel in panels)


def _series(
    placed: Sequence[tuple[float, SweepPoint]], what: str, label: str, look: Look, color: int, dash: int
) -> Series:
    there = [(x, point) for x, point in placed if not math.isnan(_value(point, what))]
    return Series(
        label=label,
        x=tuple(x for x, _ in there),
        y=tuple(_value(point, what) for _, point in there),
        low=tuple(point.bar_s[0] for _, point in there) if what == "time" else (),
        high=tuple(point.bar_s[1] for _, point in there) if what == "time" else (),
        look=look,
        color=color,
        dash=dash,
    )


def _value(point: SweepPoint, what: str) -> float:
    if what == "time":
        return point.median_s
    return math.nan if point.peak_memory_bytes is None or not point.processes else float(point.peak_memory_bytes)


def _place_key(point: SweepPoint, varied: Sequence[str], axis: str) -> Any:
    if axis:
        return point.config.value(axis)
    return tuple(point.config.value(name) for name in varied)


def _places(points: Sequence[SweepPoint], varied: Sequence[str], axis: str) -> dict[Any, tuple[float, str]]:
    """Where each value of the axis stands, and how it is written: sizes by their parameters, categories by number.

    Numbers beside what is none, such as no --num-threads, are categories: they have no common scale.
    """
    places: dict[Any, tuple[float, str]] = {}
    are_numbers = all(is_number(_place_key(point, varied, axis)) for point in points)
    for point in sorted(points, key=lambda point: _ranks(point, varied)):
        key = _place_key(point, varied, axis)
        if axis == "model_size" and point.parameters is not None:
            places[key] = (float(point.parameters), f"{key}\n{units.parameters(point.parameters)}")
        elif axis and are_numbers:
            places[key] = (float(key), f"{key:,}")
        elif key not in places:
            name = "\n".join(_said(n, v) for n, v in zip(varied, key, strict=True)) if not axis else str(key)
            places[key] = (float(len(places)), name or point.config.workload.name)
    return places


def _looks(groups: Sequence[tuple[Any, ...]]) -> tuple[dict[Any, int], dict[Any, int]]:
    """A colour for each value of the first other field, a dash for each combination of the rest."""
    firsts = list(dict.fromkeys(values[:1] for values in groups))
    rests = list(dict.fromkeys(values[1:] for values in groups))
    return (
        {values: firsts.index(values[:1]) for values in groups},
        {values: rests.index(values[1:]) for values in groups},
    )


def _ranks(point: SweepPoint, names: Sequence[str]) -> tuple[Any, ...]:
    return tuple(_rank(point.config.value(name)) for name in names)


def _rank(value: Any) -> tuple[str, Any]:
    """Numbers by size, model sizes from small to large, other names by the alphabet."""
    if is_number(value) or isinstance(value, bool):
        return "", value
    return ("", list(SIZES).index(value)) if value in SIZES else (str(type(value)), str(value))


def _said(name: str, value: Any) -> str:
    """A value that can be read without its flag."""
    if isinstance(value, bool):
        return title_of(name) if value else f"no {title_of(name)}"
    if is_number(value):
        return f"{title_of(name.removesuffix('_length').removesuffix('_size'))} {value:,}"
    return str(value) if name in ("model_size", "pass_type", "precision", "optimizer") else f"{title_of(name)} {value}"


def is_number(value: object) -> bool:
    """Whether a value can stand on an axis."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_wide(values: Sequence[float]) -> bool:
    """Whether an axis of these is logarithmic."""
    return min(values, default=0) > 0 and max(values) / min(values) >= _LOG_RATIO


def warmup_chart(records: Sequence[RunRecord], varied: Sequence[str]) -> Chart:
    """Every step in the order it ran, for each number of warm-up steps; a panel for each other combination."""
    others = [name for name in varied if name != "warmup_steps"]
    groups: dict[tuple[Any, ...], list[RunRecord]] = {}
    for run in records:
        if run.steps:
            groups.setdefault(tuple(run.config.value(name) for name in others), []).append(run)
    panels = _alike([
        _warmup_panel(sorted(groups[values], key=lambda run: run.config.measurement.warmup_steps),
                      ", ".join(_said(name, value) for name, value in zip(others, values, strict=True)))
        for values in sorted(groups, key=lambda values: tuple(_rank(value) for value in values))
    ])  # fmt: skip
    rows = tuple(tuple(panels[start : start + _COLUMNS]) for start in range(0, len(panels), _COLUMNS))
    note = "each group: the steps of its runs, in order from left to right"
    drawn = [bar for row in rows for panel in row for series in panel.series for bar in series.low]
    if any(not math.isnan(bar) for bar in drawn):
        note += "; bars: 95% interval of the median"
    if any(map(math.isnan, drawn)):
        note += f"; the median of fewer than {stats.LEAST_FOR_INTERVAL} steps has no 95% interval"
    return Chart(rows=rows, notes=(note,))


def _warmup_panel(runs: Sequence[RunRecord], title: str) -> Panel:
    counts = list(dict.fromkeys(run.config.measurement.warmup_steps for run in runs))
    longest = max(len(run.warmup) + len(run.steps) for run in runs)
    width = _CATEGORY / max(1, longest - 1)
    warm: list[tuple[float, float]] = []
    measured: list[tuple[float, float]] = []
    middle: list[tuple[float, float, float, float]] = []
    for run in runs:
        left = counts.index(run.config.measurement.warmup_steps) - _CATEGORY / 2
        warm += [(left + width * index, step.wall_s) for index, step in enumerate(run.warmup)]
        measured += [(left + width * (len(run.warmup) + index), step.wall_s) for index, step in enumerate(run.steps)]
        summary = stats.summarize(wall_times(run.steps))
        middle.append((left + _CATEGORY + _MEDIAN_AFTER, summary.median, summary.median_low, summary.median_high))
    series = [
        Series(label="warm-up step", x=_nth(warm, 0), y=_nth(warm, 1), look="circles", color=1),
        Series(label="measured step", x=_nth(measured, 0), y=_nth(measured, 1), look="dots", color=0),
        Series(label="median of the measured", x=_nth(middle, 0), y=_nth(middle, 1), low=_nth(middle, 2),
               high=_nth(middle, 3), look="marks", color=2),
    ]  # fmt: skip
    return Panel(
        series=tuple(each for each in series if each.x),
        title=title,
        x_title="warm-up steps",
        y_title="step time",
        y_quantity="s",
        x_ticks=tuple((float(place), str(count)) for place, count in enumerate(counts)),
    )


def _nth(rows: Sequence[tuple[float, ...]], column: int) -> tuple[float, ...]:
    return tuple(row[column] for row in rows)
