"""Cells: rows of an account that are alike in one, and what kind of work they are."""

from __future__ import annotations

from perfkit.analysis.attribution.attribute import Phase
from perfkit.analysis.kernels.kinds import ALL
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.cells import CELLS, categories
from perfkit.trace.columns import HostKind
from tests.analysis.time.test_account_rows import account, every_kind
from tests.builders import TraceBuilder


def category_names(rows: Account) -> list[str]:
    return [ALL[index] for index in categories(rows.partial, rows.partial.of(CELLS))]


def test_categories_of_cells():
    assert category_names(account(every_kind())) == [
        "elementwise", "other", "communication", "copy", "memset", "optimizer", "matmul", "other", "other",
    ]  # fmt: skip
    host = account(
        TraceBuilder().module("net", 0, 50).range("aten::mm", 10, 20).range("call", 12, 15, HostKind.RUNTIME)
    )
    assert category_names(host) == ["host", "matmul", "host"]
    assert category_names(account(every_kind(), phase=Phase.RECOMPUTE)) == []
