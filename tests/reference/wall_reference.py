"""Where wall time goes, once more, in plain Python: written from docs/wall.md, for the comparison with perfkit's.

It walks through time from one instant at which anything changes to the next, and asks each rule of each such interval.
Launches and steps are given; attribution_reference.py checks those.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from perfkit.trace.columns import DeviceKind, HostKind, Trace

Interval = tuple[int, int]
Rows = dict[tuple[str, int | None, str, str | None], int]
"""(device, step, kind, cause) -> ns."""

WAITS = re.compile(r"Synchronize|^(cuda|hip)Free|^(cuda|cu|hip)Memcpy(?!.*(Async|Peer|DtoD))")
LOADERS = re.compile(r"DataLoader|(^|[^a-z])(data_?load(er|ing)?|get_batch|next_batch|batch.generator)([^a-z]|$)")


@dataclass
class Work:
    """A device event."""

    row: int
    start: int
    end: int
    kind: str
    stream: int
    launch: int | None
    """Number of the host range that launched it."""
    called: int
    """When that range began."""
    is_first: bool
    """Nothing of the same launch started before."""


@dataclass
class OneThread:
    """What a thread did, in the order of time."""

    launches: list[int] = field(default_factory=list)
    """Starts of calls that launched work."""
    calls: list[tuple[int, str, int]] = field(default_factory=list)
    """(start, launch | wait, end) of calls that launch, or make a stream wait."""
    waits: list[Interval] = field(default_factory=list)
    loading: list[Interval] = field(default_factory=list)


@dataclass(frozen=True)
class Step:
    """A step of the device's process."""

    number: int
    start: int
    end: int
    thread: int


def wall(trace: Trace, launch: Iterable[int | None], steps: list[Step]) -> Rows:
    """All rows of the table. `launch`: for each device event the row of Trace.host that launched it."""
    threads, calls = read_threads(trace, launched := list(launch))
    for number, thread in threads.items():
        mine = [step for step in steps if step.thread == number]
        thread.loading = [
            (start, end)
            for start, end in thread.loading
            if not any(start <= step.start and step.end <= end for step in mine)  # a loop over the loader
        ]
    everything = read_works(trace, launched)
    rows: Rows = defaultdict(int)
    for device in sorted(set(trace.device.device.tolist())):
        works = [work for work in everything if trace.device.device[work.row] == device]
        works.sort(key=lambda work: work.start)
        for (step, kind, cause), ns in of_device(works, steps, threads, calls).items():
            rows[trace.device_label(device), step, kind, cause] += ns
    return {key: ns for key, ns in rows.items() if ns}


def read_works(trace: Trace, launch: list[int | None]) -> list[Work]:
    works = []
    firsts: dict[int, int] = {}
    for row, call in enumerate(launch):
        if call is not None:
            firsts[call] = min(firsts.get(call, 1 << 62), int(trace.device.start[row]))
    for row, name in enumerate(trace.device_names()):
        kind = "copy" if trace.device.kind[row] == DeviceKind.MEMCPY else "compute"
        if (kind == "compute" and "nccl" in name.lower()) or "rccl" in name.lower() or "cross_device_reduce" in name:
            kind = "communication"
        start, end, stream = (int(getattr(trace.device, column)[row]) for column in ("start", "end", "stream"))
        call = launch[row]
        called = int(trace.host.start[call]) if call is not None else 1 << 62
        works.append(Work(row, start, end, kind, stream, call, called, call is None or firsts[call] == start))
    return works


def read_threads(trace: Trace, launch: list[int | None]) -> tuple[dict[int, OneThread], dict[int, tuple[int, int]]]:
    """Each thread, and (thread, start) of each launching host range."""
    host, names, launching = trace.host, trace.host_names().tolist(), {row for row in launch if row is not None}
    pageable: dict[int, int] = {}
    for row, name in enumerate(trace.device_names()):
        if "Pageable" in name and (call := launch[row]) is not None:
            pageable[call] = min(pageable.get(call, int(trace.device.end[row])), int(trace.device.end[row]))
    threads: dict[int, OneThread] = defaultdict(OneThread)
    for row, name in enumerate(names):
        thread, start, end = threads[int(host.thread[row])], int(host.start[row]), int(host.end[row])
        if host.kind[row] == HostKind.RUNTIME:
            if row in launching:
                thread.launches.append(start)
                thread.calls.append((start, "launch", end))
            if "StreamWaitEvent" in name:
                thread.calls.append((start, "wait", end))
            if WAITS.search(name) or end >= pageable.get(row, end + 1):
                thread.waits.append((start, end))
        elif host.kind[row] == HostKind.PYTHON:
            if "torch/utils/data/" in name:
                thread.loading.append((start, end))
        elif LOADERS.search(name):
            thread.loading.append((start, end))
    for one in threads.values():
        one.launches.sort()
        one.calls.sort()
    return threads, {row: (int(host.thread[row]), int(host.start[row])) for row in launching}


