"""The wall time of each device and step: what ran, exactly once for each instant, and the gaps with their causes.

The rules are docs/wall.md. A gap is a stretch in which a device runs nothing. It is judged by the thread that launched
the event that ends it, and may be cut into pieces of several causes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from msgspec.structs import replace

from perfkit.analysis.attribution.attribute import Phase, owners_of_events, precedence
from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, at, covered, union
from perfkit.analysis.time.idle import waits
from perfkit.analysis.time.idle.kinds import Cause, Kind
from perfkit.analysis.time.idle.regions import Pair, Regions, overlaps, pairs, regions_of
from perfkit.analysis.time.idle.waits import HostCalls

if TYPE_CHECKING:
    from perfkit.analysis.time.account import Account

_EVER, _NEVER = np.iinfo(np.int64).min, np.iinfo(np.int64).max


class Busy(msgspec.Struct, frozen=True):
    """Time in which devices ran something: one row for each device, step and kind that has some."""

    device: Ints
    """Index into the account's device_labels."""
    step: Ints
    """Index into the account's steps; NONE outside them."""
    kind: Ints
    """Kind."""
    ns: Ints


class Gaps(msgspec.Struct, frozen=True):
    """One row a stretch in which a device runs nothing, whole: steps do not cut it."""

    device: Ints
    start: Ints
    """ns. The begin of the first step, where nothing ran before."""
    end: Ints
    ender: Ints
    """The device event that ends it, a row of the trace's; NONE where none comes any more."""
    thread: Ints
    """The thread by which it is judged: that of the ender's launch, without an ender the last step's; NONE for none."""
    launch: Ints
    """Forest row of the ender's launch; NONE for none."""
    call: Ints
    """Forest row of the call that waited when the gap began, on that thread; NONE for none."""
    is_first: Bools
    """Nothing ran before: since when the device has been idle is not known."""


class Pieces(msgspec.Struct, frozen=True):
    """Gaps cut at the borders of steps and causes: one row a piece, in the order of devices, regions and time."""

    gap: Ints
    """Row of the gaps."""
    step: Ints
    """Index into the account's steps; NONE outside them."""
    start: Ints
    end: Ints
    cause: Ints
    """Cause."""

    @property
    def ns(self) -> Ints:
        """The length of each piece."""
        return self.end - self.start


class Wall(msgspec.Struct, frozen=True):
    """Where the wall time of devices went. `busy` and `pieces` add up to each step's wall time, for each device."""

    busy: Busy
    gaps: Gaps
    pieces: Pieces
    regions: tuple[Regions, ...] = ()
    """Of each device: the steps, and what lies outside."""
    first: tuple[int, ...] = ()
    """When the first event of each device started, ns."""


def wall_of(account: Account) -> Wall:
    """The wall time of the steps of an account, and of what lies outside where it has that. Empty for host times.

    Everything that ran counts, of whatever phase: wall time belongs to none.
    """
    events = account.trace.device
    if not account.on_device:
        return Wall(*(_stacked(table, ()) for table in (Busy, Gaps, Pieces)))
    host_calls = waits.host_calls(account.trace, account.attribution)
    loading = waits.loading(account.attribution.host)
    owner = owners_of_events(account.trace, account.attribution)
    rank = precedence(events.kind, account.attribution.events.phase == Phase.COMMUNICATION)
    order = np.lexsort((events.start, events.device))
    devices, firsts = [], []
    for number, rows in enumerate(np.split(order, np.flatnonzero(np.diff(events.device[order])) + 1)):
        start, end = events.start[rows], events.end[rows]
        processes = np.unique(owner[rows])
        firsts.append(int(start[0]))
        regions = regions_of(account, processes, firsts[-1], int(end.max()))
        busy = _busy(number, regions, start, end, rank[rows])
        gaps = _gaps(account, host_calls, number, rows, regions)
        devices.append((busy, gaps, _pieces(account, host_calls, loading, gaps, regions), regions))
    return replace(_joined(devices), first=tuple(firsts))


