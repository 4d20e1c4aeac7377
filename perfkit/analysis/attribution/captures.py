"""Captures of CUDA graphs: which calls of one trace became which kernels of another (docs/attribution.md, CUDA graphs).

While a stream is captured, its launches run nothing: they become the nodes of a graph, and the trace of the capture has
their ranges without their kernels. A replay of the graph has the kernels and one launch for all of them. Both are in
the order of the capture, and so the k-th launch is the k-th kernel, if the names agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, TypeAlias

import msgspec
import numpy as np

from perfkit.analysis.attribution.host_view import HostView
from perfkit.analysis.attribution.intervals import NONE, Ints, at
from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.attribution.scopes import ScopeSource
from perfkit.errors import UsageError
from perfkit.schema.printable import printable
from perfkit.trace.columns import DeviceKind, Trace
from perfkit.trace.detail_columns import Calls

if TYPE_CHECKING:
    from perfkit.analysis.attribution.attribute import Attribution

_BEGIN, _END = "StreamBeginCapture", "StreamEndCapture"
_UNNAMED = ""
"""A launch whose kernel the file does not name: CUDA's calls do not say it, AMD's do."""
_COPY, _SET = "a copy", "a memset"
_AS_KERNELS = {"__amd_rocclr_copy": _COPY, "__amd_rocclr_fill": _SET}
"""How the names of kernels begin that AMD's runtime copies and sets memory with."""
_SHOWN = 80
"""Characters of a kernel's name in an error, from where two names differ."""


class Capture(msgspec.Struct, frozen=True):
    """One captured graph, one entry a launch, in the order of the calls."""

    work: tuple[str, ...]
    """The kernel's name, _UNNAMED, _COPY or _SET."""
    scopes: tuple[str, ...]
    """The scope's path; empty for none."""
    phases: tuple[Phase | None, ...] = ()
    """The phase; None where nothing says it."""


class Captures(msgspec.Struct, frozen=True):
    """The captured graphs of a trace, in the order of time, and how their scopes are spelled."""

    source: str
    graphs: tuple[Capture, ...]
    scope_source: ScopeSource
    qualified: bool
    modules: Mapping[str, str] = msgspec.field(default_factory=dict)


class Replays(msgspec.Struct, frozen=True):
    """How far a trace's replayed graphs are those of the captures."""

    source: str
    """The trace of the captures."""
    scope: tuple[str | None, ...]
    """For each device event the scope of its launch in the capture; None for events that are in no capture."""
    phase: tuple[Phase | None, ...]
    """The same for the phase, where the capture has evidence of it."""
    launches: int
    joined: int
    """Graph launches whose events are those of a capture."""
    unnamed: int
    """Events of these that were joined by order and kind of work alone, since the capture does not name its kernels."""


def work_of(call: str) -> DeviceKind | None:
    """The kind of work that a call into the driver puts on a stream, by its name; None for other calls."""
    if "LaunchKernel" in call or "LaunchCooperativeKernel" in call:
        return DeviceKind.KERNEL
    if "Memcpy" in call:
        return DeviceKind.MEMCPY
    return DeviceKind.MEMSET if "Memset" in call else None


def captures_of(trace: Trace, attribution: Attribution, calls: Calls) -> Captures:
    """The graphs that were captured in a trace. Raises UsageError where there are none."""
    host = attribution.host
    graphs = []
    for rows in _captured(trace, host):
        kernel = calls.kernel[host.forest.order[rows]]
        work = tuple(_work(host.name_of(row), calls, int(code)) for row, code in zip(rows, kernel, strict=True))
        leaf = host.forest.parent[rows]
        path = at(attribution.ranges.path, leaf, absent=NONE)
        scopes = tuple(attribution.paths[number] if number != NONE else "" for number in path.tolist())
        ranges = zip(attribution.ranges.phase[rows].tolist(), attribution.ranges.is_evident[rows].tolist(), strict=True)
        graphs.append(Capture(work, scopes, tuple(Phase(phase) if evident else None for phase, evident in ranges)))
    if not graphs:
        raise UsageError(
            f"{trace.source} captures no graph: no launch lies between a cudaStreamBeginCapture and its EndCapture;"
            " give the trace of the run that captured it"
        )
    return Captures(trace.source, tuple(graphs), attribution.scope_source, attribution.qualified, attribution.modules)


