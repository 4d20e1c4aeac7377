"""Recordings of one job, a row each: ranks, and cycles of the profiler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import pandas as pd

from perfkit.analysis.attribution.attribute import Phase, attribute
from perfkit.analysis.findings.performance.wall.communication import of_ranks
from perfkit.analysis.findings.reading import cut_files
from perfkit.analysis.findings.trace import captured
from perfkit.analysis.ranks import tables as rank_tables
from perfkit.analysis.ranks.job import STRAGGLER, judged
from perfkit.analysis.ranks.side import Side, side_of
from perfkit.analysis.time.account import Account, account_for
from perfkit.analysis.time.idle import causes as idle_causes
from perfkit.analysis.time.idle.kinds import Kind
from perfkit.analysis.time.partial import Partial
from perfkit.analysis.time.summary import device_span, summary
from perfkit.analysis.time.trace_table import View
from perfkit.errors import UsageError
from perfkit.schema import units
from perfkit.schema.finding import Finding, Rule
from perfkit.schema.report import Report
from perfkit.schema.table import Column, Table
from perfkit.trace.columns import Trace
from perfkit.trace.processes import of_process, on_devices
from perfkit.trace.recording import Tool

NAME = "recordings"
NAMES = (NAME, *rank_tables.NAMES)
"""Every table of several recordings."""

_COLUMNS = (
    Column("recording"),
    Column("rank"),
    Column("cycle"),
    Column("devices"),
    Column("kernels", "", "count"),
    Column("steps"),
    Column("step_ns", "ns", "time", "step", scale="step"),
    Column("total_ns", "ns", "time", "sum", scale="time"),
    Column("busy_ns", "ns", "time", "busy", scale="time"),
    Column("span_ns", "ns", "time", "first to last", scale="time", spare=True),
    Column("unattributed_ns", "ns", "time", "unattributed", scale="time", spare=True),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One recording; times in ns, of the device where there is one."""

    recording: str
    rank: int | None
    started: int
    devices: str
    kernels: int
    steps: int
    step_ns: float | None
    total_ns: int
    busy_ns: int
    span_ns: int
    unattributed_ns: int
    compute_ns: int = 0
    """A step, added up over devices: time in which they compute, and are not in a collective, where ranks wait."""
    exchanges: bool = False
    """Whether there are collectives."""
    is_cut: bool = False
    """Whether the file ends in the middle."""


def row_of(trace: Trace, name: str, rank: int | None, view: View | None = None) -> Row:
    """The row of a trace; what is left of it is small."""
    return read(trace, name, rank, view)[0]


def read(trace: Trace, name: str, rank: int | None, view: View | None = None) -> tuple[Row, Side | None]:
    """The row of a trace, and what its rank has to say beside others; None without a rank."""
    view = view or View()
    account = account_for(trace, attribute(trace, modules=view.modules), view.selection)
    return _row(account, name, rank), None if rank is None else side_of(account, rank)


def _row(account: Account, name: str, rank: int | None) -> Row:
    trace = account.trace
    partial, exchange = account.partial, account.phase == Phase.COMMUNICATION
    found = summary(partial)
    first = [int(part.start.min()) for part in (trace.host, trace.device) if len(part)]
    return Row(
        recording=name,
        rank=rank,
        started=(trace.facts.base_time_ns or 0) + min(first, default=0),
        devices=", ".join(partial.facts.device_labels) if partial.facts.on_device else "",
        kernels=found["kernels"],
        steps=found["steps"],
        step_ns=found["step_ns"],
        total_ns=found["total_ns"],
        busy_ns=found["busy_ns"],
        span_ns=device_span(partial),
        unattributed_ns=found["unattributed_ns"],
        compute_ns=_compute_ns(partial),
        exchanges=account.on_device and bool(exchange.any()),
        is_cut=trace.facts.truncated_at is not None,
    )


def _compute_ns(partial: Partial) -> int:
    """ns a step in which devices compute; without steps, in all."""
    return (idle_causes.cost_of(partial, Kind.COMPUTE).ns or 0) if partial.facts.on_device else 0


def _unbalanced(rows: Sequence[Row]) -> Finding | None:
    """Of the ranks, where each has one recording with collectives: one that computes longer than the others."""
    known = [row for row in rows if row.exchanges and row.rank is not None and row.step_ns]
    if len({row.rank for row in known}) < len(known):
        return None
    step_ns = sum(row.step_ns or 0 for row in known) / max(len(known), 1)
    return of_ranks([f"rank {row.rank}" for row in known], [row.compute_ns for row in known], step_ns)


RECORDINGS = Rule("recordings", "trace", "several traces are read as recordings of one job: its ranks, or cycles")
UNRELATED_TRACES = Rule(
    "unrelated-traces", "trace", "a folder holds several traces, and nothing says they are of one job"
)
RANK_TWICE = Rule("rank-twice", "trace", "two recordings are of one rank, so that no job is made of the traces")
UNREAD_RECORDINGS = Rule("unread-recordings", "trace", "traces of a folder that could not be read, or are copies")


