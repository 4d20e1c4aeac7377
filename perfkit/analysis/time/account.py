"""The account: what a trace's tables count, one row a device event or, without a device, a host range.

Every table is a grouping of these rows (`partial`) and so adds up to the same total.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import msgspec
import numpy as np

from perfkit.analysis.attribution.attribute import COMMUNICATION, UNATTRIBUTED, Attribution, Phase, steps_at
from perfkit.analysis.attribution.backward_agreement import Agreement, agreement
from perfkit.analysis.attribution.fallback import Fallback, find_fallback, layers_by
from perfkit.analysis.attribution.host_view import present
from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, at, nearest, self_times
from perfkit.analysis.attribution.paths import SEPARATOR
from perfkit.analysis.attribution.scopes import How, ScopeSource
from perfkit.analysis.kernels.calls import kind_of
from perfkit.analysis.time.idle.wall import Wall, wall_of
from perfkit.analysis.time.partial import Facts, Partial, partial_of
from perfkit.errors import UsageError
from perfkit.trace.columns import DeviceKind, HostKind, Trace
from perfkit.trace.detail_columns import Operands
from perfkit.trace.operands import has_shapes, operands_of
from perfkit.trace.recording import Device

StepChoice = Literal["auto", "all"] | int
"""auto: the measured steps of a trace that perfkit recorded, everything of any other; or one step, counted from 0."""


class Selection(msgspec.Struct, frozen=True):
    """Which part of a trace to account for."""

    phase: Phase | None = None
    """Only this phase."""
    steps: StepChoice = "auto"


_COLUMNS = ("row", "name", "phase", "path", "how", "step", "total", "exclusive", "is_counted")


@dataclass(frozen=True)
class Account:
    """The counted rows, as columns."""

    trace: Trace
    attribution: Attribution
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
    """ns of busy time counted for this row alone; on the host the same as total."""
    is_counted: Bools
    """Rows that count as one each: every device event; on the host operators, or where there are none all ranges."""
    steps: tuple[int, ...] = ()
    """Steps accounted for, as indices into attribution.steps."""
    steps_only: bool = False
    """Whether work outside the steps is left out; where `steps` is empty, whether work inside them is."""
    is_whole: bool = True
    """Whether work outside the steps is accounted for, too: here, or in another of the account's parts."""
    only: Phase | None = None
    """The phase accounted for; None for all of them."""
    fallback: Fallback | None = None
    """What work without a scope goes by in tables by layer, where the trace has no modules and few ranges."""

    def __len__(self) -> int:
        return len(self.row)

    def kept(self, keep: Bools) -> Account:
        """Only some rows."""
        return replace(self, **{column: getattr(self, column)[keep] for column in _COLUMNS})

    def parts(self) -> tuple[Account, ...]:
        """The account cut at step borders: each step, and the work outside them where the account has it.

        The merged partials of the parts equal the partial of the whole.
        """
        if not self.steps:
            return (self,)
        inside = (replace(self.kept(self.step == step), steps=(step,), steps_only=True) for step in self.steps)
        outside = () if self.steps_only else (replace(self.kept(self.step == NONE), steps=(), steps_only=True),)
        return (*inside, *outside)

    @cached_property
    def partial(self) -> Partial:
        """The parts of the account that add up."""
        trace, attribution, host = self.trace, self.attribution, self.attribution.host
        steps = (attribution.steps[index] for index in self.steps)
        facts = Facts(
            sources=(trace.source,),
            tools=(trace.recording.tool.value,),
            has_operators=trace.recording.capabilities.operators,
            devices=tuple(_named_devices(trace)),
            cpus=tuple(own.cpu for own in (trace.recording.own,) if own and own.cpu),
            device_labels=self.device_labels,
            names=trace.names,
            device_names=frozenset(trace.names[index] for index in np.unique(trace.device.name)),
            paths=self.paths,
            scope_source=attribution.scope_source,
            layers_by=self.fallback.by if self.fallback else layers_by(attribution.scope_source),
            qualified=attribution.qualified,
            modules=attribution.modules,
            roots=attribution.naming.roots.inside,
            separators={
                **dict.fromkeys(attribution.naming.annotations, SEPARATOR),
                **dict.fromkeys(self.paths[len(attribution.paths) :], ""),
            },
            steps=tuple(step.end - step.start for step in steps),
            step_source=attribution.host.step_source,
            only=self.only,
            on_device=self.on_device,
            is_whole=self.is_whole,
            has_ranges=bool(is_range(attribution, trace).any()),
            has_copies=self.on_device and bool((trace.device.kind[self.row] != DeviceKind.KERNEL).any()),
            has_launches=any(kind_of(trace.names[index]) is not None for index in present(host.name[host.is_runtime])),
            several_threads=len(trace.threads) > 1,
            has_shapes=has_shapes(trace),
            has_collectives=any(arguments.collective for arguments in trace.arguments),
        )
        return partial_of(self, facts)

    @cached_property
    def operands(self) -> Operands:
        """Shapes, types, strides and values of operators' arguments, by row of the trace's host ranges."""
        return operands_of(self.trace)

    @cached_property
    def wall(self) -> Wall:
        """Where the wall time of the steps went, and of what lies outside where the account has it."""
        return wall_of(self)

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """The paths of scopes, and behind them the labels of work without one."""
        return tuple(dict.fromkeys((*self.attribution.paths, *(self.fallback.texts if self.fallback else ()))))

    @cached_property
    def path_or_label(self) -> Ints:
        """Index into paths: the scope of each row, else its label; NONE without either."""
        if self.fallback is None:
            return self.path
        numbers = {text: number for number, text in enumerate(self.paths)}
        number = np.array([numbers[text] for text in self.fallback.texts], dtype=np.int64)
        place = self.name if self.fallback.by.is_own_name else self.place
        label = at(number, at(self.fallback.label, place, absent=NONE), absent=NONE)
        return np.where(self.unattributed, label, self.path)

    @property
    def place(self) -> Ints:
        """The host range of each row, or the one that it was launched in; NONE for none."""
        return self.attribution.events.leaf[self.row] if self.on_device else self.row

    @cached_property
    def agreement(self) -> Agreement | None:
        """How far perfkit's ranges round backward nodes and the nodes' numbers agree."""
        return agreement(self.attribution)

    @cached_property
    def operator(self) -> Ints:
        """Name index of the operator each row ran in, NONE for none."""
        host = self.attribution.host
        enclosing = nearest(host.forest.parent, is_operator(self.attribution))
        return at(host.name.astype(np.int64), at(enclosing, self.place, absent=NONE), absent=NONE)

    @cached_property
    def device_labels(self) -> tuple[str, ...]:
        """The labels of the devices that have events in the file, by number; `device` counts in them."""
        return tuple(map(self.trace.device_label, np.unique(self.trace.device.device).tolist()))

    @cached_property
    def device(self) -> Ints:
        """The device of each row, as an index into `device_labels`; NONE for host times."""
        if not self.on_device:
            return np.full(len(self), NONE, dtype=np.int64)
        return np.unique(self.trace.device.device, return_inverse=True)[1][self.row]

    @cached_property
    def in_node(self) -> Bools:
        """Rows that ran (or were launched) inside a backward node."""
        return at(self.attribution.links.node, self.place, absent=NONE) != NONE

    @cached_property
    def scopes(self) -> tuple[str, ...]:
        """Every scope there is, the rest rows' last; `scope` counts in it."""
        return (*self.attribution.paths, UNATTRIBUTED, COMMUNICATION)

    @cached_property
    def scope(self) -> Ints:
        """Scope of each row, as an index into `scopes`."""
        return scope_numbers(self.path, self.phase, len(self.attribution.paths))

    @property
    def unattributed(self) -> Bools:
        """Rows without a scope."""
        return (self.path == NONE) & (self.phase != Phase.COMMUNICATION)