def of_device(
    works: list[Work], steps: list[Step], threads: dict[int, OneThread], calls: dict[int, tuple[int, int]]
) -> dict[tuple[int | None, str, str | None], int]:
    rows: dict[tuple[int | None, str, str | None], int] = defaultdict(int)
    first, last = works[0].start, max(work.end for work in works)
    begin, until = min([first, *(s.start for s in steps)]), max([last, *(s.end for s in steps)])
    for start, end, kind in busy(works):
        share(rows, start, end, steps, (first, last), kind, None)
    for start, end, work in gaps(works, begin, until):
        for piece_start, piece_end, cause in judged(start, end, work, steps, threads, calls, start < first):
            share(rows, piece_start, piece_end, steps, (first, last), "idle", cause)
    return rows


def busy(works: list[Work]) -> Iterable[tuple[int, int, str]]:
    """Intervals with the one kind that has them."""
    times = sorted({time for work in works for time in (work.start, work.end)})
    changes: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for work in works:
        if work.end > work.start:
            changes[work.start].append((work.kind, 1))
            changes[work.end].append((work.kind, -1))
    running = {"compute": 0, "communication": 0, "copy": 0}
    for start, end in pairwise(times):
        for kind, change in changes[start]:
            running[kind] += change
        if now := next((kind for kind, count in running.items() if count), None):
            yield start, end, now


def gaps(works: list[Work], begin: int, until: int) -> Iterable[tuple[int, int, Work | None]]:
    reach = begin
    for place, work in enumerate(works):
        if work.start > reach or (place == 0 and work.start > begin):
            same = [other for other in works[place : place + 50] if other.start == work.start]
            yield reach, work.start, min(same, key=lambda other: (other.called, other.row))
        reach = max(reach, work.end)
    if until > reach:
        yield reach, until, None


def judged(
    start: int,
    end: int,
    work: Work | None,
    steps: list[Step],
    threads: dict[int, OneThread],
    calls: dict[int, tuple[int, int]],
    is_first: bool,
) -> Iterable[tuple[int, int, str]]:
    if work is not None and work.launch is None:
        yield start, end, "unknown"
        return
    launched = None
    if work is not None and work.launch is not None:
        number, launched = calls[work.launch]
        if launched < start and not is_first:
            waited = waits_before(threads[number], launched) and work.is_first
            yield start, end, "dependency" if waited else "unknown"
            return
    else:
        number = max(steps, key=lambda step: step.end).thread
    thread = threads.get(number, OneThread())
    blocked = blocked_until(thread, start, launched) if not is_first else start
    cuts = {start, end, *(time for time in (blocked,) if start < time < end)}
    for borders in (*thread.loading, *((step.start, step.end) for step in steps)):
        cuts.update(time for time in borders if start < time < end)
    ordered = sorted(cuts)
    for piece, stop in pairwise(ordered):
        yield piece, stop, cause_at(piece, thread, steps, blocked)


def cause_at(time: int, thread: OneThread, steps: list[Step], blocked: int) -> str:
    if steps and not any(step.start <= time < step.end for step in steps):
        before = any(step.end <= time for step in steps)
        after = any(step.start > time for step in steps)
        return "between-steps" if before and after else "outside-steps"
    if any(begin <= time < finish for begin, finish in thread.loading):
        return "data-loading"
    return "blocking" if time < blocked else "launch-starved"


def waits_before(thread: OneThread, launched: int) -> bool:
    """Whether the last call before a launch, of those that launch and those that make a stream wait, is the latter."""
    place = bisect_left(thread.calls, (launched, "launch"))
    return place > 0 and thread.calls[place - 1][1] == "wait"


def blocked_until(thread: OneThread, start: int, launched: int | None) -> int:
    """When the next launch comes after a call that waits at the gap's begin; the begin where there is none."""
    open_then = [(begin, finish) for begin, finish in thread.waits if begin <= start <= finish]
    if not open_then:
        return start
    returned = max(finish for _, finish in open_then)
    place = bisect_left(thread.launches, returned)
    following = [thread.launches[place]] if place < len(thread.launches) else []
    return min([*following, *([launched] if launched is not None else [])], default=1 << 62)


def share(
    rows: dict[tuple[int | None, str, str | None], int],
    start: int,
    end: int,
    steps: list[Step],
    span: Interval,
    kind: str,
    cause: str | None,
) -> None:
    """Add an interval to the steps that it lies in, and what is left of it in the device's span to the rest."""
    begins = [step.start for step in steps]
    for step in steps[max(bisect_right(begins, start) - 2, 0) : bisect_right(begins, end)]:
        rows[step.number, kind, cause] += max(min(end, step.end) - max(start, step.start), 0)
    left, until = max(start, span[0]), min(end, span[1])
    for step in steps:
        if step.start < until and step.end > left:
            rows[None, kind, cause] += max(min(until, step.start) - left, 0)
            left = max(left, step.end)
    rows[None, kind, cause] += max(until - left, 0)
