"""Which module, and which phase of the step, every host range and device event belongs to.

The rules, with their reasons and their oracles, are docs/attribution.md; the numbers in brackets below are theirs.
Everything is a column operation over the forest of host ranges; rows of those columns are in the forest's order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import numpy as np
from msgspec.structs import replace

from perfkit.analysis.attribution import graphs
from perfkit.analysis.attribution.captures import Captures, Replays, joined
from perfkit.analysis.attribution.compiled import Compiled, find_compiled
from perfkit.analysis.attribution.host_view import HostView, name_flags, view
from perfkit.analysis.attribution.intervals import (
    NONE,
    ROW,
    Bools,
    Ints,
    at,
    exclusive_times,
    last_at_or_before,
    pair_keys,
)
from perfkit.analysis.attribution.links import Links, link
from perfkit.analysis.attribution.optimizers import with_optimizers
from perfkit.analysis.attribution.paths import SEPARATOR
from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.attribution.phases import find_phases
from perfkit.analysis.attribution.pieces import by_piece
from perfkit.analysis.attribution.repeats import twins
from perfkit.analysis.attribution.scopes import How, Naming, Scopes, ScopeSource, find_scopes
from perfkit.analysis.kernels import categories as kernel_categories
from perfkit.schema import range_names
from perfkit.trace.columns import MISSING, DeviceKind, HostKind, Trace
from perfkit.trace.recording import OwnNotes

__all__ = [
    "COMMUNICATION", "UNATTRIBUTED", "Attribution", "EventAttribution", "Phase", "ProfiledStep", "RangeAttribution",
    "attribute", "external_ids_are_correlations", "is_communication", "precedence", "steps_at",
]  # fmt: skip

UNATTRIBUTED = "<unattributed>"
COMMUNICATION = "<communication>"


class RangeAttribution(msgspec.Struct, frozen=True):
    """One row a host range, in the forest's order."""

    phase: Ints
    path: Ints
    """Index into Attribution.paths; NONE for unattributed."""
    how: Ints
    is_evident: Bools
    """Something in the file says the phase; where nothing does, it is OTHER."""


class EventAttribution(msgspec.Struct, frozen=True):
    """One row a device event, in the trace's order."""

    launch: Ints
    """Forest row of the launching call; NONE where the file has none."""
    leaf: Ints
    """Forest row of the range that the launch was made in; NONE for none."""
    phase: Ints
    launched_in: Ints
    """The phase of its launch: for communication, the phase that caused it."""
    path: Ints
    how: Ints
    step: Ints
    """Index into Attribution.steps, by launch time; NONE outside every step."""
    exclusive: Ints
    """ns of busy time that are counted for this event alone."""
    is_evident: Bools
    """Something in the file says the phase, or there is no launch; where nothing does, it is OTHER."""
    twin: Ints
    """On an event launched before the window: a launched one that it repeats, whose component it has; else NONE."""


class ProfiledStep(msgspec.Struct, frozen=True):
    """A profiled step."""

    name: str
    start: int
    end: int
    thread: int
    """Index of the thread that it ran on."""


class Attribution(msgspec.Struct, frozen=True):
    """Scope, phase and step of all the work in a trace."""

    host: HostView
    scope_source: ScopeSource
    paths: tuple[str, ...]
    steps: tuple[ProfiledStep, ...]
    ranges: RangeAttribution
    events: EventAttribution
    links: Links
    main_thread: int
    """Index of the thread whose steps are the account: the one with the most time in them; without steps the
    process's first thread, else that of the first range. NONE without host ranges."""
    qualified: bool
    """Scope paths are qualified module names (layers.3.attn), not joined names of nested ranges."""
    modules: Mapping[str, str]
    """Module path -> class, where the recording left its tree or the caller gave one."""
    compiled: Compiled | None = None
    """What Inductor recorded of compiled kernels; None where the run did not ask for it."""
    replays: Replays | None = None
    """How far the graphs are those of the given captures; None where none were given."""
    naming: Naming = Naming()

    def path_names(self, path: Ints, phase: Ints) -> Any:
        """Scope names for the rows of a table, the rest rows included."""
        names = at(np.array(self.paths, dtype=object), path, absent=UNATTRIBUTED)
        names[phase == Phase.COMMUNICATION] = COMMUNICATION
        return names


