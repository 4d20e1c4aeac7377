"""Device work that is not in the file although its calls are, and events that nobody told us how to read."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.attribution.intervals import Bools
from perfkit.analysis.kernels.calls import Call, tracer_of
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.launches import Launches, Place, all_have_events, launches
from perfkit.schema import units
from perfkit.schema.finding import Cost, Evidence, Finding, Rule
from perfkit.trace.columns import MISSING, NO_CATEGORY, DeviceKind

LOST_DEVICE_EVENTS = Rule(
    "lost-device-events",
    "integrity",
    "launches and copies whose device events (or some, of a graph) are not in the file, away from its edges",
)
EDGE_LAUNCHES = Rule(
    "edge-launches",
    "integrity",
    "launches and copies without a device event just at an edge of the recording: the device ran them beyond it",
)
_PLACES = {Place.START: "at the start", Place.MIDDLE: "in the middle", Place.END: "at the end"}


def lost_device_events(account: Account) -> Finding | None:
    """Calls without their events, and whether that is more than the edges of the recording."""
    if all_have_events(account.trace, account.attribution):
        return None
    found = launches(account.trace, account.attribution)
    missing = found.is_missing & (found.kind != Call.MEMSET)
    if not missing.any():
        return None
    evidence = tuple(Evidence("launches", {"call": Call(kind).label}) for kind in np.unique(found.kind[missing]))
    kernels = found.kind == Call.KERNEL
    if (missing & kernels).any() and not (account.trace.device.kind == DeviceKind.KERNEL).any():
        return Finding(LOST_DEVICE_EVENTS, _no_kernel(account, found, missing & kernels), evidence=evidence,
                       advice="recording again with no other profiler of the device at work")  # fmt: skip
    text = f"{_what(found, missing)}: {_where(found, missing)}"
    if (missing & ~found.at_edge).any():
        text += f"; {_cause(account)}{_by_device(found, missing)}{_memsets(found)}"
        return Finding(LOST_DEVICE_EVENTS, text, evidence=evidence, advice="recording fewer steps at a time")
    return Finding(EDGE_LAUNCHES, f"{text}, so near its edge that the device ran them beyond it", evidence=evidence,
                   sure="derived")  # fmt: skip


def _no_kernel(account: Account, found: Launches, missing: Bools) -> str:
    tracer = tracer_of(account.trace.names[int(found.name[missing][0])])
    cut = account.trace.facts.truncated_at is not None
    why = "the end of the file is missing" if cut else f"the profiler lost them or {tracer} failed"
    text = f"{int(missing.sum()):,} kernel launches were recorded, their kernels were not: {why}"
    return text if account.on_device else f"{text}; times in the tables are the host's"


def _cause(account: Account) -> str:
    cut = account.trace.facts.truncated_at is not None
    return "the end of the file is missing" if cut else "the profiler lost them, and every sum lacks their time"


def _what(found: Launches, missing: Bools) -> str:
    """Calls without any event, and graph launches without some of theirs."""
    parts = [f"{_counts(found, none)} have no device event"] if (none := missing & (found.lacks == 0)).any() else []
    if (some := missing & (found.lacks > 0)).any():
        parts.append(f"{_counts(found, some)} lack {int(found.lacks[some].sum()):,} device events that others of their"
                     " graph have")  # fmt: skip
    return ", and ".join(parts)


def _counts(found: Launches, missing: Bools) -> str:
    """20 of 40 kernel launches and 1 of 10 copies."""
    parts = [
        f"{int((missing & (found.kind == kind)).sum()):,} of {int((found.kind == kind).sum()):,} {_plural(Call(kind))}"
        for kind in np.unique(found.kind[missing])
    ]
    return " and ".join(parts)


def _plural(kind: Call) -> str:
    return {Call.KERNEL: "kernel launches", Call.COPY: "copies", Call.GRAPH: "graph launches"}[kind]


def _where(found: Launches, missing: Bools) -> str:
    counts = np.bincount(found.place[missing], minlength=len(Place))
    parts = [f"{counts[place]:,} {text}" for place, text in _PLACES.items() if counts[place]]
    return f"{', '.join(parts)} of the recording"


def _by_device(found: Launches, missing: Bools) -> str:
    """By device, where there is more than one and calls tell."""
    devices = np.unique(found.device)
    if len(devices) == 1:
        return ""
    counts = (
        (device, int((missing & (found.device == device)).sum()), int((found.device == device).sum()))
        for device in devices
    )
    parts = (
        f"{lost:,} of {all_:,} on {'a device that the file does not tell' if device == MISSING else f'device {device}'}"
        for device, lost, all_ in counts
        if lost
    )
    return f"; {', '.join(parts)}"


def _memsets(found: Launches) -> str:
    sets = found.kind == Call.MEMSET
    without = int((sets & found.is_missing).sum())
    return f"; {without:,} of {int(sets.sum()):,} memsets have none either, which is usual" if without else ""


UNKNOWN_EVENTS = Rule(
    "unknown-events",
    "integrity",
    "events with a duration whose category says nothing, or not what they are: how many, how long, where they count",
)


def unknown_events(account: Account) -> Finding | None:
    """Events of unknown or no category, and those of accelerators whose one category holds everything."""
    facts = account.trace.facts
    if not facts.unknown:
        return None
    left_out = {name: said for name, said in facts.unknown.items() if name in facts.ignored}
    counted = {name: said for name, said in facts.unknown.items() if name not in facts.ignored}
    parts = []
    if left_out:
        parts.append(f"{_categories(left_out)} are in no table: perfkit does not know what they are")
    if counted:
        parts.append(f"{_categories(counted)} count as kernels: the category mixes kernels, copies and waits")
    time = sum(time for _, time in left_out.values()) or sum(time for _, time in counted.values())
    return Finding(UNKNOWN_EVENTS, "; ".join(parts), Cost(round(time / max(len(account.steps), 1))))


def _categories(said: dict[str, tuple[int, int]]) -> str:
    """1,313 events of category mtia_ccp_events (812.1 ms), the longest first."""
    longest = sorted(said.items(), key=lambda one: -one[1][1])
    return ", ".join(
        f"{count:,} {name if name == NO_CATEGORY else f'events of category {name}'} ({units.duration_ns(time)})"
        for name, (count, time) in longest
    )
