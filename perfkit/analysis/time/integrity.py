"""What in a trace asks for caution: shown with every analysis; one finding where there is nothing."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pandas as pd

from perfkit.analysis.attribution import backward_agreement
from perfkit.analysis.attribution.attribute import Phase, external_ids_are_correlations
from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, at
from perfkit.analysis.attribution.scopes import How
from perfkit.analysis.kernels.categories import ALL, OTHER, is_known
from perfkit.analysis.time.account import Account, steps_of_events
from perfkit.schema import units
from perfkit.schema.finding import Cost, Evidence, Finding, Rule
from perfkit.trace.columns import ACROSS_THREADS, BEGIN_END, NO_TIME, DeviceKind, Trace

_UNKNOWN_SHOWN = 3
_STEPS_TO_COMPARE = 3
_WHOLE_STEP = 0.9
"""A step with fewer than this share of the median step's host ranges is not a whole one."""
_OUT_OF_RANGE = re.compile(r"Out-of-range = (\d+)")


def findings(account: Account) -> list[Finding]:
    """What the checks below say, in their order; where they say nothing, that."""
    checks: tuple[Callable[[Account], Finding | None], ...] = (
        _no_launch, _unlinked, _outside_steps, _cut_steps, _zero, _overlapping, _crossing, _backward, _external_ids,
        _shared_launches, _graphs, _whole_graphs, _stale, _dropped, _profiler, _unknown_names,
    )  # fmt: skip
    said = [*of_reading(account.trace), *filter(None, (check(account) for check in checks))]
    return said or [Finding(Rule.CLEAN, f"clean ({account.trace.facts.events:,} events, times to the ns)")]


def of_reading(trace: Trace) -> list[Finding]:
    """What reading the file showed, for which no account is needed."""
    checks: tuple[Callable[[Trace], Finding | None], ...] = (
        _reading, _truncated, _repairs, _unusable, _resolution, _negative,
    )  # fmt: skip
    return list(filter(None, (check(trace) for check in checks)))


def _cost(account: Account, time_ns: int, whole_ns: int) -> Cost:
    """Time that a finding is about, divided by the steps where there are any, and its share of a whole (0: of none)."""
    return Cost(round(time_ns / max(len(account.steps), 1)), time_ns / whole_ns if whole_ns else None)


def _part(account: Account, time_ns: int) -> Cost:
    """The same of time that is in the tables."""
    return _cost(account, time_ns, int(account.total.sum()))


def _reading(trace: Trace) -> Finding | None:
    remarks = trace.facts.remarks
    return Finding(Rule.READING, "; ".join(remarks)) if remarks else None


def _truncated(trace: Trace) -> Finding | None:
    at = trace.facts.truncated_at
    if at is None:
        return None
    text = f"the file ends in the middle, after {units.size(at)}; what is missing is not in the tables"
    return Finding(Rule.TRUNCATED_FILE, text)


def _repairs(trace: Trace) -> Finding | None:
    repairs = trace.facts.repairs
    if not repairs:
        return None
    text = ", ".join(f"{kind} ({count:,}x)" for kind, count in repairs.items())
    rule = Rule.REPAIRED_JSON if trace.recording.capabilities.is_json else Rule.REPAIRED_RANGES
    return Finding(rule, f"mended to read it: {text}")


def _unusable(trace: Trace) -> Finding | None:
    """Events that are in no table because of what they look like, not of what they are."""
    ignored = trace.facts.ignored.items()
    unusable = [f"{count:,} {what}" for what, count in ignored if what.endswith(NO_TIME) or what == BEGIN_END]
    if not unusable:
        return None
    text = ", ".join(unusable)
    return Finding(Rule.UNUSABLE_EVENTS, f"left out of every table: {text}")


def _resolution(trace: Trace) -> Finding | None:
    resolution = trace.facts.resolution_ns
    if resolution == 1:
        return None
    text = f"times are whole microseconds: kernels of a few us are off by up to {resolution} ns"
    return Finding(Rule.RESOLUTION, text)


def _negative(trace: Trace) -> Finding | None:
    count = trace.facts.negative_durations
    text = f"{count:,} events end before they start; counted as 0 ns"
    return Finding(Rule.NEGATIVE_DURATIONS, text) if count else None


def _no_launch(account: Account) -> Finding | None:
    """Launched before the window (30 to 48% of the time in some real traces): shown, never spread."""
    if not account.on_device:
        return None
    events = account.trace.device
    lost = account.attribution.events.launch[account.row] == NONE
    if not lost.any():
        return None
    time = int(account.total[lost].sum())
    launched = events.start[account.attribution.events.launch != NONE]
    early = int((events.start[account.row][lost] < launched.min()).sum()) if len(launched) else 0
    share = units.percent(time / max(int(account.total.sum()), 1))
    text = f"{int(lost.sum()):,} device events ({units.duration_ns(time)}, {share}) have no launch in the file"
    if early:
        text += f"; {early:,} of them ran before the first one that has: work launched before recording began"
    evidence = (Evidence("phases", {"phase": Phase.UNLAUNCHED.label}),)
    return Finding(Rule.NO_LAUNCH, text, _part(account, time), evidence)


