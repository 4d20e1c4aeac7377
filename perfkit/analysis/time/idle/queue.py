"""How work comes to a device: launch rate, launch latency, and the depth of the queue of launched work."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from perfkit.analysis.attribution.intervals import NONE, Ints
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.idle.regions import Regions
from perfkit.analysis.time.idle.tables import with_texts
from perfkit.analysis.time.partial import Fold, Partial, Rows
from perfkit.analysis.time.trace_table import TraceTable
from perfkit.schema.table import Column, Table

_MEASURES: dict[str, Any] = {
    "wall_ns": "sum",
    "launches": "sum",
    "events": "sum",
    "wait_ns": "sum",
    "late": "sum",
    "latency_ns": "sum",
    "latency_min_ns": "min",
    "latency_max_ns": "max",
    "depth_ns": "sum",
    "depth_max": "max",
    "queued_ns": "sum",
}
_MOST = np.iinfo(np.int64).max


def _rows(account: Account) -> Rows:
    parts = [_of_device(account, device, regions) for device, regions in enumerate(account.wall.regions)]
    empty = {name: np.empty(0, dtype=np.int64) for name in ("device", "step", *_MEASURES)}
    return {name: np.concatenate([column, *(part[name] for part in parts)]) for name, column in empty.items()}


def _of_device(account: Account, device: int, regions: Regions) -> dict[str, Ints]:
    """The queue of a device in each region. Work counts where it was launched, time where it passed."""
    host, gaps = account.attribution.host, account.wall.gaps
    rows, called, begun = _queued(account, device)
    launch = account.attribution.events.launch
    calls = np.sort(host.start[np.unique(launch[rows])])
    late = np.flatnonzero((gaps.device == device) & (gaps.launch != NONE))
    late = late[gaps.is_first[late] | (host.start[gaps.launch[late]] >= gaps.start[late])]
    late = late[np.argsort(host.start[gaps.launch[late]], kind="stable")]
    late_at = host.start[gaps.launch[late]]
    latency = np.maximum(gaps.end[late] - late_at, 0)
    depth = Depth(called, np.sort(begun))
    launches, launched, enders = (_within(times, regions) for times in (calls, called, late_at))
    return {
        "device": np.full(len(regions.step), device, dtype=np.int64),
        "step": regions.step,
        "wall_ns": regions.end - regions.start,
        "launches": launches[1] - launches[0],
        "events": launched[1] - launched[0],
        "wait_ns": _reduced(np.add, begun - called, launched, 0),
        "late": enders[1] - enders[0],
        "latency_ns": _reduced(np.add, latency, enders, 0),
        "latency_min_ns": _reduced(np.minimum, latency, enders, _MOST),
        "latency_max_ns": _reduced(np.maximum, latency, enders, 0),
        "depth_ns": depth.total(regions),
        "depth_max": depth.largest(regions),
        "queued_ns": depth.some(regions),
    }


def _queued(account: Account, device: int) -> tuple[Ints, Ints, Ints]:
    """A device's events whose launch is in the file; by the time of that: when each was launched, and when it began."""
    events, host, launch = account.trace.device, account.attribution.host, account.attribution.events.launch
    rows = np.flatnonzero((events.device == np.unique(events.device)[device]) & (launch != NONE))
    called = host.start[launch[rows]]
    order = np.argsort(called, kind="stable")
    return rows, called[order], np.maximum(events.start[rows], called)[order]


def depth_of(account: Account, device: int) -> Depth:
    """The queue of a device, an index into the account's labels."""
    _, called, begun = _queued(account, device)
    return Depth(called, np.sort(begun))


