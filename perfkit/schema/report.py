"""Report: what an analysis has to say, before any rendering. Every command makes one, and every writer takes one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from perfkit.schema.chart import Chart
from perfkit.schema.finding import Finding
from perfkit.schema.table import Table, Viewer


@dataclass(frozen=True, slots=True)
class Report:
    """Summary, tables, charts and findings of one source."""

    title: str
    """What it is about: a trace's file, a run. Tells reports apart that are shown together."""
    summary: dict[str, Any]
    """Scalars for scripts; units are in the names."""
    tables: tuple[Table, ...] = ()
    """In the order in which people read them; `audience` says who a table or a column is for."""
    charts: tuple[Chart, ...] = ()
    """Those that were asked for."""
    findings: tuple[Finding, ...] = ()
    """What to know, in the order in which people read it: before the tables."""
    main: str = ""
    """Name of the table that stands for all where there is room for one, as in CSV; the first where it is not said."""

    def table(self, name: str) -> Table | None:
        """The table of this name, with all its columns."""
        return next((table for table in self.tables if table.name == name), None)

    def seen_by(self, viewer: Viewer) -> Report:
        """Without the tables and columns that are for others."""
        tables = (table for table in self.tables if table.audience in ("everyone", viewer))
        return replace(self, tables=tuple(table.seen_by(viewer) for table in tables))

    def only(self, *names: str) -> Report:
        """With the tables of these names alone, for whoever asks."""
        tables = (replace(table, audience="everyone") for table in self.tables if table.name in names)
        return replace(self, tables=tuple(tables))

    @property
    def main_table(self) -> Table:
        """The table that stands for all. Raises ValueError where there is none."""
        if not self.tables:
            raise ValueError(f"report {self.title}: no tables")
        return self.table(self.main) or self.tables[0]


def joined(title: str, reports: Sequence[Report]) -> Report:
    """Reports that have no key of the summary in common, and no table, as one: of all that is known of a source."""
    return Report(
        title=title,
        summary={key: value for report in reports for key, value in report.summary.items()},
        tables=tuple(table for report in reports for table in report.tables),
        charts=tuple(chart for report in reports for chart in report.charts),
        findings=tuple(finding for report in reports for finding in report.findings),
    )