def attribute(
    trace: Trace,
    scope_source: Literal["auto"] | ScopeSource = "auto",
    modules: Mapping[str, str] | None = None,
    captures: Captures | None = None,
) -> Attribution:
    """Attribute everything in a trace.

    `scope_source` auto takes the best kind of scope the file has (rule 9). `modules` is the model's tree, path ->
    class (`perfkit.module_tree(model)`); default: the one that perfkit's own recording left in the file. With it,
    names such as `nn.Module: Linear_7` become qualified ones. `captures` are those of the trace's CUDA graphs, from
    another trace; raises UsageError where none of them is.
    """
    host = view(trace)
    links = link(trace, host)
    recorded = trace.recording.own or OwnNotes()
    modules = recorded.modules if modules is None else modules
    scopes = with_optimizers(host, links, find_scopes(host, links, scope_source, modules))
    ranges = _attribute_ranges(trace, host, links, scopes)
    compiled = find_compiled(trace, host, ranges.path, scopes.paths)
    paths = compiled.paths if compiled else scopes.paths
    ranges = _by_provenance(ranges, compiled) if compiled else ranges
    steps = tuple(
        ProfiledStep(host.name_of(int(row)), int(host.start[row]), int(host.end[row]), int(host.thread[row]))
        for row in np.flatnonzero(host.is_step)
    )
    events = _attribute_events(trace, host, ranges, steps)
    replays = joined(trace, host, events.launch, captures) if captures else None
    spelled = captures or scopes
    qualified = spelled.qualified or (scopes.source is ScopeSource.ANNOTATION and graphs.names_modules(trace))
    events, paths = _in_graphs(trace, host, events, paths, replays, "." if qualified else SEPARATOR)
    source = captures.scope_source if captures else scopes.source
    lost = events.launched_in == Phase.UNLAUNCHED
    repeated = twins(trace, lost, events.path, paths, of_modules=source is not ScopeSource.ANNOTATION)
    events = replace(events, twin=np.where(events.phase == Phase.UNLAUNCHED, repeated, NONE))
    return Attribution(
        host=host,
        scope_source=source,
        paths=paths,
        steps=steps,
        ranges=ranges,
        events=events,
        links=links,
        main_thread=_main_thread(trace, host),
        qualified=qualified,
        modules=captures.modules if captures else modules,
        compiled=compiled,
        replays=replays,
        naming=scopes.naming,
    )


def _main_thread(trace: Trace, host: HostView) -> int:
    if not len(trace.host):
        return NONE
    if host.step_source.is_named:
        rows = np.flatnonzero(host.is_step)
        return int(np.bincount(host.thread[rows], weights=(host.end - host.start)[rows]).argmax())
    first = [index for index, thread in enumerate(trace.threads) if thread.pid == thread.tid]
    return first[0] if first else int(trace.host.thread[0])


# --- host ranges (rule 10) -------------------------------------------------------------------------------


def _attribute_ranges(trace: Trace, host: HostView, links: Links, scopes: Scopes) -> RangeAttribution:
    resolved = scopes.resolved
    path = np.where(resolved == NONE, NONE, scopes.path[resolved]) if len(resolved) else resolved
    phases, how = find_phases(trace, host, links, scopes.scope), scopes.how
    phase = phases.phase
    searching = host.in_phase(range_names.HOOKS.label)
    if searching.any():  # in forward, or in the node that runs a part again: no work of either
        path, how = np.where(searching, NONE, path), np.where(searching, How.NONE, how)
        phase = np.where(searching, Phase.OTHER, phase)
    return RangeAttribution(phase, path, how, phases.is_evident)


def _by_provenance(ranges: RangeAttribution, compiled: Compiled) -> RangeAttribution:
    """Move compiled kernels to their modules; their phase stays the same."""
    mapped = compiled.path != NONE
    return replace(
        ranges, path=np.where(mapped, compiled.path, ranges.path), how=np.where(mapped, How.PROVENANCE, ranges.how)
    )