def _work(call: str, calls: Calls, kernel: int) -> str:
    kind = work_of(call)
    if kind is DeviceKind.KERNEL:
        return calls.all_kernels[kernel] if kernel >= 0 else _UNNAMED
    return _COPY if kind is DeviceKind.MEMCPY else _SET


def _captured(trace: Trace, host: HostView) -> list[list[int]]:
    """The launches of each capture: those of the process between its begin and end, on any thread, that ran nothing."""
    launching = np.flatnonzero(host.is_runtime & host.matching(lambda name: work_of(name) is not None))
    ran = np.isin(trace.host.correlation[host.forest.order[launching]], trace.device.correlation)
    launching = launching[~ran]
    launching = launching[np.argsort(host.start[launching], kind="stable")]
    process = np.array([thread.pid for thread in trace.threads], dtype=np.int64)[host.thread]
    begins = np.flatnonzero(host.is_runtime & host.matching(lambda name: _BEGIN in name))
    ends = np.flatnonzero(host.is_runtime & host.matching(lambda name: _END in name))
    captured = []
    for begin in begins[np.argsort(host.start[begins], kind="stable")].tolist():
        later = ends[(host.thread[ends] == host.thread[begin]) & (host.start[ends] >= host.end[begin])]
        until = host.start[later[0]] if len(later) else np.iinfo(np.int64).max
        inside = launching[slice(*np.searchsorted(host.start[launching], (host.end[begin], until)))]
        rows = inside[process[inside] == process[begin]]
        if len(rows):
            captured.append(rows.tolist())
    return captured


# --- replays ------------------------------------------------------------------------------------------------------

_Fit: TypeAlias = Sequence[int | None]
"""For each event of a replay its place in a capture; None for a copy or memset that has none."""


def graph_launches(host: HostView, launch: Ints, start: Ints) -> list[tuple[int, Ints]]:
    """Each call that launched a graph, in the order of time, and its device events, in the order of their `start`."""
    is_graph = host.matching(lambda name: "GraphLaunch" in name) & host.is_runtime
    events = np.flatnonzero(at(is_graph, launch, absent=False))
    events = events[np.lexsort((start[events], launch[events]))]
    calls, first = np.unique(launch[events], return_index=True)
    groups = np.split(events, first[1:]) if len(calls) else []
    return [(int(calls[k]), groups[k]) for k in np.argsort(host.start[calls], kind="stable").tolist()]


def joined(trace: Trace, host: HostView, launch: Ints, captures: Captures) -> Replays:
    """Give each replayed event the scope of its launch in the capture.

    Each launch of a graph is joined for itself: with the capture of which all names agree. Where several do, it is the
    one after the capture of the launch before (the pieces of a step are captured in the order in which they run), or
    before that of the launch after; else any, if the scopes of all are the same. Raises UsageError, with the first
    difference, where no launch agrees with any capture.
    """
    launches = graph_launches(host, launch, trace.device.start)
    if not launches:
        raise UsageError(f"--capture {captures.source}: {trace.source} has no launch of a graph with events: drop it")
    fitting = _Fitting(captures)
    ordered = [(call, *fitting.of(trace, events)) for call, events in launches]
    chosen = _chosen([fits for *_, fits in ordered], [int(host.thread[call]) for call, _ in launches], captures)
    if all(number is None for number in chosen):
        unclear = next((fits for *_, fits in ordered if fits), None)
        work = _work_of(trace, launches[0][1])
        raise UsageError(_unclear(unclear, captures) if unclear else _first_difference(work, captures))
    scope: list[str | None] = [None] * len(launch)
    phase: list[Phase | None] = [None] * len(launch)
    unnamed = 0
    found = [
        (events, captures.graphs[n], fits[n])
        for (_, events, fits), n in zip(ordered, chosen, strict=True)
        if n is not None
    ]
    for events, graph, fit in found:
        for event, place in zip(events.tolist(), fit, strict=True):
            if place is not None:
                scope[event] = graph.scopes[place]
                phase[event] = graph.phases[place] if graph.phases else None
                unnamed += graph.work[place] == _UNNAMED
    return Replays(captures.source, tuple(scope), tuple(phase), len(launches), len(found), unnamed)


def _work_of(trace: Trace, events: Ints) -> tuple[str, ...]:
    kinds = {int(DeviceKind.MEMCPY): _COPY, int(DeviceKind.MEMSET): _SET}
    rows = zip(trace.device.kind[events].tolist(), trace.device.name[events].tolist(), strict=True)
    return tuple(kinds.get(kind) or _as_work(trace.names[name]) for kind, name in rows)