def report(
    title: str,
    rows: Sequence[Row],
    unread: Sequence[str] = (),
    *,
    one_job: bool = True,
    sides: Sequence[Side] = (),
    world: int | None = None,
    twice: Mapping[int, Sequence[str]] | None = None,
) -> Report:
    """A row a recording, by rank and time; a rank's cycles are counted from 0. `unread`: why others are missing.

    `sides`: of the ranks, for the tables of the job, which has `world` of them. Without `one_job` the traces are listed
    by name: they are nobody's ranks or cycles; `twice`: recordings of ranks that have too many, by rank, if that is
    why.
    """
    if not one_job:
        return _listed(title, rows, unread, twice or {})
    ordered = sorted(rows, key=lambda row: (row.rank is None, row.rank or 0, row.started, row.recording))
    frame = pd.DataFrame([asdict(row) for row in ordered])
    frame["cycle"] = frame.groupby("rank", dropna=False).cumcount()
    frame["rank"] = frame["rank"].astype(pd.Int64Dtype())
    ranks, cycles = int(frame["rank"].nunique()), int(frame["cycle"].max()) + 1
    parts = [f"{ranks} ranks"] * (ranks > 1) + [f"{cycles} cycles"] * (cycles > 1)
    text = f"{len(rows)} recordings" + (f" ({', '.join(parts)})" if parts else "") + ", a row each: name one of them"
    text = "1 recording: name it" if len(rows) == 1 else text
    findings = [Finding(RECORDINGS, f"{_steps_take(ordered)}{text}, or --table, to see more")]
    findings += filter(None, [captured(set(frame["rank"].dropna()), world)])
    findings += _left_out(unread) + _cut(ordered)
    job = judged(sides)
    findings += job.findings
    unbalanced = _unbalanced(ordered)
    if unbalanced and not any(finding.rule is STRAGGLER for finding in job.findings):
        findings.append(unbalanced)
    table = Table(NAME, "Recordings", _COLUMNS, frame)
    return Report(title, {"recordings": len(rows), "ranks": ranks}, (table, *job.tables), findings=findings)


def _steps_take(rows: Sequence[Row]) -> str:
    """`37.58 ms to 38.41 ms a step   `, the shortest and the longest of the recordings; empty without steps."""
    times = sorted(row.step_ns for row in rows if row.step_ns)
    ends = list(dict.fromkeys(units.duration_ns(times[place]) for place in (0, -1) if times))
    return f"{' to '.join(ends)} a step   " if ends else ""


def of_processes(trace: Trace, view: View | None = None) -> Report | None:
    """The processes that used devices in one recording of nsys, as ranks by the order of their devices.

    None where there are fewer than two, or where the view chooses what only some of them have, such as a late step.
    They have one clock, and still each collective's ends say how well they agree.
    """
    processes = on_devices(trace) if trace.recording.tool is Tool.NSYS else ()
    if len(processes) < 2:
        return None
    named = [(f"process {process}", of_process(trace, process)) for process in processes]
    try:
        made = [read(one, name, rank, view) for rank, (name, one) in enumerate(named)]
    except UsageError:
        return None
    rows, sides = [row for row, _ in made], [side for _, side in made if side is not None]
    whole = report(trace.source, rows, sides=sides)
    text = (
        f"{len(rows)} processes used devices: tables from {NAME} on take them as ranks, in the order of their devices"
    )
    if len(whole.tables) == 1:
        text += "; no collective of one matches another's"
    others = [finding for finding in whole.findings if finding.rule is not RECORDINGS]
    return Report(trace.source, {"ranks": len(rows)}, whole.tables, findings=[Finding(RECORDINGS, text), *others])


def _listed(title: str, rows: Sequence[Row], unread: Sequence[str], twice: Mapping[int, Sequence[str]]) -> Report:
    """The same for traces that have nothing to do with each other."""
    frame = pd.DataFrame([asdict(row) for row in sorted(rows, key=lambda row: row.recording)])
    columns = tuple(column for column in _COLUMNS if column.name not in ("rank", "cycle"))
    text = f"{len(rows)} traces, and nothing says that they are of one job: name one of them, or --table, to see more"
    why = Finding(RANK_TWICE, _too_many(len(rows), twice)) if twice else Finding(UNRELATED_TRACES, text)
    findings = [why, *_left_out(unread), *_cut(rows)]
    return Report(
        title, {"recordings": len(rows), "ranks": 0}, (Table(NAME, "Traces", columns, frame),), findings=findings
    )


def _too_many(traces: int, twice: Mapping[int, Sequence[str]]) -> str:
    rank, names = next(iter(twice.items()))
    others = units.many(len(twice) - 1, "other rank", "other ranks")
    more = f", and so {'is' if len(twice) == 2 else 'are'} {others}" if len(twice) > 1 else ""
    times = "twice" if len(names) == 2 else f"{len(names)} times"
    advice = (
        "keep each job in a folder of its own"
        if len(twice) > 1
        else "keep one of them here, and move the rest elsewhere"
    )
    return (
        f"rank {rank} is there {times} ({', '.join(names)}){more}, so these {traces} traces are not read as one job:"
        f" {advice}; if they are cycles of the profiler, put each into a folder named for it (step_10, step_20)"
    )


def _left_out(unread: Sequence[str]) -> list[Finding]:
    return [Finding(UNREAD_RECORDINGS, f"left out: {'; '.join(unread)}")] if unread else []


def _cut(rows: Sequence[Row]) -> list[Finding]:
    cut = sorted(row.recording for row in rows if row.is_cut)
    return [cut_files(cut)] if cut else []
