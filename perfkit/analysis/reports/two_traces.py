"""Two traces side by side: which is faster, what made the difference (wall time, phases, layers, kernels), what
disagrees.

Every table is the outer join of the two traces' own tables (`breakdown`, `grouping`, `ranges`), so each side adds up
to what `perfkit analyze` reports for its file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from perfkit.analysis.attribution.attribute import Phase, attribute
from perfkit.analysis.findings.trace import one_rank_each
from perfkit.analysis.kernels.short_names.unique import NAMES, short_names
from perfkit.analysis.kernels.spelling import spelling
from perfkit.analysis.reports import changes, differences
from perfkit.analysis.time import breakdown, grouping
from perfkit.analysis.time.account import Account, account_for, is_operator
from perfkit.analysis.time.breakdown import REST_SCOPES
from perfkit.analysis.time.cells import CELLS
from perfkit.analysis.time.idle.tables import wall_time_table
from perfkit.analysis.time.ranges import range_table
from perfkit.analysis.time.summary import summary
from perfkit.analysis.time.trace_table import View
from perfkit.errors import UsageError
from perfkit.schema import range_names, units
from perfkit.schema.finding import Evidence, Finding, Rule
from perfkit.schema.report import Report
from perfkit.schema.table import Column, Steps, Table
from perfkit.trace.columns import Trace
from perfkit.trace.recording import Tool

INSTRUMENTS = {Tool.KINETO: "PyTorch profiler (Kineto)", Tool.NSYS: "Nsight Systems"}
AGREES = ""
_ONE_INSTRUMENT_ONLY = ("ProfilerStep#", "Optimizer.", "grad::")
"""Starts of names that torch.profiler, PyTorch's optimizers and perfkit's marks on gradients write for it alone."""
_BACKWARD = ("backward::", range_names.HOOKS.nvtx_text)
"""Starts of names that come with ranges round backward nodes."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """How two tables are joined and when their rows disagree."""

    margin: float
    """Shares may differ by this much."""
    per_a: float
    per_b: float
    """What counts and times are divided by: the steps, where the traces have different numbers of them, else 1."""
    counts: bool = True
    """Whether counts can be compared at all."""
    shares: bool = True
    """Whether the rows add up, so that they have shares."""
    judged: bool = True
    """Whether rows can disagree: idle time and categories say what changed, not whether instruments agree."""


@dataclass(frozen=True, slots=True)
class _Sides:
    """The two accounts."""

    a: Account
    b: Account

    @property
    def one_instrument(self) -> bool:
        return self.a.trace.recording.tool == self.b.trace.recording.tool

    @property
    def alone_with_backward(self) -> str:
        """The side that alone has ranges round backward nodes, which `perfkit run` adds under nsys only; or ""."""
        sides = [name for name, side in (("A", self.a), ("B", self.b)) if side.attribution.links.is_hooked.any()]
        return sides[0] if len(sides) == 1 else ""


def report(trace_a: Trace, trace_b: Trace, view: View | None = None, margin: float = 0.01) -> Report:
    """Set two traces side by side. Raises UsageError where only one of them holds device work."""
    view = view or View()
    a, b = (account_for(trace, attribute(trace, modules=view.modules), view.selection) for trace in (trace_a, trace_b))
    if a.on_device != b.on_device:
        with_work = "A" if a.on_device else "B"
        raise UsageError(
            f"only {with_work} holds device work, and the other's times are host times: compare traces of one kind"
        )
    sides = _Sides(a, b)
    per = (len(a.steps), len(b.steps)) if a.steps and b.steps and len(a.steps) != len(b.steps) else (1, 1)
    rule = _Rule(margin, *per, counts=a.on_device or sides.one_instrument)
    tables = tuple(_of_steps(table, sides, rule) for table in _tables(sides, view, rule))
    scalars_a, scalars_b = (summary(side.partial) for side in (a, b))
    recordings = _recordings(_facts(a, scalars_a), _facts(b, scalars_b))
    times = differences.times_of(a, b)
    changed = changes.table(a, b, times)
    scalars = {"a": scalars_a, "b": scalars_b, "time": times.scalars, "disagreements": _disagreements(tables)}
    devices = scalars_a["devices"], scalars_b["devices"]
    each = {table.name: table.steps.count if table.steps else 1 for table in tables}
    findings = (
        differences.faster(times, margin),
        *changes.findings(changed, times),
        *_shares(tables, _what_time(a.on_device)),
        *differences.what_changed(tables, " a step" if a.steps and b.steps else "", each),
        *((differences.one_of_each(),) if a.on_device or sides.one_instrument else ()),
        *filter(None, [one_rank_each(trace_a.recording, trace_b.recording)]),
        *_findings(sides, devices, tables, rule),
    )
    title = f"{Path(trace_a.source).name} and {Path(trace_b.source).name}"
    return Report(title, scalars, (recordings, changed, *tables), findings=findings)


def kinds(sides: Sequence[Sequence[Trace]]) -> Table:
    """Time a step by kind of work of several processes a side, with intervals. Each side has two traces or more."""
    return changes.of_processes([[account_for(trace, attribute(trace)) for trace in side] for side in sides])


def of_phases(trace: Trace, phases: tuple[Phase | None, Phase | None], view: View | None = None) -> Report:
    """Two phases of one trace side by side, or a phase and the whole step (None): what each is made of.

    Raises UsageError for a phase that has no time in this trace.
    """
    view = view or View()
    attribution = attribute(trace, modules=view.modules)
    sides = _Sides(
        *(account_for(trace, attribution, msgspec.structs.replace(view.selection, phase=phase)) for phase in phases)
    )
    names = tuple("the whole step" if phase is None else phase.label for phase in phases)
    steps = max(len(sides.a.steps), 1)
    times = [int(side.partial.of(CELLS)["total_ns"].sum()) / steps for side in (sides.a, sides.b)]
    for name, ns in zip(names, times, strict=True):
        if not ns:
            raise UsageError(f"--phases {name}: this trace has no time in it")
    rule = _Rule(0.0, 1, 1, judged=False)
    tables = [
        changes.named(_of_steps(table, sides, rule), tuple(name.removeprefix("the whole ") for name in names))
        for table in _tables(sides, view, rule)
        if table.name not in ("phases", "wall_time")
    ]
    of = _what_time(sides.a.on_device)
    a_step = " a step" if sides.a.steps else ""
    text = (
        f"{names[0]} has {units.duration_ns(times[0])} of {of}{a_step} and {names[1]} {units.duration_ns(times[1])}"
        f" ({units.percent(times[0] / times[1])})"
    )
    findings = (Finding(PHASES_APART, text), *_shares(tables, of, names))
    scalars = {"phases": list(names), "a_ns": times[0], "b_ns": times[1], "steps": len(sides.a.steps)}
    return Report(Path(trace.source).name, scalars, tables, findings=findings)


PHASES_APART = Rule("phases-apart", "comparison", "how much time two phases of one trace have", read="first")


def _what_time(on_device: bool) -> str:
    return "kernel and copy time" if on_device else "the main thread's time"


def _shares(tables: Sequence[Table], of: str, names: tuple[str, ...] = ("A", "B")) -> Iterator[Finding]:
    for table in tables:
        if table.name == "categories":
            yield from changes.shares(table.frame, of, names)


def _of_steps(table: Table, both: _Sides, rule: _Rule) -> Table:
    """The table as people read it: per step where both sides have steps, be they divided already or to be."""
    steps = len(both.a.steps)
    if (rule.per_a, rule.per_b) != (1, 1):
        return replace(table, title=f"{table.title}, mean of a step")
    return replace(table, steps=Steps(steps)) if steps and steps == len(both.b.steps) else table


def _tables(both: _Sides, view: View, rule: _Rule) -> Iterator[Table]:
    a, b = both.a, both.b
    groups = (grouping.group_table(side.partial, view.by, depth=view.depth, fold=view.fold) for side in (a, b))
    told = replace(rule, judged=False)
    if a.on_device:
        walls = (_wall_times(side, bool(a.steps and b.steps)) for side in (a, b))
        yield _joined("wall_time", "Where the wall time goes", "what", walls, replace(told, counts=False))
    yield _joined("phases", "Phases", "phase", (breakdown.phase_table(side.partial) for side in (a, b)), rule)
    if rule.counts:
        categories = (breakdown.category_table(side.partial) for side in (a, b))
        yield _joined("categories", "Categories", "category", categories, told)
    yield _joined("groups", f"By {view.by}", "scope", groups, rule)
    if rule.counts:
        title = "Kernels" if a.on_device else "Operators, self time"
        sides = [breakdown.kernel_table(side.partial) for side in (a, b)]
        sides = sides if both.one_instrument else list(_spelled_alike(sides))
        notes = () if both.one_instrument else tuple(note for side in sides for note in side.notes)
        yield _shortened(replace(_joined("kernels", title, "name", sides, rule), notes=notes), a.on_device)
    if a.on_device:
        moved = (breakdown.copy_table(side.partial) for side in (a, b))
        copies = _joined("copies", "Copies and memsets", "name", moved, rule)
        if len(copies):
            yield _shortened(copies, True)
    elif not rule.counts:
        wall = _Rule(rule.margin, rule.per_a, rule.per_b, shares=False)
        left_out = (*_ONE_INSTRUMENT_ONLY, *(_BACKWARD if both.alone_with_backward else ()))
        yield _joined("ranges", "Host ranges, wall time", "name", (_ranges(side, left_out) for side in (a, b)), wall)


def _wall_times(account: Account, in_steps: bool) -> Table:
    """What devices ran and why they were idle: in the steps, or in all that was recorded."""
    table = wall_time_table(account.partial)
    total = table.frame["step_mean_ns"] * len(account.steps) if in_steps else table.frame["total_ns"]
    return replace(table, frame=table.frame.assign(total_ns=total.round().astype("int64"), count=0))


def _spelled_alike(sides: Sequence[Table]) -> Iterator[Table]:
    """Kernels under the name that the first side gives them: instruments spell one differently (kernel_spelling).

    Names that both sides have stay as they are: they may distinguish kernels that share a spelling.
    """
    both = set.intersection(*(set(side.frame["name"]) for side in sides))
    names: dict[str, str] = {}
    for side in sides:
        for name in side.frame["name"]:
            if name not in both:
                names.setdefault(spelling(name), name)
    for letter, side in zip("AB", sides, strict=True):
        alike = [name if name in both else names[spelling(name)] for name in side.frame["name"]]
        merged = side.frame.assign(name=alike).groupby("name")[["count", "total_ns"]].sum().reset_index()
        columns = tuple(column for column in side.columns if column.name in merged)
        together = len(alike) - len(merged)
        notes = (f"{letter}: {together:,} names share a row with one that differs in its parameters only",)
        yield Table(side.name, side.title, columns, merged, notes if together else ())


def _ranges(account: Account, left_out: tuple[str, ...]) -> Table:
    """Ranges that both recordings can have: no operators, and no names that start with one of `left_out`."""
    table, host = range_table(account.partial), account.attribution.host
    operators = {host.names[index] for index in np.unique(host.name[is_operator(account.attribution)])}
    names = table.frame["name"]
    frame = table.frame[~names.isin(operators) & ~names.str.startswith(left_out)]
    return Table(table.name, table.title, table.columns, frame, table.notes)


def _joined(name: str, title: str, key: str, sides: Iterable[Table], rule: _Rule) -> Table:
    """One row for each key of either side, those first whose times differ most, then the longest; rest rows last."""
    a, b = sides
    wanted = [key, "count", "total_ns"]
    frame = a.frame[wanted].merge(b.frame[wanted], on=key, how="outer", suffixes=("_a", "_b"), indicator="side")
    frame = frame.fillna({f"{column}_{side}": 0 for column in ("count", "total_ns") for side in "ab"})
    frame = frame[(frame[["count_a", "count_b", "total_ns_a", "total_ns_b"]] != 0).any(axis=1)]
    for side, per in (("a", rule.per_a), ("b", rule.per_b)):
        frame[[f"count_{side}", f"total_ns_{side}"]] /= per
        total = frame[f"total_ns_{side}"].sum()
        frame[f"share_{side}"] = frame[f"total_ns_{side}"] / total if total else 0.0
    frame["difference_ns"] = frame["total_ns_b"] - frame["total_ns_a"]
    frame["difference_share"] = frame["share_b"] - frame["share_a"]
    frame["disagrees"] = _flags(frame, rule) if rule.judged else AGREES
    frame["rest"] = frame[key].isin(REST_SCOPES)
    frame["longest"] = frame[["total_ns_a", "total_ns_b"]].max(axis=1)
    frame["apart"] = frame["difference_ns"].abs()
    order = ["rest", "apart", "longest", key]
    frame = frame.sort_values(order, ascending=[True, False, False, True], ignore_index=True)
    return Table(
        name, title, _columns(key, rule), frame, pinned=len(frame) if key == "phase" else int(frame["rest"].sum())
    )


def _shortened(table: Table, on_device: bool) -> Table:
    """With names that are unique among the kernels of both sides; operators keep their own."""
    names = table.frame["name"]
    short = short_names(names) if on_device else {}
    frame = table.frame.assign(short_name=[short.get(name, name) for name in names])
    return replace(table, columns=(*NAMES, *table.columns[1:]), frame=frame)


def _flags(frame: pd.DataFrame, rule: _Rule) -> list[str]:
    """What is wrong with each row: on one side only, another count, another share."""
    flags = []
    for side, count_a, count_b, difference in zip(
        frame["side"], frame["count_a"], frame["count_b"], frame["difference_share"], strict=True
    ):
        marks = []
        if rule.counts and side != "both":
            marks.append("only A" if side == "left_only" else "only B")
        elif rule.counts and count_a != count_b:  # equal ratios of whole numbers are equal floats
            marks.append("count")
        if rule.shares and abs(difference) > rule.margin:
            marks.append("share")
        flags.append(", ".join(marks))
    return flags


def _columns(key: str, rule: _Rule) -> tuple[Column, ...]:
    counts = tuple(
        Column(f"count_{side}", "", "count", f"count {side.upper()}", summed=rule.shares, spare=True) for side in "ab"
    )
    shares = tuple(Column(f"share_{side}", "1", "share", f"share {side.upper()}", summed=True) for side in "ab")
    return (
        Column(key),
        *(counts if rule.counts else ()),
        *(Column(f"total_ns_{side}", "ns", "time", side.upper(), summed=rule.shares, scale="time") for side in "ab"),
        Column("difference_ns", "ns", "time", "B - A", summed=rule.shares, scale="time"),
        *((*shares, Column("difference_share", "1", "share", "B - A of share", spare=True)) if rule.shares else ()),
        *((Column("disagrees"),) if rule.judged else ()),
    )


def _recordings(a: dict[str, str], b: dict[str, str]) -> Table:
    """What the two files are."""
    rows = [(fact, a[fact], b[fact]) for fact in a]
    frame = pd.DataFrame(rows, columns=["recording", "a", "b"])
    columns = (Column("recording"), Column("a", title="A"), Column("b", title="B"))
    return Table("recordings", "Recordings", columns, frame, pinned=len(frame))


def _facts(account: Account, scalars: dict[str, Any]) -> dict[str, str]:
    facts = {
        "file": account.trace.source,
        "instrument": INSTRUMENTS[account.trace.recording.tool],
        "device": ", ".join(scalars["devices"]) or ("not named" if account.on_device else "none: host times"),
        "steps": str(scalars["steps"]),
        "scopes from": scalars["scope_source"],
    }
    if account.on_device:
        facts["kernels"] = f"{scalars['kernels']:,}"
        facts["kernel time"] = f"{scalars['kernel_time_ns']:,} ns"
        facts["device busy"] = units.duration_ns(scalars["busy_ns"])
    else:
        facts["time on the main thread"] = units.duration_ns(scalars["total_ns"])
    return facts


def _disagreements(tables: Sequence[Table]) -> dict[str, int]:
    return {table.name: int((table.frame["disagrees"] != AGREES).sum()) for table in filter(_is_judged, tables)}


def _is_judged(table: Table) -> bool:
    return any(column.name == "disagrees" for column in table.columns)


PER_STEP = Rule(
    "per-step", "comparison", "counts and times are per step, because the traces have different numbers of them"
)
NO_STEPS = Rule("no-steps", "comparison", "one trace or both have no steps")
DIFFERENT_DEVICES = Rule("different-devices", "comparison", "the traces are of different devices")
DIFFERENT_INSTRUMENTS = Rule(
    "different-instruments", "comparison", "the traces are of different instruments, which record different things"
)
UNMATCHED_BACKWARD_RANGES = Rule(
    "unmatched-backward-ranges", "comparison", "only one of the traces has ranges round backward nodes"
)
KERNEL_SPELLING = Rule("kernel-spelling", "comparison", "the instruments spell kernel names differently")


def _findings(
    sides: _Sides, devices: tuple[list[str], list[str]], tables: Sequence[Table], rule: _Rule
) -> Iterator[Finding]:
    a, b = sides.a, sides.b
    if rule.per_a != rule.per_b:
        a_steps, b_steps = ("1 step" if per == 1 else f"{per:.0f} steps" for per in (rule.per_a, rule.per_b))
        text = f"counts and times are per step: A has {a_steps}, B has {b_steps}"
        yield Finding(PER_STEP, text)
    elif not (a.steps and b.steps):
        yield Finding(NO_STEPS, "one or both files have no steps: everything in them is counted")
    if all(devices) and devices[0] != devices[1]:
        text = "different devices: the times compare two machines, not two instruments"
        yield Finding(DIFFERENT_DEVICES, text, evidence=(Evidence("recordings", {"recording": "device"}),))
    if not rule.counts:
        text = "two instruments without device work: one records operators, the other ranges; only ranges are counted"
        yield Finding(DIFFERENT_INSTRUMENTS, text, evidence=(Evidence("recordings", {"recording": "instrument"}),))
        if alone := sides.alone_with_backward:
            text = f"only {alone} has ranges round backward nodes (perfkit adds them under nsys): not compared here"
            yield Finding(UNMATCHED_BACKWARD_RANGES, text, where=alone)
    if a.on_device and not sides.one_instrument:
        text = "kernels: names are spelled differently; rows are joined by name without parameters, and show A's names"
        yield Finding(KERNEL_SPELLING, text)
    for table in filter(_is_judged, tables):
        yield _agreement(table, rule)


TABLE_AGREES = Rule("table-agrees", "comparison", "all rows of a table agree in both traces")
TABLE_DISAGREES = Rule("table-disagrees", "comparison", "rows of a table disagree between the traces")


def _agreement(table: Table, rule: _Rule) -> Finding:
    """How many rows of a table disagree, and in what."""
    flags = table.frame["disagrees"]
    wrong = flags[flags != AGREES]
    what = " and ".join(
        (["counts are equal"] if rule.counts or table.name == "ranges" else [])
        + ([f"shares differ by at most {units.percent(rule.margin)} of the time"] if table.name != "ranges" else [])
    )
    if not len(wrong):
        return Finding(TABLE_AGREES, f"{table.name}: all {len(flags)} rows agree: {what}")
    kinds = wrong.str.split(", ").explode().value_counts()
    text = f"{table.name}: {len(wrong)} of {len(flags)} rows disagree: "
    key = table.columns[0].name
    evidence = tuple(Evidence(table.name, {key: str(name)}) for name in table.frame[key][wrong.index])
    text += ", ".join(f"{n} {kind}" for kind, n in kinds.items())
    return Finding(TABLE_DISAGREES, text, evidence=evidence)
