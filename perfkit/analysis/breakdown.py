"""Attribution -> tables: by kernel, by layer, by phase. The rows of each add up to its total, exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from perfkit.analysis import kernel_categories
from perfkit.analysis.attribution import COMMUNICATION, UNATTRIBUTED, Attribution, Phase
from perfkit.analysis.intervals import NONE, Bools, Ints, nearest, self_times
from perfkit.schema import range_names
from perfkit.schema.table import Column, Table
from perfkit.trace.columns import DeviceKind, HostKind, Trace

REST_SCOPES = (COMMUNICATION, UNATTRIBUTED)


@dataclass(frozen=True, slots=True)
class Weights:
    """What a table of this trace counts: one row a device event or, without a device, one a host range in the steps."""

    on_device: bool
    name: Ints
    """Index into the trace's names."""
    phase: Ints
    path: Ints
    how: Ints
    total: Ints
    """ns: the event's duration, or the host range's self time."""
    exclusive: Ints
    counted: Bools
    """Rows that count as one each: every device event; on the host, operators only."""

    def __len__(self) -> int:
        return len(self.total)


def weights(trace: Trace, found: Attribution) -> Weights:
    """The rows to account for: all device events, or the host time of the steps on the main thread."""
    if len(trace.device):
        events, device = trace.device, found.device
        ones = np.ones(len(events), dtype=bool)
        return Weights(
            True,
            events.name,
            device.phase,
            device.path,
            device.how,
            events.end - events.start,
            device.exclusive,
            ones,
        )
    seen, host = found.view, found.host
    rows = np.flatnonzero(in_account(found))
    own = self_times(seen.forest.parent, seen.start, seen.end)[rows]
    return Weights(
        False,
        seen.name[rows],
        host.phase[rows],
        host.path[rows],
        host.how[rows],
        own,
        own,
        is_operator(found)[rows],
    )


def is_operator(found: Attribution) -> Bools:
    """Host rows that are operators, and not ranges that perfkit itself wrote as such."""
    own = np.zeros(len(found.view.names), dtype=bool)
    own[list(found.view.own_names)] = True
    operators: Bools = (found.view.kind == HostKind.OP) & ~own[found.view.name]
    return operators


def in_account(found: Attribution) -> Bools:
    """Host rows inside the steps on the main thread; without steps, everything on it."""
    seen = found.view
    main = found.main_thread
    if not seen.is_step.any():
        on_it: Bools = seen.thread == main
        return on_it
    inside: Bools = nearest(seen.forest.parent, seen.is_step & (seen.thread == main)) != NONE
    return inside


# --- kernels ---------------------------------------------------------------------------------------------------

_KERNEL_COLUMNS = (
    Column("name"),
    Column("category"),
    Column("count", "", "count", summed=True),
    Column("total_ns", "ns", "time", "total", summed=True),
    Column("share", "1", "share", summed=True),
    Column("mean_ns", "ns", "time", "mean", scale="each"),
    Column("min_ns", "ns", "time", "min", scale="each"),
    Column("max_ns", "ns", "time", "max", scale="each"),
)


def kernel_table(trace: Trace, found: Attribution) -> Table:
    """Device kernels by name; without a device, operators by self time, and what lies between them as a rest row."""
    if not len(trace.device):
        return _operator_table(trace, found)
    rows = np.flatnonzero(trace.device.kind == DeviceKind.KERNEL)
    categories = event_categories(trace, found)[rows]
    duration = (trace.device.end - trace.device.start)[rows]
    frame = _by_name(trace, trace.device.name[rows], duration, categories)
    notes = ("total is the sum of kernel durations; kernels that overlap count twice (see exclusive time by layer)",)
    return Table("kernels", "Kernels", _KERNEL_COLUMNS, _shared(frame), notes)


