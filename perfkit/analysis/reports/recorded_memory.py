"""A recording of memory -> the report that `perfkit memory` shows: the peak, when it is, and what it is made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.findings.memory.catalogue import FINDINGS, Find
from perfkit.analysis.memory.lifetimes import LABELS, Kind, Lifetimes, Span
from perfkit.analysis.memory.recorded import live, tables
from perfkit.analysis.memory.recorded.account import MemoryAccount, the_peak
from perfkit.analysis.memory.recorded.live import Peak
from perfkit.schema import units
from perfkit.schema.finding import APART, Evidence, Finding, Rule
from perfkit.schema.report import LazyTable, Report
from perfkit.schema.table import Audience, Column, Table
from perfkit.trace.columns import MISSING

MEMORY_HELD = Rule(
    "memory-held", "memory", "how much lived at the peak, when that was, and what it was for", read="first"
)
_NUMBER = re.compile(r"\d+")
_SAID = 3
"""Kinds that the first sentence names."""


@dataclass(frozen=True, slots=True)
class MemoryTable:
    """A table of a recording of memory, made when it is asked for."""

    name: str
    row: str
    """What a row is, for the documents."""
    build: Callable[[MemoryAccount], Table]
    audience: Audience = "everyone"
    is_there: Callable[[MemoryAccount], bool] = lambda _: True
    """Whether such a recording has it at all."""


def several_devices(account: MemoryAccount) -> bool:
    """Whether memory of more than one device was recorded."""
    return len(np.unique(account.lives.device)) > 1


def kinds(account: MemoryAccount) -> Table:
    """What lives at the moment by kind alone, the most first."""
    frame = tables.peak(account).frame
    grouped = frame.groupby("kind", sort=False)[["bytes", "share", "pieces"]].sum().reset_index()
    grouped = grouped.sort_values("bytes", ascending=False, kind="stable", ignore_index=True)
    columns = (
        Column("kind"),
        Column("bytes", "B", "bytes", summed=True, scale="bytes"),
        Column("share", "1", "share", summed=True),
        Column("pieces", "", "count", summed=True, spare=True),
    )
    return Table("kinds", "By kind", columns, grouped, pinned=len(grouped))


def folded(scopes: Iterable[str]) -> list[str]:
    """Scopes with a star for each number, by which those of all layers are one: `layers.*.attn`, `block *`."""
    return [_NUMBER.sub("*", scope) for scope in scopes]


def parts(account: MemoryAccount) -> Table:
    """What lives at the moment by kind and scope, layers that differ in their number alone as one row."""
    frame = tables.peak(account).frame
    frame = frame.assign(scope=folded(frame["scope"]), x=1)
    grouped = frame.groupby(["kind", "scope"], sort=False)[["x", "bytes", "share", "pieces"]].sum().reset_index()
    grouped = grouped.sort_values("bytes", ascending=False, kind="stable", ignore_index=True)
    columns = (
        Column("kind"),
        Column("scope"),
        Column("x", "", "count", "x"),
        Column("bytes", "B", "bytes", summed=True, scale="bytes"),
        Column("share", "1", "share", summed=True),
        Column("pieces", "", "count", summed=True, spare=True),
    )
    reasons = tuple(f"{LABELS[Kind.UNKNOWN]}: {reason}" for reason in account.lives.reasons)
    return Table("parts", "By kind and layer", columns, grouped, reasons)


def devices(account: MemoryAccount) -> Table:
    """The peak of each device, the highest first."""
    rows = [
        {"device": label(peak.device), "peak_bytes": peak.bytes, "where": where(account.lives, peak)}
        for peak in live.peaks(account.lives)
    ]
    columns = (Column("device"), Column("peak_bytes", "B", "bytes", "peak", scale="bytes"), Column("where"))
    return Table("devices", "The peak of each device", columns, pd.DataFrame(rows), pinned=len(rows))


TABLES: tuple[MemoryTable, ...] = (
    MemoryTable("devices", "a device (with several only)", devices, is_there=several_devices),
    MemoryTable("kinds", "a kind of memory", kinds),
    MemoryTable("parts", "a kind of memory in a scope, layers that differ in their number alone as one", parts),
    MemoryTable("peak", "a kind of memory in a scope, at the peak or at `--at`", tables.peak, "scripts"),
    MemoryTable("largest", "a size that lives then, of one stack", tables.largest),
    MemoryTable("live", "a moment, with what lives by kind", tables.over_time, "scripts"),
)
"""Every table of a recording of memory, in the order of reading."""
NAMES = tuple(table.name for table in TABLES)



def report(account: MemoryAccount, title: str, findings: Iterable[Find] = FINDINGS) -> Report:
    """What lived at the peak, or at the moment that was asked for."""
    return Report(
        title,
        lambda: summary(account),
        (LazyTable(one.name, lambda one=one: one.build(account), one.audience)  # type: ignore[misc]
         for one in TABLES if one.is_there(account)),
        findings=lambda: (held(account), *filter(None, (find(account) for find in findings))),
        main="peak",
    )  # fmt: skip


def summary(account: MemoryAccount) -> dict[str, Any]:
    """Scalars. `peak_bytes` is of the device with the highest peak, whatever moment the tables are of."""
    lives, at = account.lives, account.at
    peak = the_peak(lives)
    row = _made_at(lives, peak)
    return {
        "device": label(at.device),
        "peak_bytes": peak.bytes,
        "peak_phase": None if (phase := _phase(lives, peak)) is None else phase.label,
        "peak_scope": _text(lives.scope, row, lives.scopes),
        "peak_time_ns": _time(lives, peak),
        "at_bytes": at.bytes,
        "at_time_ns": _time(lives, at),
        "kinds": dict(zip(*(kinds(account).frame[name].tolist() for name in ("kind", "bytes")), strict=True)),
    }


def held(account: MemoryAccount) -> Finding:
    """The first sentence: how much, when, and what for."""
    lives, at = account.lives, account.at
    peak = the_peak(lives)
    by_kind = kinds(account).frame
    parts = [
        f"{kind} {units.size(held)} ({units.percent(share)})"
        for kind, held, share in by_kind[["kind", "bytes", "share"]].head(_SAID).itertuples(index=False)
    ]
    place = where(lives, at)
    if at == peak:
        first = f"peak {units.size(at.bytes)}" + (f" in {place}" if place else "")
    else:
        share = units.percent(at.bytes / max(peak.bytes, 1))
        first = f"{units.size(at.bytes)} live" + (f" in {place}" if place else "")
        first += f", {share} of the peak ({units.size(peak.bytes)})"
    text = first + (f", of which {', '.join(parts)}" if parts else "")
    more = "".join(f"{APART}{part}" for part in (_when(lives, at), _others(lives, at)) if part)
    evidence = tuple(Evidence("kinds", {"kind": str(kind)}) for kind in by_kind["kind"].head(_SAID))
    return Finding(MEMORY_HELD, text + more, evidence=evidence, where=place)


def where(lives: Lifetimes, at: Peak) -> str:
    """`backward of layers.11`: the phase and the layer of what was allocated then; empty where neither is known."""
    phase, row = _phase(lives, at), _made_at(lives, at)
    scope = _text(lives.scope, row, lives.scopes)
    place = _text(lives.stack, row, lives.places) if lives.places else ""
    words = "" if phase is None else phase.label
    if scope:
        return f"{words} of {scope}" if words else scope
    return f"{words} at {place}" if words and place else words or place


def label(device: int) -> str:
    """How a device is called."""
    return "CPU" if device == MISSING else f"cuda:{device}"


def _when(lives: Lifetimes, at: Peak) -> str:
    time = _time(lives, at)
    step = _step(lives, at)
    of_step = "" if step is None else f"step {step}"
    after = "" if time is None else f"{units.duration_ns(time)} after the first event"
    return ", ".join(filter(None, (of_step, after)))


def _others(lives: Lifetimes, at: Peak) -> str:
    """The peaks of the other devices."""
    others = [peak for peak in live.peaks(lives) if peak.device != at.device and peak.bytes]
    said = ", ".join(f"{label(peak.device)} {units.size(peak.bytes)}" for peak in others)
    return f"on {label(at.device)}; {said}" if said else ""


def _made_at(lives: Lifetimes, at: Peak) -> int:
    """Row of what was allocated at a moment; MISSING for none."""
    rows = np.flatnonzero((lives.begin == at.moment) & (lives.device == at.device))
    return int(rows[0]) if len(rows) else MISSING


def _phase(lives: Lifetimes, at: Peak) -> Phase | None:
    """The phase of a moment; None where it is not known."""
    row = _made_at(lives, at)
    phase = Phase(lives.phase[row]) if row != MISSING else Phase.OTHER
    if phase is Phase.OTHER:
        spans = (span.phase for span in lives.spans if _within(span, at))
        phase = next(spans, Phase.OTHER)
    return None if phase is Phase.OTHER else phase


def _step(lives: Lifetimes, at: Peak) -> int | None:
    """The step of a moment, where there are several."""
    if len({span.step for span in lives.spans} - {MISSING}) < 2:
        return None
    steps = (span.step for span in lives.spans if _within(span, at))
    return next((step for step in steps if step != MISSING), None)


def _within(span: Span, at: Peak) -> bool:
    return span.device == at.device and span.first <= at.moment <= span.last


def _text(codes: np.ndarray, row: int, names: tuple[str, ...]) -> str:
    return "" if row == MISSING or codes[row] == MISSING else names[codes[row]]


def _time(lives: Lifetimes, at: Peak) -> int | None:
    """ns from the device's first event to a moment; None where the recording has no times."""
    if not lives.has_times:
        return None
    moments, _ = live.line(lives, at.device)
    return int(lives.time[max(at.moment, int(moments[min(1, len(moments) - 1)]))] - live.times(lives, moments)[0])
