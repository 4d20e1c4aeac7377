"""Gaps of a device and their causes, on traces built by hand; tests/reference/test_wall.py has the random ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perfkit.analysis.attribution.attribute import Phase, attribute
from perfkit.analysis.reports.trace import report
from perfkit.analysis.time.account import Account, Selection, account_for
from perfkit.analysis.time.idle.tables import wall_table
from perfkit.trace.columns import DeviceKind, HostKind, Thread, Trace
from perfkit.trace.load import load
from tests.builders import TraceBuilder, host_step
from tests.nsys_export import NsysExport

LOADER = "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__"


def account_of(built: TraceBuilder | Trace, **selection: Any) -> Account:
    trace = built.build() if isinstance(built, TraceBuilder) else built
    return account_for(trace, attribute(trace), Selection(**selection))


def rows(built: TraceBuilder | Trace, **selection: Any) -> list[tuple[Any, ...]]:
    """The rows of the table, without those of other kinds than idle if nothing else is asked for."""
    frame = wall_table(account_of(built, **selection).partial).frame
    columns = (frame[column].astype(object).where(frame[column].notna(), None) for column in
               ("device", "step", "kind", "cause", "total_ns"))  # fmt: skip
    return list(zip(*columns, strict=True))


def idle(built: TraceBuilder | Trace, **selection: Any) -> dict[tuple[int | None, str], int]:
    """(step, cause) -> ns of idle time, of all devices."""
    found: dict[tuple[int | None, str], int] = {}
    for _, step, kind, cause, ns in rows(built, **selection):
        if kind == "idle":
            found[step, cause] = found.get((step, cause), 0) + ns
    return found


def call(b: TraceBuilder, name: str, start: int, end: int, **columns: Any) -> TraceBuilder:
    return b.range(name, start, end, HostKind.RUNTIME, **columns)


def test_each_instant_counts_once_for_compute_before_communication_before_copies():
    """GIVEN a kernel, a collective and a copy that overlap in a step WHEN told THEN 10 ns each, and 70 of idle time"""
    b = TraceBuilder().step(0, 0, 100).launched("gemm", 9, 10, 20).launched("ncclDevKernel_AllReduce", 10, 15, 30)
    b.launched("Memcpy HtoD", 11, 25, 40, kind=DeviceKind.MEMCPY)
    assert rows(b) == [
        ("0", 0, "compute", None, 10),
        ("0", 0, "communication", None, 10),
        ("0", 0, "copy", None, 10),
        ("0", 0, "idle", "launch-starved", 70),
    ]


def test_work_counts_in_the_step_in_which_it_runs():
    """GIVEN a kernel launched in step 0 that runs into step 1, and ends after it WHEN told THEN each has its part

    The rest, 5 ns between the steps and 15 after them, is in rows without a step.
    """
    b = TraceBuilder().step(0, 0, 50).step(1, 55, 100).launched("gemm", 10, 20, 115)
    assert rows(b) == [
        ("0", 0, "compute", None, 30),
        ("0", 0, "idle", "launch-starved", 20),
        ("0", 1, "compute", None, 45),
        ("0", None, "compute", None, 20),
    ]


def test_without_steps_the_span_is_all_there_is():
    """GIVEN two kernels, no steps, ranges before and after WHEN told THEN from the first's start to the last's end"""
    b = TraceBuilder().range("aten::mm", 0, 300).launched("a", 5, 10, 20).launched("b", 90, 100, 130)
    assert rows(b) == [("0", None, "compute", None, 40), ("0", None, "idle", "launch-starved", 80)]


def test_idle_time_between_and_outside_steps():
    """GIVEN gaps before, between and after two steps, ended by later launches WHEN told THEN they are cut at borders"""
    b = TraceBuilder().step(0, 100, 200).step(1, 230, 300).launched("a", 10, 20, 30).launched("b", 140, 150, 160)
    b.launched("c", 240, 250, 260).launched("d", 310, 320, 325)
    assert idle(b) == {
        (0, "launch-starved"): 50 + 40,
        (1, "launch-starved"): 20 + 40,
        (None, "between-steps"): 30,
        (None, "outside-steps"): 70 + 20,
    }


# --- two causes in one gap ---------------------------------------------------------------------------------------


def gap(*, launch: int = 70) -> TraceBuilder:
    """A gap from 20 to 80 in a step of 100 ns."""
    b = TraceBuilder().step(0, 0, 100).launched("a", 5, 10, 20)
    return b.launched("b", launch, 80, 100)


def test_a_gap_is_blocked_from_the_call_that_drained_the_queue_to_the_next_launch():
    """GIVEN a wait from 12 to 25, and the next launch at 70 WHEN told THEN 20 to 70 is blocked, and 70 to 80 is not"""
    b = call(gap(), "cudaStreamSynchronize", 12, 25)
    assert idle(b) == {(0, "blocking"): 50, (0, "launch-starved"): 10 + 10}


def test_the_next_launch_may_be_for_another_device():
    """GIVEN a wait, a launch for device 1 at 40, one for device 0 at 70 WHEN told THEN device 0 is blocked till 40"""
    b = call(gap(), "cudaStreamSynchronize", 12, 25).launched("other", 40, 45, 100, device=1)
    assert [row for row in rows(b) if row[0] == "0" and row[2] == "idle"] == [
        ("0", 0, "idle", "launch-starved", 10 + 40),
        ("0", 0, "idle", "blocking", 20),
    ]


def test_a_wait_that_began_after_the_queue_was_empty_drained_nothing():
    assert idle(call(gap(), "cudaStreamSynchronize", 21, 25)) == {(0, "launch-starved"): 70}


def test_a_wait_that_ended_before_the_queue_was_empty_drained_nothing():
    """GIVEN a wait for an event that came while the device still ran WHEN told THEN the host was free to launch"""
    assert idle(call(gap(), "cudaEventSynchronize", 6, 19)) == {(0, "launch-starved"): 70}


def test_a_wait_of_another_thread_does_not_count():
    """GIVEN a wait on thread 1, and launches on thread 0 WHEN told THEN it did not keep thread 0 from launching"""
    assert idle(call(gap(), "cudaStreamSynchronize", 12, 25, thread=1)) == {(0, "launch-starved"): 70}


def test_a_loader_in_a_gap_that_a_wait_began():
    """GIVEN a wait from 12 to 25, a loader from 30 to 50, a launch at 70 WHEN told THEN the loader has its 20 ns"""
    b = call(gap(), "cudaStreamSynchronize", 12, 25).annotation(LOADER, 30, 50)
    assert idle(b) == {(0, "blocking"): 30, (0, "data-loading"): 20, (0, "launch-starved"): 10 + 10}


def test_a_loader_and_then_the_host():
    assert idle(gap().annotation("get_batch", 5, 60)) == {(0, "data-loading"): 5 + 40, (0, "launch-starved"): 5 + 20}


def test_a_loader_between_steps_is_between_steps():
    """GIVEN a loader from step 0 into step 1 WHEN told THEN only what lies in the steps is data loading"""
    b = TraceBuilder().step(0, 0, 50).step(1, 60, 100).launched("a", 5, 10, 40).launched("b", 80, 85, 100)
    b.annotation("next_batch", 45, 80)
    assert idle(b) == {
        (0, "launch-starved"): 10 + 5,
        (0, "data-loading"): 5,
        (None, "between-steps"): 10,
        (1, "data-loading"): 20,
        (1, "launch-starved"): 5,
    }


@pytest.mark.parametrize(
    ("name", "kind", "counts"),
    [
        (LOADER, HostKind.ANNOTATION, True),
        ("[pl][profile][_EvaluationLoop].val_dataloader_next", HostKind.ANNOTATION, True),
        ("batch-generator", HostKind.ANNOTATION, True),
        ("torch/utils/data/dataloader.py(628): __next__", HostKind.PYTHON, True),
        ("train.py(12): get_batch", HostKind.PYTHON, True),
        ("dataloader_bench/train.py(12): <module>", HostKind.PYTHON, False),
        ("to_device", HostKind.ANNOTATION, False),
        ("validation", HostKind.ANNOTATION, False),
        ("forward", HostKind.ANNOTATION, False),
        ("dataloader_forward", HostKind.ANNOTATION, False),
    ],
)
def test_which_ranges_are_a_loaders(name, kind, counts):
    assert ((0, "data-loading") in idle(gap().range(name, 30, 50, kind))) == counts


def test_a_range_round_the_steps_is_no_loader():
    """GIVEN a range for a loop over a loader, with steps in it WHEN told THEN what runs in them is no loading"""
    b = TraceBuilder().annotation("dataloader loop", 0, 200).step(0, 10, 100).launched("a", 50, 60, 100)
    assert idle(b) == {(0, "launch-starved"): 50}


# --- launched before the gap began -------------------------------------------------------------------------------


def test_what_was_queued_waits_for_nothing_that_is_known():
    """GIVEN a kernel launched before the gap, a loader and a wait then WHEN told THEN the host is not to blame"""
    b = call(gap(launch=8), "cudaStreamSynchronize", 12, 99).annotation(LOADER, 30, 50)
    assert idle(b) == {(0, "launch-starved"): 10, (0, "unknown"): 60}


def test_what_was_queued_behind_a_stream_wait_depends_on_another():
    b = call(gap(launch=8), "cudaStreamWaitEvent", 7, 8)
    assert idle(b) == {(0, "launch-starved"): 10, (0, "dependency"): 60}


def test_a_stream_wait_is_for_the_next_launch_alone():
    """GIVEN a stream wait, then a launch for stream 20, then the one that ends the gap WHEN told THEN it is unknown"""
    b = call(gap(launch=8), "cudaStreamWaitEvent", 6, 7).launched("other", 7, 80, 90, stream=20)
    assert idle(b)[0, "dependency"] == 60  # of two events at the same time the one launched first ends the gap
    late = call(gap(launch=8), "cudaStreamWaitEvent", 6, 7).launched("other", 7, 85, 90, stream=20)
    assert idle(late)[0, "unknown"] == 60


def test_of_a_graph_only_the_first_node_waits_for_the_stream():
    """GIVEN a graph with two kernels, launched behind a stream wait WHEN told THEN the gap inside it is unknown"""
    b = TraceBuilder().step(0, 0, 100).launched("a", 2, 10, 20)
    call(call(b, "cudaStreamWaitEvent", 4, 5), "cudaGraphLaunch", 5, 9, correlation=1)
    b.event("k1", 30, 40, correlation=1).event("k2", 45, 100, correlation=1)
    assert idle(b) == {(0, "launch-starved"): 10, (0, "dependency"): 10, (0, "unknown"): 5}


def test_a_launch_that_is_not_in_the_file_tells_nothing():
    b = TraceBuilder().step(0, 0, 100).launched("a", 5, 10, 20).event("b", 80, 100)
    assert idle(b) == {(0, "launch-starved"): 10, (0, "unknown"): 60}


def test_a_launch_as_the_gap_begins_is_late():
    assert idle(gap(launch=20))[0, "launch-starved"] == 70


# --- calls that wait ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["cudaDeviceSynchronize", "cudaEventSynchronize", "hipStreamSynchronize", "cuCtxSynchronize", "cudaFree",
     "cudaMemcpy", "hipMemcpyWithStream", "cuMemcpyDtoH_v2", "aclrtSynchronizeStream"],
)  # fmt: skip
def test_calls_that_are_made_to_wait(name):
    assert idle(call(gap(), name, 12, 25))[0, "blocking"] == 50


@pytest.mark.parametrize(
    "name", ["cudaMemcpyAsync", "cudaMemcpyPeer", "cuMemcpyDtoD_v2", "cudaMalloc", "cudaEventQuery", "cudaFreeAsync"]
)
def test_calls_that_do_not_wait(name):
    assert (0, "blocking") not in idle(call(gap(), name, 12, 25))


@pytest.mark.parametrize(("memory", "end", "blocks"), [("Pageable", 25, True), ("Pinned", 25, False),
                                                       ("Pageable", 19, False)])  # fmt: skip
def test_a_copy_of_pageable_memory_waits_if_it_ended_after_its_copy(memory, end, blocks):
    """GIVEN an asynchronous copy whose work ends at 20 WHEN told THEN its call blocks if pageable, and ending later"""
    b = TraceBuilder().step(0, 0, 100)
    call(b, "cudaMemcpyAsync", 5, end, correlation=1)
    b.event(f"Memcpy DtoH (Device -> {memory})", 10, 20, DeviceKind.MEMCPY, correlation=1)
    found = idle(b.launched("b", 70, 80, 100))
    assert found.get((0, "blocking"), 0) == (50 if blocks else 0)


def test_of_calls_inside_each_other_the_outer_one_waits():
    b = call(call(gap(), "cudaDeviceSynchronize", 12, 25), "cuCtxSynchronize", 13, 24)
    account = account_of(b)
    names = {account.attribution.host.name_of(row) for row in account.wall.gaps.call.tolist() if row >= 0}
    assert names == {"cudaDeviceSynchronize"}


# --- devices, processes, selections --------------------------------------------------------------------------------


def test_the_end_of_a_step_after_the_last_event_is_judged_by_the_thread_of_the_step():
    """GIVEN a wait to the end of the last step, on its thread WHEN told THEN nothing was launched any more: blocked"""
    b = call(TraceBuilder().step(0, 0, 100).launched("a", 5, 10, 20), "cudaDeviceSynchronize", 12, 40)
    assert idle(b) == {(0, "launch-starved"): 10, (0, "blocking"): 80}


def test_a_device_has_the_steps_of_its_process_alone():
    """GIVEN two processes with a step and a device each WHEN told THEN each device has one step, the rest outside"""
    b = TraceBuilder().step(0, 0, 50).annotation("ProfilerStep#0", 100, 160, thread=1)
    b.launched("a", 5, 10, 60, process=1).launched("b", 105, 110, 150, thread=1, device=1, process=2)
    trace = replace(b.build(), threads=(Thread(1, 1), Thread(2, 2)))
    assert rows(trace) == [
        ("0", 0, "compute", None, 40),
        ("0", 0, "idle", "launch-starved", 10),
        ("0", None, "compute", None, 10),
        ("1", 1, "compute", None, 40),
        ("1", 1, "idle", "launch-starved", 20),
    ]


def test_launches_say_whose_a_device_is():
    """GIVEN the same in a merged file of Kineto's, whose device events name no process THEN launches say it"""
    b = TraceBuilder().step(0, 0, 100).annotation("ProfilerStep#0", 0, 100, thread=1)
    b.launched("a", 5, 10, 60).event("a", 70, 75).launched("b", 5, 10, 50, thread=1, device=1)
    trace = replace(b.build(), threads=(Thread(1, 1), Thread(2, 2)))
    assert {
        row[:2]: sum(row[4] for row in rows(trace) if row[:2] == key) for row in rows(trace) for key in [row[:2]]
    } == {
        ("0", 0): 100,
        ("1", 1): 100,
    }