def _stacked(table: Any, parts: Sequence[Any]) -> Any:
    """The rows of several tables of one kind."""
    if not parts:
        return table(*[np.empty(0, dtype=np.int64)] * len(table.__struct_fields__))
    return table(*(np.concatenate([getattr(part, name) for part in parts]) for name in table.__struct_fields__))


def _joined(devices: list[tuple[Busy, Gaps, Pieces, Regions]]) -> Wall:
    """The devices' tables as one each."""
    before = np.cumsum([0, *(len(gaps.start) for _, gaps, _, _ in devices)])
    pieces = [
        Pieces(piece.gap + offset, piece.step, piece.start, piece.end, piece.cause)
        for (_, _, piece, _), offset in zip(devices, before[:-1], strict=True)
    ]
    busy, gaps = _stacked(Busy, [busy for busy, *_ in devices]), _stacked(Gaps, [gaps for _, gaps, *_ in devices])
    return Wall(busy, gaps, _stacked(Pieces, pieces), tuple(regions for *_, regions in devices))


def _busy(device: int, regions: Regions, start: Ints, end: Ints, rank: Ints) -> Busy:
    """How long the device ran what in each region, each instant once: by the events of the lowest rank (rule 14)."""
    known = np.zeros(len(regions.start), dtype=np.int64)
    parts = []
    for kind in (Kind.COMPUTE, Kind.COMMUNICATION, Kind.COPY):
        so_far = rank <= kind
        held = covered(regions.start, regions.end, start[so_far], end[so_far])
        parts.append((regions.step, np.full(len(known), kind, dtype=np.int64), held - known))
        known = held
    step, kinds, ns = (np.concatenate(column) for column in zip(*parts, strict=True))
    some = ns > 0
    return Busy(np.full(int(some.sum()), device, dtype=np.int64), step[some], kinds[some], ns[some])


def _gaps(account: Account, host_calls: HostCalls, device: int, rows: Ints, regions: Regions) -> Gaps:
    """The gaps of a device, whose events are `rows` in the order of their starts."""
    events, host = account.trace.device, account.attribution.host
    cover = union(events.start[rows], events.end[rows])
    first, last = int(regions.start.min(initial=cover[0][0])), int(regions.end.max(initial=cover[1][-1]))
    start, end = np.concatenate(([first], cover[1])), np.concatenate((cover[0], [last]))
    ender = np.append(_enders(account, rows, cover[0]), NONE)
    is_first = np.arange(len(start)) == 0
    some = end > start
    start, end, ender, is_first = start[some], end[some], ender[some], is_first[some]
    launch = at(account.attribution.events.launch, ender, absent=NONE).astype(np.int64)
    thread = at(host.thread, launch, absent=NONE).astype(np.int64)
    thread[ender == NONE] = regions.thread[regions.end.argmax()] if len(regions.end) else NONE
    call = waits.drained_by(host, host_calls.waiting, thread, np.where(is_first, _EVER, start))
    device_of = np.full(len(start), device, dtype=np.int64)
    return Gaps(device_of, start, end, ender.astype(np.int64), thread, launch, call, is_first)


def _enders(account: Account, rows: Ints, time: Ints) -> Ints:
    """The event that starts at each of these times: of several the one that was launched first."""
    events, launch = account.trace.device, account.attribution.events.launch
    start = events.start[rows]
    begin, until = (np.searchsorted(start, time, side=side) for side in ("left", "right"))
    ender = rows[begin]
    for gap in np.flatnonzero(until - begin > 1).tolist():
        same = rows[begin[gap] : until[gap]]
        called = at(account.attribution.host.start, launch[same], absent=_NEVER)
        ender[gap] = same[np.lexsort((events.end[same], events.stream[same], launch[same], called))[0]]
    return ender


# --- causes -----------------------------------------------------------------------------------------------------