def _unlinked(account: Account) -> Finding | None:
    """Backward nodes whose forward operation is not in the file: what they launched has no module."""
    links = account.attribution.links
    nodes = int(links.numbered.sum())
    lost = nodes - int((links.target[links.numbered] != NONE).sum())
    if not lost:
        return None
    text = f"{lost:,} of {nodes:,} backward nodes lead to no forward operation in the file: it ran before recording"
    return Finding(Rule.UNLINKED_NODES, f"{text} began, or was not recorded")


def _outside_steps(account: Account) -> Finding | None:
    attribution = account.attribution
    if not account.on_device or not attribution.steps:
        return None
    outside = steps_of_events(account.trace, attribution) == NONE
    outside &= account.steps_only | (attribution.events.launch != NONE)  # in the tables, the others are _no_launch's
    if not outside.any():
        return None
    events = account.trace.device
    time = int((events.end - events.start)[outside].sum())
    text = f"{int(outside.sum()):,} device events ({units.duration_ns(time)}) were launched outside every step"
    text += ": in no table (--steps all has them)" if account.steps_only else ""
    return Finding(Rule.OUTSIDE_STEPS, text, _cost(account, time, int((events.end - events.start).sum())))


def _cut_steps(account: Account) -> Finding | None:
    """The first or last step with clearly fewer host ranges than the others: recording began or ended inside it."""
    host = account.attribution.host
    steps = [step for step in account.attribution.steps if step.thread == account.attribution.main_thread]
    if len(steps) < _STEPS_TO_COMPARE:
        return None
    ends = np.array([step.end for step in steps])
    main = np.sort(host.start[(host.thread == account.attribution.main_thread) & ~host.is_runtime])
    begins = np.searchsorted(main, [step.start for step in steps])
    ranges = np.searchsorted(main, ends) - begins
    cut = [steps[index].name for index in (0, len(steps) - 1) if ranges[index] < _WHOLE_STEP * np.median(ranges)]
    if not cut:
        return None
    text = f"{' and '.join(cut)} did clearly less than the other steps: cut by the recording, or different"
    return Finding(Rule.CUT_STEPS, text, sure="guessed", where=", ".join(cut))


def _zero(account: Account) -> Finding | None:
    if not account.on_device:
        return None
    count = int((account.total == 0).sum())
    text = f"{count:,} device events last 0 ns: shorter than the clock can tell"
    return Finding(Rule.ZERO_DURATIONS, text) if count else None


def _overlapping(account: Account) -> Finding | None:
    """Kernels of one stream that overlap: real with programmatic dependent launch, else a sign of bad clocks."""
    if not account.on_device:
        return None
    events = account.trace.device
    rows = account.row[np.lexsort((events.start[account.row], events.stream[account.row], events.device[account.row]))]
    same = (events.stream[rows][1:] == events.stream[rows][:-1]) & (events.device[rows][1:] == events.device[rows][:-1])
    late = np.minimum(events.end[rows][:-1], events.end[rows][1:]) - events.start[rows][1:]
    overlap = np.where(same, np.maximum(late, 0), 0)
    count = int((overlap > 0).sum())
    if not count:
        return None
    time = int(overlap.sum())
    text = f"{count:,} device events overlap the one before them on their stream, by {units.duration_ns(time)} in all"
    return Finding(Rule.OVERLAPPING, text, _part(account, time))


def _crossing(account: Account) -> Finding | None:
    """Host ranges that neither nest nor stand apart: the forest gives both the same parent."""
    host = account.attribution.host
    lanes = [index for index, thread in enumerate(account.trace.threads) if thread.name == ACROSS_THREADS]
    rows = np.flatnonzero(~host.is_runtime & ~np.isin(host.thread, lanes))
    siblings = pd.DataFrame({"parent": _family(host.forest.parent[rows], host.thread[rows]), "end": host.end[rows]})
    reach = siblings.groupby("parent")["end"].cummax()
    before = reach.groupby(siblings["parent"]).shift(1, fill_value=np.iinfo(np.int64).min)
    count = int((before.to_numpy() > host.start[rows] + account.trace.facts.resolution_ns - 1).sum())
    if not count:
        return None
    text = f"{count:,} host ranges begin inside another and end after it; both count as its parent's children"
    return Finding(Rule.CROSSING_RANGES, text)


def _backward(account: Account) -> Finding | None:
    """Where a trace says twice which module a backward node is of, and not the same."""
    both = backward_agreement.agreement(account.attribution)
    if both is None or both.agreeing == both.nodes:
        return None
    return Finding(Rule.BACKWARD_RANGES, str(both))


def _family(parent: Ints, thread: Ints) -> Ints:
    """One number for each set of siblings; the roots of each thread are one."""
    return np.where(parent == NONE, ~thread, parent)  # below 0, where no row is


