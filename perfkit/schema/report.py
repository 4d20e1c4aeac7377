"""Report: the result of an analysis, before any rendering. Every command makes one, and every writer takes one.

Parts given as functions are computed once, when they are first read, however many reports share them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property
from typing import Any, TypeVar

import msgspec

from perfkit.schema.finding import Finding, in_reading_order
from perfkit.schema.table import Audience, Table, Viewer

_Value = TypeVar("_Value")


class LazyTable(msgspec.Struct, frozen=True, eq=False, dict=True):
    """A table that can be named, and left out, before it is computed."""

    name: str
    build: Callable[[], Table]
    audience: Audience = "everyone"
    """Instead of that of the table that is built."""

    @staticmethod
    def of(table: Table | LazyTable) -> LazyTable:
        """The same, of a table that is there already."""
        return table if isinstance(table, LazyTable) else LazyTable(table.name, lambda: table, table.audience)

    @cached_property
    def table(self) -> Table:
        """The table. Raises ValueError where its name is not the announced one."""
        table = self.build()
        if table.name != self.name:
            raise ValueError(f"table {table.name}: was announced as {self.name}")
        return table if table.audience == self.audience else replace(table, audience=self.audience)

    def seen_by(self, viewer: Viewer) -> LazyTable:
        """Without the columns that are for others."""
        return LazyTable(self.name, lambda: self.table.seen_by(viewer), self.audience)

    def in_full(self) -> LazyTable:
        """With full texts for people instead of short ones."""
        return LazyTable(self.name, lambda: Table.in_full(self.table), self.audience)

    def in_total(self) -> LazyTable:
        """With totals for people, not means of a step."""
        return LazyTable(self.name, lambda: Table.in_total(self.table), self.audience)

    def for_all(self) -> LazyTable:
        """The same, for whoever asks."""
        return LazyTable(self.name, lambda: self.table, "everyone")


class Report:
    """Summary, tables and findings of one source."""

    def __init__(
        self,
        title: str,
        summary: dict[str, Any] | Callable[[], dict[str, Any]],
        tables: Iterable[Table | LazyTable] = (),
        findings: Sequence[Finding] | Callable[[], Sequence[Finding]] = (),
        main: str = "",
    ) -> None:
        """`tables` are in the order in which people read them; `audience` says who a table or a column is for.

        `main` names the table that stands for all where there is room for one, as in CSV; the first where it is not
        said.
        """
        self.title = title
        """What it is about: a trace's file, a run. Tells reports apart that are shown together."""
        self.main = main
        self._summary = _once(summary)
        self._tables = tuple(map(LazyTable.of, tables))
        self._findings = _once(findings)

    @property
    def summary(self) -> dict[str, Any]:
        """Scalars for scripts; units are in the names."""
        return self._summary()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Findings, in the order in which people read them: before the tables."""
        return in_reading_order(self._findings())

    @property
    def tables(self) -> tuple[Table, ...]:
        """All its tables, computed."""
        return tuple(lazy.table for lazy in self._tables)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its tables; computes none."""
        return tuple(lazy.name for lazy in self._tables)

    def table(self, name: str) -> Table | None:
        """The table of this name, with all its columns; computes no other."""
        return next((lazy.table for lazy in self._tables if lazy.name == name), None)

    @property
    def main_table(self) -> Table:
        """The table that stands for all; computes no other. Raises ValueError where there is none."""
        if not self._tables:
            raise ValueError(f"report {self.title}: no tables")
        return self.table(self.main) or self._tables[0].table

    def seen_by(self, viewer: Viewer) -> Report:
        """Without the tables and columns that are for others."""
        return self._of(lazy.seen_by(viewer) for lazy in self._tables if lazy.audience in ("everyone", viewer))

    def in_full(self) -> Report:
        """With full texts for people instead of short ones."""
        return self._of(lazy.in_full() for lazy in self._tables)

    def in_total(self) -> Report:
        """With totals for people, not means of a step."""
        return self._of(lazy.in_total() for lazy in self._tables)

    def only(self, *names: str) -> Report:
        """With the tables of these names alone, for whoever asks."""
        return self._of(lazy.for_all() for lazy in self._tables if lazy.name in names)

    def changed(self, name: str, change: Callable[[Table], Table]) -> Report:
        """With a change of one table, made when it is asked for."""
        return self._of(
            LazyTable(lazy.name, lambda lazy=lazy: change(lazy.table), lazy.audience) if lazy.name == name else lazy  # type: ignore[misc]
            for lazy in self._tables
        )

    def plus(
        self,
        summary: Mapping[str, Any] | None = None,
        tables: Iterable[Table | LazyTable] = (),
        findings: Iterable[Finding] = (),
    ) -> Report:
        """The report with more summary, tables and findings after its own."""
        added = tuple(findings)
        return Report(
            self.title,
            lambda: {**self.summary, **(summary or {})},
            (*self._tables, *tables),
            lambda: (*self.findings, *added),
            self.main,
        )

    def _of(self, tables: Iterable[LazyTable]) -> Report:
        """With these tables instead of its own."""
        return Report(self.title, self._summary, tables, self._findings, self.main)


def _once(value: _Value | Callable[[], _Value]) -> Callable[[], _Value]:
    return cache(value) if callable(value) else lambda: value


def joined(title: str, reports: Sequence[Report]) -> Report:
    """Several reports of one source as one; they share no key of the summary and no table.

    All is computed here, so that the sources of the tables need not be kept.
    """
    return Report(
        title=title,
        summary={key: value for report in reports for key, value in report.summary.items()},
        tables=[table for report in reports for table in report.tables],
        findings=[finding for report in reports for finding in report.findings],
    )