def test_one_step_has_its_rows_alone_and_a_phase_changes_nothing():
    """GIVEN two steps WHEN one, or one phase, is asked for THEN that step's rows; wall time belongs to no phase"""
    b = TraceBuilder().step(0, 0, 50).step(1, 55, 100).range("forward", 5, 12).launched("a", 10, 20, 30)
    b.launched("b", 60, 70, 75)
    assert rows(b, steps=1) == [("0", 0, "compute", None, 5), ("0", 0, "idle", "launch-starved", 40)]
    assert rows(b, phase=Phase.FORWARD) == rows(b)


def test_events_of_no_length_end_gaps():
    """GIVEN an event of no length in a gap WHEN told THEN there are two gaps, each judged by its own launch"""
    b = call(gap(), "cudaStreamSynchronize", 12, 25).launched("none", 40, 50, 50)
    assert idle(b) == {(0, "blocking"): 20, (0, "launch-starved"): 10 + 10 + 30}


def test_a_file_without_device_work_has_no_table_and_says_so():
    made = report(host_step().build())
    assert "wall" not in made.names
    notes = next(table for table in made.tables if table.name == "phases").notes
    assert "there is no table wall, which says where the wall time of a device goes" in notes
    account = account_of(host_step())
    assert (len(account.wall.busy.ns), len(account.wall.pieces.ns), len(account.wall.gaps.start)) == (0, 0, 0)


