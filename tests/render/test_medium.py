"""Where a document goes, and the one table there is room for."""

from __future__ import annotations

import pytest

from perfkit.render.medium import Medium, main_table
from perfkit.schema.report import Report
from perfkit.schema.table import Table
from tests.reports import report


def test_the_main_table_is_that_of_the_first_report_with_any(kernels: Table) -> None:
    assert main_table([Report("a", {}), report(kernels)]) is kernels
    assert main_table([Report("a", {})]) is None


@pytest.mark.parametrize(("encoding", "text", "holds"), [("latin-1", "\xe9", True), ("latin-1", "\u65e5", False)])
def test_a_medium_holds_the_letters_of_its_encoding(encoding: str, text: str, holds: bool) -> None:
    assert Medium(encoding=encoding).can_hold(text) is holds
    assert Medium().can_hold(text)
