"""A trace's part: every section, from one account."""

from __future__ import annotations

from perfkit.analysis.reports import trace as trace_report
from perfkit.analysis.reports.page import trace as page
from perfkit.analysis.time.trace_table import View
from perfkit.trace.columns import HostKind
from tests.analysis.costs.roofline.devices import one_step
from tests.builders import TraceBuilder, device_step, host_step

_ANCHORS = ["step-times", "wall-time", "modules", "kernels", "roofline", "timeline", "memory"]


def sections(builder: TraceBuilder):
    account = trace_report.account_of(builder.build(), View())
    part = page.part(account, View(), trace_report.report_of(account, View()))
    return {section.anchor: section for section in part.sections}


def test_every_section_is_there_in_the_order_of_reading():
    """GIVEN a trace with a device, and one without THEN the same sections, and the tables of analyze in one of them"""
    for builder in (device_step(), host_step()):
        found = sections(builder)
        assert [anchor for anchor in found if anchor not in ("tables", "recording")] == _ANCHORS
        shown = [table.name for section in found.values() for table in section.tables]
        assert len(set(shown)) == len(shown)
        people = trace_report.report(builder.build()).seen_by("people")
        assert {table.name for table in people.tables if len(table)} <= {*shown, *page._APART}


def test_the_kernel_with_most_time_is_named():
    """GIVEN gemm twice, 30 ns, and another of 5 THEN 85.7% of the sum"""
    assert sections(device_step())["kernels"].takeaway == "gemm takes 85.7% of the sum, 2 times"


def test_without_shapes_the_roofline_asks_for_them():
    assert "record_shapes=True" in sections(device_step())["roofline"].lacking


def test_points_without_a_roof_have_their_table():
    """GIVEN a device whose peaks are not known, so that analyze shows none unasked THEN below the chart"""
    found = sections(one_step("a card of tomorrow"))["roofline"]
    assert len(found.figures) == 1
    assert "roofline" in {table.name for table in found.tables}


def test_operators_are_named_without_the_rest_row():
    """GIVEN a host's step with an operator of 30 of 100 ns THEN the operator, not the time between"""
    assert sections(host_step())["kernels"].takeaway == "aten::mm takes 30.0% of the sum, once"


def test_ranges_alone_have_no_kernels():
    found = sections(TraceBuilder().range("mine", 0, 10, HostKind.ANNOTATION))
    assert found["kernels"].takeaway == "no operator has time of its own" or found["kernels"].lacking
