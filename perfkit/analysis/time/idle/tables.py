"""Partial -> the tables of wall time: by device, step and cause; the longest gaps; the calls that waited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from perfkit.analysis.attribution.attribute import UNATTRIBUTED, Phase
from perfkit.analysis.attribution.intervals import NONE, Ints
from perfkit.analysis.kernels.short_names.unique import named, short_names
from perfkit.analysis.time.idle.folds import LONGEST, LONGEST_GAPS, WAITING_CALLS, WALL_TIME
from perfkit.analysis.time.idle.kinds import Cause, Kind
from perfkit.analysis.time.paces import step_time
from perfkit.analysis.time.partial import Facts, Partial
from perfkit.analysis.time.trace_table import TraceTable, by_numbers
from perfkit.schema import python_frames, units
from perfkit.schema.table import Audience, Column, Table

_EXPOSED = {Kind.COMPUTE: "compute", Kind.COMMUNICATION: "exposed communication", Kind.COPY: "exposed copies"}
_NOTE = (
    "each instant counts once: for compute, else for communication, else for copies; idle: the device ran nothing;"
    " work counts where it runs, not in the step that launched it"
)


def with_texts(frame: pd.DataFrame, facts: Facts) -> pd.DataFrame:
    """Rows in the order of devices and steps, with the devices' labels; a step is missing where it is outside them."""
    labels = [facts.device_labels[number] for number in frame["device"]]
    place = {label: number for number, label in enumerate(sorted(set(labels), key=by_numbers))}
    step = frame["step"].to_numpy(dtype=np.int64)
    outside = step == NONE
    keys = [frame[key].to_numpy() for key in ("cause", "kind") if key in frame and frame[key].dtype != object]
    order = np.lexsort((*keys, step, outside, np.array([place[label] for label in labels], dtype=np.int64)))
    numbers = pd.arrays.IntegerArray(step, mask=outside)
    texts = pd.Series(labels, index=frame.index, dtype=object)
    return frame.assign(device=texts, step=numbers).iloc[order].reset_index(drop=True)


def wall_table(partial: Partial) -> Table:
    """One row for each device, step, kind of work and cause of idle time; step and cause null where there is none."""
    frame = with_texts(partial.of(WALL_TIME), partial.facts)
    causes = [None if cause == NONE else Cause(cause).label for cause in frame["cause"]]
    frame["kind"] = pd.Series([Kind(kind).label for kind in frame["kind"]], index=frame.index, dtype=object)
    frame["cause"] = pd.Series(causes, index=frame.index, dtype=object)
    columns = (
        Column("device"),
        Column("step"),
        Column("kind"),
        Column("cause"),
        Column("total_ns", "ns", "time", "sum", summed=True, scale="time"),
    )
    return Table("wall", "Wall time by device and step", columns, frame, (_NOTE,))


def wall_time_table(partial: Partial) -> Table:
    """One row for each kind of work and cause of idle time, of all devices."""
    rows, steps = partial.of(WALL_TIME), len(partial.facts.steps)
    in_steps = rows["total_ns"].where(rows["step"] != NONE, 0)
    frame = rows.assign(in_steps=in_steps).groupby(["kind", "cause"])[["total_ns", "in_steps"]].sum().reset_index()
    what = [
        f"idle: {Cause(cause).label}" if kind == Kind.IDLE else _EXPOSED[Kind(kind)]
        for kind, cause in zip(frame["kind"], frame["cause"], strict=True)
    ]
    total = int(frame["total_ns"].sum())
    frame["what"] = pd.Series(what, index=frame.index, dtype=object)
    frame["share"] = frame["total_ns"] / total if total else 0.0
    frame["step_mean_ns"] = frame["in_steps"] / steps if steps else np.nan
    step_total = frame["step_mean_ns"].sum()
    frame["step_share"] = frame["step_mean_ns"] / step_total if step_total else 0.0
    per_step = (
        Column("step_mean_ns", "ns", "time", "mean per step", summed=True, scale="time", divided=False),
        Column("step_share", "1", "share", "share", summed=True, audience="people", read="per step"),
    )
    columns = (
        Column("what", title="wall time"),
        Column("total_ns", "ns", "time", "sum", summed=True, scale="time", read="in total"),
        Column("share", "1", "share", summed=True, read="in total"),
        *(per_step if steps else ()),
    )
    step = step_time(partial)
    notes = [_NOTE]
    if step and step.is_pace:
        on_host, until_done = units.duration_ns(step.host_ns), units.duration_ns(step.ns)
        said = f"the steps are those of the host, {on_host} each; until its work is done a step takes {until_done}"
        notes.insert(0, f"{said}: the device runs behind the host")
    return Table("wall_time", "Where the wall time goes", columns, frame, tuple(notes))


def _of_texts(numbers: Ints, texts: Sequence[str]) -> pd.Series[Any]:
    """Texts by number, frames without the folder of their package; None for NONE."""
    known = {number: python_frames.short(texts[number]) for number in np.unique(numbers).tolist() if number != NONE}
    return pd.Series([known.get(number) for number in numbers.tolist()], dtype=object)


