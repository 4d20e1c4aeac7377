"""Trace -> the report that `analyze` and a profiled `run` print."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from perfkit.analysis.attribution import backward_agreement
from perfkit.analysis.attribution.attribute import UNATTRIBUTED, Phase, attribute
from perfkit.analysis.attribution.intervals import NONE, Bools
from perfkit.analysis.attribution.scopes import How
from perfkit.analysis.time import breakdown, grouping, integrity
from perfkit.analysis.time.account import Account, Selection, account
from perfkit.analysis.time.grouping import By
from perfkit.analysis.time.ranges import range_table
from perfkit.schema import units
from perfkit.schema.finding import Cost, Evidence, Finding, Rule
from perfkit.schema.range_names import HOOKS
from perfkit.schema.report import Report
from perfkit.schema.table import Table
from perfkit.trace.columns import DeviceKind, Trace

_REASONS = {
    "outside": "outside every scope",
    "unlinked": "in backward nodes that lead to no forward operation in the file",
    "engine": "in backward between nodes: the autograd engine itself, or code it calls outside them",
    "hooks": "perfkit's own search for the nodes that get backward ranges",
    "unlaunched": "launched before recording began, or its launch was not recorded",
    "unscoped": "in backward nodes made by a forward operation outside every scope",
}


@dataclass(frozen=True, slots=True)
class View:
    """How to look at a trace."""

    selection: Selection = Selection()  # noqa: RUF009 - frozen
    by: By = "component"
    depth: int | None = None
    fold: bool = True
    modules: dict[str, str] | None = None
    """The model's tree, path -> class, for a trace that does not carry it."""


def report(trace: Trace, view: View | None = None) -> Report:
    """Attribute a trace and describe where its time went."""
    view = view or View()
    found = attribute(trace, modules=view.modules)
    counted = account(trace, found, view.selection)
    findings = findings_of(counted)
    if view.modules and not found.qualified:
        text = "the given module tree does not fit: not every module frame of the trace has its place in it"
        findings = (*findings, Finding(Rule.MODULE_TREE_MISFIT, text))
    return Report(
        Path(trace.source).name, summary(counted), tuple(_tables(counted, view)), findings=findings, main="kernels"
    )


def _tables(counted: Account, view: View) -> Iterator[Table]:
    """In the order of reading; without device work, a recording by nsys has ranges to read and no operators."""
    ranges_only = not counted.on_device and counted.trace.format == "nsys"
    yield breakdown.phase_table(counted)
    yield _for_scripts_if(ranges_only, breakdown.category_table(counted))
    yield grouping.group_table(counted, view.by, depth=view.depth, fold=view.fold)
    yield _for_scripts_if(ranges_only, breakdown.kernel_table(counted))
    yield breakdown.layer_table(counted)
    if counted.on_device:
        copies = breakdown.copy_table(counted)
        yield _for_scripts_if(not len(copies), copies)
    elif ranges_only:
        yield range_table(counted, view.selection.phase, everywhere=view.selection.steps == "all")
    if len(counted.trace.threads) > 1:
        yield _for_scripts_if(counted.on_device, breakdown.thread_table(counted))


def _for_scripts_if(unread: bool, table: Table) -> Table:
    return replace(table, audience="scripts") if unread else table


def summary(counted: Account) -> dict[str, Any]:
    """The scalars of a trace; times in ns."""
    trace, found = counted.trace, counted.found
    events = counted.row if counted.on_device else np.empty(0, dtype=np.int64)
    kernels = trace.device.kind[events] == DeviceKind.KERNEL
    used = set(trace.device.device[events].tolist())
    linked = found.links.target[found.links.numbered] != NONE
    return {
        "source": trace.source,
        "format": trace.format,
        "devices": [device.name for device in trace.devices if device.index in used],
        "kernels": int(kernels.sum()),
        "kernel_time_ns": int(counted.total[kernels].sum()) if counted.on_device else 0,
        "gpu_events": len(events),
        "gpu_time_ns": int(counted.total.sum()) if counted.on_device else 0,
        "busy_ns": int(counted.exclusive.sum()) if counted.on_device else 0,
        "steps": len(counted.steps),
        "step_wall_ns": counted.step_wall,
        "total_ns": int(counted.total.sum()),
        "unattributed_ns": int(counted.total[counted.unattributed].sum()),
        "unattributed_reasons_ns": unattributed(counted),
        "scope_source": found.scope_source.value,
        "backward_nodes": int(found.links.numbered.sum()),
        "backward_nodes_linked": int(linked.sum()),
        "backward_ranges": int(found.links.is_hooked.sum()),
    }


