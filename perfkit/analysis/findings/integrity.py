"""What in a trace asks for caution, shown with every analysis; a clean trace has one finding that says so."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

import numpy as np

from perfkit.analysis.attribution.attribute import Phase, external_ids_are_correlations
from perfkit.analysis.attribution.intervals import NONE, Ints, at
from perfkit.analysis.findings import losses, reading
from perfkit.analysis.findings.crossing import crossing_ranges
from perfkit.analysis.findings.guesses import guessed_links
from perfkit.analysis.findings.unrecorded import unrecorded_threads
from perfkit.analysis.kernels.categories import is_known
from perfkit.analysis.kernels.kinds import ALL, OTHER
from perfkit.analysis.time.account import Account, steps_of_events
from perfkit.analysis.time.cells import CELLS, Work, categories
from perfkit.analysis.time.cost import cost as _cost
from perfkit.analysis.time.cost import part as _part
from perfkit.analysis.time.graphs import by_graph, cuda_graphs
from perfkit.regex import Regex
from perfkit.schema import units
from perfkit.schema.finding import CLEAN, Evidence, Finding, Rule
from perfkit.trace.columns import MISSING, HostKind, Trace

_UNKNOWN_SHOWN = 3
_STEPS_TO_COMPARE = 3
_WHOLE_STEP = 0.9
"""A step with fewer than this share of the median step's host ranges is incomplete."""
_OUT_OF_RANGE = Regex(r"Out-of-range = (\d+)")


Check: TypeAlias = Callable[[Account], Finding | None]


def findings(account: Account, checks: Iterable[Check] | None = None) -> list[Finding]:
    """The findings of the checks (all of CHECKS by default), in their order; `clean` where there are none."""
    checks = CHECKS if checks is None else checks
    said = [*reading.findings(account.trace), *filter(None, (check(account) for check in checks))]
    return said or [Finding(CLEAN, f"clean ({account.trace.facts.events:,} events)")]


NO_LAUNCH = Rule("no-launch", "integrity", "device events whose launch is not in the file")


def _no_launch(account: Account) -> Finding | None:
    """Device events launched before recording began (30 to 48% of the time in some real traces)."""
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
    many = int(lost.sum())
    noun, have = ("event", "has") if many == 1 else ("events", "have")
    text = f"{many:,} device {noun} ({units.duration_ns(time)}, {share}) {have} no launch in the file"
    if many == early == 1:
        text += "; it ran before the first event that has one: it was launched before recording began"
    elif early:
        text += (
            f"; {early:,} of them ran before the first event that has one: they were launched before recording began"
        )
    evidence = (Evidence("phases", {"phase": Phase.UNLAUNCHED.label}),)
    return Finding(NO_LAUNCH, text, _part(account, time), evidence)


UNLINKED_NODES = Rule("unlinked-nodes", "integrity", "backward nodes whose forward operation is not in the file")


def _unlinked(account: Account) -> Finding | None:
    """Backward nodes whose forward operation is not in the file: what they launched has no module."""
    links = account.attribution.links
    nodes = int(links.numbered.sum())
    lost = nodes - int((links.target[links.numbered] != NONE).sum())
    if not lost:
        return None
    text = f"{lost:,} of {nodes:,} backward nodes link to no forward operation in the file: it ran before recording"
    return Finding(UNLINKED_NODES, f"{text} began, or was not recorded")


OUTSIDE_STEPS = Rule(
    "outside-steps",
    "integrity",
    "device events launched outside every step; in perfkit's own traces they are in no table",
)


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
    is_one = int(outside.sum()) == 1
    what = units.many(int(outside.sum()), "device event", "device events")
    text = f"{what} ({units.duration_ns(time)}) {'was' if is_one else 'were'} launched outside every step"
    if account.steps_only:
        text += f": {'it is' if is_one else 'they are'} in no table (--steps all includes {'it' if is_one else 'them'})"
    return Finding(OUTSIDE_STEPS, text, _cost(account, time, int((events.end - events.start).sum())))


CUT_STEPS = Rule(
    "cut-steps",
    "integrity",
    "the first or last step did less than nine tenths of what the median step did: recording began or ended inside it",
)


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
    text = (
        f"{' and '.join(cut)} did clearly less than the other steps: recording began or ended inside, or work differs"
    )
    return Finding(CUT_STEPS, text, sure="guessed", where=", ".join(cut))


