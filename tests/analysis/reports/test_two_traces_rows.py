"""Rows, columns and remarks of two traces side by side, each worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfkit.analysis.reports import two_traces as trace_comparison
from perfkit.analysis.reports.trace import View
from perfkit.errors import UsageError
from perfkit.schema.report import Report
from perfkit.schema.table import Table
from perfkit.trace.columns import DeviceKind, HostKind, Trace
from perfkit.trace.load import load
from perfkit.trace.recording import Device
from tests.analysis import columns
from tests.builders import TraceBuilder, saying
from tests.nsys_export import NsysExport
from tests.reports import lines_in, tables_for_people

SIDES = ["count_a", "count_b", "total_ns_a", "total_ns_b"]


def kernels(*durations: tuple[str, int], steps: int = 0) -> TraceBuilder:
    """Kernels one after the other, all launched in the module `net`, in so many steps."""
    b = TraceBuilder().module("net", 0, 500)
    for number in range(steps):
        b.step(number, 1000 * number, 1000 * number + 1000)
    for number, (name, duration) in enumerate(durations):
        b.launched(name, 10 + number, 1000 * number, 1000 * number + duration)
    return b


def compared(a: TraceBuilder | Trace, b: TraceBuilder | Trace, **options) -> Report:
    first, second = (one.build() if isinstance(one, TraceBuilder) else one for one in (a, b))
    return trace_comparison.report(first, second, **options)


def table(report: Report, name: str) -> Table:
    found = report.table(name)
    assert found is not None
    return found


def rows(report: Report, name: str, *wanted: str) -> list[list[object]]:
    return table(report, name).frame[list(wanted)].to_numpy().tolist()


def test_rows_hold_both_sides_and_their_difference():
    """GIVEN x of 75 and 50 ns, y of 25 and 50 ns and z on one side WHEN compared THEN those that differ most first"""
    found = compared(kernels(("x", 75), ("y", 25)), kernels(("y", 50), ("x", 40), ("x", 10)), margin=0.5)
    assert rows(found, "kernels", "name", *SIDES, "share_a", "share_b", "difference_ns", "difference_share",
                "disagrees") == [
        ["x", 1, 2, 75, 50, 0.75, 0.5, -25, -0.25, "count"],
        ["y", 1, 1, 25, 50, 0.25, 0.5, 25, 0.25, ""],
    ]  # fmt: skip
    one = compared(kernels(("x", 75)), kernels(("x", 75), ("z", 25)), margin=0.5)
    assert rows(one, "kernels", "name", *SIDES, "disagrees") == [["z", 0, 1, 0, 25, "only B"], ["x", 1, 1, 75, 75, ""]]
    other = compared(kernels(("x", 75), ("z", 25)), kernels(("x", 75)), margin=0.5)
    assert rows(other, "kernels", "name", *SIDES, "disagrees")[0] == ["z", 1, 0, 25, 0, "only A"]


@pytest.mark.parametrize(("margin", "flag"), [(0.25, ""), (0.2499, "share")])
def test_shares_may_differ_by_the_margin(margin, flag):
    found = compared(kernels(("x", 75), ("y", 25)), kernels(("x", 50), ("y", 50)), margin=margin)
    assert [row[0] for row in rows(found, "kernels", "disagrees")] == [flag, flag]


def test_the_margin_is_one_point_unless_told_otherwise():
    """GIVEN shares of 50% and 51.5%, or 50% and 50.9% WHEN compared THEN the first is more than a point apart"""
    a = kernels(("x", 500), ("y", 500))
    assert compared(a, kernels(("x", 515), ("y", 485))).summary["disagreements"]["kernels"] == 2
    assert compared(a, kernels(("x", 509), ("y", 491))).summary["disagreements"]["kernels"] == 0


def test_equal_rows_go_by_name_and_the_longer_side_decides():
    a = kernels(("c", 5), ("b", 5), ("d", 1), ("a", 4))
    found = compared(a, kernels(("c", 5), ("b", 5), ("d", 9), ("a", 4)))
    assert [row[0] for row in rows(found, "kernels", "name")] == ["d", "b", "c", "a"]
    assert table(found, "kernels").frame.index.tolist() == [0, 1, 2, 3]


def test_rest_rows_come_last_and_empty_ones_not_at_all():
    a = kernels(("x", 5)).launched("stray", 900, 0, 50)
    found = compared(a, a)
    assert rows(found, "groups", "scope", *SIDES) == [["net", 1, 1, 5, 5], ["<unattributed>", 1, 1, 50, 50]]
    assert table(found, "groups").pinned == 1
    assert [row[0] for row in rows(found, "phases", "phase")] == ["other", "forward"]
    assert (table(found, "phases").pinned, table(found, "kernels").pinned) == (2, 0)


def test_kernels_of_no_length_have_no_shares():
    found = compared(kernels(("x", 0)), kernels(("x", 0)))
    assert rows(found, "kernels", "share_a", "share_b", "disagrees") == [[0, 0, ""]]


def test_counts_and_times_are_per_step_where_the_numbers_of_steps_differ():
    """GIVEN one kernel of 30 ns in one step and six of 30 ns in three WHEN compared THEN 1 and 2 a step"""
    found = compared(kernels(("x", 30), steps=1), kernels(*[("x", 30)] * 6, steps=3))
    assert rows(found, "kernels", *SIDES, "disagrees") == [[1, 2, 30, 60, "count"]]
    assert "counts and times are per step: A has 1 step, B has 3 steps" in lines_in(found)
    thirds = compared(kernels(("x", 30), steps=3), kernels(*[("x", 30)] * 2, steps=6))
    assert rows(thirds, "kernels", "disagrees") == [[""]]


def test_equal_numbers_of_steps_are_compared_as_a_whole():
    found = compared(kernels(("x", 30), ("x", 30), steps=2), kernels(("x", 30), ("x", 30), steps=2))
    assert rows(found, "kernels", *SIDES) == [[2, 2, 60, 60]]
    assert not any("per step" in remark for remark in lines_in(found))


@pytest.mark.parametrize("steps", [(0, 2), (2, 0), (0, 0)])
def test_a_side_without_steps_is_said(steps):
    found = compared(*(kernels(("x", 30), ("x", 30), steps=count) for count in steps))
    assert rows(found, "kernels", *SIDES) == [[2, 2, 60, 60]]
    assert "one or both files have no steps: everything in them is counted" in lines_in(found)
    who = {(0, 2): "A has no steps", (2, 0): "B has no steps", (0, 0): "the traces have no steps"}[steps]
    assert lines_in(found)[0] == (
        f"{who}, so that all that was recorded is compared: devices are busy for 60.00 ns in A and 60.00 ns in B (of"
        " 1.030 us and 1.030 us recorded); no difference"
    )


def test_columns():
    found = compared(kernels(("x", 30)), kernels(("x", 30)))
    kernels_table = table(found, "kernels")
    assert columns.names(kernels_table) == [
        "name", "short_name", *SIDES, "difference_ns", "share_a", "share_b", "difference_share", "disagrees",
    ]  # fmt: skip
    assert columns.summed(kernels_table) == [*SIDES, "difference_ns", "share_a", "share_b"]
    for name in ("phases", "groups", "kernels"):
        columns.assert_regular(table(found, name))
    titles = {one.name: one.title for one in found.tables}
    assert titles == {
        "changes": "What changed, all that was recorded",
        "wall_time": "Where the wall time goes", "categories": "Categories",
        "recordings": "Recordings", "phases": "Phases", "groups": "By component", "kernels": "Kernels",
    }  # fmt: skip
    assert [one.name for one in tables_for_people(found)] == list(titles)


def test_kernels_of_both_sides_are_told_apart():
    """GIVEN gemms of A and of B that differ in their alignment WHEN joined THEN each row says its own"""
    names = [f"cutlass_80_tensorop_s1688gemm_64x64_16x6_nn_align{n}" for n in (1, 4)]
    found = compared(kernels((names[0], 30)), kernels((names[1], 30)))
    short = table(found, "kernels").frame.set_index("name")["short_name"]
    assert [short[name] for name in names] == [f"gemm 64x64x16 tf32 nn (cutlass) · align {n}" for n in (1, 4)]


@pytest.mark.parametrize(("steps", "title"), [(2, "Kernels, mean of 2 steps"), (1, "Kernels, mean of a step")])
def test_people_read_means_of_a_step(steps, title):
    """GIVEN 40 ns in 2 steps on one side WHEN set beside as many steps, or fewer THEN 20 ns, and the title says so"""
    found = compared(kernels(("x", 20), ("x", 20), steps=2), kernels(("x", 20), steps=steps))
    seen = next(one for one in tables_for_people(found) if one.name == "kernels")
    assert (seen.title, seen.frame["total_ns_a"].tolist()) == (title, [20])


def test_groups_are_those_of_the_view():
    b = TraceBuilder()
    for number in range(2):
        b.module(f"layers.{number}.attn", 100 * number, 100 * number + 90).launched("k", 100 * number + 10, 10, 20)
    trace = b.build()
    deep = compared(trace, trace, view=View(by="module", depth=1))
    flat = compared(trace, trace, view=View(by="component", fold=False))
    assert (rows(deep, "groups", "scope"), table(deep, "groups").title) == ([["layers"]], "By module")
    assert rows(flat, "groups", "scope") == [["layers.0.attn"], ["layers.1.attn"]]
    tree = {"net": "Net", "net.fc": "Linear"}
    frames = TraceBuilder().range("nn.Module: Linear_0", 0, 90, HostKind(2)).launched("k", 10, 20, 30).build()
    assert rows(compared(frames, frames, view=View(modules=tree)), "groups", "scope") == [["net.fc"]]


def test_copies_have_a_table_where_there_are_any():
    a = kernels(("x", 5))
    assert compared(a, a).table("copies") is None
    copying = kernels(("x", 5)).launched("Memcpy", 50, 0, 7, kind=DeviceKind.MEMCPY)
    found = compared(a, copying)
    assert rows(found, "copies", "name", *SIDES, "disagrees") == [["Memcpy", 0, 1, 0, 7, "only B, share"]]
    assert table(found, "copies").title == "Copies and memsets"
    assert found.summary["disagreements"]["copies"] == 1


def test_host_times_of_one_instrument_are_operators():
    host = TraceBuilder().step(0, 0, 100).range("aten::mm", 10, 20).build()
    found = compared(host, host)
    assert table(found, "kernels").title == "Operators, self time"
    assert found.table("ranges") is None
    assert not any("two instruments" in remark for remark in lines_in(found))


@pytest.mark.parametrize(("first", "with_work"), [(True, "A"), (False, "B")])
def test_only_one_side_has_device_work(first, with_work):
    sides = [kernels(("x", 5)), TraceBuilder().range("aten::mm", 0, 9)]
    with pytest.raises(UsageError, match=f"only {with_work} holds device work"):
        compared(*(sides if first else reversed(sides)))


def test_how_many_rows_disagree_and_in_what():
    found = compared(kernels(("x", 75), ("y", 25)), kernels(("x", 50), ("x", 0), ("y", 50), ("z", 0)))
    assert lines_in(found)[-1] == "kernels: 3 of 3 rows disagree: 2 share, 1 count, 1 only B"
    assert found.summary["disagreements"] == {"phases": 1, "groups": 1, "kernels": 3}


def test_an_agreement_says_what_was_compared():
    found = compared(kernels(("x", 5)), kernels(("x", 5)), margin=0.05)
    assert lines_in(found)[-1] == (
        "kernels: all 1 rows agree: counts are equal and shares differ by at most 5.00% of the time"
    )


# --- what the files are -------------------------------------------------------------------------------------------


def test_facts_of_recordings_with_device_work():
    named = saying(kernels(("x", 1200), ("y", 300), steps=1).build(), devices=(Device(0, "H100"),))
    found = compared(named, kernels(("x", 1000)))
    assert rows(found, "recordings", "recording", "a", "b") == [
        ["file", "built by a test", "built by a test"],
        ["instrument", "PyTorch profiler (Kineto)", "PyTorch profiler (Kineto)"],
        ["device", "H100", "not named"],
        ["steps", "1", "0"],
        ["scopes from", "perfkit", "perfkit"],
        ["kernels", "2", "1"],
        ["kernel time", "1,500 ns", "1,000 ns"],
        ["device busy", "1.300 us", "1.000 us"],
    ]
    assert table(found, "recordings").pinned == 8
    assert (found.summary["a"]["kernels"], found.summary["b"]["kernels"]) == (2, 1)


def test_facts_of_host_times():
    host = TraceBuilder().step(0, 0, 100).range("aten::mm", 10, 20).build()
    found = rows(compared(host, host), "recordings", "recording", "a")
    assert found[2:] == [
        ["device", "none: host times"], ["steps", "1"], ["scopes from", "annotation"],
        ["time on the main thread", "100.0 ns"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("a", "b", "said"), [("H100", "A100", True), ("H100", "H100", False), ("H100", "", False), ("", "H100", False)]
)
def test_different_devices_are_said(a, b, said):
    one, other = (
        saying(kernels(("x", 5)).build(), devices=(Device(0, name),) if name else ()) for name in (a, b)
    )  # fmt: skip
    assert any(remark.startswith("different devices") for remark in lines_in(compared(one, other))) == said


# --- two instruments without device work --------------------------------------------------------------------------


def test_ranges_of_two_instruments_have_counts_but_no_shares(tmp_path: Path):
    """GIVEN fc once on one side and twice on the other, operators, and PyTorch's own ranges WHEN compared THEN only
    what both could have is, by count, with times that do not add up"""
    kineto = (
        TraceBuilder().step(0, 0, 100).range("perfkit.step::0", 1, 99).module("fc", 10, 20).range("aten::mm", 11, 19)
    )
    kineto.annotation("Optimizer.step#SGD.step", 50, 60).annotation("mine", 70, 75).module("head", 80, 85)
    export = NsysExport().domain("perfkit", 1).range("step::0", 1, 99, domainId=1).range("head", 80, 85, domainId=1)
    for at in (10, 30):
        export.range("fc", at, at + 10, domainId=1)
    found = compared(kineto, load(export.write(tmp_path / "b.sqlite")))
    assert rows(found, "ranges", "name", *SIDES, "disagrees") == [
        ["fc", 1, 2, 10, 20, "count"],
        ["mine", 1, 0, 5, 0, "only A"],
        ["step::*", 1, 1, 98, 98, ""],
        ["head", 1, 1, 5, 5, ""],
    ]
    ranges = table(found, "ranges")
    assert columns.names(ranges) == ["name", *SIDES, "difference_ns", "disagrees"]
    assert columns.summed(ranges) == []
    assert (ranges.title, found.table("kernels")) == ("Host ranges, wall time", None)
    assert "count_a" not in columns.names(table(found, "phases"))
    assert lines_in(found)[-1] == "ranges: 2 of 4 rows disagree: 1 count, 1 only A"
    assert "counts are equal" not in next(line for line in lines_in(found) if line.startswith("phases"))


def test_ranges_that_agree_say_counts(tmp_path: Path):
    kineto = TraceBuilder().step(0, 0, 100).range("perfkit.step::0", 1, 99).module("fc", 10, 20)
    export = NsysExport().domain("perfkit", 1).range("step::0", 1, 99, domainId=1).range("fc", 10, 20, domainId=1)
    found = compared(kineto, load(export.write(tmp_path / "b.sqlite")))
    assert lines_in(found)[-1] == "ranges: all 2 rows agree: counts are equal"


def test_kernels_of_two_instruments_go_by_the_names_of_a(tmp_path: Path):
    export = NsysExport().kernel("sgemm", 10, 20, 1)
    nsys = load(export.write(tmp_path / "b.sqlite"))
    line = "kernels: names are spelled differently; rows are joined by name without parameters, and show A's names"
    assert line in lines_in(compared(TraceBuilder().event("sgemm", 0, 10), nsys))
    assert line not in lines_in(compared(nsys, nsys))
