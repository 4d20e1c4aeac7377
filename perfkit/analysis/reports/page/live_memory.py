"""The section of the memory timeline: what lived when, by kind, with the phases and the peak."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.memory.lifetimes import LABELS, Kind, Lifetimes
from perfkit.analysis.memory.recorded import live
from perfkit.analysis.memory.recorded.account import MemoryAccount, the_peak
from perfkit.analysis.reports import recorded_memory
from perfkit.schema import units
from perfkit.schema.chart import Chart, Panel, Series
from perfkit.schema.page.sections import Part, Section
from perfkit.schema.report import Report
from perfkit.schema.table import Table
from perfkit.trace.columns import Int64s

MOST_POINTS = 2_000
"""Moments that are drawn: of each stretch of events the one with the most bytes."""
_ANCHOR, _TITLE = "memory-timeline", "Memory timeline"


def part(account: MemoryAccount, report: Report, source: str) -> Part:
    """What there is to say of a recording of memory."""
    tables = tuple(table for table in report.seen_by("people").tables if len(table))
    return Part(title=report.title, findings=report.findings, sections=(section(account, tables),), source=source)


def section(account: MemoryAccount, tables: Sequence[Table] = ()) -> Section:
    """Live bytes over the recording, stacked by kind; of several devices the one that is looked at."""
    lives, at = account.lives, account.at
    if not len(lives):
        return Section(anchor=_ANCHOR, title=_TITLE, lacking="the recording has no allocation in it")
    moments, since, held = live.by_kind(lives, at.device, MOST_POINTS)
    x = _x(lives, moments, since)
    # What stays is at the bottom, what comes and goes above it.
    stacked = [
        Series(label=LABELS[kind], x=x, y=tuple(map(float, used)), look="stack", color=int(kind))
        for kind, used in sorted(held.items())
    ]
    peak = the_peak(lives)
    place = recorded_memory.where(lives, peak)
    takeaway = f"the peak is {units.size(peak.bytes)}" + (f", in {place}" if place else "")
    if peak.device == at.device:
        mark = x[int(np.sum(list(held.values()), axis=0).argmax())]
        label = f"peak, {units.size(peak.bytes)}"
        stacked.append(Series(label=label, x=(mark,), y=(float(peak.bytes),), look="circles", color=6, texts=(label,)))
    panel = Panel(
        series=tuple(stacked),
        strip=_strip(lives, at.device, moments, x),
        x_title="time since the first event" if lives.has_times else "allocations and frees",
        x_quantity="s" if lives.has_times else "",
        y_title="live bytes, as requested",
        y_quantity="B",
    )
    notes = ["of each stretch of events the moment with the most bytes is drawn"] if len(moments) == MOST_POINTS else []
    return Section(
        anchor=_ANCHOR, title=_TITLE, takeaway=takeaway, figures=(Chart(rows=((panel,),)),), tables=tuple(tables),
        notes=(*notes, *(f"{LABELS[Kind.UNKNOWN]}: {reason}" for reason in lives.reasons)),
    )  # fmt: skip


def _x(lives: Lifetimes, moments: Int64s, since: Int64s) -> tuple[float, ...]:
    """Seconds after the first event; without times the number of the event on its device."""
    values = since / 1e9 if lives.has_times else (moments - moments[0]).astype(float)
    return tuple(values.tolist())


def _strip(
    lives: Lifetimes, device: int, moments: Int64s, x: tuple[float, ...]
) -> tuple[tuple[float, float, str], ...]:
    """The phases, each as long as the moments that are drawn of it."""
    found = []
    for span in lives.spans:
        inside = np.flatnonzero((moments >= span.first) & (moments <= span.last))
        if span.device != device or span.phase is Phase.OTHER or not len(inside):
            continue
        end = x[min(int(inside[-1]) + 1, len(x) - 1)]
        found.append((x[int(inside[0])], end, span.phase.label))
    return tuple(found)
