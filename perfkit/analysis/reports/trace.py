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
from perfkit.analysis.time.account import Account, Selection, account_for
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
    attribution = attribute(trace, modules=view.modules)
    account = account_for(trace, attribution, view.selection)
    findings = findings_of(account)
    if view.modules and not attribution.qualified:
        text = "the given module tree does not fit: not every module frame of the trace has its place in it"
        findings = (*findings, Finding(Rule.MODULE_TREE_MISFIT, text))
    return Report(
        Path(trace.source).name, summary(account), tuple(_tables(account, view)), findings=findings, main="kernels"
    )


def _tables(account: Account, view: View) -> Iterator[Table]:
    """In the order of reading; without device work, a recording without operators has ranges to read."""
    ranges_only = not (account.on_device or account.trace.recording.capabilities.operators)
    yield breakdown.phase_table(account)
    yield _for_scripts_if(ranges_only, breakdown.category_table(account))
    yield grouping.group_table(account, view.by, depth=view.depth, fold=view.fold)
    yield _for_scripts_if(ranges_only, breakdown.kernel_table(account))
    yield breakdown.layer_table(account)
    if account.on_device:
        copies = breakdown.copy_table(account)
        yield _for_scripts_if(not len(copies), copies)
    elif ranges_only:
        yield range_table(account, view.selection.phase, everywhere=view.selection.steps == "all")
    if len(account.trace.threads) > 1:
        yield _for_scripts_if(account.on_device, breakdown.thread_table(account))


def _for_scripts_if(unread: bool, table: Table) -> Table:
    return replace(table, audience="scripts") if unread else table


def summary(account: Account) -> dict[str, Any]:
    """The scalars of a trace; times in ns."""
    trace, attribution = account.trace, account.attribution
    events = account.row if account.on_device else np.empty(0, dtype=np.int64)
    kernels = trace.device.kind[events] == DeviceKind.KERNEL
    used = set(trace.device.device[events].tolist())
    numbered = attribution.links.numbered
    return {
        "source": trace.source,
        "format": trace.recording.tool.value,
        "devices": [device.name for device in trace.recording.devices if device.index in used],
        "kernels": int(kernels.sum()),
        "kernel_time_ns": int(account.total[kernels].sum()) if account.on_device else 0,
        "gpu_events": len(events),
        "gpu_time_ns": int(account.total.sum()) if account.on_device else 0,
        "busy_ns": int(account.exclusive.sum()) if account.on_device else 0,
        "steps": len(account.steps),
        "step_wall_ns": account.step_wall,
        "total_ns": int(account.total.sum()),
        "unattributed_ns": int(account.total[account.unattributed].sum()),
        "unattributed_reasons_ns": unattributed(account),
        "scope_source": attribution.scope_source.value,
        "backward_nodes": int(numbered.sum()),
        "backward_nodes_linked": int((attribution.links.target[numbered] != NONE).sum()),
        "backward_ranges": int(attribution.links.is_hooked.sum()),
    }


def findings_of(account: Account) -> tuple[Finding, ...]:
    """What to know before trusting the tables, and why some time is unattributed."""
    total = int(account.total.sum())
    findings = [Finding(Rule.TRACE_TOTALS, _headline(account, total))]
    rest = int(account.total[account.unattributed].sum())
    if rest:
        findings.append(_unattributed_finding(account, rest, total))
    if len(account) and account.unattributed.all() and (account.operator != NONE).any():
        findings.append(Finding(Rule.NO_MODULES, "no range names a module; --by op shows the operators"))
    findings += _provenance(account)
    both = backward_agreement.agreement(account.attribution)
    if both is not None and both.agreeing == both.nodes:  # else integrity has it
        findings.append(Finding(Rule.BACKWARD_RANGES_AGREE, str(both)))
    return (*findings, *integrity.findings(account))


