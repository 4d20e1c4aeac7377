"""Python between operators: time of the main thread in which it calls nothing that the recording knows."""

from __future__ import annotations

from collections import Counter

import numpy as np

from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, at, covered, union
from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.findings.performance.case import Case
from perfkit.analysis.findings.performance.program.compiling import is_compiling
from perfkit.analysis.findings.performance.wall.places import idle_row, pieces_of
from perfkit.analysis.time.idle.doing import ancestor, frames_of, open_at
from perfkit.analysis.time.idle.kinds import Cause
from perfkit.analysis.time.idle.regions import Pair
from perfkit.analysis.time.idle.waits import loading
from perfkit.regex import Regex
from perfkit.schema import python_frames, units
from perfkit.schema.finding import Evidence, Finding, Rule
from perfkit.trace.columns import HostKind

PYTHON_BETWEEN_OPERATORS = Rule(
    "python-between-operators",
    "performance",
    "the main thread calls no operator for long stretches of the step: it runs Python, or waits for something",
)
_LONG_NS = 200_000
"""Between two operators of a usual model the host needs some microseconds, with a profiler some tens of them."""
_LEAST = 0.1
"""Share of the step that long stretches have to have,"""
_LEAST_OF_ALL, _MANY = 0.4, 20
"""or all stretches together, without a device, if there are so many a step: then operators are too small for what it
takes to call them."""
_COLLECTIVE = Regex(r"all_?reduce|all_?gather|all_?to_?all|reduce_?scatter|broadcast_|barrier|c10d::|comms")
_FEW = 10
"""Operators a step, below which the recording hardly knows what the program does."""
_OTHERS = ("autograd::engine", "torch::autograd", "Optimizer.step", "Optimizer.zero_grad")
"""Ranges that hold no Python of the user's, or whose Python is an optimizer's: `unfused-optimizer` judges it."""


def python_between_operators(case: Case) -> Finding | None:
    """Stretches of the main thread, in the steps, outside of operators, driver calls, loaders, compilers, optimizers.

    At stake: the stretches of 0.2 ms or more; all of them where those are two fifths of the step; on a device, what of
    the long ones it is idle for, because nothing was launched.
    """
    start, end = stretches(case)
    long = end - start >= _LONG_NS
    if case.on_device:
        rows = pieces_of(case, Cause.LAUNCH_STARVED)
        time = int(case.wall.pieces.ns[rows[is_of_python(case, rows)]].sum())
        cost, evidence = case.cost(time), (idle_row(Cause.LAUNCH_STARVED),)
    else:
        time, every = int((end - start)[long].sum()), int((end - start).sum())
        if len(start) >= _MANY * case.step_count and every >= _LEAST_OF_ALL * case.step_ns * case.step_count:
            time, long = every, np.ones(len(start), dtype=bool)
        cost, evidence = case.host_cost(time), (Evidence("steps", {"step": 0}),)
    if not time or (cost.share or 0.0) < _LEAST:
        return None
    idle = ", and the device is idle meanwhile" if case.on_device else ""
    said = units.duration_ns(cost.ns or 0) + case.a_step
    text = (
        f"the host calls no operator for {said} ({units.percent(cost.share or 0.0)}){idle}:"
        f" it runs Python, or waits; {_place(case, start[long], end[long])}"
    )
    advice = (
        "--profile-stack (profile(with_stack=True)), which names the line, and then that work before the loop, in"
        " another process, or as one operation on tensors"
    )
    return Finding(PYTHON_BETWEEN_OPERATORS, text, cost, evidence, advice, "derived")


def is_of_python(case: Case, rows: Ints) -> Bools:
    """Pieces of idle time most of which lies in a long stretch of the thread that they are judged by."""
    start, end = stretches(case)
    long = end - start >= _LONG_NS
    pieces, gaps = case.wall.pieces, case.wall.gaps
    inside = covered(pieces.start[rows], pieces.end[rows], start[long], end[long])
    mine = gaps.thread[pieces.gap[rows]] == case.account.attribution.main_thread
    found: Bools = mine & (2 * inside >= pieces.ns[rows])
    return found