def _named_devices(trace: Trace) -> Iterator[tuple[str, Device]]:
    """Labels of devices, and what the file says of them, where it does."""
    named = {device.index: device for device in trace.recording.devices}
    if trace.devices:
        yield from ((device.label, named[device.index]) for device in trace.devices if device.index in named)
    else:
        yield from ((str(index), device) for index, device in named.items())


def scope_numbers(path: Ints, phase: Ints, paths: int) -> Ints:
    """The scope of rows, where the two rest rows come after `paths` scopes: <unattributed>, <communication>."""
    return np.where(phase == Phase.COMMUNICATION, paths + 1, np.where(path == NONE, paths, path))


def account_for(trace: Trace, attribution: Attribution, selection: Selection | None = None) -> Account:
    """The rows to account for: device events, or without any the host time of the steps on the main thread."""
    selection = selection or Selection()
    there = own_steps(trace, attribution)
    steps = _chosen_steps(trace, attribution, there, selection.steps)
    whole = _device_rows(trace, attribution) if len(trace.device) else _host_rows(trace, attribution)
    whole = replace(whole, fallback=_fallback(whole))
    keep = np.ones(len(whole), dtype=bool)
    if steps is not None:
        whole = replace(whole, step=steps_of_events(trace, attribution)) if whole.on_device else whole
        keep &= np.isin(whole.step, steps)
    if selection.phase is not None:
        keep &= whole.phase == selection.phase
    chosen = there if steps is None else steps
    is_whole = steps is None and (whole.on_device or not attribution.host.step_source.is_certain)
    return replace(
        whole.kept(keep), steps=chosen, steps_only=steps is not None, is_whole=is_whole, only=selection.phase
    )


