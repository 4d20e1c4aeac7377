"""Calls that wait for a device: for which work, and what they cost beside the wait."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.attribution.attribute import Attribution
from perfkit.analysis.attribution.host_view import name_flags
from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, at
from perfkit.analysis.kernels import calls
from perfkit.analysis.kernels.calls import Wait
from perfkit.analysis.time.replay.device import NEVER, Work, last_launched
from perfkit.analysis.time.replay.edges import EdgeKind, Edges, edges, joined, usual
from perfkit.analysis.time.replay.spans import Role, Spans
from perfkit.trace.columns import DeviceKind, Trace

_COST = 2_000
"""ns that a wait for nothing takes, where the file has no example."""
_EXAMPLES, _NEARLY_ALL = 20, 0.98
"""So many kernels, and such a share of them, must have ended before their launches did to say that launches block."""


def sync_edges(trace: Trace, attribution: Attribution, spans: Spans, work: Work, first: int) -> tuple[Edges, Ints]:
    """Edges from work to the ends of the calls that wait for it, and the cost of each span beside its wait.

    The cost is NONE for spans that wait for no work: all of their time is their own. `first`: the first event's node.
    """
    span, event = _waited_for(trace, attribution, spans, work)
    cost = np.full(len(spans), NONE, dtype=np.int64)
    staged = _staged(trace, attribution, spans, work, first, cost)
    if not len(span):
        return staged, cost
    until = np.full(len(spans), NEVER)
    np.maximum.at(until, span, work.end[event])
    rows = np.unique(span)
    has_waited = until[rows] > spans.start[rows]
    back = spans.end[rows] - until[rows]
    duration = (spans.end - spans.start)[rows]
    returns = usual(back[has_waited], _COST)
    cost[rows] = np.where(has_waited, np.minimum(usual(duration[~has_waited], returns), duration), duration)
    delay = np.full(len(span), returns)
    waits = edges(EdgeKind.SYNC, first + event, 2 * span + 1, delay, row=spans.row[span])
    return joined((waits, staged)), cost


def _waited_for(trace: Trace, attribution: Attribution, spans: Spans, work: Work) -> tuple[Ints, Ints]:
    """Pairs (span, event): a call, and work that it waits for."""
    own = _blocking(trace, attribution, spans, work)
    waiting = spans.of(Role.WAIT)
    if not len(waiting) or not len(work.start):
        return own
    host = attribution.host
    events, ends = last_launched(work, spans.start[waiting])
    ended = (events != NONE) & (ends <= spans.end[waiting][:, None])
    kinds = {name: calls.wait_of(host.names[name]) for name in np.unique(host.name[spans.row[waiting]]).tolist()}
    kind = np.array([kinds[name] for name in host.name[spans.row[waiting]].tolist()])
    chosen = ended & (kind == Wait.DEVICE)[:, None]
    of_stream = np.flatnonzero(kind == Wait.STREAM)
    chosen[of_stream] |= _of_one(ended, ends, _streams_of_callers(attribution, spans, work, waiting))[of_stream]
    span, event = waiting[np.nonzero(chosen)[0]], events[chosen]
    by_event = waiting[kind == Wait.EVENT]
    order = np.argsort(work.end, kind="stable")
    latest = at(order, np.searchsorted(work.end[order], spans.end[by_event], side="right") - 1, absent=NONE)
    known = (latest != NONE) & (at(work.end, latest, absent=NEVER) > spans.start[by_event])
    known &= at(work.called, latest, absent=NEVER) < spans.start[by_event]
    return (
        np.concatenate((own[0], span, by_event[known])),
        np.concatenate((own[1], event, latest[known])),
    )


def _streams_of_callers(attribution: Attribution, spans: Spans, work: Work, waiting: Ints) -> Ints:
    """For each waiting span the stream that its thread used last; NONE where it used none."""
    thread = attribution.host.thread
    stream = np.full(len(waiting), NONE, dtype=np.int64)
    for one in np.unique(spans.thread[waiting]).tolist():
        mine = np.flatnonzero((work.call != NONE) & (at(thread, work.call, absent=NONE) == one))
        mine = mine[np.lexsort((work.start[mine], work.called[mine]))]
        here = spans.thread[waiting] == one
        place = np.searchsorted(work.called[mine], spans.start[waiting[here]]) - 1
        stream[here] = at(work.stream[mine], place, absent=NONE)
    return stream


def _of_one(ended: Ints, ends: Ints, stream: Ints) -> Ints:
    """One stream for each wait: the one last used, if its work had ended when the wait had; else the last to end."""
    rows = np.arange(len(stream))
    usable = (stream != NONE) & ended[rows, stream]
    last = np.where(ended, ends, NEVER).argmax(axis=1)
    choice = np.where(usable, stream, last)
    chosen = np.zeros_like(ended)
    chosen[rows, choice] = ended[rows, choice]
    return chosen


def _blocking(trace: Trace, attribution: Attribution, spans: Spans, work: Work) -> tuple[Ints, Ints]:
    """Launches that return when their work is done.

    Those are copies that are called so, and copies from or to pageable memory; with CUDA_LAUNCH_BLOCKING=1 they are all
    launches, which shows where nearly none returns before its work is done.
    """
    host, span = attribution.host, _launching(attribution, spans, work)
    waits = (span != NONE) & (work.end <= at(host.end, work.call, absent=NEVER))
    by_name = at(host.matching(calls.returns_after_copy), work.call, absent=False)
    pageable = _of_pageable(trace, work)
    is_kernel = (trace.device.kind[work.row] == DeviceKind.KERNEL) & (span != NONE)
    all_block = waits[is_kernel].mean() >= _NEARLY_ALL if is_kernel.sum() >= _EXAMPLES else False
    rows = np.flatnonzero(waits & (by_name | pageable | all_block))
    return span[rows], rows


def _launching(attribution: Attribution, spans: Spans, work: Work) -> Ints:
    """The span of each event's launch; NONE for none."""
    launching = spans.of(Role.LAUNCH)
    span_of = np.full(len(attribution.host.name) + 1, NONE, dtype=np.int64)
    span_of[spans.row[launching]] = launching
    return span_of[work.call]


def _of_pageable(trace: Trace, work: Work) -> Bools:
    return name_flags(trace.names, trace.device.name[work.row], lambda name: "Pageable" in name)


def _staged(trace: Trace, attribution: Attribution, spans: Spans, work: Work, first: int, cost: Ints) -> Edges:
    """Calls that copy pageable memory and return during the copy: it could not begin before what its stream had to do.

    The driver moves such memory through a buffer of its own, part by part, and returns when the last part is there. So
    the call waits for the work before the copy, and then is busy for as long as it was since. Writes that to `cost`.
    """
    span = _launching(attribution, spans, work)
    returned = at(spans.end, span, absent=NEVER)
    rows = np.flatnonzero(_of_pageable(trace, work) & (returned > work.start) & (returned < work.end))
    order = np.lexsort((work.start, work.stream))
    before = np.full(len(order), NONE, dtype=np.int64)
    same = work.stream[order[1:]] == work.stream[order[:-1]]
    before[order[1:][same]] = order[:-1][same]
    rows = rows[before[rows] != NONE]
    rows = rows[work.end[before[rows]] > spans.start[span[rows]]]
    cost[span[rows]] = returned[rows] - work.start[rows]
    delay = returned[rows] - work.end[before[rows]]
    return edges(EdgeKind.SYNC, first + before[rows], 2 * span[rows] + 1, delay, row=spans.row[span[rows]])
