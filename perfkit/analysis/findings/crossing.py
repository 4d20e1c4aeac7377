"""Host ranges that overlap without nesting, where it matters to which of the two the work in the overlap belongs."""

from __future__ import annotations

import numpy as np
import pandas as pd

from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, pair_keys
from perfkit.analysis.time.account import Account
from perfkit.schema import units
from perfkit.schema.finding import Cost, Finding, Rule
from perfkit.trace.columns import ACROSS_THREADS

CROSSING_RANGES = Rule(
    "crossing-ranges",
    "integrity",
    "work in the overlap of two host ranges that do not nest, and differ in scope or phase: it could belong to either",
)

_NEVER = np.iinfo(np.int64).min


def crossing_ranges(account: Account) -> Finding | None:
    """Work that was launched (without a device: done) where two ranges of different scope or phase cross.

    Python frames that begin or end a range cross it in every profile with stacks, but nothing is launched there.
    """
    rows, until = _crossings(account)
    host = account.attribution.host
    place = account.attribution.events.launch[account.row] if account.on_device else account.row
    counts = np.flatnonzero((place != NONE) & (account.total > 0) & account.is_counted)
    place, work = place[counts], account.total[counts]
    pairs, time = 0, 0
    for thread in np.unique(host.thread[rows]):
        on, ours = host.thread[rows] == thread, host.thread[place] == thread
        begin, end, at = host.start[rows[on]], until[on], host.start[place[ours]]
        pairs += int((_number_before(at, end) > _number_before(at, begin)).sum())
        latest = np.concatenate(([_NEVER], np.maximum.accumulate(end)))  # before the first, and from each on
        ends = latest[np.searchsorted(begin, at, "right")]
        both = ends > at
        moved = work[ours] if account.on_device else np.minimum(work[ours], ends - at)
        time += int(moved[both].sum())
    if not time:
        return None
    whole = int(account.total.sum())
    one = pairs == 1
    text = (
        f"{units.duration_ns(time)} ({units.percent(time / whole)}) of work could belong to another scope or phase:"
        f" {pairs:,} host {'range begins' if one else 'ranges begin'} inside one of another scope or phase and"
        f" {'ends' if one else 'end'} after it; what both hold counts in the later one"
    )
    return Finding(CROSSING_RANGES, text, Cost(round(time / max(len(account.steps), 1)), time / whole))


def _number_before(times: Ints, limit: Ints) -> Ints:
    return np.searchsorted(np.sort(times), limit, "left")


def _crossings(account: Account) -> tuple[Ints, Ints]:
    """Ranges that begin inside an earlier one of another scope or phase and end after it, and when that one ends.

    Rows of the forest, in its order, and times in ns.
    """
    attribution, host = account.attribution, account.attribution.host
    lanes = [index for index, thread in enumerate(account.trace.threads) if thread.name == ACROSS_THREADS]
    rows = np.flatnonzero(~host.is_runtime & ~np.isin(host.thread, lanes))
    parent = host.forest.parent[rows]
    family = np.where(parent == NONE, ~host.thread[rows], parent)  # siblings; roots of a thread are below 0
    siblings = pd.DataFrame({"family": family, "end": host.end[rows]})
    reach = siblings.groupby("family")["end"].cummax().groupby(family).shift(1, fill_value=_NEVER).to_numpy()
    tolerance = account.trace.facts.resolution_ns
    crossed = reach >= host.start[rows] + tolerance
    few = np.isin(family, family[crossed])
    rows, family = rows[few], family[few]
    kind = pair_keys(attribution.ranges.path[rows], attribution.ranges.phase[rows])
    until = _ends_of_others(family, kind, host.end[rows])
    other: Bools = until >= host.start[rows] + tolerance
    return rows[other], until[other]


def _ends_of_others(family: Ints, kind: Ints, end: Ints) -> Ints:
    """For each row the latest end of the earlier rows of its family that are of another kind; _NEVER for none."""
    latest: dict[int, tuple[int, int, int]] = {}  # family -> latest end, its kind, the latest end of the other kinds
    found = np.empty(len(end), dtype=np.int64)
    for row, (one, what, ends) in enumerate(zip(family.tolist(), kind.tolist(), end.tolist(), strict=True)):
        first, whose, second = latest.get(one, (_NEVER, what, _NEVER))
        found[row] = second if what == whose else first
        if what == whose:
            latest[one] = (max(first, ends), whose, second)
        elif ends > first:
            latest[one] = (ends, what, first)
        else:
            latest[one] = (first, whose, max(second, ends))
    return found
