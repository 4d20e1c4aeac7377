"""The section of the timeline: one step, or a whole recording, lane by lane."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from perfkit.analysis.attribution.attribute import Phase
from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, at, depths
from perfkit.analysis.kernels.short_names.unique import short_names
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.grouping import layers_of_scopes
from perfkit.analysis.time.idle.kinds import Cause
from perfkit.schema import units
from perfkit.schema.page.figures import Lane, LaneKind, Timeline
from perfkit.schema.page.sections import Section
from perfkit.trace.columns import DeviceKind, HostKind, Thread

MOST_EVENTS = 12_000
"""Device events, and as many host ranges, that are drawn: the longest."""
MOST_LANES = 16
"""Streams, and as many threads, that are drawn: those with most events."""
DEEPEST = 24
"""Host ranges in so many others are not drawn."""
_KINDS = {DeviceKind.KERNEL: "", DeviceKind.MEMCPY: "copy", DeviceKind.MEMSET: "copy"}


@dataclass(slots=True)
class _Texts:
    """Texts by number, in the order of first use."""

    numbers: dict[str, int] = field(default_factory=dict)

    def of(self, texts: list[str]) -> Ints:
        return np.array([self.numbers.setdefault(text, len(self.numbers)) for text in texts], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class _Window:
    """What is drawn: from when to when, and of which step."""

    begin: int
    end: int
    step: int
    """Index into attribution.steps; NONE for the whole recording."""
    what: str
    """With its time."""


def section(account: Account) -> Section:
    """The step whose wall time is the median, or all of a recording without steps."""
    title = "Timeline"
    window = _window(account)
    if window is None:
        return Section(anchor="timeline", title=title, lacking="the recording has no events with times")
    names, keys = _Texts(), _Texts()
    lanes: list[Lane] = []
    notes = []
    device_rows = _inside(account.trace.device.start, account.trace.device.end, window)
    lanes += _bands(account, device_rows, window, names, keys)
    lanes += _gaps(account, window, names, keys)
    for part, what in ((_streams(account, device_rows, window, names, keys), "device events"),
                       (_threads(account, window, names, keys), "host ranges")):  # fmt: skip
        shown, left_out = part
        lanes += shown
        if left_out:
            notes.append(f"{left_out:,} {what}, the shortest, are left out")
    short = short_names(account.partial.facts.device_names) if account.on_device else {}
    timeline = Timeline(
        span=window.end - window.begin,
        lanes=tuple(lanes),
        names=tuple(names.numbers),
        keys=tuple(keys.numbers),
        labels={number: short[name] for name, number in names.numbers.items() if short.get(name, name) != name},
    )
    drawn = sum(len(lane.start) for lane in lanes)
    takeaway = f"{window.what}, {drawn:,} events in {len(lanes)} lanes"
    return Section(anchor="timeline", title=title, takeaway=takeaway, figures=(timeline,), notes=tuple(notes))


def _window(account: Account) -> _Window | None:
    steps, events = account.attribution.steps, account.trace.device
    if account.steps:
        by_wall = sorted(account.steps, key=lambda index: steps[index].end - steps[index].start)
        chosen = by_wall[(len(by_wall) - 1) // 2]
        step = steps[chosen]
        own = np.flatnonzero(account.attribution.events.step == chosen)
        end = max(step.end, int(events.end[own].max())) if len(own) else step.end
        what = f"{step.name}, the median of {len(by_wall)} steps" if len(by_wall) > 1 else step.name
        what += f": {units.duration_ns(step.end - step.start)}"
        if end > step.end:
            what += f", {units.duration_ns(end - step.start)} from its begin until its work is done"
        return _Window(step.start, end, chosen, what)
    starts = np.concatenate((events.start, account.attribution.host.start))
    ends = np.concatenate((events.end, account.attribution.host.end))
    if not len(starts):
        return None
    begin, end = int(starts.min()), int(ends.max())
    what = f"the whole recording, which has no steps: {units.duration_ns(end - begin)}"
    return _Window(begin, end, NONE, what)


def _inside(start: Ints, end: Ints, window: _Window) -> Ints:
    """Rows that overlap the window, in the order of their starts."""
    rows = np.flatnonzero((start < window.end) & (end > window.begin))
    return rows[np.argsort(start[rows], kind="stable")]


def _longest(rows: Ints, length: Ints) -> tuple[Ints, int]:
    """The longest of the rows, in their order, and how many others there are."""
    if len(rows) <= MOST_EVENTS:
        return rows, 0
    longest = np.sort(np.argpartition(-length, MOST_EVENTS)[:MOST_EVENTS])
    return rows[longest], len(rows) - MOST_EVENTS


def _lane(
    title: str, kind: LaneKind, window: _Window, start: Ints, end: Ints, *, depth: Ints, name: Ints, key: Ints
) -> Lane:
    begin = np.maximum(start, window.begin)
    length = np.minimum(end, window.end) - begin
    return Lane(title=title, kind=kind, start=begin - window.begin, length=length, name=name, depth=depth, key=key)


def _named(texts: _Texts, names: tuple[str, ...], codes: Ints) -> Ints:
    """Codes of the trace's names as numbers of texts."""
    unique, place = np.unique(codes, return_inverse=True)
    return texts.of([names[code] for code in unique.tolist()])[place]


