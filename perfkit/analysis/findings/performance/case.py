"""Case: what a performance rule may look at, with what several rules need made once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from perfkit.analysis.attribution.host_view import HostView, present
from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, at, nearest, pair_keys, self_times
from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.costs.flops.work import Work, work_of
from perfkit.analysis.costs.hardware.lookup import hardware_of_device
from perfkit.analysis.costs.hardware.model import Hardware
from perfkit.analysis.findings.performance.units import (
    Kind,
    Units,
    find_attention,
    find_chains,
    find_units,
    kind_of_kernel,
)
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.idle.folds import WALL_TIME
from perfkit.analysis.time.idle.kinds import Cause
from perfkit.analysis.time.idle.kinds import Kind as WallKind
from perfkit.analysis.time.idle.wall import Wall
from perfkit.analysis.time.paces import step_time
from perfkit.analysis.time.replay.graph import graph_of
from perfkit.analysis.time.replay.replay import Replayed, replay
from perfkit.analysis.time.summary import Scalars
from perfkit.errors import UsageError
from perfkit.schema import units
from perfkit.schema.finding import Cost
from perfkit.trace.columns import DeviceKind, Trace
from perfkit.trace.detail_columns import Details, Operands
from perfkit.trace.details import read_details
from perfkit.trace.operands import has_shapes
from perfkit.trace.recording import Device

if TYPE_CHECKING:
    from perfkit.schema.record import RunRecord

_LONGEST_IDLE_NS = 1_000_000
"""Of idle time between two kernels, at most 1 ms, hundreds of launches, goes with them; the rest has other causes."""
RECORDING_NS = 200
"""What the profiler adds to the program for each operator that it records, at least. Measured with torch 2.13 in loops
of item, add_, linear and views: 195 to 221 ns of the process's time, and 347 to 436 with shapes."""
CALL_NS = 5_000
"""What an operator takes on a host besides its arithmetic, about: dispatch, checks, views inside, memory for the
result."""