def _with_places(frame: pd.DataFrame, facts: Facts, *names: str) -> pd.DataFrame:
    """The same rows with a place in the program as text."""
    paths = (*facts.paths, UNATTRIBUTED)
    texts: dict[str, Any] = {name: _of_texts(frame[name].to_numpy(), facts.names) for name in names}
    texts["scope"] = pd.Series([paths[number] for number in frame["path"]], dtype=object)
    return frame.assign(**texts)


_SINCE = "since the step began or, outside the steps, since the device's first event"
_ENDING = "of the work that ended the gap"
_MEANWHILE = "what the host was doing meanwhile"
_GAP_PLACES = ("operator", "range", "frame", "call", "ended_by")


def gap_table(partial: Partial) -> Table:
    """The longest stretches in which a device ran nothing, one row each: of one step, or outside the steps."""
    facts, rows = partial.facts, partial.of(LONGEST_GAPS)
    sorting = (rows[name].tolist() for name in ("total_ns", "step", "at_ns", "device", "source"))
    order = sorted(
        (-ns, step, at, by_numbers(facts.device_labels[device]), source, row)
        for row, (ns, step, at, device, source) in enumerate(zip(*sorting, strict=True))
    )
    frame = rows.iloc[[row for *_, row in order[:LONGEST]]].reset_index(drop=True)
    step = frame["step"].to_numpy(dtype=np.int64)
    frame = _with_places(frame, facts, *_GAP_PLACES).assign(
        device=pd.Series([facts.device_labels[number] for number in frame["device"]], dtype=object),
        step=pd.arrays.IntegerArray(step, mask=step == NONE),
        phase=pd.Series([None if phase == NONE else Phase(phase).label for phase in frame["phase"]], dtype=object),
    )
    short = short_names(facts.device_names)
    ended_by = [name and short.get(name, name) for name in frame["ended_by"]]
    frame["short_ended_by"] = pd.Series(ended_by, index=frame.index, dtype=object)
    columns = (
        Column("total_ns", "ns", "time", "idle", scale="time"),
        Column("cause"),
        Column("device"),
        Column("step"),
        Column("at_ns", "ns", "time", "at", scale="at", note=_SINCE),
        Column("scope", note=_ENDING),
        Column("phase", spare=True, note=_ENDING),
        Column("call", title="waited in", spare=True),
        Column("operator", spare=True, note=_MEANWHILE),
        Column("range", spare=True, note=_MEANWHILE),
        Column("frame", title="Python", spare=True, note=_MEANWHILE),
        *(replace(column, spare=True) for column in named("ended_by", "short_ended_by", "ended by")),
    )
    return Table("gaps", "The longest gaps", columns, frame)


_WAITED = "in the call, while the device may be running"
_RAN_OUT = "from when a device ran out of work in the call to the thread's next launch, added up over devices"


def waiting_table(partial: Partial) -> Table:
    """Calls that wait for a device, one row for each name and place, those that caused most idle time first."""
    keys = ["call", "operator", "frame", "path"]
    rows = partial.of(WAITING_CALLS).groupby(keys)[["count", "total_ns", "idle_ns"]].sum().reset_index()
    frame = _with_places(rows, partial.facts, "call", "operator", "frame")
    order = ["idle_ns", "total_ns", "call", "operator", "frame", "scope"]
    frame = frame.sort_values(order, ascending=[False, False, *[True] * 4], kind="stable", ignore_index=True)
    columns = (
        Column("call"),
        Column("operator"),
        Column("scope"),
        Column("frame", title="Python", spare=True),
        Column("count", "", "count", summed=True),
        Column("total_ns", "ns", "time", "waited", summed=True, scale="time", note=_WAITED),
        Column("idle_ns", "ns", "time", "device idle", summed=True, scale="time", note=_RAN_OUT),
    )
    return Table("syncs", "Calls that wait for the device", columns, frame)


def _with_device(facts: Facts) -> Audience | None:
    return "everyone" if facts.on_device else None


WALL = TraceTable(
    "wall",
    "a device, a step (null outside the steps), what ran there and, if nothing, why (with a device only)",
    "`device`, `step`, `kind`, `cause`, `total_ns`",
    lambda partial, _: wall_table(partial),
    lambda facts: "scripts" if facts.on_device else None,
    divides=False,
)
WALL_TIMES = TraceTable(
    "wall_time",
    "what ran and, if nothing, why (with a device only)",
    "`what`, `total_ns`, `share`, `step_mean_ns` (with steps only)",
    lambda partial, _: wall_time_table(partial),
    _with_device,
    adds_up_steps=True,
)
GAPS = TraceTable(
    "gaps",
    "one of the ten longest stretches in which a device ran nothing (with a device only)",
    "`total_ns`, `cause`, `device`, `step`, `at_ns`, `scope`, `phase`, `call`, `operator`, `range`, `frame`, "
    "`ended_by`, `short_ended_by`",
    lambda partial, _: gap_table(partial),
    _with_device,
    divides=False,
)
SYNCS = TraceTable(
    "syncs",
    "a call that waits for the device, and its place in the program (with a device only)",
    "`call`, `operator`, `scope`, `frame`, `count`, `total_ns`, `idle_ns`",
    lambda partial, _: waiting_table(partial),
    _with_device,
    divides=False,
    adds_up_steps=True,
)