# --- device events (rules 3, 13, 14) -----------------------------------------------------------------------------


def _attribute_events(
    trace: Trace, host: HostView, ranges: RangeAttribution, steps: tuple[ProfiledStep, ...]
) -> EventAttribution:
    events = trace.device
    launch = _launches(trace, host)
    lost = launch == NONE
    leaf = np.where(lost, NONE, host.forest.parent[launch]) if len(trace.host) else launch
    if lost.any():
        leaf[lost] = _operators_by_id(trace, host)[lost]
    inside = leaf != NONE
    place = np.where(inside, leaf, launch)  # a call outside every range has a phase of its own
    launched_in = at(ranges.phase, place, absent=Phase.UNLAUNCHED)
    path = np.full(len(events), NONE, dtype=ROW)
    path[inside] = ranges.path[leaf[inside]]
    how = np.where(launched_in == Phase.UNLAUNCHED, How.UNLAUNCHED, How.NONE).astype(np.uint8)
    how[inside] = ranges.how[leaf[inside]]
    communication = is_communication(trace)
    phase = np.where(communication, Phase.COMMUNICATION, launched_in)
    path[communication] = NONE
    return EventAttribution(
        launch=launch,
        leaf=leaf,
        phase=phase,
        launched_in=launched_in,
        path=path,
        how=how,
        step=_steps_of_launches(trace, host, launch, steps),
        exclusive=_exclusive(trace, communication),
        is_evident=communication | at(ranges.is_evident, place, absent=True),
        twin=np.full(len(events), NONE, dtype=ROW),
    )


def _in_graphs(
    trace: Trace,
    host: HostView,
    events: EventAttribution,
    paths: tuple[str, ...],
    replays: Replays | None,
    separator: str,
) -> tuple[EventAttribution, tuple[str, ...]]:
    """Move nodes of CUDA graphs to the scopes that they had at capture.

    The phase stays that of their launch; where nothing says that one, it is the phase that they had at capture.
    """
    movable = events.phase != Phase.COMMUNICATION
    scoped = graphs.by_annotation(trace, graphs.Scoped(events.path, events.how, paths), movable)
    scoped = graphs.by_capture(scoped, replays, movable) if replays else scoped
    scoped = by_piece(trace, host, events.launch, scoped, movable, separator)
    events = replace(events, path=scoped.path, how=scoped.how)
    return (_phases_at_capture(events, replays) if replays else events), scoped.paths


def _phases_at_capture(events: EventAttribution, replays: Replays) -> EventAttribution:
    captured = np.array([NONE if phase is None else phase for phase in replays.phase], dtype=np.int64)
    moved = ~events.is_evident & (captured != NONE)
    launched_in = np.where(moved, captured, events.launched_in).astype(np.uint8)
    phase = np.where(moved & (events.phase != Phase.COMMUNICATION), captured, events.phase)
    return replace(events, phase=phase, launched_in=launched_in, is_evident=events.is_evident | moved)


def _launches(trace: Trace, host: HostView) -> Ints:
    """The first call, by time, that carries an event's correlation id (in the event's process, where it names one)."""
    calls = np.flatnonzero(host.is_runtime)
    correlation = trace.host.correlation[host.forest.order[calls]]
    calls, correlation = calls[correlation != MISSING], correlation[correlation != MISSING]
    events = trace.device
    call_process = np.array([thread.pid for thread in trace.threads], dtype=np.int64)[host.thread[calls]]
    event_process = events.process
    if (event_process == MISSING).all():
        call_process = np.full(len(calls), MISSING)
    keys = pair_keys(
        np.concatenate((call_process, event_process)),
        np.concatenate((correlation, events.correlation)),
    )
    call_keys, event_keys = keys[: len(calls)], keys[len(calls) :]
    order = np.lexsort((host.start[calls], call_keys))
    place = np.searchsorted(call_keys[order], event_keys)
    place_or_last = np.minimum(place, max(len(calls) - 1, 0))
    launch = np.full(len(events), NONE, dtype=ROW)
    if len(calls):
        matches = (call_keys[order][place_or_last] == event_keys) & (events.correlation != MISSING)
        launch[matches] = calls[order][place_or_last[matches]]
    return launch


