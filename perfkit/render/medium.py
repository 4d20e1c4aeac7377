"""What a writer is given beside the reports: where the document goes. Writers in files of their own import it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from perfkit.schema.report import Report
    from perfkit.schema.table import Table


class Medium(msgspec.Struct, frozen=True, kw_only=True):
    """Where a document goes, as far as it makes a difference; by default into a file of its own."""

    top: int | None = None
    """Rows of each table that people are shown; None: all."""
    tables: tuple[str, ...] = ()
    """Those that were asked for by name; empty: all."""
    by_title: bool = False
    """The reports are of several sources: each stands under its title."""
    is_terminal: bool = False
    """What a terminal would obey must be spelled out."""
    encoding: str = "utf-8"
    """What letters it can hold."""

    def can_hold(self, text: str) -> bool:
        """Whether it has all letters of the text."""
        try:
            text.encode(self.encoding)
        except UnicodeEncodeError:
            return False
        return True


def main_table(reports: Sequence[Report]) -> Table | None:
    """The table that stands for all where there is room for one; None where there is none."""
    return next((report.main_table for report in reports if report.names), None)
