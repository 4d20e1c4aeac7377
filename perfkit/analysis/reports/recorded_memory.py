"""A recording of memory -> the report that `perfkit memory` shows: the peak, when it is, and what it is made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.findings.memory import catalogue
from perfkit.analysis.findings.memory.catalogue import FINDINGS, Find
from perfkit.analysis.memory.lifetimes import LABELS, Kind, Lifetimes, Span
from perfkit.analysis.memory.recorded import allocator, curves, live, saved, steps, tables
from perfkit.analysis.memory.recorded.account import MemoryAccount, the_peak
from perfkit.analysis.memory.recorded.live import Peak
from perfkit.analysis.reports import predicted
from perfkit.schema import units
from perfkit.schema.config import RunConfig
from perfkit.schema.finding import APART, Evidence, Finding, Rule
from perfkit.schema.parts.workloads import Own
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


def has_phases(account: MemoryAccount) -> bool:
    """Whether the recording tells phases."""
    return any(span.phase is not Phase.OTHER for span in account.lives.spans)


def has_steps(account: MemoryAccount) -> bool:
    """Whether the recording tells several steps."""
    return len({span.step for span in account.lives.spans} - {MISSING}) > 1


def has_backward(account: MemoryAccount) -> bool:
    """Whether the recording tells when backward was."""
    return any(span.phase is Phase.BACKWARD for span in account.lives.spans)


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


def blocks(account: MemoryAccount) -> Table:
    """What each block keeps for backward, blocks that differ in their number alone as one row."""
    table = saved.saved(account)
    frame = table.frame
    sums = [name for name in frame.columns if name.endswith("bytes")]
    frame = frame.assign(block=folded(frame["block"]), x=1)
    frame = frame.groupby("block", sort=False)[["x", *sums]].sum().reset_index()
    frame = frame.assign(each_bytes=frame["bytes"] / frame["x"])
    frame = frame.sort_values("bytes", ascending=False, kind="stable", ignore_index=True)
    columns = (
        Column("block"),
        Column("x", "", "count", "x"),
        Column("each_bytes", "B", "bytes", "each keeps", scale="bytes"),
        Column("bytes", "B", "bytes", "kept for backward", summed=True, scale="bytes"),
        *((Column("hooks_bytes", "B", "bytes", "by hooks", summed=True, scale="bytes"),) if account.notes else ()),
        Column("gradient_bytes", "B", "bytes", "gradients made", summed=True, scale="bytes"),
        Column("returned_bytes", "B", "bytes", "returned", summed=True, scale="bytes"),
    )
    notes = ("kept: made by forward, freed by backward; returned: less the gradients that its backward made",)
    return Table("blocks", "What blocks keep for backward", columns, frame, (*notes, *table.notes))


def kept_operations(account: MemoryAccount) -> Table:
    """The operations that keep most in one block, blocks that differ in their number alone as one."""
    frame = saved.operations(account).frame
    frame = frame.assign(block=folded(frame["block"]), x=1)
    frame = frame.groupby(["block", "operation"], sort=False)[["x", "bytes"]].sum().reset_index()
    whole = frame.groupby("block")["bytes"].transform("sum")
    rest = frame["operation"].str.fullmatch(r"\d+ others")
    frame = frame.assign(each_bytes=frame["bytes"] / frame["x"], share=frame["bytes"] / whole, whole=whole, rest=rest)
    order = ["whole", "block", "rest", "bytes"]
    frame = frame.sort_values(order, ascending=[False, True, True, False], kind="stable", ignore_index=True)
    columns = (
        Column("block"),
        Column("operation"),
        Column("x", "", "count", "x"),
        Column("each_bytes", "B", "bytes", "each keeps"),
        Column("share", "1", "share", "of the block's"),
    )
    return Table("kept_operations", "Operations of a block that keep most for backward", columns, frame)


def largest(account: MemoryAccount) -> Table:
    """The largest that live at the moment; columns that nothing tells are left out for people.

    Where shapes explain sizes, that goes before operators in a narrow terminal.
    """
    table = tables.largest(account)
    if not table.frame["why"].any():
        return replace(table, frame=table.frame.replace("", None))
    columns = tuple(
        replace(column, whole=column.name == "why", spare=column.name in ("phase", "operator"))
        for column in table.columns
    )
    return replace(table, columns=columns, frame=table.frame.replace("", None))


def beside_the_formula(account: MemoryAccount) -> Table:
    """The formula's peak and the recorded one by kind, and why they differ."""
    assert account.predicted is not None
    lives, rows = account.lives, account.rows
    sizes, kinds_ = lives.size[rows], lives.kind[rows]
    return predicted.table(account.predicted, {kind: int(sizes[kinds_ == kind].sum()) for kind in Kind})


def is_predicted(account: MemoryAccount) -> bool:
    """Whether the formula says something of what is looked at: of a peak alone."""
    return account.predicted is not None and account.at == the_peak(account.lives)


def devices(account: MemoryAccount) -> Table:
    """The peak of each device, the highest first."""
    rows = [
        {"device": label(peak.device), "peak_bytes": peak.bytes, "where": where(account.lives, peak)}
        for peak in live.peaks(account.lives)
    ]
    columns = (Column("device"), Column("peak_bytes", "B", "bytes", "peak", scale="bytes"), Column("where"))
    return Table("devices", "The peak of each device", columns, pd.DataFrame(rows), pinned=len(rows))