ZERO_DURATIONS = Rule("zero-durations", "integrity", "events of 0 ns: shorter than the clock's resolution")


def _zero(account: Account) -> Finding | None:
    if not account.on_device:
        return None
    count = int((account.total == 0).sum())
    what = units.many(count, "device event lasts", "device events last")
    text = f"{what} 0 ns: shorter than the clock's resolution"
    return Finding(ZERO_DURATIONS, text) if count else None


_MOST = np.iinfo(np.int64).max
OVERLAPPING = Rule("overlapping", "integrity", "events of one stream that overlap")


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
    what = units.many(
        count,
        "device event overlaps the one before it on its stream, by",
        "device events overlap the one before them on their stream, by",
    )
    text = f"{what} {units.duration_ns(time)}{'' if count == 1 else ' in all'}"
    foreign = _of_two_processes(account.trace, rows[:-1][overlap > 0], rows[1:][overlap > 0])
    if not foreign:
        return Finding(OVERLAPPING, text, _part(account, time))
    text += (
        f"; {foreign:,} of them by the calls of another process: these may be recordings of several processes, joined"
        " without renaming their devices, so that two devices count as one, whose busy time lacks the overlap"
    )
    advice = "analyzing each recording by itself, or joining them with another pid for the devices of each process"
    return Finding(OVERLAPPING, text, _part(account, time), advice=advice)


def _of_two_processes(trace: Trace, first: Ints, second: Ints) -> int:
    """How many pairs of events have calls of more than one process, or share their numbers with another process's.

    Where the file names the process of an event, it also keeps the streams of processes apart.
    """
    calls = np.flatnonzero((trace.host.kind == HostKind.RUNTIME) & (trace.host.correlation != MISSING))
    pid = np.array([thread.pid for thread in trace.threads], dtype=np.int64)[trace.host.thread[calls]]
    if not len(pid) or (pid == pid[0]).all() or (trace.device.process != MISSING).any():
        return 0
    number, place = np.unique(trace.host.correlation[calls], return_inverse=True)
    lowest, highest = np.full(len(number) + 1, _MOST), np.full(len(number) + 1, -_MOST)  # the last for no call
    np.minimum.at(lowest, place, pid)
    np.maximum.at(highest, place, pid)
    low, high = [], []
    for events in (first, second):
        wanted = trace.device.correlation[events]
        found = np.searchsorted(number, wanted)
        found[number[np.minimum(found, len(number) - 1)] != wanted] = len(number)
        low.append(lowest[found])
        high.append(highest[found])
    return int((np.minimum(*low) < np.maximum(*high)).sum())


BACKWARD_RANGES = Rule(
    "backward-ranges",
    "integrity",
    "perfkit's ranges round backward nodes and sequence numbers name different modules; numbers are used",
)


def _backward(account: Account) -> Finding | None:
    """Where a trace names the module of a backward node twice, and the two differ."""
    both = account.agreement
    if both is None or both.agreeing == both.nodes:
        return None
    return Finding(BACKWARD_RANGES, str(both))


EXTERNAL_IDS = Rule(
    "external-ids", "integrity", "the file is from a profiler of 2021 to 2023, whose external ids are not used"
)


def _external_ids(account: Account) -> Finding | None:
    if not external_ids_are_correlations(account.trace):
        return None
    return Finding(
        EXTERNAL_IDS, "External ids repeat the correlation ids (a profiler of 2021 to 2023), so they are not used"
    )


SHARED_LAUNCHES = Rule(
    "shared-launches",
    "integrity",
    "several device events share one call that launched no graph: correlation numbers repeat",
)


def _shared_launches(account: Account) -> Finding | None:
    """A call that launches no graph launches one event; more than one means that correlation numbers repeat."""
    if not account.on_device:
        return None
    launch = account.attribution.events.launch[account.row]
    events = np.bincount(launch[launch != NONE], minlength=len(account.attribution.host.name))
    shared = at(events > 1, launch, absent=False)
    shared &= ~by_graph(account) & (account.trace.device.graph_node[account.row] < 0)
    if not shared.any():
        return None
    time = int(account.total[shared].sum())
    text = (
        f"{int(shared.sum()):,} device events ({units.duration_ns(time)}) share a launch with another:"
        " correlation numbers repeat, as in a file merged from several processes; each event belongs to the first call"
    )
    return Finding(SHARED_LAUNCHES, text, _part(account, time))


