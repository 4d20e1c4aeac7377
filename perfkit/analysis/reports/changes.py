"""Where the difference of two traces lies: rows whose differences add up to that of a step, and what they leave over.

On a device a row is a kind of work or a cause of idle time. Kernels' own times replace the wall time of compute; what
that leaves over has rows of its own, so that the table closes:

    step = idle, by cause + exposed copies + exposed communication + compute        each instant once
    compute = kernels, by kind - those that ran beside others or in another step
    the step's time - that of the host's step = what the device still did, where the host runs ahead
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from perfkit.analysis.attribution.attribute import Phase
from perfkit.analysis.kernels import kinds
from perfkit.analysis.reports.differences import Times, signed
from perfkit.analysis.statistics import welch
from perfkit.analysis.statistics.stats import Floats, geometric_mean
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.cells import CELLS, Work, categories
from perfkit.analysis.time.idle.tables import wall_time_table
from perfkit.schema import units
from perfkit.schema.finding import Evidence, Finding, Rule
from perfkit.schema.table import Column, Table

BESIDE = "kernels at the same time, or not in the step that launched them"
BEHIND = "device behind the host: a step's work is done after, or before, the host's step"
REST = "rest: in no row above"
_COMPUTE = "compute"
_MOST = 4
"""Rows that the sentence names."""
_LEAST = 0.02
"""A row is named if it has this share of the sum of all rows' differences."""
_NOTHING = 0.5
"""Rows of what is left over are shown from this many ns on: less is how means are rounded."""

_COLUMNS = (
    Column("what", title="where the difference lies"),
    Column("a_ns", "ns", "time", "A", summed=True, scale="time"),
    Column("b_ns", "ns", "time", "B", summed=True, scale="time"),
    Column("difference_ns", "ns", "time", "B - A", summed=True, scale="time"),
    Column("share_a", "1", "share", "share A", summed=True),
    Column("share_b", "1", "share", "share B", summed=True),
    Column("difference_share", "1", "share", "B - A of share"),
)
WHERE_IT_LIES = Rule(
    "where-it-lies", "comparison", "the rows that make most of the difference of two traces, and what is left over",
    read="first",
)  # fmt: skip
SHARES = Rule("shares", "comparison", "the share that a kind of work has of the time on each side", read="first")


def table(a: Account, b: Account, times: Times) -> Table:
    """The rows of both sides, those first whose times differ most; differences add up to that of `times`."""
    in_steps = not times.lacking
    mine, theirs = (dict(_rows(side, whole, in_steps=in_steps)) for side, whole in ((a, times.a), (b, times.b)))
    rows = [(what, mine.get(what, 0.0), theirs.get(what, 0.0)) for what in dict.fromkeys((*mine, *theirs))]
    frame = pd.DataFrame(rows, columns=["what", "a_ns", "b_ns"])
    frame["difference_ns"] = frame["b_ns"] - frame["a_ns"]
    for side, whole in (("a", times.a), ("b", times.b)):
        frame[f"share_{side}"] = frame[f"{side}_ns"] / whole if whole else 0.0
    frame["difference_share"] = frame["share_b"] - frame["share_a"]
    is_rest = frame["what"].isin((BESIDE, BEHIND, REST))
    apart = frame["difference_ns"].abs()
    order = np.lexsort((-frame[["a_ns", "b_ns"]].max(axis=1), -apart, is_rest))
    frame = frame.iloc[order].reset_index(drop=True)
    what = "a step" if in_steps else "all that was recorded"
    notes = (f"rows add up to the time of {what}, and their differences to its difference",)
    return Table("changes", f"What changed, {what}", _COLUMNS, frame, notes, pinned=int(is_rest.sum()))


def _rows(side: Account, whole: float, *, in_steps: bool) -> Iterator[tuple[str, float]]:
    """What adds up to `whole`, ns: a step, or all that was recorded."""
    if in_steps and side.on_device:
        found = list(_of_device_steps(side, whole))
    else:
        found = list(
            _by_kind(side, "exclusive_ns" if side.on_device else "total_ns", len(side.steps) if in_steps else 1)
        )
    yield from found
    rest = whole - sum(ns for _, ns in found)
    if abs(rest) >= _NOTHING:
        yield REST, rest


def _of_device_steps(side: Account, whole: float) -> Iterator[tuple[str, float]]:
    steps, devices = len(side.steps), max(len(side.partial.facts.device_labels), 1)
    wall = wall_time_table(side.partial).frame
    by_what = dict(zip(wall["what"], wall["step_mean_ns"] / devices, strict=True))
    compute = by_what.pop(_COMPUTE, 0.0)
    kernels = list(_by_kind(side, "total_ns", steps * devices, kernels_only=True))
    yield from by_what.items()
    yield from kernels
    beside, behind = compute - sum(ns for _, ns in kernels), whole - sum(by_what.values()) - compute
    for what, ns in ((BESIDE, beside), (BEHIND, behind)):
        if abs(ns) >= _NOTHING:
            yield what, ns


def _by_kind(side: Account, column: str, per: int, *, kernels_only: bool = False) -> Iterator[tuple[str, float]]:
    """Time by kind of work; `kernels_only` without copies and communication."""
    cells = side.partial.of(CELLS)
    if kernels_only:
        cells = cells[(cells["work"] == Work.KERNEL) & (cells["phase"] != Phase.COMMUNICATION)]
    sums = cells.groupby(categories(side.partial, cells))[column].sum()
    for number, ns in sums.items():
        yield kinds.ALL[int(str(number))], float(ns) / per


