"""Tables of wall time: the longest gaps with their places, and calls that wait."""

from __future__ import annotations

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.kernels.short_names.unique import short_names
from perfkit.analysis.time.account import Selection, account_for
from perfkit.analysis.time.idle.tables import gap_table, waiting_table, wall_time_table
from perfkit.analysis.time.partial import merge
from perfkit.trace.columns import DeviceKind, HostKind
from tests.analysis.time.idle.traces import USERS, account_of, loop
from tests.builders import TraceBuilder


def test_the_longest_gaps_have_their_place():
    """GIVEN gaps of 40 ns, blocked till 55, and of 26 ns WHEN listed THEN with what waited, and what ended them"""
    frame = gap_table(account_of(loop()).partial).frame
    columns = ["total_ns", "cause", "step", "at_ns", "scope", "phase", "call", "operator", "range", "frame", "ended_by"]
    blocked = ["blocking, launch-starved", "fc", "forward", "cudaStreamSynchronize", "aten::item", "log", USERS, "mm"]
    starved = ["launch-starved", "optimizer", "optimizer", None, "Optimizer.step#SGD.step", None, None, "sgd"]
    found = frame[columns].astype(object).where(frame[columns].notna(), None).to_numpy().tolist()
    for step in range(2):
        cause, *place = blocked
        assert found[step] == [40, cause, step, 20, *place]
        cause, *place = starved
        assert found[2 + step] == [26, cause, step, 70, *place]
    assert [row[0] for row in found[4:]] == [2, 2]


def test_what_ended_a_gap_has_its_short_name_for_people():
    """GIVEN a gap that a kernel of many template arguments ends THEN people read its short name, and its full one if
    they ask for it; scripts have both, and no gap has a name of nothing"""
    name = "void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_bf16_128x128_32x5_tn_align8>(Params)"
    table = gap_table(account_of(TraceBuilder().launched("k", 0, 0, 1).launched(name, 5, 50, 60)).partial)
    short = short_names(["k", name])[name]
    assert len(short) < 40
    assert table.frame[["ended_by", "short_ended_by"]].to_numpy().tolist() == [[name, short]]
    heading = {column.heading: column.name for column in table.seen_by("people").columns}
    assert heading["ended by"] == "short_ended_by"
    heading = {column.heading: column.name for column in table.in_full().seen_by("people").columns}
    assert heading["ended by"] == "ended_by"


def test_ten_gaps_are_kept():
    b = TraceBuilder().launched("k", 0, 0, 1)
    for number in range(1, 15):
        b.launched("k", 100 * number, 100 * number + number, 100 * number + 20)
    frame = gap_table(account_of(b).partial).frame
    assert frame["total_ns"].tolist() == [100, *range(94, 85, -1)]  # after kernels of 20, 19, ... ns


def test_waits_with_the_idle_time_that_they_caused():
    """GIVEN two waits of 12 ns WHEN listed THEN one row, with the public operator and 2 x 35 ns till the next launch"""
    frame = waiting_table(account_of(loop()).partial).frame
    columns = ["call", "operator", "scope", "frame", "count", "total_ns", "idle_ns"]
    assert frame[columns].to_numpy().tolist() == [["cudaStreamSynchronize", "aten::item", "log", USERS, 2, 24, 70]]


def test_wall_time_adds_up_for_people():
    frame = wall_time_table(account_of(loop()).partial).frame
    assert frame[["what", "total_ns", "step_mean_ns"]].to_numpy().tolist() == [
        ["compute", 64, 32.0],
        ["idle: launch-starved", 66, 33.0],
        ["idle: blocking", 70, 35.0],
    ]
    assert frame["share"].sum() == 1


def test_the_longest_gaps_of_several_recordings_are_ten():
    b = TraceBuilder().launched("k", 0, 0, 1)
    for number in range(1, 9):
        b.launched("k", 100 * number, 100 * number, 100 * number + 10 * number)
    partials = [account_of(b, name).partial for name in ("one", "other")]
    assert gap_table(merge(partials)).frame["total_ns"].tolist() == [99, 99, 90, 90, 80, 80, 70, 70, 60, 60]


def test_a_late_host_is_in_the_operator_that_the_program_called():
    """GIVEN a gap in the middle of which `mm` runs inside `linear` WHEN listed THEN the operator is `linear`"""
    b = TraceBuilder().launched("a", 0, 0, 10).range("aten::linear", 20, 90).range("aten::mm", 30, 80)
    frame = gap_table(account_of(b.launched("b", 85, 95, 100)).partial).frame
    assert frame["operator"].tolist() == ["aten::linear"]


def test_waits_count_in_the_steps_that_are_asked_for():
    """GIVEN a wait in each of two steps WHEN one step is asked for THEN one of them counts"""
    trace = loop().build()
    frame = waiting_table(account_for(trace, attribute(trace), Selection(steps=1)).partial).frame
    assert frame[["count", "total_ns", "idle_ns"]].to_numpy().tolist() == [[1, 12, 35]]


def test_a_wait_outside_the_steps_asked_for_does_not_count():
    b = loop().range("cudaDeviceSynchronize", 210, 220, HostKind.RUNTIME)
    trace = b.build()
    attribution = attribute(trace)
    counts = [
        waiting_table(account_for(trace, attribution, Selection(steps=steps)).partial).frame["count"].sum()
        for steps in ("all", 0)
    ]
    assert counts == [3, 1]


def test_a_copy_that_returned_before_it_was_done_is_no_wait():
    """GIVEN copies of pageable memory whose calls end before, and after, they are done WHEN listed THEN one waited"""
    b = TraceBuilder()
    for correlation, (start, end) in enumerate(((0, 5), (20, 35))):
        b.range("cudaMemcpyAsync", start, end, HostKind.RUNTIME, correlation=correlation)
        b.event("Memcpy HtoD (Pageable -> Device)", start + 2, start + 10, DeviceKind.MEMCPY, correlation=correlation)
    frame = waiting_table(account_of(b).partial).frame
    assert frame[["call", "count", "total_ns"]].to_numpy().tolist() == [["cudaMemcpyAsync", 1, 15]]