def findings_of(counted: Account) -> tuple[Finding, ...]:
    """What to know before trusting the tables, and why some time is unattributed."""
    total = int(counted.total.sum())
    found = [Finding(Rule.TRACE_TOTALS, _headline(counted, total))]
    rest = int(counted.total[counted.unattributed].sum())
    if rest:
        found.append(_unattributed_finding(counted, rest, total))
    if len(counted) and counted.unattributed.all() and (counted.operator != NONE).any():
        found.append(Finding(Rule.NO_MODULES, "no range names a module; --by op shows the operators"))
    found += _provenance(counted)
    both = backward_agreement.agreement(counted.found)
    if both is not None and both.agreeing == both.nodes:  # else integrity has it
        found.append(Finding(Rule.BACKWARD_RANGES_AGREE, str(both)))
    return (*found, *integrity.findings(counted))


def _unattributed_finding(counted: Account, rest: int, total: int) -> Finding:
    reasons = [f"{units.duration_ns(time)} {_REASONS[reason]}" for reason, time in unattributed(counted).items()]
    text = f"{UNATTRIBUTED}: {units.duration_ns(rest)} ({units.percent(rest / total)}): {'; '.join(reasons)}"
    cost = Cost(round(rest / max(len(counted.steps), 1)), rest / total)
    return Finding(Rule.UNATTRIBUTED_TIME, text, cost, (Evidence("layers", {"scope": UNATTRIBUTED}),))


def _provenance(counted: Account) -> list[Finding]:
    """How much of what ran in compiled graphs could be led back to modules; nothing where the run did not ask."""
    compiled = counted.found.compiled
    if compiled is None:
        return []
    if not (compiled.path != NONE).any():
        text = f"provenance: not available: {compiled.problem or 'no kernel of a compiled graph could be mapped'}"
        return [Finding(Rule.PROVENANCE_UNAVAILABLE, text)]
    place = counted.found.device.leaf[counted.row] if counted.on_device else counted.row
    inside = compiled.graph if counted.on_device else compiled.kernel
    rows = np.flatnonzero((place != NONE) & (inside[place] != NONE))
    if not len(rows):
        return []
    place, time = place[rows], counted.total[rows]
    one = np.ones(len(rows), dtype=bool) if counted.on_device else compiled.kernel[place] == place
    mapped, fused = compiled.path[place] != NONE, compiled.fused[place]
    text = (
        f"provenance: {int((one & mapped).sum()):,} of {int(one.sum()):,} compiled kernels mapped"
        f" ({units.percent(int(time[mapped].sum()) / max(int(time.sum()), 1))} of their time),"
        f" {int((one & fused).sum()):,} fused across modules (shown at their common ancestor)"
    )
    return [Finding(Rule.PROVENANCE, f"{text}; {compiled.problem}" if compiled.problem else text)]


def unattributed(counted: Account) -> dict[str, int]:
    """Why time has no scope: reason -> ns, longest first. The reasons add up to the unattributed time."""
    backward = (counted.phase == Phase.BACKWARD) | (counted.phase == Phase.RECOMPUTE)
    linked = (counted.how == How.SEQUENCE) | (counted.how == How.ACCUMULATE)
    conditions = [counted.how == How.UNLAUNCHED, linked, backward & counted.in_node, backward, _in_hooks(counted)]
    reason = np.select(conditions, ["unlaunched", "unscoped", "unlinked", "engine", "hooks"], default="outside")
    rest = counted.unattributed
    times = {str(name): int(counted.total[rest & (reason == name)].sum()) for name in np.unique(reason[rest])}
    return {name: time for name, time in sorted(times.items(), key=lambda item: -item[1]) if time}


def _in_hooks(counted: Account) -> Bools:
    """Host rows in perfkit's search for backward nodes, which launches nothing."""
    if counted.on_device:
        return np.zeros(len(counted), dtype=bool)
    return counted.found.view.in_phase(HOOKS.label)[counted.row]


def _headline(counted: Account, total: int) -> str:
    steps = f"{len(counted.steps)} steps" if len(counted.steps) != 1 else "1 step"
    if not counted.on_device:
        what = "no GPU work was captured" if counted.trace.format == "nsys" else "no device work in this trace"
        return f"{steps}, {units.duration_ns(total)} on the main thread; {what}"
    busy, span = int(counted.exclusive.sum()), _device_span(counted)
    text = f"{steps}; {len(counted):,} device events, {units.duration_ns(total)} in sum, {units.duration_ns(busy)} busy"
    return f"{text} ({units.percent(busy / span)} of the time from first to last)" if span else text


def _device_span(counted: Account) -> int:
    """From the first event's start to the last one's end, added up over devices, ns."""
    events = counted.trace.device
    device, start, end = events.device[counted.row], events.start[counted.row], events.end[counted.row]
    return sum(int(end[device == one].max() - start[device == one].min()) for one in np.unique(device))
