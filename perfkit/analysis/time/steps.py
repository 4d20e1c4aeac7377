"""Steps, one row each and for each device: wall time, how much of it the device ran something, and the pace."""

from __future__ import annotations

import numpy as np
import pandas as pd

from perfkit.analysis.attribution.attribute import owners_of_events
from perfkit.analysis.attribution.intervals import NONE, covered
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.paces import STEP_PACES
from perfkit.analysis.time.partial import Fold, Partial, Rows
from perfkit.analysis.time.trace_table import TraceTable, by_numbers
from perfkit.schema.table import Column, Table
from perfkit.trace.columns import MISSING

_BUSY = "the device ran something between the step's begin and end on the host, of whatever step and phase"
_PACE = (
    "from when the step before is done, or from its begin if that is later, until all work is done that was launched up"
    " to its end"
)
_COLUMNS = (
    Column("step"),
    Column("name", spare=True),
    Column("device"),
    Column("wall_ns", "ns", "time", "wall", scale="time"),
    Column("busy_ns", "ns", "time", "busy", summed=True, scale="time", note=_BUSY),
    Column("idle_ns", "ns", "time", "idle", summed=True, scale="time", note="the rest of the wall time"),
    Column("pace_ns", "ns", "time", "pace", scale="time", note=_PACE),
)


def _rows(account: Account) -> Rows:
    """The steps accounted for, and what ran in them, on all devices of their process."""
    trace, events = account.trace, account.trace.device
    steps = [account.attribution.steps[index] for index in account.steps]
    start, end = (np.array([getattr(step, at) for step in steps], dtype=np.int64) for at in ("start", "end"))
    owner = np.array([trace.threads[step.thread].pid for step in steps], dtype=np.int64)
    process = owners_of_events(trace, account.attribution)
    unknown = bool((process == MISSING).all())  # one process, or whose devices they are
    owner = np.full(len(steps), MISSING, dtype=np.int64) if unknown else owner
    number = np.arange(len(steps))
    columns = [(number, owner, np.full(len(steps), NONE), np.zeros(len(steps), dtype=np.int64))]
    for place, device in enumerate(np.unique(events.device).tolist()):
        rows = np.flatnonzero(events.device == device)
        known = np.unique(process[rows][process[rows] != MISSING])
        here = np.isin(owner, known) | (len(known) == 0)
        busy = covered(start[here], end[here], events.start[rows], events.end[rows])
        columns.append((number[here], owner[here], np.full(len(busy), place), busy))
    step, owner, on, busy = (np.concatenate(column) for column in zip(*columns, strict=True))
    names = np.array([steps[index].name for index in step], dtype=object)
    return {"step": step, "owner": owner, "device": on, "name": names, "busy_ns": busy}


STEP_TIMES = Fold(
    "step times",
    _rows,
    keys=("step", "owner", "device", "name"),
    measures={"busy_ns": "sum"},
    texts={"device": "device_labels"},
)
"""Each step, without a device, and the busy time in it of each device. `owner`: its process, where devices have one."""


def step_table(partial: Partial) -> Table:
    """One row for each step and device of its process; without one the step alone, neither busy nor idle."""
    facts, rows = partial.facts, partial.of(STEP_TIMES)
    steps = rows[rows["device"] == NONE].drop(columns=["device", "busy_ns"])
    busy = rows[rows["device"] != NONE].astype({"busy_ns": pd.Int64Dtype()})
    devices = busy[["owner", "device"]].drop_duplicates()  # a recording's part may lack events of one
    frame = steps.merge(devices, how="left", on="owner").merge(busy, how="left", on=list(STEP_TIMES.keys))
    has_device = frame["device"].notna()
    frame["busy_ns"] = frame["busy_ns"].fillna(0).where(has_device)
    frame["wall_ns"] = np.array(facts.steps, dtype=np.int64)[frame["step"]]
    frame["idle_ns"] = frame["wall_ns"] - frame["busy_ns"]
    paces = partial.of(STEP_PACES).set_index("step")["pace_ns"]
    frame["pace_ns"] = frame["step"].map(paces).astype(pd.Int64Dtype()).where(has_device)
    labels = [None if pd.isna(device) else facts.device_labels[int(device)] for device in frame["device"]]
    frame["device"] = pd.Series(labels, frame.index, dtype=object)
    order = sorted(range(len(frame)), key=lambda row: (frame["step"].iat[row], by_numbers(labels[row] or "")))
    notes = () if len(frame) else ("this trace has no steps",)
    return Table("steps", "Steps", _COLUMNS, frame.iloc[order].reset_index(drop=True), notes)


STEPS = TraceTable(
    "steps",
    "a step of the trace, and a device in it; without a device the step alone",
    "`step`, `name`, `device`, `wall_ns`, `busy_ns`, `idle_ns`, `pace_ns`",
    lambda partial, _: step_table(partial),
    lambda _: "scripts",
    divides=False,
)
