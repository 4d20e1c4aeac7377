"""Calls that give a device work, one row each, and whether the work is in the file.

A call without its event is no loss where a stream was being captured, where the call failed (the reader drops its
correlation), or where another call around it has the event. A launch of a graph without all of its events is one.
The rest is counted by kind, time and device.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec
import numpy as np
import pandas as pd

from perfkit.analysis.attribution.attribute import Attribution
from perfkit.analysis.attribution.host_view import present
from perfkit.analysis.attribution.intervals import NONE, Bools, Ints
from perfkit.analysis.kernels import calls
from perfkit.analysis.kernels.calls import Call
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.partial import Facts, Fold, Partial, Rows
from perfkit.analysis.time.short_replays import missing_events
from perfkit.analysis.time.trace_table import TraceTable
from perfkit.schema.table import Audience, Column, Table
from perfkit.trace.columns import MISSING, Trace

_NEVER = np.iinfo(np.int64).min


class Place(IntEnum):
    """Where in a process's recording a call without an event is."""

    START = 0
    """Before the first call that has one."""
    MIDDLE = 1
    END = 2
    """After the last call that has one."""


class Launches(msgspec.Struct, frozen=True):
    """One row a call, as columns; of calls inside each other the outermost."""

    name: Ints
    """Index into the trace's names."""
    kind: Ints
    """Call."""
    process: Ints
    start: Ints
    """ns."""
    has_event: Bools
    """All of them, of a graph."""
    lacks: Ints
    """How many events are missing of a graph launch that has others."""
    is_captured: Bools
    """Without an event, because it went into a graph."""
    place: Ints
    """Place."""
    at_edge: Bools
    """Without an event, but the recording may have begun or ended between the call and its work."""
    device: Ints
    """Where the work ran or, without an event, where all work of its thread or process ran; MISSING if not known."""

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def is_missing(self) -> Bools:
        """Calls whose event should be in the file, or just beyond an edge of the recording."""
        return ~self.has_event & ~self.is_captured


def launches(trace: Trace, attribution: Attribution) -> Launches:
    """Every call of the file that gives a device work and can be judged."""
    rows = _calls(trace, attribution)
    host, events = attribution.host, attribution.events
    kinds = np.where(host.is_runtime, _kinds(trace, attribution)[host.name], NONE)
    frame = pd.DataFrame(
        {
            "row": rows,
            "kind": kinds[rows],
            "thread": host.thread[rows].astype(np.int64),
            "start": host.start[rows],
            "end": host.end[rows],
            "event": _events_of(events.launch, len(host.name))[rows],
            "lacks": missing_events(trace, attribution, kinds == Call.GRAPH)[rows],
            "correlation": trace.host.correlation[host.forest.order[rows]],
        }
    )
    frame["process"] = np.array([thread.pid for thread in trace.threads], dtype=np.int64)[frame["thread"]]
    frame = _outermost(frame)
    if trace.recording.whole_graphs is not None:  # nsys recorded the launch as one piece, which is in no column
        frame.loc[frame["kind"] == Call.GRAPH, "has_event"] = True
    frame["has_event"] |= _repeated(trace, frame)
    frame["device"] = _devices(trace, frame)
    lacks = frame["lacks"].to_numpy()
    is_captured = ~frame["has_event"].to_numpy(dtype=bool) & _in_capture(trace, attribution, frame)
    has_event = frame["has_event"].to_numpy(dtype=bool) & (lacks == 0)
    place, at_edge = _places(trace, attribution, frame)
    return Launches(
        name=host.name[frame["row"]],
        kind=frame["kind"].to_numpy(),
        process=frame["process"].to_numpy(),
        start=frame["start"].to_numpy(),
        has_event=has_event,
        lacks=lacks,
        is_captured=is_captured,
        place=place,
        at_edge=at_edge & ~has_event & ~is_captured,
        device=frame["device"].to_numpy(),
    )


def all_have_events(trace: Trace, attribution: Attribution) -> bool:
    """Whether every call but memsets has an event of its own: true of most files, and soon known."""
    rows, host = _calls(trace, attribution), attribution.host
    kinds = _kinds(trace, attribution)[host.name]
    needs = rows[kinds[rows] != Call.MEMSET]
    if (_events_of(attribution.events.launch, len(host.name))[needs] == NONE).any():
        return False
    is_graph = host.is_runtime & (kinds == Call.GRAPH)
    return not is_graph.any() or not missing_events(trace, attribution, is_graph).any()


def _kinds(trace: Trace, attribution: Attribution) -> Ints:
    """The Call of each name that a call of the file has, NONE for none."""
    host = attribution.host
    kinds = np.full(len(trace.names), NONE, dtype=np.int64)
    for index in present(host.name[host.is_runtime]):
        kind = calls.kind_of(trace.names[index])
        kinds[index] = NONE if kind is None else kind
    return kinds


