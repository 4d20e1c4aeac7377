"""Findings as markers: a row for each, with slices where its evidence lies, the longest ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perfkit.analysis.attribution.attribute import Phase
from perfkit.analysis.attribution.intervals import Bools, Ints
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.idle.kinds import Cause
from perfkit.export.perfetto.tracks import Arg, Slices, of_one_category
from perfkit.schema.finding import Evidence, Finding

CATEGORY = "perfkit.finding"
MOST = 10
"""Places that are marked of each piece of evidence."""


def marker(account: Account, finding: Finding) -> Slices:
    """The places of a finding. One that names none is marked at the begin, with length 0."""
    found = [_places(account, evidence) for evidence in finding.evidence]
    start, end = (np.concatenate(column) for column in zip(_nowhere(), *found, strict=True))
    if not len(start):
        start = end = np.array([_begin(account)], dtype=np.int64)
    order = np.lexsort((-end, start))
    one = np.zeros(len(order), dtype=np.int64)
    texts = {
        "finding": finding.what,
        "try": finding.advice,
        "where": finding.where,
        "sure": finding.sure,
        "rule": finding.rule.id,
    }
    numbers = {"cost_ns": finding.cost.ns, "gain_ns": finding.gain.ns}
    args = (
        *(Arg(name, one, (text,)) for name, text in texts.items() if text),
        *(Arg(name, one + number) for name, number in numbers.items() if number is not None and number >= 0),
    )
    return of_one_category(start[order], end[order], one, (name_of(finding),), CATEGORY, args)


def name_of(finding: Finding) -> str:
    """What the marker and its row are called."""
    return finding.rule.title or finding.rule.id.replace("-", " ")


def _nowhere() -> tuple[Ints, Ints]:
    return np.empty(0, np.int64), np.empty(0, np.int64)


def _begin(account: Account) -> int:
    trace = account.trace
    return min((int(column.min()) for column in (trace.host.start, trace.device.start) if len(column)), default=0)


def _places(account: Account, evidence: Evidence) -> tuple[Ints, Ints]:
    """The longest intervals that rows of a table stand for; none where the row has no place in time."""
    start, end = _intervals(account, evidence)
    longest = np.argsort(start - end, kind="stable")[:MOST]
    return start[longest], end[longest]


def _intervals(account: Account, evidence: Evidence) -> tuple[Ints, Ints]:
    key, attribution = evidence.key, account.attribution
    match evidence.table, *key.items():
        case "steps", ("step", int(step)) if step < len(account.steps):
            chosen = attribution.steps[account.steps[step]]
            return np.array([chosen.start]), np.array([chosen.end])
        case "wall_time", ("what", str(what)):
            pieces = account.wall.pieces
            causes = [cause for cause in Cause if what == f"idle: {cause.label}"]
            rows = np.flatnonzero(np.isin(pieces.cause, causes))
            return pieces.start[rows], pieces.end[rows]
        case "ranges", ("name", str(name)):
            rows = np.flatnonzero(attribution.host.matching(lambda other: other == name))
            return attribution.host.start[rows], attribution.host.end[rows]
        case (("kernels" | "layers" | "phases"), (what, str(name))):
            return _of_rows(account, _matching(account, str(what), name))
    return _nowhere()


def _matching(account: Account, what: str, name: str) -> Bools:
    """Rows of the account by a column of a table: name, scope or phase."""
    columns: dict[str, tuple[Ints, Sequence[str]]] = {
        "name": (account.name, account.trace.names),
        "scope": (account.scope, account.scopes),
        "phase": (account.phase, tuple(phase.label for phase in sorted(Phase))),
    }
    column, texts = columns.get(what, (account.phase, ()))
    same: Bools = column == (texts.index(name) if name in texts else -2)
    return same


def _of_rows(account: Account, chosen: Bools) -> tuple[Ints, Ints]:
    rows = account.row[chosen]
    times = account.trace.device if account.on_device else account.attribution.host
    return times.start[rows], times.end[rows]