def external_ids_are_correlations(trace: Trace) -> bool:
    """True for files of 2021 to 2023, whose External ids repeat the correlation and collide with operators' ids."""
    calls = trace.host.kind == HostKind.RUNTIME
    external, correlation = trace.host.external_id[calls], trace.host.correlation[calls]
    return bool(calls.any() and np.mean((external == correlation) & (external != MISSING)) > 0.5)


def _operators_by_id(trace: Trace, host: HostView) -> Ints:
    """For events without a launch: the operator of their External id, the first in the file, if ids can be trusted."""
    events, recorded = trace.device, trace.host
    operator = np.full(len(events), NONE, dtype=np.int64)
    if external_ids_are_correlations(trace):
        return operator
    operators = np.flatnonzero((recorded.kind == HostKind.OP) & (recorded.external_id > 0))
    ids, first = np.unique(recorded.external_id[operators], return_index=True)
    place = np.searchsorted(ids, events.external_id)
    hit = place < len(ids)
    hit[hit] = ids[place[hit]] == events.external_id[hit]
    row_of = np.empty(len(recorded), dtype=np.int64)
    row_of[host.forest.order] = np.arange(len(recorded))
    operator[hit] = row_of[operators[first[place[hit]]]]
    return operator


def _steps_of_launches(trace: Trace, host: HostView, launch: Ints, steps: tuple[ProfiledStep, ...]) -> Ints:
    process = np.array([thread.pid for thread in trace.threads], dtype=np.int64)
    caller = at(process, at(host.thread, launch, absent=NONE), absent=NONE)
    return steps_at(trace, at(host.start, launch, absent=MISSING), launch != NONE, caller, steps)


def steps_at(trace: Trace, time: Ints, known: Bools, process: Ints, steps: tuple[ProfiledStep, ...]) -> Ints:
    """The step whose [start, end) holds each known time; of its own process, where several have steps; NONE outside."""
    starts, ends = (np.array([getattr(step, at) for step in steps], dtype=np.int64) for at in ("start", "end"))
    owner = np.array([trace.threads[step.thread].pid for step in steps], dtype=np.int64)
    if len(np.unique(owner)) <= 1:  # one process: files name threads of others too, and mean the same
        owner, process = np.zeros_like(owner), np.zeros(len(time), dtype=np.int64)
    index = last_at_or_before(owner, starts, process, time)
    outside = ~known | (index == NONE)
    outside[~outside] = time[~outside] >= ends[index[~outside]]
    return np.where(outside, NONE, index)


def owners_of_events(trace: Trace, attribution: Attribution) -> Ints:
    """The process of each device event; MISSING where nobody knows.

    Where steps are of several processes, as in a file merged of Kineto's, whose events name none, its launch says it.
    """
    owner, launch = trace.device.process.astype(np.int64), attribution.events.launch
    if len({trace.threads[step.thread].pid for step in attribution.steps}) < 2:
        return owner
    process = np.array([thread.pid for thread in trace.threads], dtype=np.int64)
    launched_by = at(process, at(attribution.host.thread, launch, absent=NONE), absent=MISSING)
    return np.where(owner == MISSING, launched_by, owner)


def is_communication(trace: Trace) -> Bools:
    """Collective kernels, by name."""
    named = name_flags(trace.names, trace.device.name, kernel_categories.is_communication)
    return named & (trace.device.kind == DeviceKind.KERNEL)


def precedence(kind: Ints, communication: Bools) -> Ints:
    """Rank of device events, of which the lowest has an instant that several share: compute (kernels and memsets), 0,
    before communication, 1, before copies, 2."""
    return np.where(communication, 1, np.where(kind == DeviceKind.MEMCPY, 2, 0))


def _exclusive(trace: Trace, communication: Bools) -> Ints:
    """Exclusive busy time per event, per device."""
    events = trace.device
    rank = precedence(events.kind, communication)
    own = np.zeros(len(events), dtype=np.int64)
    for device in np.unique(events.device):
        rows = np.flatnonzero(events.device == device)
        own[rows] = exclusive_times(events.start[rows], events.end[rows], rank[rows])
    return own