def _operator_table(trace: Trace, found: Attribution) -> Table:
    counted = weights(trace, found)
    rows = np.flatnonzero(counted.counted)
    phase = counted.phase[rows]
    names, place = np.unique(counted.name[rows], return_inverse=True)
    by_name = np.array(
        [kernel_categories.of_operator(trace.names[i]) or kernel_categories.OTHER for i in names],
        dtype=object,
    )
    categories = by_name[place] if len(rows) else np.empty(0, dtype=object)
    categories[phase == Phase.OPTIMIZER] = kernel_categories.OPTIMIZER
    frame = _by_name(trace, counted.name[rows], counted.total[rows], categories)
    rest = int(counted.total.sum() - counted.total[rows].sum())
    frame.loc[len(frame)] = {"name": UNATTRIBUTED, "category": "host", "count": 0, "total_ns": rest}
    notes = (
        "no device work in this trace: operators by self time (host), on the main thread, inside the steps",
        f"{UNATTRIBUTED} is the time between operators: Python, the framework, the profiler",
    )
    return Table("kernels", "Operators, self time", _KERNEL_COLUMNS, _shared(frame), notes, pinned=1)


def _by_name(trace: Trace, name: Ints, duration: Ints, categories: Ints) -> pd.DataFrame:
    """One row a name, longest first; its category is the one most of its time went to."""
    events = pd.DataFrame({"name": name, "category": categories, "duration": duration})
    grouped = events.groupby("name", sort=False)["duration"].agg(["size", "sum", "min", "max"])
    shares = events.groupby(["name", "category"], sort=False)["duration"].agg(["sum", "size"]).reset_index()
    main = shares.sort_values(["sum", "size"], ascending=False, kind="stable").drop_duplicates("name").set_index("name")
    frame = pd.DataFrame(
        {
            "name": np.asarray(trace.names, dtype=object)[grouped.index.to_numpy()] if len(grouped) else [],
            "category": main["category"].reindex(grouped.index).to_numpy(),
            "count": grouped["size"].to_numpy(),
            "total_ns": grouped["sum"].to_numpy(),
            "mean_ns": (grouped["sum"] / grouped["size"]).to_numpy(),
            "min_ns": grouped["min"].to_numpy(),
            "max_ns": grouped["max"].to_numpy(),
        }
    )
    return frame.sort_values(["total_ns", "name"], ascending=[False, True], kind="stable", ignore_index=True)


def _shared(frame: pd.DataFrame) -> pd.DataFrame:
    """Add each row's share of the total."""
    total = frame["total_ns"].sum()
    frame["share"] = frame["total_ns"] / total if total else 0.0
    return frame


def event_categories(trace: Trace, found: Attribution) -> Ints:
    """Category of every device event: by its operator, else by its name. Copies and memsets are what they are."""
    seen, events = found.view, trace.device
    operator = nearest(seen.forest.parent, is_operator(found))
    leaf = found.device.leaf
    operator_row = np.where(leaf == NONE, NONE, operator[leaf])
    operator_name = np.where(operator_row == NONE, NONE, seen.name[operator_row]) if len(seen.name) else operator_row
    in_optimizer = found.device.phase == Phase.OPTIMIZER
    keys = np.stack((events.name.astype(np.int64), operator_name, in_optimizer.astype(np.int64)))
    distinct, place = np.unique(keys, axis=1, return_inverse=True)
    by_key = np.array(
        [
            kernel_categories.category(
                trace.names[name], trace.names[op] if op != NONE else None, in_optimizer=bool(optimizer)
            )
            for name, op, optimizer in distinct.T.tolist()
        ],
        dtype=object,
    )
    categories = by_key[place.reshape(-1)] if len(events) else np.empty(0, dtype=object)
    categories[events.kind == DeviceKind.MEMCPY] = kernel_categories.COPY
    categories[events.kind == DeviceKind.MEMSET] = kernel_categories.MEMSET
    return categories


_COPY_COLUMNS = (
    Column("name"),
    Column("count", "", "count", summed=True),
    Column("total_ns", "ns", "time", "total", summed=True),
    Column("share", "1", "share", summed=True),
    Column("bytes", "B", "bytes", summed=True),
    Column("mean_ns", "ns", "time", "mean", scale="each"),
    Column("max_ns", "ns", "time", "max", scale="each"),
)


def copy_table(trace: Trace) -> Table:
    """Copies and memsets by name."""
    events = trace.device
    rows = np.flatnonzero(events.kind != DeviceKind.KERNEL)
    duration = (events.end - events.start)[rows]
    frame = _by_name(trace, events.name[rows], duration, np.full(len(rows), "", dtype=object))
    moved = (
        pd.Series(np.maximum(events.bytes[rows], 0))
        .groupby(np.asarray(trace.names, dtype=object)[events.name[rows]])
        .sum()
    )
    frame["bytes"] = moved.reindex(frame["name"]).to_numpy() if len(frame) else []
    return Table("copies", "Copies and memsets", _COPY_COLUMNS, _shared(frame))


