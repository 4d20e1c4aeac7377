"""Trace -> the report that `analyze` and a profiled `run` print."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import TypeAlias

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.findings import steps as step_findings
from perfkit.analysis.findings import trace as trace_findings
from perfkit.analysis.time import breakdown, cells, devices, grouping, integrity, passes, ranges, steps, threads
from perfkit.analysis.time import summary as summaries
from perfkit.analysis.time.account import Account, account_for
from perfkit.analysis.time.integrity import CHECKS, Check
from perfkit.analysis.time.partial import Fold
from perfkit.analysis.time.summary import Scalars, summary
from perfkit.analysis.time.trace_table import TraceTable, View
from perfkit.errors import UsageError
from perfkit.schema.finding import Finding, Rule
from perfkit.schema.report import Report
from perfkit.trace.columns import Trace

__all__ = ["FINDINGS", "TABLES", "View", "findings_of", "report"]

TABLES: tuple[TraceTable, ...] = (
    breakdown.PHASES,
    breakdown.CATEGORIES,
    grouping.GROUPS,
    breakdown.KERNELS,
    breakdown.LAYERS,
    breakdown.COPIES,
    devices.DEVICES,
    ranges.RANGES,
    steps.STEPS,
    threads.THREADS,
)
"""Every table of a trace, in the order of reading. A new one is one line here, and a file of its own."""

FOLDS: tuple[Fold, ...] = (
    cells.BY_STEP,
    cells.CELLS,
    passes.PASSES,
    ranges.EVERYWHERE,
    ranges.IN_STEPS,
    steps.STEP_TIMES,
    summaries.NODES,
    summaries.SPANS,
    threads.LANES,
)
"""What the tables, the summary and the findings of a trace ask a partial for: to settle it before it is sent."""

Find: TypeAlias = Callable[[Account, Scalars], Finding | None]
FINDINGS: tuple[Find, ...] = (
    trace_findings.trace_totals,
    step_findings.steps_from_ranges,
    trace_findings.unattributed_time,
    trace_findings.no_modules,
    trace_findings.provenance,
    trace_findings.backward_ranges_agree,
)
"""Functions that look for findings, in the order of reading; the checks of `integrity.CHECKS` come after them."""

MODULE_TREE_MISFIT = Rule("module-tree-misfit", "trace", "the given module tree does not fit the trace")


def report(
    trace: Trace,
    view: View | None = None,
    *,
    tables: Iterable[TraceTable] = TABLES,
    findings: Iterable[Find] = FINDINGS,
    checks: Iterable[Check] = CHECKS,
) -> Report:
    """Attribute a trace and describe where its time went: tables, summary and findings when they are asked for.

    Raises UsageError where the view is by device, and the trace has no device work.
    """
    view = view or View()
    account = account_for(trace, attribute(trace, modules=view.modules), view.selection)
    if view.by_device and not account.on_device:
        raise UsageError(f"--by-device: {trace.source} has no device work: drop the flag")
    scalars = cache(lambda: summary(account.partial))
    return Report(
        Path(trace.source).name,
        scalars,
        filter(None, (table.of(account.partial, view) for table in tables)),
        findings=lambda: (*findings_of(account, scalars(), findings, checks), *_misfit(account, view)),
        main="kernels",
    )


def findings_of(
    account: Account,
    scalars: Scalars | None = None,
    findings: Iterable[Find] = FINDINGS,
    checks: Iterable[Check] = CHECKS,
) -> tuple[Finding, ...]:
    """What to know before trusting the tables, and why some time is unattributed. `scalars`: its summary, if there."""
    scalars = scalars or summary(account.partial)
    return (*filter(None, (find(account, scalars) for find in findings)), *integrity.findings(account, checks))


def _misfit(account: Account, view: View) -> tuple[Finding, ...]:
    if not view.modules or account.attribution.qualified:
        return ()
    text = "the given module tree does not fit the trace: some module frames of the trace are not in it"
    return (Finding(MODULE_TREE_MISFIT, text),)