def _calls(trace: Trace, attribution: Attribution) -> Ints:
    """Rows of the host view. A call without a correlation cannot be judged, unless the file has no event at all."""
    host = attribution.host
    rows = np.flatnonzero(host.is_runtime)
    rows = rows[_kinds(trace, attribution)[host.name[rows]] != NONE]
    told = trace.host.correlation[host.forest.order[rows]] != MISSING
    return rows if not told.any() and not len(trace.device) else rows[told]


def _events_of(launch: Ints, hosts: int) -> Ints:
    """An event of each host row that launched one, else NONE."""
    event = np.full(hosts + 1, NONE, dtype=np.int64)
    event[launch] = np.arange(len(launch))  # NONE is the last
    return event[:-1]


def _outermost(frame: pd.DataFrame) -> pd.DataFrame:
    """Calls that are in no other (a runtime call may call the driver), with the events of those inside.

    The rows come by thread, start and longest first, as the forest has them.
    """
    before = frame.groupby("thread")["end"].cummax().groupby(frame["thread"]).shift(1, fill_value=_NEVER)
    outer = ~((frame["start"] < before) & (frame["end"] <= before)).to_numpy()
    inside = frame.groupby(np.cumsum(outer))[["event", "lacks"]].max()
    event = inside["event"].to_numpy()
    return (
        frame[outer]
        .assign(event=event, lacks=inside["lacks"].to_numpy(), has_event=event != NONE)
        .reset_index(drop=True)
    )


def _repeated(trace: Trace, frame: pd.DataFrame) -> Bools:
    """Calls whose number others have too, as in a file merged from ranks: the k-th of them has the k-th event."""
    known = np.zeros(len(frame), dtype=bool)
    without = frame[~frame["has_event"]]
    if not len(without) or not len(trace.device) or (trace.device.process != MISSING).any():
        return known  # within a process numbers are unique
    numbers, events = np.unique(trace.device.correlation, return_counts=True)
    wanted = without["correlation"].to_numpy()
    place = np.minimum(np.searchsorted(numbers, wanted), len(numbers) - 1)
    rank = without.sort_values("start", kind="stable").groupby("correlation").cumcount().sort_index().to_numpy()
    known[without.index] = (numbers[place] == wanted) & (rank + 1 < events[place])
    return known


def _devices(trace: Trace, frame: pd.DataFrame) -> Ints:
    event = frame["event"].to_numpy()
    ran = event != NONE
    device = np.full(len(frame), MISSING, dtype=np.int64)
    device[ran] = trace.device.device[event[ran]]
    for owner in ("thread", "process"):
        only = (
            pd.DataFrame({"owner": frame[owner], "device": device})[ran].groupby("owner")["device"].agg(["min", "max"])
        )
        only = only["min"].where(only["min"] == only["max"], MISSING)
        device = np.where(device == MISSING, frame[owner].map(only).fillna(MISSING).to_numpy(), device)
    return device.astype(np.int64)


def _in_capture(trace: Trace, attribution: Attribution, frame: pd.DataFrame) -> Bools:
    """Calls while their process captures a stream: on any thread, since autograd launches from one of its own."""
    host = attribution.host
    process = np.array([thread.pid for thread in trace.threads], dtype=np.int64)
    begins, ends = (
        np.flatnonzero(host.is_runtime & host.matching(test)) for test in (calls.begins_capture, calls.ends_capture)
    )
    captured = np.zeros(len(frame), dtype=bool)
    for pid in np.unique(process[host.thread[np.concatenate((begins, ends))]]):
        begin, end = (np.sort(host.start[rows[process[host.thread[rows]] == pid]]) for rows in (begins, ends))
        at_first = max(int((np.arange(1, len(end) + 1) - np.searchsorted(begin, end)).max(initial=0)), 0)
        mine = np.flatnonzero(frame["process"] == pid)
        start = frame["start"].to_numpy()[mine]
        captured[mine] = at_first + np.searchsorted(begin, start) > np.searchsorted(end, start)
    return captured


def _places(trace: Trace, attribution: Attribution, frame: pd.DataFrame) -> tuple[Ints, Bools]:
    """The Place of each call, and whether its work may lie beyond an edge of its process's recording."""
    place, at_edge = np.full(len(frame), Place.MIDDLE, dtype=np.int64), np.zeros(len(frame), dtype=bool)
    for _, group in frame.groupby("process"):
        done = group[(group["event"] != NONE) & (group["lacks"] == 0)]
        if not len(done):
            continue
        start = group["start"].to_numpy()
        first, last = done["start"].min(), done["start"].max()
        place[group.index] = np.where(start < first, Place.START, np.where(start > last, Place.END, Place.MIDDLE))
        at_edge[group.index] = _at_edge(trace, attribution, group, done)
    return place, at_edge


