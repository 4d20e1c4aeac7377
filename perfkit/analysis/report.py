"""Report: what an analysis has to say, before any rendering."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from perfkit.schema.table import Table


@dataclass(frozen=True, slots=True)
class Report:
    """Tables and remarks of one analysis."""

    summary: dict[str, Any]
    """Scalars for scripts; units are in the names."""
    tables: tuple[Table, ...]
    """For scripts: raw and complete, one row a fact."""
    display: tuple[Table, ...]
    """For people: the same facts, arranged to be read."""
    remarks: tuple[str, ...] = field(default=())
    """For people: one line each."""

    def table(self, name: str) -> Table | None:
        """The script table of this name."""
        return next((table for table in self.tables if table.name == name), None)
