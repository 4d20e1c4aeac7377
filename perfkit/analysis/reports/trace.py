"""Trace -> the report that `analyze` and a profiled `run` print."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from perfkit.analysis.attribution.attribute import UNATTRIBUTED, attribute
from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.time import breakdown, grouping, integrity, ranges, threads
from perfkit.analysis.time.account import Account, account_for
from perfkit.analysis.time.cells import CELLS, REASONS
from perfkit.analysis.time.summary import device_span, summary
from perfkit.analysis.time.trace_table import TraceTable, View
from perfkit.schema import units
from perfkit.schema.finding import Cost, Evidence, Finding, Rule
from perfkit.schema.report import Report
from perfkit.trace.columns import Trace

__all__ = ["TABLES", "View", "findings_of", "report"]

TABLES = (
    breakdown.PHASES,
    breakdown.CATEGORIES,
    grouping.GROUPS,
    breakdown.KERNELS,
    breakdown.LAYERS,
    breakdown.COPIES,
    ranges.RANGES,
    threads.THREADS,
)
"""In the order of reading."""


def report(trace: Trace, view: View | None = None, tables: Iterable[TraceTable] = TABLES) -> Report:
    """Attribute a trace and describe where its time went: tables, summary and findings when they are asked for."""
    view = view or View()
    account = account_for(trace, attribute(trace, modules=view.modules), view.selection)
    scalars = cache(lambda: summary(account.partial))
    return Report(
        Path(trace.source).name,
        scalars,
        filter(None, (table.of(account.partial, view) for table in tables)),
        findings=lambda: findings_of(account, view, scalars()),
        main="kernels",
    )


def findings_of(
    account: Account, view: View | None = None, scalars: Mapping[str, Any] | None = None
) -> tuple[Finding, ...]:
    """What to know before trusting the tables, and why some time is unattributed. `scalars`: its summary, if there."""
    return tuple(_findings(account, scalars or summary(account.partial), view or View()))


TRACE_TOTALS = Rule("trace-totals", "trace", "how many steps, how much time, and how busy the device was")
NO_MODULES = Rule("no-modules", "trace", "no range names a module")
BACKWARD_RANGES_AGREE = Rule(
    "backward-ranges-agree", "trace", "ranges round backward nodes and sequence numbers name the same modules"
)
MODULE_TREE_MISFIT = Rule("module-tree-misfit", "trace", "the module tree that was given is not the trace's")


def _findings(account: Account, scalars: Mapping[str, Any], view: View) -> Iterator[Finding]:
    yield Finding(TRACE_TOTALS, _headline(account, scalars))
    if scalars["unattributed_ns"]:
        yield _unattributed_finding(scalars)
    cells = account.partial.of(CELLS)
    if len(cells) and (cells["reason"] != NONE).all() and (cells["operator"] != NONE).any():
        yield Finding(NO_MODULES, "no range names a module; --by op shows the operators")
    yield from _provenance(account)
    both = account.agreement
    if both is not None and both.agreeing == both.nodes:  # else integrity has it
        yield Finding(BACKWARD_RANGES_AGREE, str(both))
    yield from integrity.findings(account)
    if view.modules and not account.attribution.qualified:
        text = "the given module tree does not fit: not every module frame of the trace has its place in it"
        yield Finding(MODULE_TREE_MISFIT, text)


UNATTRIBUTED_TIME = Rule("unattributed-time", "trace", "time has no scope, by the reasons for it")


def _unattributed_finding(scalars: Mapping[str, Any]) -> Finding:
    rest, total = scalars["unattributed_ns"], scalars["total_ns"]
    times = scalars["unattributed_reasons_ns"].items()
    reasons = [f"{units.duration_ns(time)} {REASONS[reason]}" for reason, time in times]
    text = f"{UNATTRIBUTED}: {units.duration_ns(rest)} ({units.percent(rest / total)}): {'; '.join(reasons)}"
    cost = Cost(round(rest / max(scalars["steps"], 1)), rest / total)
    return Finding(UNATTRIBUTED_TIME, text, cost, (Evidence("layers", {"scope": UNATTRIBUTED}),))


PROVENANCE_UNAVAILABLE = Rule(
    "provenance-unavailable", "trace", "nothing of what compiled graphs ran could be led back to modules"
)
PROVENANCE = Rule("provenance", "trace", "how much of what compiled graphs ran was led back to modules")


def _provenance(account: Account) -> list[Finding]:
    """How much of what ran in compiled graphs could be led back to modules; nothing where the run did not ask."""
    compiled = account.attribution.compiled
    if compiled is None:
        return []
    if not (compiled.path != NONE).any():
        text = f"provenance: not available: {compiled.problem or 'no kernel of a compiled graph could be mapped'}"
        return [Finding(PROVENANCE_UNAVAILABLE, text)]
    place = account.attribution.events.leaf[account.row] if account.on_device else account.row
    inside = compiled.graph if account.on_device else compiled.kernel
    rows = np.flatnonzero((place != NONE) & (inside[place] != NONE))
    if not len(rows):
        return []
    place, time = place[rows], account.total[rows]
    one = np.ones(len(rows), dtype=bool) if account.on_device else compiled.kernel[place] == place
    mapped, fused = compiled.path[place] != NONE, compiled.fused[place]
    text = (
        f"provenance: {int((one & mapped).sum()):,} of {int(one.sum()):,} compiled kernels mapped"
        f" ({units.percent(int(time[mapped].sum()) / max(int(time.sum()), 1))} of their time),"
        f" {int((one & fused).sum()):,} fused across modules (shown at their common ancestor)"
    )
    return [Finding(PROVENANCE, f"{text}; {compiled.problem}" if compiled.problem else text)]


def _headline(account: Account, scalars: Mapping[str, Any]) -> str:
    steps, total = scalars["steps"], units.duration_ns(scalars["total_ns"])
    text = f"{steps} steps" if steps != 1 else "1 step"
    if not account.on_device:
        what = "no GPU work was captured" if account.trace.format == "nsys" else "no device work in this trace"
        return f"{text}, {total} on the main thread; {what}"
    busy, span = scalars["busy_ns"], device_span(account.partial)
    text += f"; {scalars['gpu_events']:,} device events, {total} in sum, {units.duration_ns(busy)} busy"
    return f"{text} ({units.percent(busy / span)} of the time from first to last)" if span else text