# --- layers and phases -----------------------------------------------------------------------------------------

_ACCOUNT_COLUMNS = (
    Column("count", "", "count", summed=True),
    Column("total_ns", "ns", "time", "total", summed=True, scale="time"),
    Column("exclusive_ns", "ns", "time", "exclusive", summed=True, scale="time"),
    Column("share", "1", "share", summed=True),
)


def layer_table(trace: Trace, found: Attribution) -> Table:
    """Self time by scope and phase, one row a pair; what has no scope is in the rest rows."""
    counted = weights(trace, found)
    frame = _account(counted, path=counted.path, phase=counted.phase)
    frame.insert(0, "scope", found.path_names(frame["path"].to_numpy(), frame["phase"].to_numpy()))
    frame["phase"] = [Phase(value).label for value in frame["phase"]]
    frame["rest"] = frame["scope"].isin(REST_SCOPES)
    frame = frame.sort_values(
        ["rest", "total_ns", "scope", "phase"],
        ascending=[True, False, True, True],
        kind="stable",
        ignore_index=True,
    )
    columns = (Column("scope"), Column("phase"), *_ACCOUNT_COLUMNS)
    pinned = int(frame["rest"].sum())
    return Table("layers", "Layers by phase, self time", columns, _shared(frame), _account_notes(counted), pinned)


def phase_table(trace: Trace, found: Attribution) -> Table:
    """Time by phase; every phase has its row, with nothing in it where there is none."""
    counted = weights(trace, found)
    frame = _account(counted, phase=counted.phase).set_index("phase")
    frame = frame.reindex([int(phase) for phase in Phase], fill_value=0).reset_index()
    frame["phase"] = [Phase(value).label for value in frame["phase"]]
    return Table("phases", "Phases", (Column("phase"), *_ACCOUNT_COLUMNS), _shared(frame), _account_notes(counted))


def _account(counted: Weights, **keys: Ints) -> pd.DataFrame:
    events = pd.DataFrame(
        {
            **keys,
            "count": counted.counted.astype(np.int64),
            "total_ns": counted.total,
            "exclusive_ns": counted.exclusive,
        }
    )
    return events.groupby(list(keys), sort=True)[["count", "total_ns", "exclusive_ns"]].sum().reset_index()


def _account_notes(counted: Weights) -> tuple[str, ...]:
    if counted.on_device:
        return (
            "total: sum of device time (kernels, copies, memsets); exclusive: each busy instant in one row only,"
            " so that the rows add up to the time the device was busy",
        )
    return ("no device work in this trace: host self time on the main thread; rows add up to the steps' wall time",)


def layer_matrix(trace: Trace, found: Attribution) -> Table:
    """For people: one row a scope, one column a phase that occurs, self time."""
    counted = weights(trace, found)
    long = layer_table(trace, found).frame
    named = (Phase.COMMUNICATION, Phase.UNLAUNCHED)  # each is a rest row already, and needs no column
    present = [phase.label for phase in Phase if phase not in named and (counted.phase == phase).any()]
    wide = long.pivot_table(index="scope", columns="phase", values="total_ns", aggfunc="sum", sort=False)
    frame = wide.reindex(columns=present).reset_index()
    frame["total_ns"] = long.groupby("scope")["total_ns"].sum().reindex(frame["scope"]).to_numpy()
    frame["rest"] = frame["scope"].isin(REST_SCOPES)
    frame = frame.sort_values(["rest", "total_ns"], ascending=[True, False], kind="stable", ignore_index=True)
    columns = (
        Column("scope"),
        *(Column(phase, "ns", "time", summed=True, scale="time") for phase in present),
        Column("total_ns", "ns", "time", "total", summed=True, scale="time"),
        Column("share", "1", "share", summed=True),
    )
    pinned = int(frame["rest"].sum())
    return Table("layer_phases", "Layers, self time", columns, _shared(frame), pinned=pinned)


def step_span(found: Attribution) -> int:
    """Wall time of the steps, ns."""
    return sum(step.end - step.start for step in found.steps)


def is_own_trace(trace: Trace) -> bool:
    """True where perfkit's ranges or metadata are in the file."""
    return "perfkit" in trace.metadata or any(range_names.parse_trace(name) for name in trace.names)