class Depth:
    """How much was launched and had not begun, over time: `depth[k]` from `time[k]` on, ns."""

    def __init__(self, launched: Ints, begun: Ints) -> None:
        time = np.concatenate((launched, begun))
        change = np.repeat(np.array([1, -1]), [len(launched), len(begun)])
        order = np.argsort(time, kind="stable")
        time, depth = time[order], np.cumsum(change[order])
        is_last = np.append(np.diff(time) != 0, True) if len(time) else np.zeros(0, dtype=bool)
        self.time, self.depth = time[is_last], depth[is_last]

    def total(self, regions: Regions) -> Ints:
        """The depth, added up over the time of each region."""
        return self._integral(self.depth, regions)

    def some(self, regions: Regions) -> Ints:
        """For how long anything was queued."""
        return self._integral((self.depth > 0).astype(np.int64), regions)

    def largest(self, regions: Regions) -> Ints:
        """The largest depth in each region."""
        begin = np.maximum(np.searchsorted(self.time, regions.start, side="right") - 1, 0)
        until = np.searchsorted(self.time, regions.end, side="left")
        return _reduced(np.maximum, self.depth, (begin, np.maximum(begin, until)), 0)

    def _integral(self, height: Ints, regions: Regions) -> Ints:
        before = np.concatenate(([0], np.cumsum(height[:-1] * np.diff(self.time)))) if len(height) else height

        def until(time: Ints) -> Ints:
            place = np.searchsorted(self.time, time, side="right") - 1
            known = place >= 0
            sums = np.zeros(len(time), dtype=np.int64)
            at = place[known]
            sums[known] = before[at] + height[at] * (time[known] - self.time[at])
            return sums

        return until(regions.end) - until(regions.start)


def _within(times: Ints, regions: Regions) -> tuple[Ints, Ints]:
    """Which of ordered times lie in each region: from the one index up to the other."""
    begin, until = np.searchsorted(times, regions.start), np.searchsorted(times, regions.end)
    return begin, until


def _reduced(how: Any, values: Ints, within: tuple[Ints, Ints], empty: int) -> Ints:
    """The values from one index up to another, row by row, as one number; `empty` for none."""
    begin, until = within
    if not len(begin):
        return begin
    result = how.reduceat(np.append(values, empty), np.stack((begin, until), axis=1).ravel())[::2]
    return np.where(begin < until, result, empty)


QUEUE_TIMES = Fold(
    "queue",
    _rows,
    keys=("device", "step"),
    measures=_MEASURES,
    texts={"device": "device_labels"},
)
"""What was launched in each step for each device, and how much of it waited for how long."""

_LATENCY = "from the call to the start of its work, where the device had nothing to run"
_COLUMNS = (
    Column("device"),
    Column("step"),
    Column("launches", "", "count", summed=True),
    Column("launches_per_s", "/s", "rate", "launches/s"),
    Column("latency_mean_ns", "ns", "time", "mean latency", scale="latency", note=_LATENCY),
    Column("latency_min_ns", "ns", "time", "min", scale="latency", spare=True),
    Column("latency_max_ns", "ns", "time", "max", scale="latency", spare=True),
    Column("wait_mean_ns", "ns", "time", "mean wait", scale="wait", note="the same for all work"),
    Column("depth_mean", "", "rate", "mean depth", note="work that was launched and had not begun"),
    Column("depth_max", "", "count", "largest"),
    Column("queued_share", "1", "share", "not empty", note="share of the wall time with such work"),
)


def queue_table(partial: Partial) -> Table:
    """One row for each device and step; step null for what lies outside."""
    frame = with_texts(partial.of(QUEUE_TIMES), partial.facts)

    def ratio(part: str, whole: str) -> pd.Series:
        return (frame[part] / frame[whole]).where(frame[whole] > 0, np.nan)

    has_late = frame["late"] > 0
    frame = frame.assign(
        launches_per_s=ratio("launches", "wall_ns") * 1e9,
        latency_mean_ns=ratio("latency_ns", "late"),
        latency_min_ns=frame["latency_min_ns"].astype(pd.Int64Dtype()).where(has_late),
        latency_max_ns=frame["latency_max_ns"].astype(pd.Int64Dtype()).where(has_late),
        wait_mean_ns=ratio("wait_ns", "events"),
        depth_mean=ratio("depth_ns", "wall_ns"),
        queued_share=ratio("queued_ns", "wall_ns"),
    )
    return Table("queue", "Launches and the device's queue", _COLUMNS, frame)


QUEUE = TraceTable(
    "queue",
    "a device and a step, step null outside (with a device only)",
    "`device`, `step`, `launches`, `launches_per_s`, `latency_mean_ns`, `latency_min_ns`, `latency_max_ns`, "
    "`wait_mean_ns`, `depth_mean`, `depth_max`, `queued_share`",
    lambda partial, _: queue_table(partial),
    lambda facts: "everyone" if facts.on_device else None,
    divides=False,
)