def _unattributed_finding(account: Account, rest: int, total: int) -> Finding:
    reasons = [f"{units.duration_ns(time)} {_REASONS[reason]}" for reason, time in unattributed(account).items()]
    text = f"{UNATTRIBUTED}: {units.duration_ns(rest)} ({units.percent(rest / total)}): {'; '.join(reasons)}"
    cost = Cost(round(rest / max(len(account.steps), 1)), rest / total)
    return Finding(Rule.UNATTRIBUTED_TIME, text, cost, (Evidence("layers", {"scope": UNATTRIBUTED}),))


def _provenance(account: Account) -> list[Finding]:
    """How much of what ran in compiled graphs could be led back to modules; nothing where the run did not ask."""
    compiled = account.attribution.compiled
    if compiled is None:
        return []
    if not (compiled.path != NONE).any():
        text = f"provenance: not available: {compiled.problem or 'no kernel of a compiled graph could be mapped'}"
        return [Finding(Rule.PROVENANCE_UNAVAILABLE, text)]
    place = account.attribution.events.leaf[account.row] if account.on_device else account.row
    inside = compiled.graph if account.on_device else compiled.kernel
    rows = np.flatnonzero((place != NONE) & (inside[place] != NONE))
    if not len(rows):
        return []
    place, time = place[rows], account.total[rows]
    counts = np.ones(len(rows), dtype=bool) if account.on_device else compiled.kernel[place] == place
    mapped, fused = compiled.path[place] != NONE, compiled.fused[place]
    text = (
        f"provenance: {int((counts & mapped).sum()):,} of {int(counts.sum()):,} compiled kernels mapped"
        f" ({units.percent(int(time[mapped].sum()) / max(int(time.sum()), 1))} of their time),"
        f" {int((counts & fused).sum()):,} fused across modules (shown at their common ancestor)"
    )
    return [Finding(Rule.PROVENANCE, f"{text}; {compiled.problem}" if compiled.problem else text)]


def unattributed(account: Account) -> dict[str, int]:
    """Why time has no scope: reason -> ns, longest first. The reasons add up to the unattributed time."""
    backward = (account.phase == Phase.BACKWARD) | (account.phase == Phase.RECOMPUTE)
    is_linked = (account.how == How.SEQUENCE) | (account.how == How.ACCUMULATE)
    conditions = [account.how == How.UNLAUNCHED, is_linked, backward & account.in_node, backward, _in_hooks(account)]
    reason = np.select(conditions, ["unlaunched", "unscoped", "unlinked", "engine", "hooks"], default="outside")
    rest = account.unattributed
    times = {str(name): int(account.total[rest & (reason == name)].sum()) for name in np.unique(reason[rest])}
    return {name: time for name, time in sorted(times.items(), key=lambda item: -item[1]) if time}


def _in_hooks(account: Account) -> Bools:
    """Host rows in perfkit's search for backward nodes, which launches nothing."""
    if account.on_device:
        return np.zeros(len(account), dtype=bool)
    return account.attribution.host.in_phase(HOOKS.label)[account.row]


def _headline(account: Account, total: int) -> str:
    steps = f"{len(account.steps)} steps" if len(account.steps) != 1 else "1 step"
    if not account.on_device:
        of_operators = account.trace.recording.capabilities.operators
        what = "no device work in this trace" if of_operators else "no GPU work was captured"
        return f"{steps}, {units.duration_ns(total)} on the main thread; {what}"
    busy, span = int(account.exclusive.sum()), _device_span(account)
    text = f"{steps}; {len(account):,} device events, {units.duration_ns(total)} in sum, {units.duration_ns(busy)} busy"
    return f"{text} ({units.percent(busy / span)} of the time from first to last)" if span else text


def _device_span(account: Account) -> int:
    """From the first event's start to the last one's end, added up over devices, ns."""
    events = account.trace.device
    device, start, end = events.device[account.row], events.start[account.row], events.end[account.row]
    return sum(int(end[device == number].max() - start[device == number].min()) for number in np.unique(device))
