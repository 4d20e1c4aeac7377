"""The account: what a trace's tables count, one row a device event or, without a device, a host range.

Every table is a grouping of these rows and so adds up to the same total.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from perfkit.analysis.attribution.attribute import COMMUNICATION, UNATTRIBUTED, Attribution, Phase, steps_at
from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, nearest, pair_keys, self_times
from perfkit.analysis.kernels import categories as kernel_categories
from perfkit.errors import UsageError
from perfkit.schema import range_names
from perfkit.trace.columns import DeviceKind, HostKind, Trace

StepChoice = Literal["auto", "all"] | int
"""auto: the measured steps of a trace that perfkit recorded, everything of any other; or one step, counted from 0."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which part of a trace to account for."""

    phase: Phase | None = None
    """Only this phase."""
    steps: StepChoice = "auto"


_COLUMNS = ("row", "name", "phase", "path", "how", "step", "total", "exclusive", "counted")


@dataclass(frozen=True)
class Account:
    """The counted rows, as columns."""

    trace: Trace
    found: Attribution
    on_device: bool
    row: Ints
    """Device event, or host range in the forest's order."""
    name: Ints
    """Index into the trace's names."""
    phase: Ints
    path: Ints
    how: Ints
    step: Ints
    total: Ints
    """ns: the event's duration, or the host range's self time."""
    exclusive: Ints
    """ns of busy time that this row alone answers for; on the host the same as total."""
    counted: Bools
    """Rows that count as one each: every device event; on the host operators, or where there are none all ranges."""
    steps: tuple[int, ...]
    """Steps accounted for, as indices into found.steps."""
    steps_only: bool = False
    """Whether what lies outside the steps is left out."""
    only: Phase | None = None
    """The phase accounted for; None for all of them."""

    def __len__(self) -> int:
        return len(self.row)

    def kept(self, keep: Bools) -> Account:
        """Only some rows."""
        return replace(self, **{column: getattr(self, column)[keep] for column in _COLUMNS})

    @cached_property
    def step_wall(self) -> int:
        """Wall time of the steps accounted for, ns."""
        return sum(self.found.steps[index].end - self.found.steps[index].start for index in self.steps)

    def passes(self, phase: Phase) -> int:
        """How often the steps went through a phase: perfkit's own ranges of it, else once a step."""
        seen = self.found.view
        of = range_names.phase("backward" if phase is Phase.RECOMPUTE else phase.label)
        rows = np.flatnonzero(np.isin(seen.name, [index for index, own in seen.own_names.items() if own == of]))
        if not len(rows):
            return len(self.steps)
        if not self.on_device:
            rows = rows[seen.thread[rows] == self.found.main_thread]
        if not self.steps_only:
            return len(rows)
        process = np.array([thread.pid for thread in self.trace.threads], dtype=np.int64)[seen.thread[rows]]
        step = steps_at(self.trace, seen.start[rows], np.ones(len(rows), dtype=bool), process, self.found.steps)
        return int(np.isin(step, self.steps).sum())

    @cached_property
    def operator(self) -> Ints:
        """Name index of the operator each row ran in, NONE for none."""
        seen = self.found.view
        if not len(seen.name):
            return np.full(len(self), NONE)
        enclosing = nearest(seen.forest.parent, is_operator(self.found))
        if self.on_device:
            leaf = self.found.device.leaf[self.row]
            inside = np.where(leaf == NONE, NONE, enclosing[leaf])
        else:
            inside = enclosing[self.row]
        return np.where(inside == NONE, NONE, seen.name[inside])

    @cached_property
    def in_node(self) -> Bools:
        """Rows that ran (or were launched) inside a backward node."""
        place = self.found.device.leaf[self.row] if self.on_device else self.row
        node = np.concatenate((self.found.links.node, [NONE]))
        inside: Bools = node[place] != NONE
        return inside

    @cached_property
    def category(self) -> Ints:
        """Category of each row, as an index into kernel_categories.ALL: by its operator first, its own name second."""
        if not len(self):
            return np.empty(0, dtype=np.int64)
        in_optimizer = self.phase == Phase.OPTIMIZER
        _, first, place = np.unique(
            pair_keys(self.name, self.operator, in_optimizer), return_index=True, return_inverse=True
        )
        names = self.trace.names
        by_key = [
            kernel_categories.category(
                names[self.name[row]],
                names[self.operator[row]] if self.operator[row] != NONE else None,
                in_optimizer=bool(in_optimizer[row]),
            )
            for row in first
        ]
        numbers = {category: number for number, category in enumerate(kernel_categories.ALL)}
        categories = np.array([numbers[category] for category in by_key], dtype=np.int64)[place]
        if self.on_device:
            kind = self.trace.device.kind[self.row]
            categories[kind == DeviceKind.MEMCPY] = numbers[kernel_categories.COPY]
            categories[kind == DeviceKind.MEMSET] = numbers[kernel_categories.MEMSET]
        else:
            categories[~is_operator(self.found)[self.row]] = numbers[kernel_categories.HOST]
        return categories

    @cached_property
    def scopes(self) -> tuple[str, ...]:
        """Every scope there is, the rest rows' last; `scope` counts in it."""
        return (*self.found.paths, UNATTRIBUTED, COMMUNICATION)

    @cached_property
    def scope(self) -> Ints:
        """Scope of each row, as an index into `scopes`."""
        count = len(self.found.paths)
        communication = self.phase == Phase.COMMUNICATION
        return np.where(communication, count + 1, np.where(self.path == NONE, count, self.path))

    @property
    def unattributed(self) -> Bools:
        """Rows without a scope."""
        without: Bools = (self.path == NONE) & (self.phase != Phase.COMMUNICATION)
        return without


