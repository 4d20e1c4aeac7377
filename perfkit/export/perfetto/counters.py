"""Counters: what the file has (its own counters, memory), and what follows from it: queue depth, FLOP/s."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from perfkit.analysis.attribution.intervals import NONE, Ints, at
from perfkit.analysis.costs.flops.table import owners_of_events
from perfkit.analysis.costs.flops.work import work_of
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.idle.queue import depth_of
from perfkit.trace.columns import MISSING
from perfkit.trace.detail_columns import Counters, MemoryEvents

_CPU = 0


@dataclass(frozen=True, slots=True)
class Counter:
    """Values over time, each from its time on."""

    name: str
    unit: str
    time: Ints
    """ns, in order."""
    value: npt.NDArray[Any]
    device: int = MISSING
    """The device's number; MISSING for what is of none."""


def derived(account: Account) -> Iterator[Counter]:
    """Of each device the depth of its queue, and FLOP/s where the file has shapes."""
    numbers = np.unique(account.trace.device.device).tolist()
    rate = _rates(account)
    for index, number in enumerate(numbers):
        depth = depth_of(account, index)
        yield Counter("queue depth", "", depth.time, depth.depth, number)
        if rate is not None:
            yield _flops_per_s(account, rate, number)


def _rates(account: Account) -> npt.NDArray[np.float64] | None:
    """FLOP/s of each device event of the file: the operations of its operator over the time of all its kernels."""
    operands = account.operands
    work = work_of(operands, account.attribution)
    owner, events = owners_of_events(account, work), account.trace.device
    counted = owner != NONE
    if not counted.any():
        return None
    time = np.bincount(owner[counted], weights=(events.end - events.start)[counted], minlength=len(work.flops))
    per_second = np.divide(work.flops * 1e9, time, out=np.zeros(len(time)), where=time > 0)
    return at(per_second, owner, absent=0.0)


def _flops_per_s(account: Account, rate: npt.NDArray[np.float64], device: int) -> Counter:
    """The rates of a device's events, added up where they run at the same time."""
    events = account.trace.device
    rows = np.flatnonzero((events.device == device) & (rate > 0))
    time = np.concatenate((events.start[rows], events.end[rows]))
    change = np.concatenate((rate[rows], -rate[rows]))
    running = np.repeat(np.array([1, -1]), len(rows))
    order = np.argsort(time, kind="stable")
    value = np.where(
        np.cumsum(running[order]) > 0, np.cumsum(change[order]), 0.0
    )  # no rest of rounding where none runs
    time = time[order]
    is_last = np.diff(time, append=np.iinfo(np.int64).max) != 0
    return Counter("FLOP/s", "FLOP/s", time[is_last], np.maximum(value[is_last], 0.0), device)


def recorded(counters: Counters) -> Iterator[Counter]:
    """The file's own counters, a row for each series, without values that are no number: JSON has none for them."""
    is_number = np.isfinite(counters.value)
    keys = np.stack((counters.process, counters.name, counters.series))
    for key in np.unique(keys, axis=1).T:
        rows = np.flatnonzero((keys == key[:, None]).all(axis=0) & is_number)
        rows = rows[np.argsort(counters.time[rows], kind="stable")]
        process, name, series = key.tolist()
        title = f"{counters.names[name]} {counters.names[series]} (process {process})"
        if len(rows):
            yield Counter(title, "unit of the file", counters.time[rows], counters.value[rows])


def memory(events: MemoryEvents) -> Iterator[Counter]:
    """Bytes in use and bytes held by torch's allocators, by device."""
    for kind, device in np.unique(np.stack((events.device_type, events.device)), axis=1).T.tolist():
        for name, column in (("memory allocated", events.allocated), ("memory reserved", events.reserved)):
            rows = np.flatnonzero((events.device_type == kind) & (events.device == device) & (column != MISSING))
            rows = rows[np.argsort(events.time[rows], kind="stable")]
            if len(rows):
                where = MISSING if kind == _CPU else device
                title = f"{name} (CPU)" if kind == _CPU else name
                yield Counter(title, "B", events.time[rows], column[rows], where)