def _fallback(whole: Account) -> Fallback | None:
    """Labels for a trace without modules whose ranges hold less than half of the time; None for any other."""
    trace, attribution, bare = whole.trace, whole.attribution, whole.unattributed
    others = (whole.phase == Phase.COMMUNICATION) | (whole.how == How.OPTIMIZER)  # no range of the user's names these
    own = whole.total[~others].sum()
    if attribution.scope_source is not ScopeSource.ANNOTATION or 2 * whole.total[bare].sum() <= own:
        return None
    return find_fallback(trace, attribution.host, attribution.links, whole.place[bare])


def own_steps(trace: Trace, attribution: Attribution) -> tuple[int, ...]:
    """Steps to choose from: all of them or, for host times, those of the one thread that is accounted for."""
    on_device = len(trace.device) > 0
    return tuple(i for i, step in enumerate(attribution.steps) if on_device or step.thread == attribution.main_thread)


def _chosen_steps(
    trace: Trace, attribution: Attribution, there: tuple[int, ...], choice: StepChoice
) -> tuple[int, ...] | None:
    """The chosen steps; None for everything, inside steps or not."""
    if isinstance(choice, int):
        if not there:
            raise UsageError(f"--steps {choice}: this trace has no steps; drop --steps")
        if not 0 <= choice < len(there):
            count = "1 step" if len(there) == 1 else f"{len(there)} steps"
            raise UsageError(f"--steps {choice}: this trace has {count}, counted from 0")
        return (there[choice],)
    own = choice == "auto" and trace.recording.own is not None and attribution.host.step_source.is_certain
    return there if own and there else None


def steps_of_events(trace: Trace, attribution: Attribution) -> Ints:
    """The step each device event was launched in; where its launch is not in the file, the one it ran in."""
    lost = attribution.events.launch == NONE
    ran_in = steps_at(trace, trace.device.start, lost, trace.device.process, attribution.steps)
    return np.where(lost, ran_in, attribution.events.step)


def _device_rows(trace: Trace, attribution: Attribution) -> Account:
    recorded, events = trace.device, attribution.events
    return Account(
        trace,
        attribution,
        on_device=True,
        row=np.arange(len(recorded)),
        name=recorded.name,
        phase=events.phase,
        path=events.path,
        how=events.how,
        step=events.step,
        total=recorded.end - recorded.start,
        exclusive=events.exclusive,
        is_counted=np.ones(len(recorded), dtype=bool),
    )


def _host_rows(trace: Trace, attribution: Attribution) -> Account:
    host, ranges = attribution.host, attribution.ranges
    rows = np.flatnonzero(in_account(attribution))
    own = self_times(host.forest.parent, host.start, host.end)[rows]
    operators = is_operator(attribution)[rows]
    number = np.full(len(host.name), NONE, dtype=np.int64)
    number[np.flatnonzero(host.is_step)] = np.arange(len(attribution.steps))
    return Account(
        trace,
        attribution,
        on_device=False,
        row=rows,
        name=host.name[rows],
        phase=ranges.phase[rows],
        path=ranges.path[rows],
        how=ranges.how[rows],
        step=at(number, nearest(host.forest.parent, host.is_step)[rows], absent=NONE),
        total=own,
        exclusive=own,
        is_counted=operators if operators.any() else ~host.is_runtime[rows],
    )


def is_operator(attribution: Attribution) -> Bools:
    """Host rows that are operators, and not ranges that perfkit itself wrote as such."""
    return (attribution.host.kind == HostKind.OP) & ~_is_own(attribution)


def _is_own(attribution: Attribution) -> Bools:
    own = np.zeros(len(attribution.host.names), dtype=bool)
    own[list(attribution.host.own_names)] = True
    return own[attribution.host.name]


def is_range(attribution: Attribution, trace: Trace) -> Bools:
    """Host rows that are ranges by a user, perfkit or NVTX; of a tool that knows no operators, all but calls."""
    host = attribution.host
    if not trace.recording.capabilities.operators:
        return ~host.is_runtime
    return (host.kind == HostKind.ANNOTATION) | ((host.kind == HostKind.OP) & _is_own(attribution))


def in_account(attribution: Attribution) -> Bools:
    """Host rows inside the steps on the main thread; without steps, or with guessed ones, everything on it."""
    host = attribution.host
    main = attribution.main_thread
    if not host.step_source.is_certain:
        return host.thread == main
    return nearest(host.forest.parent, host.is_step & (host.thread == main)) != NONE