def account(trace: Trace, found: Attribution, selection: Selection | None = None) -> Account:
    """The rows to account for: device events, or without any the host time of the steps on the main thread."""
    selection = selection or Selection()
    there = _own_steps(trace, found)
    steps = _chosen_steps(trace, there, selection.steps)
    whole = _device_rows(trace, found) if len(trace.device) else _host_rows(trace, found)
    keep = np.ones(len(whole), dtype=bool)
    if steps is not None:
        whole = replace(whole, step=steps_of_events(trace, found)) if whole.on_device else whole
        keep &= np.isin(whole.step, steps)
    if selection.phase is not None:
        keep &= whole.phase == selection.phase
    chosen = there if steps is None else steps
    return replace(whole.kept(keep), steps=chosen, steps_only=steps is not None, only=selection.phase)


def _own_steps(trace: Trace, found: Attribution) -> tuple[int, ...]:
    """Steps there are to choose from: all of them, or of host times those of the one thread that is accounted for."""
    on_device = len(trace.device) > 0
    return tuple(i for i, step in enumerate(found.steps) if on_device or step.thread == found.main_thread)


def _chosen_steps(trace: Trace, there: tuple[int, ...], choice: StepChoice) -> tuple[int, ...] | None:
    """The wanted ones of some steps, None for everything, inside steps or not."""
    if isinstance(choice, int):
        if not 0 <= choice < len(there):
            raise UsageError(f"--steps {choice}: this trace has {len(there)} steps, counted from 0")
        return (there[choice],)
    own = choice == "auto" and "perfkit" in trace.metadata and len(there) > 0
    return there if own else None


def steps_of_events(trace: Trace, found: Attribution) -> Ints:
    """The step each device event was launched in; where its launch is not in the file, the one it ran in."""
    lost = found.device.launch == NONE
    ran_in = steps_at(trace, trace.device.start, lost, trace.device.process, found.steps)
    return np.where(lost, ran_in, found.device.step)


def _device_rows(trace: Trace, found: Attribution) -> Account:
    events, device = trace.device, found.device
    count = len(events)
    return Account(
        trace, found, True, np.arange(count), events.name, device.phase, device.path, device.how, device.step,
        events.end - events.start, device.exclusive, np.ones(count, dtype=bool), (),
    )  # fmt: skip


def _host_rows(trace: Trace, found: Attribution) -> Account:
    seen, host = found.view, found.host
    rows = np.flatnonzero(in_account(found))
    own = self_times(seen.forest.parent, seen.start, seen.end)[rows]
    operators = is_operator(found)[rows]
    step_row = nearest(seen.forest.parent, seen.is_step)[rows] if len(rows) else rows
    number = np.full(len(seen.name) + 1, NONE, dtype=np.int64)
    number[np.flatnonzero(seen.is_step)] = np.arange(len(found.steps))
    return Account(
        trace, found, False, rows, seen.name[rows], host.phase[rows], host.path[rows], host.how[rows],
        number[step_row], own, own, operators if operators.any() else ~seen.is_runtime[rows], (),
    )  # fmt: skip


def is_operator(found: Attribution) -> Bools:
    """Host rows that are operators, and not ranges that perfkit itself wrote as such."""
    own = np.zeros(len(found.view.names), dtype=bool)
    own[list(found.view.own_names)] = True
    operators: Bools = (found.view.kind == HostKind.OP) & ~own[found.view.name]
    return operators


def in_account(found: Attribution) -> Bools:
    """Host rows inside the steps on the main thread; without steps, everything on it."""
    seen = found.view
    main = found.main_thread
    if not seen.is_step.any():
        on_it: Bools = seen.thread == main
        return on_it
    inside: Bools = nearest(seen.forest.parent, seen.is_step & (seen.thread == main)) != NONE
    return inside