def test_an_export_of_nsys_is_read_alike(tmp_path: Path):
    """GIVEN the gap with a wait in it as an nsys export, in a step of perfkit's WHEN told THEN as from Kineto"""
    export = NsysExport().domain("perfkit", 1).range("step::0", 0, 100, domainId=1)
    export.launched("a", 5, 10, 20, 1).call("cudaStreamSynchronize_v3020", 12, 25, 2).launched("b", 70, 80, 100, 3)
    export.range("aten::item", 11, 26).range("dataloader", 30, 50)
    trace = load(export.write(tmp_path / "a.sqlite"))
    assert idle(trace) == {(0, "blocking"): 30, (0, "data-loading"): 20, (0, "launch-starved"): 10 + 10}


def test_before_the_first_event_nothing_is_known_to_be_awaited_or_queued():
    """GIVEN a step that begins inside a wait, and before its first kernel starts WHEN told THEN that time is starved

    In the second trace the kernel was even launched before the step.
    """
    b = call(TraceBuilder().step(0, 50, 100), "cudaDeviceSynchronize", 40, 60).launched("a", 70, 80, 100)
    assert idle(b) == {(0, "launch-starved"): 30}
    assert idle(TraceBuilder().step(0, 50, 100).launched("a", 10, 80, 100)) == {(0, "launch-starved"): 30}


def test_a_launch_inside_the_call_that_waits_ends_what_it_blocks():
    """GIVEN a wait to 90, and in it the launch at 70 that ends the gap WHEN told THEN the gap is blocked to 70"""
    assert idle(call(gap(), "cudaDeviceSynchronize", 12, 90))[0, "blocking"] == 50


def test_outside_the_steps_the_span_of_the_device_ends_with_its_last_event():
    """GIVEN a kernel that ends between two steps WHEN told THEN time after it counts in the second step alone"""
    b = TraceBuilder().step(0, 0, 50).step(1, 90, 100).launched("a", 10, 20, 70)
    assert rows(b) == [
        ("0", 0, "compute", None, 30),
        ("0", 0, "idle", "launch-starved", 20),
        ("0", 1, "idle", "launch-starved", 10),
        ("0", None, "compute", None, 20),
    ]