WHOLE_CUDA_GRAPHS = Rule(
    "whole-cuda-graphs",
    "integrity",
    "nsys recorded graph launches as one piece each: their kernels are in no table",
    "whole CUDA graphs",
)


def _whole_graphs(account: Account) -> Finding | None:
    """nsys records a CUDA graph as one piece unless told otherwise: its kernels are in no table."""
    whole = account.trace.recording.whole_graphs
    if whole is None:
        return None
    text = (
        f"{units.many(whole.count, 'graph launch', 'graph launches')} ({units.duration_ns(whole.time_ns)})"
        f" {'was recorded without its' if whole.count == 1 else 'were recorded without their'} kernels"
        f" and {'is' if whole.count == 1 else 'are'} in no table: record with nsys profile --cuda-graph-trace=node"
    )
    return Finding(WHOLE_CUDA_GRAPHS, text, _cost(account, whole.time_ns, 0))


STALE_EXPORT = Rule("stale-export", "integrity", "the nsys report beside its sqlite export is newer")


def _stale(account: Account) -> Finding | None:
    newer = account.trace.recording.newer_report
    if not newer:
        return None
    text = f"{newer} beside this file is newer: analyze it if this file was exported from it"
    return Finding(STALE_EXPORT, text)


OUT_OF_RANGE = Rule("out-of-range", "integrity", "records that the profiler says it dropped")


def _dropped(account: Account) -> Finding | None:
    """Kineto's own log, which it leaves in the file, says how many records fell outside the window."""
    count = sum(int(number) for line in account.trace.recording.log for number in _OUT_OF_RANGE.findall(line))
    if not count:
        return None
    what = units.many(count, "record", "records")
    text = f"the profiler dropped {what} outside its window (its own log says so)"
    return Finding(OUT_OF_RANGE, text)


PROFILER_OVERHEAD = Rule(
    "profiler-overhead", "integrity", "pauses that the profiler made and recorded, and how long they were"
)


def _profiler(account: Account) -> Finding | None:
    """Pauses that the profiler itself made and recorded: buffers it asked for, flushes."""
    facts = account.trace.facts
    count = facts.ignored.get("overhead", 0)
    if not count:
        return None
    time, often = units.duration_ns(facts.overhead_ns), "once" if count == 1 else f"{count:,} times"
    text = f"the profiler paused the program {often}, for {time} in all (buffers, flushes)"
    return Finding(PROFILER_OVERHEAD, text, _cost(account, facts.overhead_ns, 0))


UNKNOWN_KERNELS = Rule("unknown-kernels", "integrity", "kernel names of no known category")


def _unknown_names(account: Account) -> Finding | None:
    if not account.on_device:
        return None
    cells, names = account.partial.of(CELLS), account.trace.names
    cells = cells[(cells["work"] == Work.KERNEL) & (categories(account.partial, cells) == ALL.index(OTHER))]
    pairs = zip(cells["name"], cells["operator"], strict=True)
    unknown = [not is_known(names[name], names[op] if op != NONE else None) for name, op in pairs]
    cells = cells[np.array(unknown, dtype=bool)]
    if not len(cells):
        return None
    times = cells.groupby("name")["total_ns"].sum().sort_values(ascending=False)
    shown = ", ".join(names[index][:60] for index in times.index[:_UNKNOWN_SHOWN])
    more = f" and {len(times) - _UNKNOWN_SHOWN} more" if len(times) > _UNKNOWN_SHOWN else ""
    time = int(times.sum())
    what = units.many(len(times), "kernel name", "kernel names")
    text = f"{what} of no known category ({units.duration_ns(time)}): {shown}{more}"
    evidence = tuple(Evidence("kernels", {"name": names[index]}) for index in times.index)
    return Finding(UNKNOWN_KERNELS, text, _part(account, time), evidence)


CHECKS: tuple[Check, ...] = (
    losses.lost_device_events, losses.unknown_events, unrecorded_threads, _no_launch, _unlinked, guessed_links,
    _outside_steps, _cut_steps, _zero, _overlapping, crossing_ranges, _backward, _external_ids, _shared_launches,
    cuda_graphs, _whole_graphs, _stale, _dropped, _profiler, _unknown_names,
)  # fmt: skip
"""In the order of reading. A new one is one line here, and a file of its own: a rule, and a function."""
