"""Trace -> the report that `analyze` and a profiled `run` print."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.costs.flops import collectives
from perfkit.analysis.costs.flops import table as work
from perfkit.analysis.costs.roofline import attention, starved, utilisation
from perfkit.analysis.costs.roofline import tables as roofline
from perfkit.analysis.findings import integrity, totals
from perfkit.analysis.findings import roofline as roofline_findings
from perfkit.analysis.findings import steps as step_findings
from perfkit.analysis.findings import trace as trace_findings
from perfkit.analysis.findings.integrity import CHECKS, Check
from perfkit.analysis.findings.performance import catalogue
from perfkit.analysis.findings.performance.case import Case
from perfkit.analysis.findings.performance.look import Look
from perfkit.analysis.findings.phases import backward_unmarked, no_phase_evidence
from perfkit.analysis.reports.clocks import by_both_clocks
from perfkit.analysis.reports.contention import doubted
from perfkit.analysis.time import (
    breakdown,
    cells,
    devices,
    graphs,
    grouping,
    launches,
    mix,
    paces,
    passes,
    ranges,
    steps,
    threads,
    unlaunched,
)
from perfkit.analysis.time import summary as summaries
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.idle import folds, queue
from perfkit.analysis.time.idle import tables as idle_tables
from perfkit.analysis.time.partial import Fold
from perfkit.analysis.time.replay import tables as replays
from perfkit.analysis.time.selected import selected
from perfkit.analysis.time.summary import Scalars, summary
from perfkit.analysis.time.trace_table import TraceTable, View
from perfkit.errors import UsageError
from perfkit.schema.finding import Finding, Rule
from perfkit.schema.report import Report
from perfkit.trace.columns import Trace

if TYPE_CHECKING:
    from perfkit.schema.record import RunRecord

__all__ = ["FINDINGS", "OF_FOLDER", "TABLES", "View", "account_of", "findings_of", "report", "report_of"]

TABLES: tuple[TraceTable, ...] = (
    breakdown.PHASES,
    breakdown.CATEGORIES,
    mix.MIX,
    grouping.GROUPS,
    breakdown.KERNELS,
    breakdown.LAYERS,
    breakdown.COPIES,
    idle_tables.WALL,
    idle_tables.WALL_TIMES,
    idle_tables.GAPS,
    idle_tables.SYNCS,
    queue.QUEUE,
    devices.DEVICES,
    ranges.RANGES,
    steps.STEPS,
    threads.THREADS,
    launches.LAUNCHES,
    unlaunched.UNLAUNCHED,
    replays.REPLAY,
    replays.CRITICAL,
    work.OPERATORS,
    work.LAYERS,
    roofline.OPERATORS,
    roofline.LAYERS,
    roofline.STEPS,
    attention.ATTENTION,
    collectives.COLLECTIVES,
)
"""Every table of a trace, in the order of reading. A new one is one line here, and a file of its own."""

NAMES = tuple(table.name for table in TABLES)

FOLDS: tuple[Fold, ...] = (
    cells.BY_STEP,
    cells.CELLS,
    folds.WALL_TIME,
    folds.IDLE_TIME,
    folds.LONGEST_GAPS,
    folds.WAITING_CALLS,
    queue.QUEUE_TIMES,
    launches.CALLS,
    paces.STEP_PACES,
    passes.PASSES,
    ranges.EVERYWHERE,
    ranges.IN_STEPS,
    replays.CRITICAL_PARTS,
    replays.STEP_REPLAYS,
    steps.STEP_TIMES,
    summaries.NODES,
    summaries.SPANS,
    threads.LANES,
    unlaunched.UNLAUNCHED_WORK,
    work.WORK,
    starved.STARVED,
    collectives.MESSAGES,
)
"""What the tables, the summary and the findings of a trace ask a partial for: to settle it before it is sent."""

Find: TypeAlias = Callable[[Account, Scalars], Finding | None]
FINDINGS: tuple[Find, ...] = (
    totals.trace_totals,
    trace_findings.one_rank,
    step_findings.steps_from_ranges,
    trace_findings.unattributed_time,
    no_phase_evidence,
    backward_unmarked,
    trace_findings.no_modules,
    graphs.capture,
    graphs.graph_without_scope,
    unlaunched.matched_unlaunched,
    trace_findings.shared_names,
    trace_findings.provenance,
    trace_findings.backward_ranges_agree,
    roofline_findings.tf32_used,
    roofline_findings.above_roof,
)
"""Functions that look for findings, in the order of reading; the checks of `integrity.CHECKS` come after them."""

OF_FOLDER: tuple[Find, ...] = (
    trace_findings.only_rank,
    *(find for find in FINDINGS if find is not trace_findings.one_rank),
)
"""The same of the only trace of a folder."""

MODULE_TREE_MISFIT = Rule("module-tree-misfit", "trace", "the given module tree does not fit the trace")


def report(
    trace: Trace,
    view: View | None = None,
    *,
    tables: Iterable[TraceTable] = TABLES,
    findings: Iterable[Find] = FINDINGS,
    checks: Iterable[Check] = CHECKS,
    looks: Iterable[Look] = catalogue.LOOKS,
    record: RunRecord | None = None,
) -> Report:
    """Attribute a trace and describe where its time went: tables, summary and findings when they are asked for.

    `record`: of the perfkit run that the trace belongs to. Raises UsageError where the view selects a step or a phase
    that has no work, or is by device, and the trace has no device work.
    """
    view = view or View()
    account = account_of(trace, view)
    return report_of(account, view, tables=tables, findings=findings, checks=checks, looks=looks, record=record)


def account_of(trace: Trace, view: View) -> Account:
    """Attribute a trace and select what the view asks for. Raises UsageError where that has no work."""
    return selected(trace, attribute(trace, modules=view.modules, captures=view.captures), view.selection)


def report_of(
    account: Account,
    view: View,
    *,
    tables: Iterable[TraceTable] = TABLES,
    findings: Iterable[Find] = FINDINGS,
    checks: Iterable[Check] = CHECKS,
    looks: Iterable[Look] = catalogue.LOOKS,
    record: RunRecord | None = None,
) -> Report:
    """The report of an account that is there already, as `report` makes it."""
    trace = account.trace
    if view.by_device and not account.on_device:
        raise UsageError(f"--by-device: {trace.source} has no device work: drop the flag")
    scalars = cache(
        lambda: {
            **summary(account.partial),
            **work.scalars(account.partial),
            **utilisation.scalars(account.partial, view.mhz),
        }
    )
    return Report(
        Path(trace.source).name,
        scalars,
        filter(None, (table.of(account.partial, view) for table in tables)),
        findings=lambda: (*findings_of(account, scalars(), findings, checks, looks, record), *_misfit(account, view)),
        main="kernels",
    )


def findings_of(
    account: Account,
    scalars: Scalars | None = None,
    findings: Iterable[Find] = FINDINGS,
    checks: Iterable[Check] = CHECKS,
    looks: Iterable[Look] = catalogue.LOOKS,
    record: RunRecord | None = None,
) -> tuple[Finding, ...]:
    """What to know before trusting the tables, why some time is unattributed, and what could be faster.

    `scalars`: its summary, if there.
    """
    scalars = scalars or summary(account.partial)
    said = filter(None, (find(account, scalars) for find in findings))
    found = (
        *said,
        *integrity.findings(account, checks),
        *catalogue.findings(Case(account, scalars, record=record), looks),
    )
    return doubted(by_both_clocks(found, record, account.partial.facts.steps), record)


def _misfit(account: Account, view: View) -> tuple[Finding, ...]:
    problem = account.attribution.naming.tree_problem
    if not view.modules or not problem:
        return ()
    used = "" if account.attribution.qualified else ", so it is not used"
    return (Finding(MODULE_TREE_MISFIT, f"the given module tree does not fit the trace{used}: {problem}"),)
