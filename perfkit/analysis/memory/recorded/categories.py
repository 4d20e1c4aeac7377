"""A timeline of torch.profiler's `export_memory_timeline` -> the report of its peak, by PyTorch's own categories."""

from __future__ import annotations

import numpy as np
import pandas as pd

from perfkit.errors import UsageError
from perfkit.schema import units
from perfkit.schema.finding import Finding, Rule
from perfkit.schema.report import Report
from perfkit.schema.table import Column, Table
from perfkit.trace.snapshot.timeline import CATEGORIES, MemoryTimeline

TIMELINE_PEAK = Rule(
    "timeline-peak", "memory", "how much lived at the peak of a memory timeline of torch.profiler", read="first"
)
_NAMED = 3
"""Categories that the sentence names."""


def report(timeline: MemoryTimeline, title: str) -> Report:
    """The peak, when it was, and what lived at it and at its own peak, category by category.

    Raises UsageError where the timeline is empty.
    """
    if not len(timeline.time):
        raise UsageError(f"{title} is a memory timeline without a moment: record some steps with profile_memory=True")
    live = timeline.bytes.sum(axis=1)
    row = int(live.argmax())
    at_peak = timeline.bytes[row]
    peak, at_ns = int(live[row]), int(timeline.time[row] - timeline.time[0])
    order = np.argsort(-at_peak, kind="stable")
    frame = pd.DataFrame(
        {
            "kind": [CATEGORIES[category] for category in order],
            "bytes": at_peak[order],
            "share": at_peak[order] / max(peak, 1),
            "most_bytes": timeline.bytes.max(axis=0)[order],
        }
    )
    frame = frame[frame["most_bytes"] > 0].reset_index(drop=True)
    columns = (
        Column("kind"),
        Column("bytes", "B", "bytes", summed=True, scale="bytes"),
        Column("share", "1", "share", summed=True),
        Column("most_bytes", "B", "bytes", "most at any time", scale="bytes"),
    )
    notes = ("kinds are those of torch.profiler; a timeline has no layers and no stacks: a snapshot has",)
    named = [f"{units.size(size)} {kind}" for kind, size in zip(frame["kind"], frame["bytes"], strict=True) if size]
    first = ", ".join(named[:_NAMED])
    whole = units.duration_ns(int(timeline.time[-1] - timeline.time[0]))
    text = f"{units.size(peak)} lived at the peak, {units.duration_ns(at_ns)} after the first of {whole}: {first}"
    table = Table("kinds", "By kind at the peak", columns, frame, notes, pinned=len(frame))
    summary = {"peak_bytes": peak, "peak_ns": at_ns, "moments": len(timeline.time)}
    return Report(title, summary, (table,), findings=(Finding(TIMELINE_PEAK, text),))