def _as_work(kernel: str) -> str:
    return next((work for front, work in _AS_KERNELS.items() if kernel.startswith(front)), kernel)


class _Fitting:
    """Compares replays with captures; those of the same names once."""

    def __init__(self, captures: Captures) -> None:
        self._graphs = captures.graphs
        self._known: dict[tuple[str, ...], dict[int, _Fit]] = {}

    def of(self, trace: Trace, events: Ints) -> tuple[Ints, dict[int, _Fit]]:
        """The events in the order of the capture, and the captures that they fit.

        Branches of a graph run at the same time and may start in any order: then the nodes' numbers tell theirs.
        """
        node = trace.device.graph_node[events]
        for order in (events, events[np.argsort(node, kind="stable")]):
            if fits := self._fits(_work_of(trace, order)):
                return order, fits
        return events, {}

    def _fits(self, work: tuple[str, ...]) -> dict[int, _Fit]:
        if work not in self._known:
            fits = {number: _fit(work, graph.work) for number, graph in enumerate(self._graphs)}
            self._known[work] = {number: fit for number, fit in fits.items() if fit is not None}
        return self._known[work]


def _fit(replayed: Sequence[str], captured: Sequence[str]) -> _Fit | None:
    """The place of each replayed event in the capture; None where they do not agree.

    All names and kinds agree, one by one. Otherwise those of the kernels do, since profilers leave out memsets and
    short copies: then copies and memsets are joined only where there are as many of their kind.
    """
    if len(replayed) == len(captured) and all(map(_agree, replayed, captured)):
        return range(len(replayed))
    places: list[int | None] = [None] * len(replayed)
    for kinds in (None, _COPY, _SET):
        here, there = _of_kind(replayed, kinds), _of_kind(captured, kinds)
        if len(here) == len(there) and all(_agree(replayed[i], captured[k]) for i, k in zip(here, there, strict=True)):
            for i, k in zip(here, there, strict=True):
                places[i] = k
        elif kinds is None:
            return None
    return places


def _of_kind(work: Sequence[str], kind: str | None) -> list[int]:
    """Places of copies or of memsets; None: of kernels."""
    return [place for place, name in enumerate(work) if (name == kind if kind else name not in (_COPY, _SET))]


def _agree(replayed: str, captured: str) -> bool:
    return replayed == captured or (captured == _UNNAMED and replayed not in (_COPY, _SET))


def _chosen(fits: Sequence[Mapping[int, _Fit]], threads: Sequence[int], captures: Captures) -> list[int | None]:
    """The capture of each launch; None where none fits, or it is not clear which."""
    chosen: list[int | None] = [None] * len(fits)
    forward = range(len(fits))
    for launches, step in ((forward, 1), (reversed(forward), -1)):
        near: dict[int, int | None] = {}
        for launch in launches:
            if chosen[launch] is None:
                chosen[launch] = _one(fits[launch], near.get(threads[launch]), step, captures)
            near[threads[launch]] = chosen[launch]
    return chosen


def _one(fits: Mapping[int, _Fit], near: int | None, step: int, captures: Captures) -> int | None:
    if near is not None and near + step in fits:
        return near + step
    scopes = {captures.graphs[number].scopes for number in fits}
    return next(iter(fits)) if len(scopes) == 1 else None


def _unclear(fits: Mapping[int, _Fit], captures: Captures) -> str:
    return (
        f"--capture {captures.source}: its names fit {len(fits)} captures with different scopes:"
        " give a trace with the capture of this graph alone"
    )


def _first_difference(work: Sequence[str], captures: Captures) -> str:
    """Where the capture that agrees longest with a replay differs from it."""
    agreeing = {}
    for number, graph in enumerate(captures.graphs):
        same = map(_agree, work, graph.work)
        agreeing[number] = sum(1 for _ in takewhile(bool, same))
    number = max(agreeing, key=lambda number: agreeing[number])
    place, captured = agreeing[number], captures.graphs[number].work
    names = [side[place] if place < len(side) else "nothing" for side in (work, captured)]
    common = sum(1 for _ in takewhile(lambda letters: letters[0] == letters[1], zip(*names, strict=False)))
    here, there = (printable(name[max(common - _SHOWN // 2, 0) :][:_SHOWN]) for name in names)
    return (
        f"--capture {captures.source} is not of this graph: kernel {place} (counted from 0) is {here!r} in the replay"
        f" ({len(work)} in all) and {there!r} in the capture ({len(captured)}): give the trace of this graph's capture"
    )