def phases(account: MemoryAccount) -> Table:
    """The peak of each phase, and where in it; of several steps the highest."""
    lives, peak = account.lives, the_peak(account.lives)
    rows = [
        {"phase": phase.label, "peak_bytes": one.bytes, "share": one.bytes / max(peak.bytes, 1),
         "where": where(lives, one)}
        for phase, one in sorted(curves.by_phase(lives, account.at.device).items())
    ]  # fmt: skip
    columns = (
        Column("phase"),
        Column("peak_bytes", "B", "bytes", "peak", scale="bytes"),
        Column("share", "1", "share", "of the peak"),
        Column("where"),
    )
    return Table("phases", "The peak of each phase", columns, pd.DataFrame(rows), pinned=len(rows))


TABLES: tuple[MemoryTable, ...] = (
    MemoryTable("devices", "a device (with several only)", devices, is_there=several_devices),
    MemoryTable("phases", "a phase of a step", phases, is_there=has_phases),
    MemoryTable("kinds", "a kind of memory", kinds),
    MemoryTable(
        "predicted",
        "a kind of memory, by the formula and as recorded (at the peak of perfkit's own Transformer)",
        beside_the_formula,
        is_there=is_predicted,
    ),
    MemoryTable("parts", "a kind of memory in a scope, layers that differ in their number alone as one", parts),
    MemoryTable("peak", "a kind of memory in a scope, at the peak or at `--at`", tables.peak, "scripts"),
    MemoryTable("largest", "a size that lives then, of one stack", largest),
    MemoryTable("blocks", "blocks alike but for their numbers, with what they keep", blocks, is_there=has_backward),
    MemoryTable("kept_operations", "an operation of such blocks", kept_operations, is_there=has_backward),
    MemoryTable("saved", "a block, with what it keeps for backward", saved.saved, "scripts", has_backward),
    MemoryTable(
        "operations", "an operation of a block that keeps much for backward", saved.operations, "scripts", has_backward
    ),
    MemoryTable("steps", "a step (with several only)", steps.steps, is_there=has_steps),
    MemoryTable("left", "a place where steps left memory behind", steps.left, "scripts", has_steps),
    MemoryTable("allocator", "what the allocator did, how often", allocator.behaviour),
    MemoryTable("live", "a moment, with what lives by kind", tables.over_time, "scripts"),
)
"""Every table of a recording of memory, in the order of reading."""
NAMES = tuple(table.name for table in TABLES)


def report(
    account: MemoryAccount, title: str, config: RunConfig | None = None, findings: Iterable[Find] = FINDINGS
) -> Report:
    """What lived at the peak, or at the moment that was asked for. `config`: of the perfkit run that recorded it."""
    return Report(
        title,
        lambda: summary(account),
        (LazyTable(one.name, lambda one=one: one.build(account), one.audience)  # type: ignore[misc]
         for one in TABLES if one.is_there(account)),
        findings=lambda: (held(account), *catalogue.findings(account, findings), *residual_stream(config)),
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
        **_beside(account, peak),
        "at_bytes": at.bytes,
        "at_time_ns": _time(lives, at),
        "kinds": dict(zip(*(kinds(account).frame[name].tolist() for name in ("kind", "bytes")), strict=True)),
    }


def _beside(account: MemoryAccount, peak: Peak) -> dict[str, Any]:
    """What the allocator held at the peak besides what was asked for; nothing where no allocator was recorded."""
    if account.snapshot is None:
        return {"rounding_bytes": None, "reserved_bytes": None}
    rounding = allocator.rounding(account.snapshot, account.lives, peak)
    return {"rounding_bytes": rounding.bytes, "reserved_bytes": allocator.reserved(account.snapshot, peak)}


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
    more = "".join(f"{APART}{part}" for part in (_when(lives, at), _reserved(account), _others(lives, at)) if part)
    evidence = tuple(Evidence("kinds", {"kind": str(kind)}) for kind in by_kind["kind"].head(_SAID))
    return Finding(MEMORY_HELD, text + more, evidence=evidence, where=place)


RESIDUAL_STREAM = Rule("residual-stream", "memory", "the size of the residual stream", read="detail")


def residual_stream(config: RunConfig | None) -> Iterator[Finding]:
    """What a block gets and hands on, by the shapes of perfkit's own Transformer."""
    if config is None or isinstance(config.workload, Own) or config.step.context_length is None:
        return
    batch, context, d_model = config.step.batch_size, config.step.context_length, config.transformer.shape.d_model
    size = 4 * batch * context * d_model
    text = f"the residual stream is {units.size(size)}: batch {batch} x context {context} x d_model {d_model} x 4 B"
    yield Finding(RESIDUAL_STREAM, text, sure="derived")


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


def _reserved(account: MemoryAccount) -> str:
    """What the allocator had from the driver then."""
    beside = _beside(account, account.at)
    if not beside["reserved_bytes"]:
        return ""
    free = beside["reserved_bytes"] - account.at.bytes - beside["rounding_bytes"]
    reserved = f"reserved {units.size(beside['reserved_bytes'])}"
    if free < 0:
        return f"{reserved} by the segments in the file, which are not all of those that its events need"
    return f"{reserved}: {units.size(beside['rounding_bytes'])} rounding, {units.size(free)} free"


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