def stretches(case: Case) -> Pair:
    """When they begin and end; none without steps or operators, which would say what belongs to the program.

    While another thread runs operators, as autograd's does in backward, the main thread waits for it; in backward it is
    in autograd's engine, and after a collective it waits for other ranks. Behind the last operator of all the profiler
    stops, so that the last step is taken to end as long behind its last operator as others do.
    """
    host, main = case.host, case.account.attribution.main_thread
    if not case.account.steps or len(case.units) < _FEW * case.step_count:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    calls = case.ranges(lambda name: is_compiling(name) or name.startswith(_OTHERS)) | host.is_runtime
    calls = calls | (host.kind == HostKind.LIBRARY)
    calls &= host.thread == main
    calls[case.units.row] = True
    rows = np.flatnonzero(calls)
    starts, ends = case.bounds
    ends = np.append(ends[:-1], _end_of_last(case, starts, ends))
    known = ((host.start[rows], host.end[rows]), loading(host).get(main), _backward_elsewhere(case))
    calls_start, calls_end = union(*(np.concatenate(column) for column in zip(*filter(None, known), strict=True)))
    border = np.concatenate(([np.iinfo(np.int64).min], calls_end)), np.append(calls_start, np.iinfo(np.int64).max)
    first, last = np.searchsorted(border[1], starts, "right"), np.searchsorted(border[0], ends, "left")
    gap = np.concatenate([np.arange(a, b) for a, b in zip(first.tolist(), last.tolist(), strict=True)])
    step = np.repeat(np.arange(len(starts)), last - first)
    begin, until = np.maximum(border[0][gap], starts[step]), np.minimum(border[1][gap], ends[step])
    some = (until > begin) & ~_follows_collective(case, begin)
    begin, until = begin[some], until[some]
    row = open_at(host, np.full(len(begin), main, dtype=np.int64), begin + (until - begin) // 2)
    of_engine = at(case.account.attribution.ranges.phase, row, absent=Phase.OTHER) == Phase.BACKWARD
    return begin[~of_engine], until[~of_engine]


def _end_of_last(case: Case, starts: Ints, ends: Ints) -> int:
    """When the last step ends without the profiler's stop, ns."""
    table = case.units
    mine = table.thread == case.account.attribution.main_thread
    last = np.maximum.accumulate(np.append(starts[0], table.end[mine]))[np.searchsorted(table.start[mine], ends)]
    tails = ends - np.clip(last, starts, ends)
    usual = max(float(np.median(tails[:-1])) if len(tails) > 1 else 0.0, _LONG_NS / 2)
    return int(ends[-1] - max(tails[-1] - usual, 0))


def _follows_collective(case: Case, time: Ints) -> Bools:
    """Times before which the main thread's last operator was a collective: then it waits for other ranks."""
    table, host = case.units, case.host
    mine = np.flatnonzero(table.thread == case.account.attribution.main_thread)
    last = np.append(mine, NONE)[np.searchsorted(table.end[mine], time, "right") - 1]
    follows: Bools = at(host.matching(lambda name: _COLLECTIVE.search(name) is not None)[table.row], last, absent=False)
    return follows


def _backward_elsewhere(case: Case) -> Pair:
    """For each step the time from its first backward node on another thread to its last: the main thread waits."""
    host = case.host
    nodes = np.flatnonzero(case.account.attribution.links.is_node)
    nodes = nodes[host.thread[nodes] != case.account.attribution.main_thread]
    step = case.steps_at(host.start[nodes])
    nodes, step = nodes[step != NONE], step[step != NONE]
    steps = np.unique(step)
    first, last = np.full(case.step_count, np.iinfo(np.int64).max), np.full(case.step_count, np.iinfo(np.int64).min)
    np.minimum.at(first, step, host.start[nodes])
    np.maximum.at(last, step, host.end[nodes])
    return first[steps], last[steps]


def _place(case: Case, start: Ints, end: Ints) -> str:
    """Where most of some stretches are: between which operators, in which module, range and Python frame."""
    host, table = case.host, case.units
    main = np.full(len(start), case.account.attribution.main_thread, dtype=np.int64)
    row = open_at(host, main, start + (end - start) // 2)
    mine = np.flatnonzero(table.thread == main[0])
    before = np.searchsorted(table.end[mine], start, "right") - 1
    after = np.searchsorted(table.start[mine], end, "left")
    names = np.array([*host.names, "the step's begin", "its end"], dtype=object)
    code = np.append(host.name[table.row[mine]], [len(host.names), len(host.names) + 1])
    first = names[code[np.where(before < 0, len(mine), before)]]
    last = names[code[np.where(after == len(mine), len(mine) + 1, after)]]
    users = (host.kind == HostKind.ANNOTATION) & ~host.is_step
    texts = [*host.names, ""]
    path = at(case.account.attribution.ranges.path, row, absent=NONE)
    paths = [*case.account.attribution.paths, ""]
    range_ = at(host.name.astype(np.int64), ancestor(host, row, users), absent=NONE)
    frame = frames_of(case.account, row)
    ns = (end - start).tolist()
    found = (
        _most(ns, [f"between {one} and {other}" for one, other in zip(first, last, strict=True)]),
        _most(ns, [paths[number] and f"in {paths[number]}" for number in path.tolist()]),
        _most(ns, [texts[number] and f"in {texts[number]}" for number in range_.tolist()]),
        _most(ns, [texts[number] and f"at {python_frames.short(texts[number])}" for number in frame.tolist()]),
    )
    return ", ".join(dict.fromkeys(filter(None, found)))


def _most(ns: list[int], texts: list[str]) -> str:
    times: Counter[str] = Counter()
    for text, time in zip(texts, ns, strict=True):
        times[text] += time
    text, time = times.most_common(1)[0]
    return f"{text[:120]} ({units.percent(time / max(sum(ns), 1))})" if text else ""