def _phases(keys: _Texts, phase: Ints) -> Ints:
    numbers = keys.of([each.label for each in Phase])
    return numbers[phase]


def _bands(account: Account, device_rows: Ints, window: _Window, names: _Texts, keys: _Texts) -> Iterator[Lane]:
    """What layer and what phase ran, one after the other: runs of equal values in the order of starts."""
    if account.on_device:
        on = account.trace.device
        start, end = on.start[device_rows], on.end[device_rows]
        phase, path = account.attribution.events.phase[device_rows], account.attribution.events.path[device_rows]
    else:
        host = account.attribution.host
        rows = account.row[_inside(host.start[account.row], host.end[account.row], window)]
        start, end = host.start[rows], host.end[rows]
        phase, path = account.attribution.ranges.phase[rows], account.attribution.ranges.path[rows]
    if not len(start):
        return
    layers = layers_of_scopes(account.partial)
    start = np.maximum(start, window.begin)  # what began before the window may be over for its layer by then
    label, number = np.unique(np.array([*layers, ""], dtype=object), return_inverse=True)
    layer = number[path]  # NONE takes the last
    for title, value, texts in (("phase", phase, [each.label for each in Phase]), ("layer", layer, label.tolist())):
        first, last = _runs(value)
        until = np.maximum.accumulate(end)[last]
        until[:-1] = np.minimum(until[:-1], start[first[1:]])
        shown = np.flatnonzero([bool(texts[each]) for each in value[first]] & (until > start[first]))
        if not len(shown):
            continue
        names_of = names.of([texts[each] for each in value[first[shown]]])
        key = _phases(keys, phase[first[shown]])
        zero = np.zeros(len(shown), dtype=np.int64)
        yield _lane(title, "band", window, start[first[shown]], until[shown], depth=zero, name=names_of, key=key)


def _runs(value: Ints) -> tuple[Ints, Ints]:
    """First and last row of each run of equal values."""
    first = np.flatnonzero(np.append(True, value[1:] != value[:-1]))
    return first, np.append(first[1:], len(value)) - 1


def _gaps(account: Account, window: _Window, names: _Texts, keys: _Texts) -> Iterator[Lane]:
    """Idle time of each device, by its cause."""
    if not account.on_device:
        return
    pieces, gaps = account.wall.pieces, account.wall.gaps
    rows = _inside(pieces.start, pieces.end, window)
    rows = rows[np.sort(np.argsort(-pieces.ns[rows], kind="stable")[:MOST_EVENTS])]
    device = gaps.device[pieces.gap[rows]]
    for number in np.unique(device).tolist():
        own = rows[device == number]
        cause = pieces.cause[own]
        name = names.of([f"idle: {Cause(each).label}" for each in cause])
        key = keys.of([Cause(each).label for each in cause])
        title = f"idle, device {account.device_labels[number]}"
        zero = np.zeros(len(own), dtype=np.int64)
        yield _lane(title, "gaps", window, pieces.start[own], pieces.end[own], depth=zero, name=name, key=key)


