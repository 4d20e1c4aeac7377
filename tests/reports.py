"""Hand-made reports, and the parts of a report that people and scripts see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perfkit.render import findings
from perfkit.schema.finding import Evidence, Finding
from perfkit.schema.report import Report
from perfkit.schema.table import Table


def report(*tables: Table, summary: Mapping[str, Any] | None = None, findings: Sequence[Finding] = ()) -> Report:
    """A report with these parts, for tests of writers."""
    return Report("a report", dict(summary or {}), tables, findings=tuple(findings))


def lines_in(report: Report) -> tuple[str, ...]:
    """The lines that people read before the tables."""
    return tuple(findings.lines(report.findings))


def tables_for_people(report: Report) -> tuple[Table, ...]:
    """The tables that people see."""
    return report.seen_by("people").tables


def tables_for_scripts(report: Report) -> tuple[Table, ...]:
    """The tables that scripts see."""
    return report.seen_by("scripts").tables


def evidence_that_misses(report: Report) -> list[Evidence]:
    """The findings' evidence that refers to no row of the report's tables."""
    return [row for finding in report.findings for row in finding.evidence if not _leads_somewhere(report, row)]


def _leads_somewhere(report: Report, row: Evidence) -> bool:
    table = report.table(row.table)
    return table is not None and any(
        all(record[name] == value for name, value in row.key.items()) for record in table.frame.to_dict("records")
    )
