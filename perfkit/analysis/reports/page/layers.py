"""The section of modules: where in the model time went, as an icicle and by layer and phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from perfkit.analysis.attribution.attribute import Phase
from perfkit.analysis.kernels.short_names.unique import short_names
from perfkit.analysis.time import breakdown, grouping
from perfkit.analysis.time.grouping import Names, names_of
from perfkit.analysis.time.partial import Partial
from perfkit.analysis.time.trace_table import steps_of
from perfkit.schema import units
from perfkit.schema.page.figures import Figure, HeatMap, Tree
from perfkit.schema.page.sections import Section
from perfkit.schema.table import Table

MOST_NODES = 1_500
"""Modules in the icicle: those with most time; the time of others stays with what contains them."""
MOST_ROWS = 60
"""Layers in the heat map: those with most time, in their order."""


def section(partial: Partial, tables: Sequence[Table]) -> Section:
    """Where in the model the time went. Without modules: by what stands for them."""
    frame = breakdown.layer_table(partial).frame
    frame = frame[frame["total_ns"] > 0]
    title = "Where the time went"
    if not len(frame):
        return Section(anchor="modules", title=title, lacking="the recording has no work to attribute")
    steps = steps_of(partial)
    each = steps.count if steps and steps.are_divided else 1
    short = short_names(partial.facts.device_names) if partial.facts.on_device else {}
    tree, left_out = _tree(frame, names_of(partial), short, each)
    heat, rows_left_out = _heat(grouping.group_table(partial, "layer", fold=False).frame, tree.phases, short, each)
    figures: list[Figure] = [tree]
    if len(heat.rows) > 1 or len(heat.columns) > 1:
        figures.append(heat)
    notes = [f"times are the {steps.text}"] if steps and steps.count > 1 else []
    if left_out:
        notes.append(f"{left_out:,} modules with little time are drawn as part of what contains them")
    if rows_left_out:
        notes.append(f"{rows_left_out:,} layers with less time are not in the heat map; the tables have them")
    return Section(
        anchor="modules",
        title=title,
        takeaway=_takeaway(frame, short, partial),
        figures=tuple(figures),
        tables=tuple(tables),
        notes=(*notes, *breakdown.fallback_notes(partial)),
    )


def _tree(frame: pd.DataFrame, spelled: Names, short: Mapping[str, str], each: int) -> tuple[Tree, int]:
    """The modules with their own time by phase, kernels among them by their short names, and how many are left out."""
    there = set(frame["phase"])
    phases = tuple(phase.label for phase in Phase if phase.label in there)
    own: dict[str, dict[str, int]] = {}
    total: dict[str, int] = {}
    above: dict[str, str | None] = {}  # None for the root: a module may be called ""
    for scope, phase, ns in zip(frame["scope"], frame["phase"], frame["total_ns"], strict=True):
        fronts = spelled.fronts(scope) if scope not in breakdown.REST_SCOPES else [scope]
        own.setdefault(scope, {}).setdefault(phase, 0)
        own[scope][phase] += int(ns)
        for parent, child in zip([None, *fronts], fronts, strict=False):
            above.setdefault(child, parent)
            total[child] = total.get(child, 0) + int(ns)
    kept = set(sorted(total, key=lambda path: -total[path])[:MOST_NODES])  # a parent has no less than its children
    while any(above[path] is not None and above[path] not in kept for path in kept):
        kept = {path for path in kept if above[path] is None or above[path] in kept}
    order = sorted(kept, key=lambda path: (len(spelled.fronts(path)), -total[path], path))
    number = {path: row for row, path in enumerate(order, start=1)}
    times = [[0] * len(phases) for _ in range(len(order) + 1)]
    for path, by_phase in own.items():
        place: str | None = path
        while place is not None and place not in number:
            place = above[place]
        for phase, ns in by_phase.items():
            times[_row(number, place)][phases.index(phase)] += ns
    return Tree(
        labels=("all", *(short.get(path, path) for path in order)),
        parents=(-1, *(_row(number, above[path]) for path in order)),
        phases=phases,
        own=tuple(map(tuple, times)),
        steps=each,
    ), len(total) - len(order)


def _row(number: dict[str, int], path: str | None) -> int:
    """The row of a module, or of the root."""
    return 0 if path is None else number[path]


def _heat(frame: pd.DataFrame, phases: Sequence[str], short: Mapping[str, str], each: int) -> tuple[HeatMap, int]:
    """Layers in the order of their names' numbers, the rest rows last."""
    columns = [phase for phase in phases if phase in frame]
    largest = frame.nlargest(MOST_ROWS, "total_ns")
    order = sorted(largest.index, key=lambda row: (largest["rest"][row], _in_order(str(largest["scope"][row]))))
    rows = largest.loc[order]
    values = tuple(tuple(int(value) for value in line) for line in rows[columns].fillna(0).to_numpy())
    names = tuple(short.get(scope, scope) for scope in map(str, rows["scope"]))
    return HeatMap(rows=names, columns=tuple(columns), values=values, steps=each), len(frame) - len(rows)


def _in_order(name: str) -> list[tuple[bool, int, str]]:
    """Sorts layers.9 before layers.10."""
    parts: list[tuple[bool, int, str]] = []
    digits = ""
    for character in f"{name}\0":
        if character.isdecimal() and len(digits) < 18:
            digits += character
            continue
        if digits:
            parts.append((False, int(digits), ""))
            digits = ""
        parts.append((True, 0, character))
    return parts


def _takeaway(frame: pd.DataFrame, short: Mapping[str, str], partial: Partial) -> str:
    steps, total = max(len(partial.facts.steps), 1), int(frame["total_ns"].sum())
    per = " a step" if partial.facts.steps else ""
    by_scope = frame.groupby("scope")["total_ns"].sum()
    scope, ns = str(by_scope.idxmax()), int(by_scope.max())
    by_phase = frame.groupby("phase")["total_ns"].sum().sort_values(ascending=False)
    shares = ", ".join(f"{phase} {units.percent(int(ns) / total)}" for phase, ns in by_phase.head(3).items())
    what = units.duration_ns(ns / steps)
    return f"{shares}; {short.get(scope, scope)} has most time of its own: {what}{per}, {units.percent(ns / total)}"
