"""Trace -> the report that `analyze` and a profiled `run` print."""

from __future__ import annotations

from typing import Any

import numpy as np

from perfkit.analysis import breakdown
from perfkit.analysis.attribution import UNATTRIBUTED, Attribution, Phase, attribute
from perfkit.analysis.intervals import NONE
from perfkit.analysis.report import Report
from perfkit.analysis.scopes import How
from perfkit.schema import units
from perfkit.trace.columns import DeviceKind, Trace

_REASONS = {
    "outside": "outside every scope",
    "unlinked": "in backward, led to no forward operation in the file",
    "unlaunched": "launched before recording began, or its launch was not recorded",
    "unscoped": "in backward, made by a forward operation outside every scope",
}


def report(trace: Trace) -> Report:
    """Attribute a trace and describe where its time went."""
    found = attribute(trace)
    kernels = breakdown.kernel_table(trace, found)
    layers = breakdown.layer_table(trace, found)
    phases = breakdown.phase_table(trace, found)
    tables = [kernels, layers, phases]
    display = [phases, breakdown.layer_matrix(trace, found), kernels]
    if (trace.device.kind != DeviceKind.KERNEL).any():
        copies = breakdown.copy_table(trace)
        tables.append(copies)
        display.append(copies)
    return Report(summary(trace, found), tuple(tables), tuple(display), remarks(trace, found))


def summary(trace: Trace, found: Attribution) -> dict[str, Any]:
    """The scalars of a trace; times in ns."""
    counted = breakdown.weights(trace, found)
    duration = trace.device.end - trace.device.start
    kernels = trace.device.kind == DeviceKind.KERNEL
    return {
        "source": trace.source,
        "format": trace.format,
        "devices": [device.name for device in trace.devices if device.index in set(trace.device.device.tolist())],
        "kernels": int(kernels.sum()),
        "kernel_time_ns": int(duration[kernels].sum()),
        "gpu_events": len(trace.device),
        "gpu_time_ns": int(duration.sum()),
        "busy_ns": int(found.device.exclusive.sum()),
        "steps": len(found.steps),
        "step_wall_ns": breakdown.step_span(found),
        "total_ns": int(counted.total.sum()),
        "unattributed_ns": int(counted.total[_unattributed(counted)].sum()),
        "unattributed_reasons_ns": unattributed(counted),
        "scope_source": found.scope_source.value,
        "backward_nodes": int(found.links.numbered.sum()),
        "backward_nodes_linked": int((found.links.target[found.links.numbered] != NONE).sum()),
    }


def _unattributed(counted: breakdown.Weights) -> Any:
    return (counted.path == NONE) & (counted.phase != Phase.COMMUNICATION)


def remarks(trace: Trace, found: Attribution) -> tuple[str, ...]:
    """What to know before trusting the tables, and why some time is unattributed."""
    counted = breakdown.weights(trace, found)
    total = int(counted.total.sum())
    lines = [_headline(trace, found, total)]
    rest = _unattributed(counted)
    rest_total = int(counted.total[rest].sum())
    if rest_total:
        reasons = [f"{units.duration_ns(time)} {_REASONS[reason]}" for reason, time in unattributed(counted).items()]
        share = units.percent(rest_total / total)
        lines.append(f"{UNATTRIBUTED}: {units.duration_ns(rest_total)} ({share}): {'; '.join(reasons)}")
    return tuple(lines)


def unattributed(counted: breakdown.Weights) -> dict[str, int]:
    """Why time has no scope: reason -> ns, longest first. The reasons add up to the unattributed time."""
    rest = _unattributed(counted)
    backward = (counted.phase == Phase.BACKWARD) | (counted.phase == Phase.RECOMPUTE)
    linked = (counted.how == How.SEQUENCE) | (counted.how == How.ACCUMULATE)
    reason = np.select(
        [counted.how == How.UNLAUNCHED, linked, backward], ["unlaunched", "unscoped", "unlinked"], default="outside"
    )
    times = {str(name): int(counted.total[rest & (reason == name)].sum()) for name in np.unique(reason[rest])}
    return {name: time for name, time in sorted(times.items(), key=lambda item: -item[1]) if time}


def _headline(trace: Trace, found: Attribution, total: int) -> str:
    steps = f"{len(found.steps)} steps" if len(found.steps) != 1 else "1 step"
    if not len(trace.device):
        return f"{steps}, {units.duration_ns(total)} on the main thread; no device work in this trace"
    busy = int(found.device.exclusive.sum())
    events = f"{len(trace.device):,} device events"
    text = f"{steps}; {events}, {units.duration_ns(total)} in sum, {units.duration_ns(busy)} busy"
    span = sum(
        int(trace.device.end[rows].max() - trace.device.start[rows].min())
        for device in np.unique(trace.device.device)
        if len(rows := np.flatnonzero(trace.device.device == device))
    )
    return f"{text} ({units.percent(busy / span)} of the time from its first to its last)" if span else text
