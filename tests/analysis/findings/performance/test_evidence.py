"""The rows of tables that a finding names."""

from __future__ import annotations

from perfkit.analysis.findings.performance.evidence import kernel_rows
from perfkit.schema.finding import Evidence
from tests.analysis.findings.performance.cases import case_of, operators
from tests.builders import TraceBuilder


def test_the_names_with_most_time_are_named():
    """GIVEN four kernels, of which one ran outside the step THEN the three others, the longest first"""
    b = TraceBuilder().step(0, 0, 100)
    for name, length in (("a", 10), ("b", 30), ("c", 20)):
        b.launched(name, 10, 20, 20 + length)
    b.launched("outside", 200, 300, 900)
    case = case_of(b)
    assert kernel_rows(case, case.account.total > 0) == tuple(Evidence("kernels", {"name": name}) for name in "bca")


def test_what_is_no_operator_is_in_no_row():
    """GIVEN a step's own time between its operators, without a device THEN only the operator has a row"""
    b = TraceBuilder().step(0, 0, 100)
    operators(b, ["mm"], 10)
    case = case_of(b)
    assert kernel_rows(case, case.account.total > 0) == (Evidence("kernels", {"name": "aten::mm"}),)
    assert kernel_rows(case, case.account.total < 0) == ()