def _streams(account: Account, rows: Ints, window: _Window, names: _Texts, keys: _Texts) -> tuple[list[Lane], int]:
    """A lane a stream, coloured by phase."""
    on = account.trace.device
    rows, left_out = _longest(rows, on.end[rows] - on.start[rows])
    lanes = []
    places = sorted({*zip(on.device[rows].tolist(), on.stream[rows].tolist(), strict=True)})
    counts = {place: int(_on(account, rows, *place).sum()) for place in places}
    kept = sorted(sorted(places, key=lambda place: -counts[place])[:MOST_LANES])
    for device, stream in kept:
        own = rows[_on(account, rows, device, stream)]
        key = _phases(keys, account.attribution.events.phase[own])
        name = _named(names, account.trace.names, on.name[own].astype(np.int64))
        title = f"device {account.trace.device_label(device)}, stream {stream}"
        depth = _stacked(on.start[own], on.end[own])
        lanes.append(_lane(title, "device", window, on.start[own], on.end[own], depth=depth, name=name, key=key))
    return lanes, left_out + sum(counts[place] for place in places if place not in kept)


def _on(account: Account, rows: Ints, device: int, stream: int) -> Bools:
    on = account.trace.device
    here: Bools = (on.device[rows] == device) & (on.stream[rows] == stream)
    return here


def _stacked(start: Ints, end: Ints) -> Ints:
    """A line for each item so that none overlaps another there, at most three."""
    lines = [np.iinfo(np.int64).min] * 3
    depth = np.zeros(len(start), dtype=np.int64)
    for row, (begin, until) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
        line = next((number for number, free in enumerate(lines) if free <= begin), 2)
        lines[line] = max(lines[line], until)
        depth[row] = line
    return depth


def _threads(account: Account, window: _Window, names: _Texts, keys: _Texts) -> tuple[list[Lane], int]:
    """A lane a thread: operators, ranges and calls, without Python's frames."""
    host = account.attribution.host
    is_shown = host.kind != HostKind.PYTHON
    rows = np.flatnonzero((host.start < window.end) & (host.end > window.begin) & is_shown)
    depth = depths(_without(host.forest.parent, is_shown))
    flat = rows[depth[rows] < DEEPEST]
    left_out = len(rows) - len(flat)
    rows, more = _longest(flat, host.end[flat] - host.start[flat])
    depth = depth[rows]
    counts = np.bincount(host.thread[rows], minlength=1)
    kept = np.argsort(-counts, kind="stable")[:MOST_LANES]
    lanes = []
    for thread in [number for number in kept.tolist() if counts[number]]:
        on = host.thread[rows] == thread
        own = rows[on]
        key = _phases(keys, account.attribution.ranges.phase[own])
        name = _named(names, account.trace.names, host.name[own].astype(np.int64))
        least = depth[on] - depth[on].min()
        title, start, end = _titled(account.trace.threads[thread]), host.start[own], host.end[own]
        lanes.append(_lane(title, "host", window, start, end, depth=least, name=name, key=key))
    return lanes, left_out + more + int(counts.sum() - counts[kept].sum())


def _titled(thread: Thread) -> str:
    """Its name, and its number where the name has none: two of a process may have one name, or none."""
    if not thread.name or str(thread.tid) in thread.name:
        return thread.name or f"thread {thread.tid}"
    return f"{thread.name}, thread {thread.tid}"


def _without(parent: Ints, is_kept: Bools) -> Ints:
    """The parents among the rows that are kept."""
    above = parent.copy()
    while True:
        wrong = np.flatnonzero((above != NONE) & ~at(is_kept, above, absent=True))
        if not len(wrong):
            return above
        above[wrong] = parent[above[wrong]]
