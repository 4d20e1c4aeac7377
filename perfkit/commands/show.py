"""Reports to the terminal, the same way for every command."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from perfkit.analysis.report import Report
from perfkit.render import text


def print_reports(reports: Sequence[Report], *, top: int | None) -> None:
    """Tables for people, then remarks, report by report."""
    console = text.open_console(sys.stdout)
    for index, report in enumerate(reports):
        if index:
            console.print()
        text.print_tables(console, report.display, top=top)
        console.print()
        for line in report.remarks:
            console.print(line, markup=False, soft_wrap=True)
