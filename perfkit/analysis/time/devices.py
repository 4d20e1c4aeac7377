"""Devices, one row each: how much ran on them, how long they were busy, and from when to when."""

from __future__ import annotations

import numpy as np
import pandas as pd

from perfkit.analysis.time.cells import CELLS, Work
from perfkit.analysis.time.partial import Partial
from perfkit.analysis.time.summary import SPANS
from perfkit.analysis.time.trace_table import TraceTable, by_numbers
from perfkit.schema.table import Column, Table

_COUNTED = {"kernels": Work.KERNEL, "copies": Work.MEMCPY, "memsets": Work.MEMSET}
_COLUMNS = (
    Column("device"),
    Column("name", spare=True),
    *(Column(name, "", "count", summed=True) for name in _COUNTED),
    Column("total_ns", "ns", "time", "sum", summed=True, scale="time"),
    Column("busy_ns", "ns", "time", "busy", summed=True, scale="time"),
    Column("span_ns", "ns", "time", "first to last", scale="time"),
    Column("busy_share", "1", "share", "busy"),
)


def device_table(partial: Partial) -> Table:
    """One row a device, by its label."""
    facts, cells = partial.facts, partial.of(CELLS)
    spans = partial.of(SPANS).set_index("device")
    frame = cells.groupby("device")[["total_ns", "exclusive_ns"]].sum()
    frame = frame.rename(columns={"exclusive_ns": "busy_ns"})
    for name, work in _COUNTED.items():
        counts = cells[cells["work"] == work].groupby("device")["count"].sum()
        frame[name] = counts.reindex(frame.index, fill_value=0)
    frame["span_ns"] = spans["last"] - spans["first"]
    frame["busy_share"] = (frame["busy_ns"] / frame["span_ns"]).where(frame["span_ns"] > 0, np.nan)
    names = {label: device.name for label, device in facts.devices}
    labels = sorted((facts.device_labels[number], number) for number in frame.index)
    labels.sort(key=lambda device: by_numbers(device[0]))
    frame = frame.loc[[number for _, number in labels]].reset_index(drop=True)
    frame["device"] = pd.Series([label for label, _ in labels], dtype=object)
    frame["name"] = pd.Series([names.get(label) for label, _ in labels], dtype=object)
    return Table("devices", "Devices", _COLUMNS, frame, ("busy: the device ran something; share of first to last",))


DEVICES = TraceTable(
    "devices",
    "a device (with device work only)",
    "`device`, `name`, `kernels`, `copies`, `memsets`, `total_ns`, `busy_ns`, `span_ns`, `busy_share`",
    lambda partial, _: device_table(partial),
    lambda facts: ("everyone" if len(facts.device_labels) > 1 else "scripts") if facts.on_device else None,
    divides=False,
)
