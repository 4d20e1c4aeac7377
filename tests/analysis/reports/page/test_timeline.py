"""Lanes of the step of median length, relative to its begin."""

from __future__ import annotations

import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.kernels.short_names.unique import short_names
from perfkit.analysis.reports.page import timeline
from perfkit.analysis.time.account import account_for
from perfkit.schema.page.figures import Lane, Timeline
from perfkit.trace.columns import HostKind, Thread
from tests.builders import TraceBuilder


def three_steps() -> TraceBuilder:
    """Steps of 100, 300 and 200 ns, each with a module whose kernel takes a tenth of it."""
    b = TraceBuilder()
    for number, (start, span) in enumerate(((0, 100), (1000, 300), (2000, 200))):
        b.step(number, start, start + span).module("layers.0", start + 1, start + span - 1)
        b.range("aten::mm", start + 2, start + 20)
        b.launched(f"gemm_{number}", start + 5, start + 30, start + 30 + span // 10)
    return b


def lanes(builder: TraceBuilder) -> tuple[Timeline, dict[str, Lane], tuple[str, ...]]:
    trace = builder.build()
    section = timeline.section(account_for(trace, attribute(trace)))
    [figure] = section.figures
    assert isinstance(figure, Timeline)
    return figure, {lane.title: lane for lane in figure.lanes}, section.notes


def items(figure: Timeline, lane: Lane) -> list[tuple[str, int, int, int]]:
    columns = (lane.name, lane.start, lane.length, lane.depth)
    return [(figure.names[name], *map(int, rest)) for name, *rest in zip(*columns, strict=True)]


def test_the_median_step_is_drawn_from_its_begin():
    """GIVEN steps of 100, 300 and 200 ns THEN the third, with its kernel, its ranges nested, its bands"""
    figure, by_title, notes = lanes(three_steps())
    assert figure.span == 200
    assert items(figure, by_title["device 0, stream 7"]) == [("gemm_2", 30, 20, 0)]
    host = next(lane for lane in figure.lanes if lane.kind == "host")
    assert [(name, depth) for name, _, _, depth in items(figure, host)] == [
        ("ProfilerStep#2", 0), ("perfkit::layers.0", 1), ("aten::mm", 2), ("cudaLaunchKernel", 3),
    ]  # fmt: skip
    assert items(figure, by_title["phase"]) == [("forward", 30, 20, 0)]
    assert items(figure, by_title["layer"]) == [("layers.0", 30, 20, 0)]
    assert notes == ()


def test_people_read_short_names_and_how_long_the_step_and_its_work_took():
    """GIVEN a step of 200 ns whose kernel ends 300 ns after its begin THEN the sentence has both times, and the kernel
    is labelled by its short name"""
    name = "void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_bf16_128x128_32x5_tn_align8>(Params)"
    trace = TraceBuilder().step(0, 0, 200).range("aten::mm", 2, 90).launched(name, 5, 30, 300).build()
    section = timeline.section(account_for(trace, attribute(trace)))
    assert section.takeaway.startswith("ProfilerStep#0: 200.0 ns, 300.0 ns from its begin until its work is done, ")
    [figure] = section.figures
    assert isinstance(figure, Timeline)
    assert {figure.names[at]: text for at, text in figure.labels.items()} == {name: short_names([name])[name]}


def test_work_that_began_before_the_step_has_its_part_in_it():
    """GIVEN kernels without a module that began 60 and 50 ns before a step and run into it, then a module's THEN the
    bands begin with the step, none has a length below 1, and a lane without a band is not there"""
    b = TraceBuilder().launched("early", 5, 40, 105).launched("optimizer_kernel", 8, 50, 110)
    b.step(0, 100, 200).range("aten::mm", 102, 190).launched("gemm", 110, 120, 150)
    figure, _, _ = lanes(b)
    bands = [lane for lane in figure.lanes if lane.kind == "band"]
    assert bands
    for lane in bands:
        assert (lane.start >= 0).all()
        assert (lane.length > 0).all()
        assert len(lane.start)


def test_a_lane_of_a_thread_has_a_title_of_its_own():
    """GIVEN threads of one name, of none, and of one that has its number THEN three titles that tell them apart"""
    named = [timeline._titled(Thread(1, 7, name)) for name in ("python3", "", "thread 7 (python3)")]
    assert named == ["python3, thread 7", "thread 7", "thread 7 (python3)"]


def test_idle_time_is_coloured_by_its_cause():
    """GIVEN a kernel from 30 to 50 of 200 ns THEN the gaps are the rest, each with the key of its cause"""
    figure, by_title, _ = lanes(three_steps())
    gaps = by_title["idle, device 0"]
    assert int(gaps.length.sum()) == 180
    assert {figure.names[name].removeprefix("idle: ") for name in gaps.name} == {figure.keys[key] for key in gaps.key}


def test_work_that_overlaps_on_a_stream_gets_lines_of_its_own():
    """GIVEN two kernels of one stream at the same time, as of a graph THEN the second is a line lower"""
    b = TraceBuilder().step(0, 0, 100).launched("one", 5, 10, 50).launched("two", 6, 20, 60)
    figure, by_title, _ = lanes(b)
    assert [(name, depth) for name, _, _, depth in items(figure, by_title["device 0, stream 7"])] == [
        ("one", 0), ("two", 1),
    ]  # fmt: skip


def test_the_longest_are_kept_and_the_others_counted(monkeypatch):
    """GIVEN room for two events WHEN there are three kernels THEN the two longest, in order, and a note"""
    monkeypatch.setattr(timeline, "MOST_EVENTS", 2)
    b = TraceBuilder()
    for start, length in ((0, 5), (10, 1), (20, 9)):
        b.event(f"of_{length}", start, start + length)
    figure, by_title, notes = lanes(b)
    assert [name for name, *_ in items(figure, by_title["device 0, stream 7"])] == ["of_5", "of_9"]
    assert notes == ("1 device events, the shortest, are left out",)


def test_frames_of_python_are_left_out_and_do_not_count_as_depth():
    """GIVEN an operator in a frame in a range THEN it is one deep"""
    b = TraceBuilder().annotation("outer", 0, 100).range("train.py(3): main", 1, 90, HostKind.PYTHON)
    figure, by_title, _ = lanes(b.range("aten::mm", 2, 50))
    host = next(lane for lane in by_title.values() if lane.kind == "host")
    assert [(name, depth) for name, _, _, depth in items(figure, host)] == [("outer", 0), ("aten::mm", 1)]


@pytest.mark.parametrize("builder", [TraceBuilder()])
def test_nothing_at_all_is_said(builder):
    trace = builder.build()
    assert timeline.section(account_for(trace, attribute(trace))).lacking