def _external_ids(account: Account) -> Finding | None:
    if not external_ids_are_correlations(account.trace):
        return None
    return Finding(Rule.EXTERNAL_IDS, "External ids repeat the correlation (a profiler of 2021 to 2023); not used")


def _graphs(account: Account) -> Finding | None:
    if not account.on_device:
        return None
    launch = account.attribution.events.launch[account.row]
    in_graph = (account.trace.device.graph_node[account.row] >= 0) | _by_graph(account)
    if not in_graph.any():
        return None
    time = int(account.total[in_graph].sum())
    launches = len(np.unique(launch[in_graph]))
    noted = int((in_graph & (account.how == How.GRAPH)).sum())
    text = (
        f"{int(in_graph.sum()):,} device events ({units.duration_ns(time)}) ran in {launches:,} graph launches;"
        + (f" {noted:,} have the scope noted at capture, the others" if noted else " they have")
        + " the scope of their launch, not of the code that was captured"
    )
    return Finding(Rule.CUDA_GRAPHS, text, _part(account, time))


def _by_graph(account: Account) -> Bools:
    """Rows whose launch is that of a graph: cudaGraphLaunch, cuGraphLaunch, hipGraphLaunch."""
    host = account.attribution.host
    graph = host.matching(lambda name: "GraphLaunch" in name) & host.is_runtime
    return at(graph, account.attribution.events.launch[account.row], absent=False)


def _shared_launches(account: Account) -> Finding | None:
    """One call launches one thing, unless it launches a graph: else correlation numbers repeat in the file."""
    if not account.on_device:
        return None
    launch = account.attribution.events.launch[account.row]
    events = np.bincount(launch[launch != NONE], minlength=len(account.attribution.host.name))
    shared = at(events > 1, launch, absent=False)
    shared &= ~_by_graph(account) & (account.trace.device.graph_node[account.row] < 0)
    if not shared.any():
        return None
    time = int(account.total[shared].sum())
    text = (
        f"{int(shared.sum()):,} device events ({units.duration_ns(time)}) share a launch with another:"
        " correlation numbers repeat, as in a file put together of several processes; each goes with the first call"
    )
    return Finding(Rule.SHARED_LAUNCHES, text, _part(account, time))


def _whole_graphs(account: Account) -> Finding | None:
    """nsys records a CUDA graph as one piece unless told otherwise: its kernels are in no table."""
    whole = account.trace.recording.whole_graphs
    if whole is None:
        return None
    text = (
        f"{whole.count:,} graph launches ({units.duration_ns(whole.time_ns)}) were recorded without their kernels"
        " and are in no table: record with nsys profile --cuda-graph-trace=node"
    )
    return Finding(Rule.WHOLE_CUDA_GRAPHS, text, _cost(account, whole.time_ns, 0))


def _stale(account: Account) -> Finding | None:
    newer = account.trace.recording.newer_report
    if not newer:
        return None
    text = f"{newer} beside this file is newer: analyze that one, if this was made of it"
    return Finding(Rule.STALE_EXPORT, text)


def _dropped(account: Account) -> Finding | None:
    """Kineto's own log, which it leaves in the file, says how many records fell outside the window."""
    count = sum(int(number) for line in account.trace.recording.log for number in _OUT_OF_RANGE.findall(line))
    if not count:
        return None
    text = f"the profiler dropped {count:,} records outside its window (it says so itself)"
    return Finding(Rule.OUT_OF_RANGE, text)


def _profiler(account: Account) -> Finding | None:
    """Pauses that the profiler itself made and recorded: buffers it asked for, flushes."""
    facts = account.trace.facts
    count = facts.ignored.get("overhead", 0)
    if not count:
        return None
    time = units.duration_ns(facts.overhead_ns)
    text = f"the profiler paused the program {count:,} times, for {time} in all (buffers, flushes)"
    return Finding(Rule.PROFILER_OVERHEAD, text, _cost(account, facts.overhead_ns, 0))


def _unknown_names(account: Account) -> Finding | None:
    if not account.on_device:
        return None
    kernels = account.trace.device.kind[account.row] == DeviceKind.KERNEL
    unknown = (account.category == ALL.index(OTHER)) & kernels
    names = np.array(account.trace.names, dtype=object)
    operators = at(names, account.operator[unknown], absent=None)
    unknown[unknown] = [not is_known(*pair) for pair in zip(names[account.name[unknown]], operators, strict=True)]
    if not unknown.any():
        return None
    times = pd.Series(account.total[unknown]).groupby(account.name[unknown]).sum().sort_values(ascending=False)
    shown = ", ".join(names[index][:60] for index in times.index[:_UNKNOWN_SHOWN])
    more = f" and {len(times) - _UNKNOWN_SHOWN} more" if len(times) > _UNKNOWN_SHOWN else ""
    time = int(times.sum())
    text = f"{len(times):,} kernel names of no known category ({units.duration_ns(time)}): {shown}{more}"
    evidence = tuple(Evidence("kernels", {"name": names[index]}) for index in times.index)
    return Finding(Rule.UNKNOWN_KERNELS, text, _part(account, time), evidence)