def _pieces(
    account: Account, host_calls: HostCalls, loading: Mapping[int, Pair], gaps: Gaps, regions: Regions
) -> Pieces:
    """The parts of gaps that lie in regions, cut where the cause changes."""
    gap, region = overlaps(gaps.start, gaps.end, regions.start, regions.end)
    start = np.maximum(gaps.start[gap], regions.start[region])
    end = np.minimum(gaps.end[gap], regions.end[region])
    early = _early_causes(account, host_calls, gaps)[gap]
    whole = np.where(early == NONE, regions.cause[region], early)
    blocked, thread = _blocked_until(account, host_calls, gaps)[gap], gaps.thread[gap]
    part, time = _cuts(start, end, blocked, thread, loading)
    cause = np.where(time < blocked[part], Cause.BLOCKING, Cause.LAUNCH_STARVED)
    cause[_is_loading(thread[part], time, loading)] = Cause.DATA_LOADING
    cause = np.where(whole[part] == NONE, cause, whole[part]).astype(np.int64)
    changes = (np.diff(part, prepend=NONE) != 0) | (np.diff(cause, prepend=NONE) != 0)
    part, time, cause = part[changes], time[changes], cause[changes]
    until = np.append(time[1:], 0)[: len(part)]
    is_last = np.diff(part, append=NONE) != 0
    until[is_last] = end[part[is_last]]
    return Pieces(gap[part], regions.step[region[part]], time, until, cause)


def _early_causes(account: Account, host_calls: HostCalls, gaps: Gaps) -> Ints:
    """The cause of gaps whose ender was launched before they began, or nobody knows when; NONE for all others."""
    host = account.attribution.host
    cause = np.where((gaps.ender != NONE) & (gaps.launch == NONE), Cause.UNKNOWN, NONE)
    rows = np.flatnonzero((gaps.launch != NONE) & ~gaps.is_first)
    rows = rows[host.start[gaps.launch[rows]] < gaps.start[rows]]
    cause[rows] = Cause.UNKNOWN
    waited = rows[waits.follows_stream_wait(host, host_calls, gaps.launch[rows])]
    cause[waited[_is_first_of_launch(account, gaps.ender[waited])]] = Cause.DEPENDENCY
    return cause


def _is_first_of_launch(account: Account, event: Ints) -> Bools:
    """Whether no event of the same launch, as one of a graph has several, started before."""
    start, launch = account.trace.device.start, account.attribution.events.launch
    same = np.flatnonzero(np.isin(launch, launch[event]))
    same = same[np.lexsort((start[same], launch[same]))]
    first = same[np.searchsorted(launch[same], launch[event])]
    is_first: Bools = start[event] == start[first]
    return is_first


def _blocked_until(account: Account, host_calls: HostCalls, gaps: Gaps) -> Ints:
    """Until when gaps are blocked: the next launch after the call that drained the queue, at the latest the ender's."""
    host = account.attribution.host
    until = np.full(len(gaps.start), _EVER, dtype=np.int64)
    rows = np.flatnonzero(gaps.call != NONE)
    next_launch = waits.next_launch(host, host_calls.launching, gaps.call[rows])
    until[rows] = np.minimum(next_launch, at(host.start, gaps.launch[rows], absent=_NEVER))
    return until


def _cuts(start: Ints, end: Ints, blocked: Ints, thread: Ints, loading: Mapping[int, Pair]) -> Pair:
    """Where each interval begins, and where its cause may change: the interval, and the time, in this order."""
    ends = np.flatnonzero((blocked > start) & (blocked < end))
    parts, times = [np.arange(len(start)), ends], [start, blocked[ends]]
    for number, borders in loading.items():
        border, rows = np.sort(np.concatenate(borders)), np.flatnonzero(thread == number)
        begin, until = np.searchsorted(border, start[rows], "right"), np.searchsorted(border, end[rows], "left")
        place, row = pairs(begin, np.maximum(begin, until))
        parts.append(rows[row])
        times.append(border[place])
    part, time = np.concatenate(parts), np.concatenate(times)
    order = np.lexsort((time, part))
    return part[order], time[order]


def _is_loading(thread: Ints, time: Ints, loading: Mapping[int, Pair]) -> Bools:
    """Whether the thread is in a loader's range at the time."""
    inside = np.zeros(len(time), dtype=bool)
    for number, (begin, end) in loading.items():
        rows = np.flatnonzero(thread == number)
        place = np.searchsorted(begin, time[rows], side="right") - 1
        inside[rows] = (place >= 0) & (time[rows] < end[place])
    return inside
