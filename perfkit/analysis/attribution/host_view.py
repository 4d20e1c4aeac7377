"""The host side of a trace in nesting order, with what names alone tell about each range."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
from msgspec.structs import replace

from perfkit.analysis.attribution import nvtx_nodes
from perfkit.analysis.attribution.intervals import NONE, Bools, Forest, Ints, build_forest, nearest
from perfkit.analysis.attribution.nvtx_nodes import EVALUATE
from perfkit.analysis.attribution.steps import HostColumns, StepSource, find_steps
from perfkit.schema import range_names
from perfkit.schema.range_names import RangeName
from perfkit.trace.columns import ACROSS_THREADS, HostKind, Trace

__all__ = ["EVALUATE", "HostView", "name_flags", "view"]


class HostView(msgspec.Struct, frozen=True):
    """Host ranges in the forest's order, one row each, and facts about them."""

    names: tuple[str, ...]
    forest: Forest
    name: Ints
    kind: Ints
    thread: Ints
    start: Ints
    end: Ints
    sequence: Ints
    forward_thread: Ints
    is_runtime: Bools
    is_step: Bools
    """The steps, from the best source that the file has (rule 16)."""
    phase_range: Ints
    """Row of the enclosing perfkit.phase:: range, NONE outside."""
    own_names: dict[int, RangeName]
    """Name index -> parsed name, for perfkit's own ranges."""
    present_names: tuple[int, ...]
    """Name indexes that occur among host ranges, ascending."""
    step_source: StepSource = StepSource.NONE

    def name_of(self, row: int) -> str:
        """A range's name."""
        return self.names[int(self.name[row])]

    def matching(self, test: Callable[[str], bool]) -> Bools:
        """Rows whose name passes a test; each distinct name is tested once."""
        flags = np.zeros(len(self.names), dtype=bool)
        flags[[index for index in self.present_names if test(self.names[index])]] = True
        return flags[self.name] if len(self.name) else np.zeros(0, dtype=bool)

    def own(self, *kinds: str) -> Bools:
        """Rows that are perfkit's own ranges of one of these kinds."""
        return _own_rows(self.own_names, len(self.names), self.name, *kinds)

    def in_phase(self, *phases: str) -> Bools:
        """Rows inside a perfkit.phase:: range of one of these names."""
        wanted = {index for index, own in self.own_names.items() if own.kind == "phase" and own.label in phases}
        flags = np.zeros(len(self.names), dtype=bool)
        flags[list(wanted)] = True
        return np.where(self.phase_range == NONE, False, flags[self.name[self.phase_range]])


def _own_rows(own_names: dict[int, RangeName], names: int, name: Ints, *kinds: str) -> Bools:
    flags = np.zeros(names, dtype=bool)
    flags[[index for index, own in own_names.items() if own.kind in kinds]] = True
    return flags[name] if len(name) else np.zeros(0, dtype=bool)


def name_flags(names: tuple[str, ...], name: Ints, test: Callable[[str], bool]) -> Bools:
    """Rows whose name passes a test, testing each distinct name of the rows once."""
    flags = np.zeros(len(names), dtype=bool)
    for index in present(name):
        flags[index] = test(names[index])
    return flags[name] if len(name) else np.zeros(0, dtype=bool)


def present(codes: Ints) -> list[int]:
    """The distinct values of a dictionary-encoded column, ascending."""
    return np.flatnonzero(np.bincount(codes)).tolist()


def view(trace: Trace) -> HostView:
    """Nest a trace's host ranges and read their names."""
    host = trace.host
    forest = build_forest(
        host.thread,
        host.start,
        host.end,
        host.kind == HostKind.RUNTIME,
        host.order,
        tolerance=trace.facts.resolution_ns if trace.facts.resolution_ns > 1 else 0,
    )
    order = forest.order
    name, kind = host.name[order], host.kind[order]
    on_none = _on_no_thread(trace)[order]
    forest = replace(forest, parent=np.where(on_none, NONE, forest.parent).astype(forest.parent.dtype))
    names = tuple(present(name))
    own_names = {i: parsed for i in names if (parsed := range_names.parse_trace(trace.names[i])) is not None}
    thread, start, end = host.thread[order], host.start[order], host.end[order]
    process = np.array([thread.pid for thread in trace.threads], dtype=np.int64)[thread]
    columns = HostColumns(trace.names, forest, name, kind, thread, process, start, end, nests=~on_none)
    is_step, step_source = find_steps(columns, own_names)
    phase_ranges = _own_rows(own_names, len(trace.names), name, "phase")
    return HostView(
        names=trace.names,
        forest=forest,
        name=name,
        kind=kind,
        thread=thread,
        start=start,
        end=end,
        sequence=host.sequence[order],
        forward_thread=_forward_threads(trace, forest),
        is_runtime=kind == HostKind.RUNTIME,
        is_step=is_step,
        phase_range=nearest(forest.parent, phase_ranges),
        own_names=own_names,
        present_names=names,
        step_source=step_source,
    )


def _on_no_thread(trace: Trace) -> Bools:
    """Ranges across threads: what overlaps there need not be inside, and no step of a thread is among them."""
    lanes = [index for index, thread in enumerate(trace.threads) if thread.name == ACROSS_THREADS]
    return np.isin(trace.host.thread, lanes)


def _forward_threads(trace: Trace, forest: Forest) -> Ints:
    host, order = trace.host, forest.order
    if trace.recording.capabilities.forward_threads or not (host.sequence >= 0).any():
        return host.forward_thread[order]
    process = np.array([thread.pid for thread in trace.threads], dtype=np.int64)
    return nvtx_nodes.forward_threads(
        trace.names, forest, host.name[order], host.thread[order], process, host.start[order], host.sequence[order]
    )
