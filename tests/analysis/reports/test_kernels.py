"""The table kernel_summary: kernels alone, against the attributed tables and the corpus's known totals."""

from __future__ import annotations

import pytest

from perfkit.analysis.reports import kernels as kernel_summary
from perfkit.analysis.reports import trace as trace_report
from perfkit.analysis.reports.trace import View
from perfkit.analysis.time.account import Selection
from perfkit.errors import UsageError
from perfkit.trace.columns import BEGIN_END, NO_TIME, Content, DeviceKind, ReadFacts
from perfkit.trace.load import load
from tests.analysis import columns
from tests.builders import TraceBuilder
from tests.corpus import corpus_file
from tests.reports import lines_in, tables_for_people


def test_rows_are_names_longest_first_with_what_their_durations_say():
    # GIVEN
    trace = TraceBuilder()
    for start, end in ((0, 10), (10, 40), (40, 60), (60, 70)):
        trace.launched("gemm", start, start, end)
    trace.launched("relu", 80, 80, 85)
    trace.launched("Memcpy HtoD", 90, 90, 99, kind=DeviceKind.MEMCPY)

    # WHEN
    (gemm, relu) = kernel_summary.table(trace.build()).frame.to_dict("records")

    # THEN
    assert (gemm["name"], gemm["count"], gemm["total_ns"]) == ("gemm", 4, 70)
    assert (gemm["mean_ns"], gemm["median_ns"], gemm["min_ns"], gemm["max_ns"]) == (17.5, 15.0, 10, 30)
    assert gemm["std_ns"] == pytest.approx(9.574, abs=1e-3)
    assert gemm["share"] == pytest.approx(70 / 75)
    assert (relu["name"], relu["total_ns"]) == ("relu", 5)


def test_a_trace_without_kernels_is_sent_to_the_table_of_operators():
    with pytest.raises(UsageError, match="holds no kernels: --table kernels shows its operators"):
        kernel_summary.report(TraceBuilder().range("aten::mm", 0, 5).build())


def test_equal_kernels_go_by_name_and_ones_of_no_length_have_no_share():
    b = TraceBuilder().launched("b", 0, 0, 5).launched("c", 1, 10, 19).launched("a", 2, 20, 25)
    table = kernel_summary.table(b.build())
    assert table.frame["name"].tolist() == ["c", "a", "b"]
    assert kernel_summary.table(TraceBuilder().event("k", 5, 5).build()).frame["share"].tolist() == [0]
    assert len(kernel_summary.table(TraceBuilder().range("aten::mm", 0, 5).build())) == 0
    times = ["mean_ns", "median_ns", "min_ns", "max_ns", "std_ns"]
    assert columns.names(table) == ["name", "short_name", "count", "total_ns", "share", *times]
    assert columns.summed(table) == ["count", "total_ns", "share"]
    assert columns.spare(table) == times
    columns.assert_regular(table)
    assert (table.name, table.title) == ("kernel_summary", "Kernels by name")


def test_the_report_has_its_numbers_and_what_reading_showed():
    """GIVEN a file that was mended, cut off and changed WHEN reported THEN each is a line below the sum of kernels"""
    b = TraceBuilder().event("a", 0, 1000).event("a", 0, 500).event("b", 0, 500)
    clean = kernel_summary.report(b.build())
    assert clean.summary == {"source": "built by a test", "format": "kineto", "kernels": 3, "kernel_time_ns": 2000}
    assert lines_in(clean) == ("3 kernels of 2 names, 2.000 us in sum: the whole file",)
    assert [table.name for table in tables_for_people(clean)] == ["kernel_summary"]
    assert clean.table("kernel_summary") is not None
    b.facts = ReadFacts(
        remarks=("it changed",), truncated_at=1234, repairs={"comma": 2}, negative_durations=1000,
        ignored={"kernel" + NO_TIME: 3, BEGIN_END: 4, "ac2g": 5},
    )  # fmt: skip
    assert lines_in(kernel_summary.report(b.build()))[1:] == (
        "integrity, reading: it changed",
        "integrity, truncated file: the file ends in the middle, after 1.2 KiB; what is missing is not in the tables",
        "integrity, repaired JSON: repaired while reading: comma (2x)",
        "integrity, unusable events: left out of every table: 3 kernel without a usable time,"
        " 4 begin and end events (ph B, E)",
        "integrity, negative durations: 1,000 events end before they start; counted as 0 ns",
    )


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "count", "total_ns"),
    [
        ("kineto/v100_training.json.gz", 4_350, 468_153_602),
        ("kineto/a100_ddp_training.json.gz", 2_700, 162_532_340),
        ("nsys/h100_2gpu_1s.sqlite", 3_442, 44_829_522),
    ],
)
def test_kernels_read_alone_are_those_of_the_whole_account(name, count, total_ns):
    # GIVEN
    path = corpus_file(name)
    full = trace_report.report(load(path), View(Selection(steps="all"))).table("kernels")

    # WHEN
    alone = load(path, content=Content.KERNELS)
    frame = kernel_summary.table(alone).frame

    # THEN
    assert len(alone.host) == 0
    assert set(alone.device.kind.tolist()) == {DeviceKind.KERNEL}
    assert (frame["count"].sum(), frame["total_ns"].sum()) == (count, total_ns)
    same = ["name", "count", "total_ns", "mean_ns", "min_ns", "max_ns"]
    assert frame[same].to_dict("records") == full.frame[same].to_dict("records")
