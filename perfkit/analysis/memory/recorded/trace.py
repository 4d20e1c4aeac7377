"""Lifetimes from a profiler's trace with allocations (profile_memory), attributed as its operators are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from perfkit.analysis.attribution.attribute import Attribution, steps_at
from perfkit.analysis.attribution.host_view import name_flags
from perfkit.analysis.attribution.intervals import NONE, at, last_at_or_before, nearest
from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.memory.lifetimes import ALWAYS, Kind, Lifetimes
from perfkit.analysis.memory.recorded import held, kinds, timeline
from perfkit.analysis.memory.recorded.pieces import Pieces, paired
from perfkit.errors import UsageError
from perfkit.schema import python_frames
from perfkit.schema.memory.notes import MemoryNotes
from perfkit.trace.columns import MISSING, Bytes, HostKind, Int32s, Int64s, Trace
from perfkit.trace.detail_columns import MemoryEvents

_CPU = 0
"""In MemoryEvents.device_type."""
_ENGINE = "autograd::engine::evaluate_function: "


@dataclass(frozen=True, slots=True)
class _Made:
    """What is known of where each event happened."""

    phase: Bytes
    step: Int32s
    scope: Int32s
    operator: Int32s
    operators: tuple[str, ...]
    place: Int32s
    places: tuple[str, ...]


def lifetimes(
    trace: Trace, attribution: Attribution, events: MemoryEvents, notes: MemoryNotes | None = None
) -> Lifetimes:
    """Every piece of memory that a trace tells of. Its events are numbered device by device, by time.

    `notes`, of the run that made the trace, name what lived before; otherwise the trace knows of that only what it
    frees on a GPU. On a CPU such frees are left out: PyTorch has their sizes from earlier recordings of the process,
    and not always of the same piece. Raises UsageError where allocations have no addresses (files before 2022).
    """
    if len(events) and (events.address == MISSING).all():
        raise UsageError(f"{trace.source}: its allocations have no addresses; record it with PyTorch 1.11 or later")
    device = np.where(events.device_type == _CPU, MISSING, events.device).astype(np.int32)
    order = np.lexsort((events.time, device))
    device, time = device[order], events.time[order]
    made = _made(trace, attribution, events.thread[order], time)
    times = timeline.timeline(device, made.phase, made.step if attribution.steps else None)
    size = events.bytes[order]
    pieces = paired(device, events.address[order], np.abs(size), np.arange(len(order)), size < 0)
    pieces = _without_lone_frees(pieces)

    known = pieces.begin != ALWAYS
    begin = pieces.begin[known]
    nothing = np.zeros(len(pieces), bool)
    own = _of(made.phase, begin, known, Phase.OTHER)
    around = _of(times.phases(), begin, known, Phase.OTHER)
    lives = Lifetimes(
        pieces.device, pieces.address, pieces.size, pieces.begin, pieces.end,
        kinds.by_lifetimes(pieces, times, own, nothing, nothing), _of(made.scope, begin, known, MISSING),
        np.where(own == Phase.OTHER, around, own), _of(times.steps(), begin, known, MISSING),
        _of(made.operator, begin, known, MISSING), _of(made.place, begin, known, MISSING),
        attribution.paths, made.operators, time, made.places, times.spans,
    )  # fmt: skip
    if notes is not None:
        lives = held.with_notes(lives, notes, _noted_device(device), adds=True)
    unknown = lives.kind == Kind.UNKNOWN
    reasons = ((kinds.NO_PHASES, not times.knows), (kinds.OUTSIDE, times.knows))
    return replace(lives, reasons=tuple(text for text, applies in reasons if applies and unknown.any()))


def _noted_device(device: Int32s) -> int:
    """The device whose memory a run notes: the GPU where there is one."""
    return int(device.max(initial=MISSING))


def _without_lone_frees(pieces: Pieces) -> Pieces:
    rows = (pieces.begin != ALWAYS) | (pieces.device != MISSING)
    return Pieces(*(getattr(pieces, name)[rows] for name in Pieces.__slots__))


def _of(values: np.ndarray, begin: Int64s, known: np.ndarray, otherwise: int) -> np.ndarray:
    """Of each piece the value at its allocation."""
    found = np.full(len(known), otherwise, values.dtype)
    found[known] = values[begin]
    return found


def _made(trace: Trace, attribution: Attribution, thread: Int32s, time: Int64s) -> _Made:
    """Where each event happened: by the innermost range that was open on its thread."""
    host, ranges = attribution.host, attribution.ranges
    parent = host.forest.parent
    leaf = last_at_or_before(host.thread, host.start, thread, time)
    while len(over := np.flatnonzero((leaf != NONE) & (at(host.end, leaf, absent=0) < time))):
        leaf[over] = parent[leaf[over]]
    is_operator = (host.kind == HostKind.OP) & ~np.isin(host.name, list(host.own_names))
    outermost = is_operator & ~at(is_operator, parent, absent=False)
    is_users = name_flags(host.names, host.name, python_frames.is_users) & (host.kind == HostKind.PYTHON)
    operator, operators = _named(
        host.names, at(host.name, at(nearest(parent, outermost), leaf, absent=NONE), absent=-1)
    )
    place, places = _named(host.names, at(host.name, at(nearest(parent, is_users), leaf, absent=NONE), absent=-1))
    return _Made(
        at(ranges.phase, leaf, absent=Phase.OTHER).astype(np.uint8),
        _steps(trace, attribution, thread, time),
        at(ranges.path, leaf, absent=MISSING).astype(np.int32),
        operator, tuple(text.removeprefix(_ENGINE) for text in operators),
        place, tuple(map(python_frames.short, places)),
    )  # fmt: skip


def _steps(trace: Trace, attribution: Attribution, thread: Int32s, time: Int64s) -> Int32s:
    """The step of each event, by perfkit's own numbers where it has ranges of steps; MISSING outside."""
    host = attribution.host
    own = np.flatnonzero(host.own("step"))
    number = np.array([_number(host.own_names[name].label) for name in host.name[own].tolist()], np.int64)
    if len(own):
        row = last_at_or_before(np.zeros(len(own), np.int64), host.start[own], np.zeros(len(time), np.int64), time)
        row[(row != NONE) & (time > at(host.end[own], row, absent=0))] = NONE
        return at(number, row, absent=MISSING).astype(np.int32)
    process = np.array([one.pid for one in trace.threads], np.int64)
    step = steps_at(trace, time, np.ones(len(time), bool), at(process, thread, absent=NONE), attribution.steps)
    return np.where(step == NONE, MISSING, step).astype(np.int32)


def _number(label: str) -> int:
    return int(label) if label.isdecimal() else MISSING


def _named(names: tuple[str, ...], code: Int64s) -> tuple[Int32s, tuple[str, ...]]:
    """Codes of names as codes of those that occur."""
    used, place = np.unique(code[code != MISSING], return_inverse=True)
    found = np.full(len(code), MISSING, np.int32)
    found[code != MISSING] = place
    return found, tuple(names[one] for one in used.tolist())