def _at_edge(trace: Trace, attribution: Attribution, group: pd.DataFrame, done: pd.DataFrame) -> Bools:
    """Calls that may have come just before the recording of the device began, or whose work had not ended at its end.

    How long is "just": the longest time from any call to the end of its work. Work ends in the order of the calls on
    each stream; which stream a call without an event used is not known, so it counts as pending if one stream had not
    come so far. What was called before a wait for the whole device had ended.
    """
    event, start = done["event"].to_numpy(), group["start"].to_numpy()
    ends = trace.device.end[event]
    longest = int((ends - done["start"]).max())
    begin, until = int(start.min()), max(int(group["end"].max()), int(ends.max()))
    streams = pd.DataFrame({"device": trace.device.device[event], "stream": trace.device.stream[event]})
    reached = done["start"].reset_index(drop=True).groupby([streams["device"], streams["stream"]]).max()
    last = int(reached.max())
    waited = max(int(start.min()) - 1, _last_wait(attribution, trace, group, streams["device"].nunique()))
    idle_since = np.where(start > last, np.maximum(start, ends.max()), start)
    pending = (start > reached.min()) & (start > waited) & (until - idle_since <= longest)
    early = (start < done["start"].min()) & (start - begin <= longest)
    return np.asarray(pending | early)


def _last_wait(attribution: Attribution, trace: Trace, group: pd.DataFrame, devices: int) -> int:
    """Start of the last wait for the whole device; none counts where the process has several."""
    host = attribution.host
    pids = np.array([thread.pid for thread in trace.threads], dtype=np.int64)
    waits = host.is_runtime & host.matching(calls.waits_for_device) & (pids[host.thread] == group["process"].iloc[0])
    return int(host.start[waits].max(initial=_NEVER)) if devices == 1 else _NEVER


# --- the table -------------------------------------------------------------------------------------------------

_COUNTS = ("count", "count_with_event", "count_captured", "count_at_start", "count_in_middle", "count_at_end")


def _rows(account: Account) -> Rows:
    """One row a kind of call and device, whatever part of the file is accounted for."""
    found = launches(account.trace, account.attribution)
    missing = found.is_missing
    frame = pd.DataFrame({"call": found.kind, "device": found.device, "count": 1, "count_with_event": found.has_event,
                          "count_captured": found.is_captured})  # fmt: skip
    for name, where in zip(_COUNTS[3:], Place, strict=True):
        frame[name] = missing & (found.place == where)
    frame = frame.groupby(["call", "device"]).sum().reset_index()
    numbers = np.unique(account.trace.device.device)
    frame["device"] = np.where(np.isin(frame["device"], numbers), np.searchsorted(numbers, frame["device"]), NONE)
    return {
        "source": np.full(len(frame), account.trace.source, dtype=object),
        **{name: frame[name].to_numpy(dtype=np.int64) for name in ("call", "device", *_COUNTS)},
    }


CALLS = Fold(
    "calls",
    _rows,
    keys=("source", "call", "device"),
    measures=dict.fromkeys(_COUNTS, "max"),
    texts={"device": "device_labels"},
)
"""One row a kind of call and device of each file."""


def launch_table(partial: Partial) -> Table:
    """Calls that give a device work, by kind and device: how many have an event, and where those are that have none."""
    frame = partial.of(CALLS).groupby(["call", "device"])[list(_COUNTS)].sum().reset_index()
    frame["call"] = [Call(kind).label for kind in frame["call"]]
    labels = (*partial.facts.device_labels, "")  # the last is for NONE
    frame["device"] = [labels[device] for device in frame["device"]]
    columns = (
        Column("call"),
        Column("device"),
        Column("count", "", "count", "calls", summed=True),
        Column("count_with_event", "", "count", "with an event", summed=True),
        Column("count_captured", "", "count", "captured", summed=True),
        Column("count_at_start", "", "count", "none, at the start", summed=True),
        Column("count_in_middle", "", "count", "none, in the middle", summed=True),
        Column("count_at_end", "", "count", "none, at the end", summed=True),
    )
    return Table("launches", "Calls that give the device work", columns, frame)


def _with_launches(facts: Facts) -> Audience | None:
    return "scripts" if facts.has_launches else None


LAUNCHES = TraceTable(
    "launches",
    "a kind of call that gives a device work, by device",
    "`call`, `device`, " + ", ".join(f"`{name}`" for name in _COUNTS),
    lambda partial, _: launch_table(partial),
    _with_launches,
    divides=False,
)
