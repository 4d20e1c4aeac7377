"""Recordings of one job, a row each."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.reports.page.runs import recordings
from perfkit.analysis.reports.recordings import Row, of_processes, report, row_of
from perfkit.analysis.time.account import Selection, account_for
from perfkit.analysis.time.trace_table import View
from perfkit.schema.page.figures import Bars
from perfkit.trace.columns import ReadFacts
from perfkit.trace.load import load
from perfkit.trace.processes import of_process
from tests.analysis import columns
from tests.builders import TraceBuilder, device_step, host_step
from tests.nsys_export import ALL_REDUCE, two_ranks


def test_a_row_has_the_numbers_of_its_trace():
    """GIVEN 3 kernels and a copy, 40 ns in sum, 35 busy between 100 and 200, 5 without a scope; a step of 100 ns"""
    trace = dataclasses.replace(device_step().build(), facts=ReadFacts(base_time_ns=1000))
    assert row_of(trace, "a.json", 3) == Row(
        "a.json", 3, started=1000, devices="0", kernels=3, steps=1, step_ns=100.0, total_ns=40, busy_ns=35,
        span_ns=100, unattributed_ns=5,
    )  # fmt: skip


def test_a_row_of_host_times_and_of_a_trace_without_steps():
    assert row_of(host_step().build(), "a", None).devices == ""
    assert row_of(host_step().build(), "a", None).total_ns == 100
    two = TraceBuilder().event("k", 5, 9, device=1).event("k", 5, 9, device=0)
    row = row_of(two.build(), "a", None, View(Selection(steps="all")))
    assert (row.devices, row.steps, row.step_ns, row.started) == ("0, 1", 0, None, 5)


def test_a_file_that_ends_in_the_middle_is_named_beside_whole_ones():
    whole, cut = device_step().build(), dataclasses.replace(device_step().build(), facts=ReadFacts(truncated_at=2048))
    rows = [row_of(whole, "a.json", 0), row_of(cut, "b.json", 1)]
    text = "ends in the middle: b.json; what is missing is not in the tables, so copy or record it again"
    for one_job in (True, False):
        assert text in [finding.what for finding in report("job", rows, one_job=one_job).findings]
        assert text not in [finding.what for finding in report("job", rows[:1], one_job=one_job).findings]


def row(name: str, rank: int | None, started: int) -> Row:
    return Row(name, rank, started, "0", 1, 0, None, 1, 1, 1, 0)


def test_rows_are_by_rank_and_time_and_a_ranks_cycles_are_counted():
    rows = [row("a", 1, 30), row("b", 0, 40), row("c", 1, 20), row("d", 0, 10), row("e", None, 5)]
    found = report("job", rows)
    table = found.tables[0]
    frame = table.frame[["recording", "rank", "cycle"]]
    assert frame.astype(object).where(frame.notna(), None).to_numpy().tolist() == [
        ["d", 0, 0], ["b", 0, 1], ["c", 1, 0], ["a", 1, 1], ["e", None, 0],
    ]  # fmt: skip
    columns.assert_regular(table)
    assert found.summary == {"recordings": 5, "ranks": 2}
    assert [finding.what for finding in found.findings] == [
        "5 recordings (2 ranks, 2 cycles), a row each: name one of them, or --table, to see more"
    ]


def test_what_a_step_takes_comes_first():
    """GIVEN ranks with steps of 2, 3 and 1 us THEN the line begins with the shortest and the longest"""
    rows = [dataclasses.replace(row(f"r{n}", n, 0), step_ns=ns) for n, ns in enumerate((2000.0, 3000.0, 1000.0))]
    assert report("job", rows).findings[0].what.startswith("1.000 us to 3.000 us a step   3 recordings (3 ranks), ")


def test_what_could_not_be_read_is_said():
    found = report("job", [row("a", 0, 0), row("b", 0, 1)], ["c is empty"])
    assert [finding.what for finding in found.findings] == [
        "2 recordings (2 cycles), a row each: name one of them, or --table, to see more", "left out: c is empty",
    ]  # fmt: skip


def test_traces_of_no_job_are_listed_without_ranks():
    """GIVEN traces whose names or contents say a rank WHEN nothing says that they are of one job THEN a list by name"""
    found = report("folder", [row("b", 0, 10), row("a", 0, 20), row("c", None, 5)], ["d is empty"], one_job=False)
    assert found.tables[0].frame["recording"].tolist() == ["a", "b", "c"]
    assert not {"rank", "cycle"} & set(columns.names(found.tables[0]))
    assert [finding.what for finding in found.findings] == [
        "3 traces, and nothing says that they are of one job: name one of them, or --table, to see more",
        "left out: d is empty",
    ]
    assert found.summary == {"recordings": 3, "ranks": 0}


def test_the_page_draws_a_bar_each():
    """GIVEN ranks with cycles, then other traces WHEN drawn THEN a bar each by rank and cycle, by name; the longest"""
    rows = [dataclasses.replace(row("a", 0, 1), step_ns=5.0), dataclasses.replace(row("b", 0, 2), step_ns=7.0)]
    [section] = recordings(report("job", rows), "job").sections
    [bars] = section.figures
    assert isinstance(bars, Bars)
    assert (bars.labels, bars.parts[0].values) == (("rank 0, cycle 0", "rank 0, cycle 1"), (5.0, 7.0))
    assert section.takeaway == (
        "a step takes 7.000 ns in rank 0, cycle 1, the longest, and 5.000 ns in rank 0, cycle 0, the shortest"
    )
    [other] = recordings(report("job", [row("a", 0, 1), row("b", 3, 2)], one_job=False), "job").sections
    assert isinstance(other.figures[0], Bars)
    assert other.figures[0].labels == ("a", "b")
    assert other.takeaway == "devices are busy for 1.000 ns in each"


def test_ranks_that_compute_longer_are_found():
    """GIVEN ranks that compute for 300, 320 and 700 us of 1 ms, and then reduce THEN rank 2 makes them wait"""

    def rank(number: int, time: int) -> Row:
        b = TraceBuilder().step(0, 0, 1_000_000).launched("gemm", 1, 10, 10 + time)
        b.launched("ncclDevKernel_AllReduce_Sum_f32_RING_LL", 2, 10 + time, 900_000, stream=20)
        return row_of(b.build(), f"{number}.json", number)

    found = [rank(0, 300_000), rank(1, 320_000), rank(2, 700_000)]
    assert [one.compute_ns for one in found] == [300_000, 320_000, 700_000]
    (finding,) = (one for one in report("job", found).findings if one.rule.id == "unbalanced-ranks")
    assert (finding.cost.ns, finding.where) == (390_000, "rank 2")  # 700 - the median of the others, 310
    for others in (found[:2], [*found, found[2]], [dataclasses.replace(one, exchanges=False) for one in found]):
        assert all(one.rule.id != "unbalanced-ranks" for one in report("job", others).findings)


def test_processes_of_one_recording_of_nsys_are_ranks(tmp_path: Path):
    """GIVEN `nsys profile torchrun` THEN rank 1, 30 us slower in each of two steps, is named with what it costs"""
    found = of_processes(load(two_ranks(ALL_REDUCE).write(tmp_path / "r.sqlite")))
    tables = {table.name: table for table in found.tables}
    assert tables["recordings"].frame[["recording", "rank", "devices"]].to_numpy().tolist() == [
        ["process 10", 0, "0"], ["process 20", 1, "1"],
    ]  # fmt: skip
    assert tables["recordings"].frame["total_ns"].tolist() == [140_000, 140_000]
    ranks = tables["ranks"].frame.set_index("rank")
    assert ranks["wait_ns"].to_dict() == {0: 60_000, 1: 0}
    assert tables["exchanges"].frame["collective"].tolist() == ["all_reduce"]
    said = {finding.rule.id: finding.what for finding in found.findings}
    assert said["recordings"].startswith("2 processes used devices")
    assert said["straggler"].startswith("rank 1 makes the others wait")
    assert next(one for one in found.findings if one.rule.id == "straggler").cost.ns == 30_000


def test_processes_without_collectives_are_rows(tmp_path: Path):
    found = of_processes(load(two_ranks("copy").write(tmp_path / "r.sqlite")))
    assert [table.name for table in found.tables] == ["recordings"]
    assert found.findings[0].what.endswith("no collective of one matches another's")


def test_one_process_and_other_recorders_have_none(tmp_path: Path):
    trace = load(two_ranks("copy").write(tmp_path / "r.sqlite"))
    assert of_processes(of_process(trace, 10)) is None
    assert of_processes(device_step().build()) is None


def test_a_step_that_no_process_has_by_itself_has_no_ranks(tmp_path: Path):
    """GIVEN two processes of two steps each WHEN the fourth of all is chosen THEN it is of the whole recording alone"""
    trace = load(two_ranks().write(tmp_path / "r.sqlite"))
    view = View(Selection(steps=3))
    assert account_for(trace, attribute(trace), view.selection).steps == (3,)
    assert of_processes(trace, view) is None
    assert of_processes(trace, View(Selection(steps=1))) is not None
