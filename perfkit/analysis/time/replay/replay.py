"""Replay: a graph as it is, how far that is from its recording, and what an edit of it would gain."""

from __future__ import annotations

import msgspec
import numpy as np

from perfkit.analysis.attribution.intervals import NONE, Ints, at
from perfkit.analysis.time.replay.edit import Edit
from perfkit.analysis.time.replay.graph import Graph
from perfkit.analysis.time.replay.times import Times, times_of
from perfkit.schema.finding import Sure
from perfkit.schema.printable import printable
from perfkit.schema.units import duration_ns

WORST_ERROR = 0.05
"""A replay that misses the steps by more is of no use, and is refused."""
_STEPS = 3
"""Steps, from which the first is left out."""
_SHOWN = 60
"""Characters of a kernel's name in the reason."""


class Replayed(msgspec.Struct, frozen=True):
    """A graph replayed as it is."""

    graph: Graph
    times: Times
    measured: Ints
    """ns of each step in the recording: its wall time on the host."""
    replayed: Ints
    """The same in the replay."""
    measured_pace: Ints
    """ns that each step takes until all its work is done, from when that of the step before is (`windows`)."""
    pace: Ints
    """The same in the replay."""

    @property
    def errors(self) -> Ints:
        """|replayed - measured| / measured of each step."""
        return np.abs(self.replayed - self.measured) / np.maximum(self.measured, 1)

    @property
    def error(self) -> float:
        """The mean of the steady steps' errors or, if that is larger, the error of their pace, all together."""
        if not len(self.measured):
            return 0.0
        whole, replayed = (int(pace[self.steady].sum()) for pace in (self.measured_pace, self.pace))
        return max(float(self.errors[self.steady].mean()), abs(replayed - whole) / max(whole, 1))

    @property
    def steady(self) -> slice:
        """The steps whose pace counts: of three or more all but the first.

        The first is done when work is done that may have been launched before the recording, and without what is taken
        away for a gain it still begins where the recording did.
        """
        return slice(1 if len(self.pace) >= _STEPS else 0, None)

    @property
    def step_ns(self) -> int:
        """The pace of these steps, replayed, on average."""
        pace = self.pace[self.steady]
        return int(pace.sum()) // max(len(pace), 1)

    @property
    def sure(self) -> Sure:
        """How sure gains are: without a device there is hardly a wait to compute, and any replay fits its recording."""
        return "derived" if len(self.graph.work.start) else "guessed"

    @property
    def refused(self) -> str:
        """Why gains of this graph would be worth nothing; empty where they are fine."""
        if self.graph.problem:
            return self.graph.problem
        if self.error > WORST_ERROR:
            wait = _longest_unexplained(self)
            return f"its replay misses the recording by {self.error:.1%} (limit {WORST_ERROR:.0%}){wait}"
        return ""


class Gain(msgspec.Struct, frozen=True):
    """What an edit gains at most: what it takes away may have to be done elsewhere, in less time."""

    ns_per_step: int
    share: float
    """Of the step's replayed time."""


def replay(graph: Graph) -> Replayed:
    """Replay a graph as it is."""
    times = times_of(graph)
    begin, end = graph.borders
    measured, replayed = (time[end] - time[begin] for time in (graph.time, times.time))
    return Replayed(graph, times, measured, replayed, _paces(graph, graph.time), _paces(graph, times.time))


def gain(graph: Graph, edit: Edit, base: Replayed | None = None) -> Gain | None:
    """What a step would gain at most by an edit, on average. None where the replay is refused.

    `base`: the graph's own replay, where it is there already.
    """
    base = base or replay(graph)
    if base.refused:
        return None
    paces = base.pace, _paces(graph, times_of(graph, edit).time)
    before, after = (int(pace[base.steady].sum()) for pace in paces)
    return Gain((before - after) // len(base.pace[base.steady]), (before - after) / max(before, 1))


def windows(graph: Graph, time: Ints) -> tuple[Ints, Ints]:
    """When each step begins and is done, where nodes are at `time`.

    It is done when the host has reached its end, and all work is done that was launched up to there. It begins when the
    one before is done, or when the host begins it, if that is later. Where the host runs ahead of the device, this is
    the device's pace, while the host's own step is over long before its work is done.
    """
    begin, end = graph.borders
    if not len(begin):
        return begin, end
    order = np.argsort(graph.work.called, kind="stable")
    called = graph.work.called[order]
    first = int(np.searchsorted(called, graph.time[begin[0]], side="left"))
    done = time[graph.first_event :][order]
    done = np.maximum.accumulate(np.where(np.arange(len(done)) < first, 0, done))
    last = np.searchsorted(called, graph.time[end], side="right")
    done = np.where(last > first, at(done, np.maximum(last - 1, NONE), absent=0), 0)
    until = np.maximum.accumulate(np.maximum(time[end], done))
    return np.maximum(time[begin], np.append(time[begin[0]], until[:-1])), until


def _paces(graph: Graph, time: Ints) -> Ints:
    begin, end = windows(graph, time)
    return end - begin


def _longest_unexplained(replayed: Replayed) -> str:
    """Before which event the recording has the longest wait that the graph does not explain."""
    graph, followed = replayed.graph, replayed.times.edges
    if not len(graph.work.start):
        return ""
    explained = np.full(len(graph.time), np.iinfo(np.int64).min)
    np.maximum.at(explained, followed.target, graph.time[followed.source] + followed.delay)
    explained = explained[graph.first_event :]
    wait = np.where(explained > np.iinfo(np.int64).min, graph.work.start - explained, 0)
    event = int(wait.argmax())
    name = printable(graph.trace.names[int(graph.trace.device.name[graph.work.row[event]])][:_SHOWN])
    return f"; the longest wait that it cannot explain is {duration_ns(int(wait[event]))}, before {name}"