class Case(msgspec.Struct, frozen=True, eq=False, dict=True):
    """The evidence. What a trace costs to look at more closely is a cached property: made when a rule asks for it.

    Costs are of the part of the account inside its steps, per step and per device, so that they compare with the
    step's wall time. On a device they are times of device events, without a device host self times.
    """

    account: Account
    scalars: Scalars
    read: Callable[[Trace], Details] = read_details
    """What reads the details of a trace's file."""
    record: RunRecord | None = None
    """Of the perfkit run that the trace belongs to; None for any other trace."""

    @property
    def trace(self) -> Trace:
        """The recording."""
        return self.account.trace

    @property
    def host(self) -> HostView:
        """Its host ranges, in the forest's order."""
        return self.account.attribution.host

    @property
    def on_device(self) -> bool:
        """Whether costs are times of a device."""
        return self.account.on_device

    @property
    def has_shapes(self) -> bool:
        """Whether the file says that shapes were recorded."""
        return "record_shapes" in self.trace.recording.options

    @cached_property
    def details(self) -> Details | None:
        """Launches, by a second pass over the file; None where it has none or cannot be read."""
        if not self.has_shapes:
            return None
        try:
            return self.read(self.trace)
        except UsageError:
            return None

    @cached_property
    def is_copy(self) -> Bools:
        """Device events that are copies."""
        return self.trace.device.kind == DeviceKind.MEMCPY

    @cached_property
    def is_kernel(self) -> Bools:
        """Device events that are kernels."""
        return self.trace.device.kind == DeviceKind.KERNEL

    # --- what others count --------------------------------------------------------------------------------------

    @property
    def wall(self) -> Wall:
        """What devices did with their time; empty without one."""
        return self.account.wall

    def wall_ns(self, what: Cause | WallKind) -> int:
        """ns of all steps and devices with this cause of idle time, or this kind of work exposed."""
        rows = self.account.partial.of(WALL_TIME)
        inside = rows[rows["step"] != NONE] if self.account.steps else rows
        return int(inside["total_ns"][inside["cause" if isinstance(what, Cause) else "kind"] == what].sum())

    @cached_property
    def operands(self) -> Operands | None:
        """Shapes and types of operators' arguments, by row of the trace; None where the file has none."""
        return self.account.operands if has_shapes(self.trace) else None

    @cached_property
    def work(self) -> Work | None:
        """Operations and bytes of each host range; None where the file has no shapes."""
        return None if self.operands is None else work_of(self.operands, self.account.attribution)

    @cached_property
    def device(self) -> Device | None:
        """What the file says of the devices with events; None where it says nothing, or they are not all alike."""
        used = set(self.trace.device.device.tolist())
        found = [device for device in self.trace.recording.devices if device.index in used]
        return found[0] if found and len({device.name for device in found}) == 1 else None

    @cached_property
    def hardware(self) -> Hardware | None:
        """What these devices can do, at their nominal clock; None where that is not known."""
        return None if self.device is None else hardware_of_device(self.device)

    @cached_property
    def replay(self) -> Replayed | None:
        """The trace replayed as it is; None where that says nothing: without a device, or where it is refused."""
        if not self.on_device or not self.trace.recording.capabilities.operators:
            return None
        base = replay(graph_of(self.trace, self.account.attribution))
        return None if base.refused else base

    # --- steps --------------------------------------------------------------------------------------------------

    @cached_property
    def bounds(self) -> tuple[Ints, Ints]:
        """Starts and ends of the steps, in order of time, ns; without steps one: the recording.

        Of several processes in one file, those of the one that is the account's main thread's.
        """
        steps = [self.account.attribution.steps[index] for index in self.account.steps]
        main = [step for step in steps if step.thread == self.account.attribution.main_thread]
        if steps:
            found = sorted((step.start, step.end) for step in main or steps)
            return np.array([start for start, _ in found]), np.array([end for _, end in found])
        columns = self.trace.device if self.on_device else self.trace.host
        if not len(columns):
            return np.zeros(1, np.int64), np.zeros(1, np.int64)
        return columns.start.min(keepdims=True), columns.end.max(keepdims=True)

    @property
    def step_count(self) -> int:
        """Steps; 1 without any."""
        return len(self.bounds[0])

    @cached_property
    def step_ns(self) -> float:
        """What a step takes, ns: its wall time or, where the host runs ahead, its pace; without steps the recording."""
        step = step_time(self.account.partial)
        if step and step.is_pace:
            return step.ns
        return float(np.mean(self.bounds[1] - self.bounds[0]))

    @cached_property
    def is_inside(self) -> Bools:
        """Rows of the account inside its steps; all of them where there are none."""
        return (
            np.isin(self.account.step, self.account.steps) if self.account.steps else np.ones(len(self.account), bool)
        )

    def steps_at(self, time: Ints) -> Ints:
        """The step that holds each time, as an index into `bounds`; NONE outside."""
        starts, ends = self.bounds
        step = np.searchsorted(starts, time, side="right") - 1
        return np.where((step >= 0) & (time < ends[step]), step, NONE)

    # --- costs --------------------------------------------------------------------------------------------------

    @cached_property
    def share_of(self) -> int:
        """What times are divided by to be those of a step: steps x devices."""
        devices = np.bincount(self.account.device[self.is_inside] - NONE)  # NONE, which is -1, is the host
        return self.step_count * max(int((devices > 0).sum()), 1)

    def cost(self, time_ns: float) -> Cost:
        """Time at stake in all steps -> per step, and as a share of the step."""
        each = time_ns / self.share_of
        return Cost(round(each), min(each / self.step_ns, 1.0) if self.step_ns else None)

    def host_cost(self, time_ns: float) -> Cost:
        """The same of time on the host, which all devices wait for."""
        each = time_ns / self.step_count
        return Cost(round(each), min(each / self.step_ns, 1.0) if self.step_ns else None)

    def is_worth(self, time_ns: float, least: float) -> bool:
        """Whether time at stake in all steps is at least this share of the steps."""
        return time_ns > 0 and time_ns >= least * self.step_ns * self.share_of

    @property
    def a_step(self) -> str:
        """` a step`, to follow what is counted or timed by step; empty for a recording without steps."""
        return " a step" if self.account.steps else ""

    def count(self, number: float) -> str:
        """How many in all steps, as words: how many in one."""
        return amount(number / self.step_count)

    def times_a_step(self, number: float) -> str:
        """How often in all steps, as words: `once a step`, `4 times a step`."""
        each = self.count(number)
        return ("once" if each == "1" else f"{each} times") + self.a_step

    @property
    def with_backward(self) -> str:
        """` with their backward`, where the recording has any."""
        return " with their backward" if bool((self.account.phase == Phase.BACKWARD).any()) else ""

    def each(self, time_ns: float) -> str:
        """Time at stake in all steps, as words: `35.2 us a step`."""
        return units.duration_ns(round(time_ns / self.share_of)) + self.a_step

    def each_of_host(self, time_ns: float) -> str:
        """The same of time on the host."""
        return units.duration_ns(round(time_ns / self.step_count)) + self.a_step

    @cached_property
    def _before(self) -> tuple[Ints, Ints]:
        """Of each row of a device: the row before it on the device, and for how long the device was idle between."""
        account, events = self.account, self.trace.device
        start, end = events.start[account.row], events.end[account.row]
        order = np.lexsort((start, account.device))
        device = account.device[order]
        previous, idle = np.full(len(account), NONE, np.int64), np.zeros(len(account), np.int64)
        for number in np.unique(device):
            rows = order[device == number]
            reach = np.maximum.accumulate(end[rows])
            previous[rows[1:]] = rows[:-1]
            idle[rows[1:]] = np.maximum(start[rows[1:]] - reach[:-1], 0)
        return previous, idle

    @cached_property
    def idle_before(self) -> Ints:
        """How long the device was idle before each row, in its step; 0 without a device."""
        if not self.on_device:
            return np.zeros(len(self.account), np.int64)
        previous, idle = self._before
        return np.where(at(self.account.step, previous, absent=-2) == self.account.step, idle, 0)

    def times(self, rows: Bools) -> Ints:
        """ns that each row of the account takes, 0 for others: its own, and idle time between two of these rows.

        The idle time between a chain of short kernels is lost to the chain, and goes with it.
        """
        rows = rows & self.is_inside
        own = np.where(rows, self.account.exclusive, 0)
        if not self.on_device:
            return own
        inner = rows & at(rows, self._before[0], absent=False)
        return own + np.where(inner, np.minimum(self.idle_before, _LONGEST_IDLE_NS), 0)

    def time(self, rows: Bools) -> int:
        """The same, added up, over all steps."""
        return int(self.times(rows).sum())

    # --- host ranges by name, and what is inside them -----------------------------------------------------------

    @cached_property
    def present(self) -> list[int]:
        """Indices of the names that host ranges have."""
        return present(self.host.name)

    @cached_property
    def _no_range(self) -> Bools:
        return np.zeros(len(self.host.name), dtype=bool)

    def ranges(self, test: Callable[[str], object]) -> Bools:
        """Host ranges whose name passes a test; quick where none does."""
        names = self.host.names
        found = [index for index in self.present if test(names[index])]
        if not found:
            return self._no_range
        flags = np.zeros(len(names), dtype=bool)
        flags[found] = True
        return flags[self.host.name]

    def within(self, ranges: Bools) -> Bools:
        """Rows of the account inside one of these ranges; quick where there are none."""
        if not ranges.any():
            return np.zeros(len(self.account), dtype=bool)
        return at(nearest(self.host.forest.parent, ranges), self.account.place, absent=NONE) != NONE

    # --- what rows of the account are ---------------------------------------------------------------------------

    @cached_property
    def self_time(self) -> Ints:
        """Self time of every host range, ns."""
        return self_times(self.host.forest.parent, self.host.start, self.host.end)

    # --- operators, outermost first -----------------------------------------------------------------------------

    @cached_property
    def units(self) -> Units:
        """The outermost operators of the host."""
        return find_units(self.host)

    @cached_property
    def unit(self) -> Ints:
        """The unit of each row of the account, as an index into `units`; NONE outside."""
        return at(self.units.of, self.account.place, absent=NONE)

    @cached_property
    def made_by(self) -> Ints:
        """Of each row in a backward node, the unit that made the node; NONE elsewhere, and in gradient accumulation."""
        links = self.account.attribution.links
        node = at(links.node, self.account.place, absent=NONE)
        target = np.where(at(links.by_accumulation, node, absent=False), NONE, at(links.target, node, absent=NONE))
        return at(self.units.of, target, absent=NONE)

    def rows_of(self, units: Bools, *, backward: bool = True) -> Bools:
        """Rows of the account in some units and, if asked for, in the backward nodes that they made."""
        rows = at(units, self.unit, absent=False)
        return rows | at(units, self.made_by, absent=False) if backward else rows

    @cached_property
    def unit_phase(self) -> Ints:
        """Phase of each unit."""
        return self.account.attribution.ranges.phase[self.units.row]

    @cached_property
    def unit_path(self) -> Ints:
        """Path of the module that each unit is in; NONE for none."""
        return self.account.attribution.ranges.path[self.units.row]

    @cached_property
    def unit_time(self) -> Ints:
        """ns of the account's rows in each unit."""
        return self.per_unit(np.where(self.is_inside, self.account.exclusive, 0))

    def stretch(self, found: Bools) -> int:
        """ns that the host takes for some units: their length, and the Python between two of them in a row."""
        table, rows = self.units, np.flatnonzero(found)
        if not len(rows):
            return 0
        gap = np.clip(table.start[rows[1:]] - table.end[rows[:-1]], 0, None)
        working = np.append(0, np.cumsum(self.works))
        in_a_row = (working[rows[1:]] == working[rows[:-1] + 1]) & (table.thread[rows[1:]] == table.thread[rows[:-1]])
        length = int((table.end[rows] - table.start[rows]).sum()) + int(gap[in_a_row & (gap <= _LONGEST_IDLE_NS)].sum())
        recorded = int(at(found, self.units.of, absent=False).sum()) * RECORDING_NS
        return max(length - recorded, 0)

    @cached_property
    def works(self) -> Bools:
        """Units that do something: they gave the device work or, without a device, are no views."""
        if not self.on_device:
            return self.units.kind != Kind.VIEW
        return np.bincount(self.unit + 1, minlength=len(self.units) + 1)[1:] > 0

    def per_unit(self, time: Ints) -> Ints:
        """Times of the account's rows added up by unit."""
        return np.bincount(self.unit + 1, weights=time, minlength=len(self.units) + 1)[1:].astype(np.int64)

    def in_phase(self, *phases: Phase) -> Bools:
        """Rows of the account in one of these phases."""
        return np.isin(self.account.phase, phases)

    # --- what others have claimed -------------------------------------------------------------------------------

    @cached_property
    def attention_units(self) -> Bools:
        """Units between the two matmuls of attention written out, which are no chain and no layout copy besides."""
        found, rows = np.zeros(len(self.units), dtype=bool), np.flatnonzero(self.works)
        found[rows] = find_attention(self.units.kind[rows], self.units.thread[rows])
        return found

    @cached_property
    def attention_rows(self) -> Bools:
        """Rows of the account that are attention written out, with their backward; by kernels without operators."""
        if len(self.units) or not self.on_device:
            return self.rows_of(self.attention_units)
        events, row = self.trace.device, self.account.row
        found = np.zeros(len(row), dtype=bool)
        order = np.lexsort((events.start[row], events.stream[row], self.account.device))
        kinds = np.array([kind_of_kernel(name) for name in self.trace.names], dtype=np.int64)[self.account.name[order]]
        found[order] = find_attention(kinds, pair_keys(self.account.device[order], events.stream[row][order]))
        return found

    @cached_property
    def chains(self) -> Ints:
        """The chain of elementwise operations that each unit is in, by number; NONE for none."""
        wanted = np.isin(self.unit_phase, (Phase.FORWARD, Phase.RECOMPUTE, Phase.OTHER)) & ~self.attention_units
        return find_chains(self.units, self.works, wanted)

    @cached_property
    def unclaimed(self) -> Bools:
        """Rows of the account outside attention written out and chains, and outside their backward."""
        return ~self.rows_of(self.attention_units | (self.chains != NONE))


def amount(value: float) -> str:
    """A number of things: whole where it is whole or large."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def names_of(case: Case, units: Iterable[int], most: int = 6) -> str:
    """Names of some units, in their order, each once."""
    names = list(dict.fromkeys(case.units.names[case.units.name[index]] for index in units))
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