def findings(changes: Table, times: Times) -> Iterator[Finding]:
    """Where most of the difference lies, and the shares of what has most time."""
    frame = changes.frame
    apart = frame["difference_ns"].abs()
    largest = frame.iloc[np.argsort(-apart.to_numpy(), kind="stable")]
    named = largest[largest["difference_ns"].abs() >= _LEAST * max(float(apart.sum()), 1.0)].head(_MOST)
    if len(named) and float(apart.sum()):
        said = ", ".join(
            f"{_short(what)} {signed(ns)}" for what, ns in zip(named["what"], named["difference_ns"], strict=True)
        )
        others = len(frame) - len(named)
        rest = float(frame["difference_ns"].sum() - named["difference_ns"].sum())
        more = f"; {units.many(others, 'other row', 'other rows')} {signed(rest)}" if others and rest else ""
        text = f"the difference of {signed(times.b - times.a)} is {said}{more}"
        evidence = tuple(Evidence(changes.name, {"what": str(what)}) for what in named["what"])
        yield Finding(WHERE_IT_LIES, text, evidence=evidence)


def named(table: Table, names: tuple[str, ...]) -> Table:
    """A table of A and B whose headings have these names instead."""
    by_letter = dict(zip("AB", names, strict=True))
    columns = (
        replace(column, title=re.sub(r"\b[AB]\b", lambda found: by_letter[found[0]], column.title))
        for column in table.columns
    )
    return replace(table, columns=tuple(columns))


def shares(frame: pd.DataFrame, of: str, names: tuple[str, ...] = ("A", "B")) -> Iterator[Finding]:
    """`matmul has 71.0% of kernel time in A and 52.0% in B; elementwise 12.0% and 25.0%`, of a table of categories.

    Matrix products, or else what has most time of both sides; then what has the share that changed most.
    """
    if not len(frame) or not (frame["share_a"].sum() and frame["share_b"].sum()):
        return
    rows = [
        (str(kind), float(a), float(b))
        for kind, a, b in zip(frame["category"], frame["share_a"], frame["share_b"], strict=True)
    ]
    products = (row for row in rows if row[0] == kinds.MATMUL and max(row[1:]) >= _LEAST)
    first = next(products, None) or max(rows, key=lambda row: row[1] + row[2])
    others = [row for row in rows if row != first]
    chosen = [first, *sorted(others, key=lambda row: -abs(row[2] - row[1]))[:1]]
    said = []
    for kind, a, b in chosen:
        whole = "" if said else f" of {of}"
        said.append(f"{kind} has {units.percent(a)}{whole} in {names[0]} and {units.percent(b)} in {names[1]}")
    evidence = tuple(Evidence("categories", {"category": kind}) for kind, _, _ in chosen)
    yield Finding(SHARES, "; ".join(said), evidence=evidence)


def _short(what: str) -> str:
    return {BESIDE: "kernels beside others", BEHIND: "the device behind the host", REST: "rest"}.get(what, what)


def of_processes(sides: Sequence[Sequence[Account]]) -> Table:
    """Time a step by kind of work, of several processes a side: geometric means, and the interval of their ratio.

    A kind that a process lacks has no interval. Welch's test on logarithms, p adjusted for the rows (Holm).
    """
    columns = [[_kinds_of(account) for account in side] for side in sides]
    names = sorted({name for side in columns for one in side for name in one})
    rows = [_kind_row(name, *(np.array([one.get(name, 0.0) for one in side]) for side in columns)) for name in names]
    frame = pd.DataFrame(rows, columns=[column.name for column in _BY_PROCESS])
    frame["p"] = welch.holm(frame["p"].to_numpy(dtype=np.float64))
    frame = frame.sort_values("difference_ns", key=abs, ascending=False, kind="stable", ignore_index=True)
    count = " and ".join(str(len(side)) for side in sides)
    notes = (
        f"geometric means of {count} processes; the interval is of the ratio, between processes; p adjusted (Holm)",
    )
    return Table("kinds", "Kinds of work, a step, B against A", _BY_PROCESS, frame, notes)


_BY_PROCESS = (
    Column("category"),
    Column("a_ns", "ns", "time", "A", scale="time"),
    Column("b_ns", "ns", "time", "B", scale="time"),
    Column("difference_ns", "ns", "time", "B - A", scale="time"),
    Column("ratio", "", "rate", "B/A"),
    Column("low", "", "rate", "95% low"),
    Column("high", "", "rate", "95% high", endless=100.0),
    Column("p", "", "rate", "p (Holm)"),
)


def _kinds_of(account: Account) -> dict[str, float]:
    column = "exclusive_ns" if account.on_device else "total_ns"
    return dict(_by_kind(account, column, max(len(account.steps), 1)))


def _kind_row(name: str, a: Floats, b: Floats) -> dict[str, object]:
    if not ((a > 0).all() and (b > 0).all()):
        return {"category": name, "a_ns": a.mean(), "b_ns": b.mean(), "difference_ns": b.mean() - a.mean(), "p": np.nan}
    mine, theirs = geometric_mean(a)[0], geometric_mean(b)[0]
    tested = welch.welch(np.log(a), np.log(b))
    low, high = tested.interval()
    return {
        "category": name, "a_ns": mine, "b_ns": theirs, "difference_ns": theirs - mine, "ratio": theirs / mine,
        "low": np.exp(low), "high": np.exp(high), "p": tested.p_different(),
    }  # fmt: skip
