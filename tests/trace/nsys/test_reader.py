"""Reading Nsight Systems exports: hand-built ones and the real ones of the corpus."""

from __future__ import annotations

import csv
import io
import itertools
import os
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from perfkit.analysis.attribution.attribute import Phase, attribute
from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.reports import trace as trace_report
from perfkit.analysis.reports.trace import View
from perfkit.analysis.time.account import Selection, account_for
from perfkit.analysis.time.passes import passes
from perfkit.errors import UsageError
from perfkit.schema import module_tree
from perfkit.trace.columns import MISSING, DeviceKind, HostKind, Trace
from perfkit.trace.load import load
from perfkit.trace.recording import Versions
from tests.corpus import corpus_file
from tests.nsys_export import MARK, START_END, NsysExport, as_nsys, global_tid
from tests.reports import lines_in, tables_for_people


def ranges(trace: Trace) -> list[tuple[str, int, int]]:
    rows = np.flatnonzero(trace.host.kind != HostKind.RUNTIME)
    times = zip(trace.host.start[rows].tolist(), trace.host.end[rows].tolist(), strict=True)
    return [(str(name), *time) for name, time in zip(trace.host_names(rows), times, strict=True)]


def attributed_to(trace: Trace) -> list[tuple[str, str | None]]:
    """Each device event's name and the name of the range that its launch stood in."""
    found = attribute(trace)
    leaves = [found.host.name_of(leaf) if leaf != NONE else None for leaf in found.events.leaf.tolist()]
    return list(zip(map(str, trace.device_names()), leaves, strict=True))


# --- what a file may hold -----------------------------------------------------------------------------------------


def test_two_processes_with_the_same_correlation_ids(tmp_path: Path) -> None:
    export = NsysExport()
    for pid in (100, 200):
        export.range(f"work of {pid}", 10, 50, pid).launched(f"kernel of {pid}", 20, 30, 40, correlation=1, pid=pid)
    trace = load(export.write(tmp_path / "two.sqlite"))
    assert attributed_to(trace) == [("kernel of 100", "work of 100"), ("kernel of 200", "work of 200")]


def test_an_id_only_another_process_launched_is_unlaunched(tmp_path: Path) -> None:
    export = NsysExport().range("work", 10, 50, 100).launched("a", 20, 30, 40, correlation=1, pid=100)
    trace = load(export.kernel("b", 30, 40, 1, pid=200).write(tmp_path / "other.sqlite"))
    assert attributed_to(trace) == [("a", "work"), ("b", None)]


def test_an_open_range_lasts_to_the_end_of_the_file(tmp_path: Path) -> None:
    export = NsysExport().range("open", 5, None).range("inner", 10, 20).launched("k", 12, 30, 99, correlation=3)
    trace = load(export.write(tmp_path / "open.sqlite"))
    assert ranges(trace) == [("open", 5, 99), ("inner", 10, 20)]
    assert trace.facts.repairs == {"ranges still open at the end of the file": 1}
    assert any("still open" in line for line in lines_in(trace_report.report(trace)))


def test_start_end_ranges_that_cross(tmp_path: Path) -> None:
    export = NsysExport()
    export.range("a", 0, 60, eventType=START_END).range("b", 30, 90, eventType=START_END)
    export.range("to another thread", 0, 95, eventType=START_END, endGlobalTid=global_tid(100, 101))
    export.range("never ends", 0, None, eventType=START_END)
    export.range("push", 20, 50).launched("k", 40, 100, 110, correlation=1)
    export.range("mark", 15, None, eventType=MARK)
    trace = load(export.write(tmp_path / "cross.sqlite"))
    assert ranges(trace) == [
        ("a", 0, 60), ("b", 30, 90), ("push", 20, 50), ("to another thread", 0, 95), ("never ends", 0, 110),
    ]  # fmt: skip
    assert trace.facts.ignored == {"NVTX marks": 1}
    assert trace.facts.repairs == {"ranges still open at the end of the file": 1}
    host = attribute(trace).host
    parents = [host.name_of(row) if row != NONE else None for row in host.forest.parent.tolist()]
    assert dict(zip([host.name_of(row) for row in range(len(host.name))], parents, strict=True)) == {
        "a": None, "push": "a", "b": None, "cudaLaunchKernel": "b",
        "never ends": None, "to another thread": None,
    }  # fmt: skip


def test_ranges_across_threads_have_a_lane_of_their_own(tmp_path: Path) -> None:
    # GIVEN nothing but ranges, some of which stay on no thread, in two processes
    export = NsysExport().range("on a thread", 10, 50)
    for pid in (100, 200):
        for start, end in ((0, 50), (25, 70)):
            export.range("handed on", start, end, pid, eventType=START_END, endGlobalTid=global_tid(pid, 101))
    report = trace_report.report(load(export.write(tmp_path / "lanes.sqlite")))

    # THEN they are in the table of ranges, and not in the account of the main thread
    tables = {table.name: table.frame for table in report.tables}
    assert tables["ranges"][["thread", "name", "count", "total_ns"]].to_numpy().tolist() == [
        ["main", "on a thread", 1, 40],
        ["other", "handed on", 4, 190],
    ]
    assert tables["threads"]["thread"].tolist() == ["100/100", "100/0 across threads", "200/0 across threads"]
    assert report.summary["total_ns"] == 40
    assert any(line.startswith("integrity: clean") for line in lines_in(report))  # that they cross is their nature


def test_ranges_across_threads_are_neither_inside_another_nor_steps(tmp_path: Path) -> None:
    """GIVEN a step on a thread, and three ranges across threads at a time WHEN shown THEN none is less than nothing"""
    export = NsysExport().range("ProfilerStep#0", 0, 90)
    for name, end in (("ProfilerStep#1", 300), ("a", 200), ("b", 150)):
        export.range(
            name, 5 if name == "ProfilerStep#1" else 10, end, eventType=START_END, endGlobalTid=global_tid(100, 101)
        )
    report = trace_report.report(load(export.write(tmp_path / "lane.sqlite")))
    shown = next(table for table in report.tables if table.name == "ranges").frame
    assert shown[["thread", "name", "self_ns"]].to_numpy().tolist() == [
        ["main", "ProfilerStep#0", 90],
        ["other", "ProfilerStep#1", 295], ["other", "a", 190], ["other", "b", 140],
    ]  # fmt: skip
    assert (report.summary["steps"], report.summary["total_ns"]) == (1, 90)
    threads = next(table for table in report.tables if table.name == "threads").frame
    assert threads[["role", "busy_ns"]].to_numpy().tolist() == [["main", 90], ["other", 295]]


def test_a_file_of_nothing_but_ranges_across_threads(tmp_path: Path) -> None:
    export = NsysExport().range("handed on", 0, 95, eventType=START_END, endGlobalTid=global_tid(100, 101))
    assert ranges(load(export.write(tmp_path / "lane.sqlite"))) == [("handed on", 0, 95)]


def test_events_that_do_not_say_whose_they_are(tmp_path: Path) -> None:
    # GIVEN one process, THEN they are its own; two, and no one knows
    one, two = (NsysExport().range("work", 10, 50).launched("k", 20, 30, 40, correlation=1) for _ in range(2))
    two.call("cudaFree", 60, 70, correlation=2, pid=200)
    for export in (one, two):
        del export.rows["CUPTI_ACTIVITY_KIND_KERNEL"][0]["globalPid"]
    assert attributed_to(load(one.write(tmp_path / "one.sqlite"))) == [("k", "work")]
    assert attributed_to(load(two.write(tmp_path / "two.sqlite"))) == [("k", None)]


def test_a_cuda_graph_has_several_kernels_a_launch(tmp_path: Path) -> None:
    export = NsysExport().range("replay", 0, 50).call("cudaGraphLaunch_v10000", 10, 20, 5)
    for node in (1 << 32, (1 << 32) + 1):
        export.kernel(f"k{node}", 30, 40, 5, graphNodeId=node)
    trace = load(export.kernel("plain", 50, 60, 6).write(tmp_path / "graph.sqlite"))
    assert trace.device.graph_node.tolist() == [1 << 32, (1 << 32) + 1, MISSING]
    assert [leaf for _, leaf in attributed_to(trace)] == ["replay", "replay", None]
    assert any("2 device events" in line and "1 graph launch;" in line for line in lines_in(trace_report.report(trace)))


def test_graphs_recorded_as_a_whole_are_pointed_out(tmp_path: Path) -> None:
    export = NsysExport().range("a", 0, 50).launched("k", 10, 20, 30, correlation=1)
    export.add("CUPTI_ACTIVITY_KIND_GRAPH_TRACE", start=40, end=47, deviceId=0, graphId=1, correlationId=2)
    remarks = lines_in(trace_report.report(load(export.write(tmp_path / "whole.sqlite"))))
    assert any("--cuda-graph-trace=node" in line and "1 graph launch (7" in line for line in remarks)


@pytest.mark.parametrize("registered", [False, True], ids=["text", "textId"])
def test_text_and_registered_text(tmp_path: Path, registered: bool) -> None:
    export = NsysExport(registered=registered).range("caf\u00e9, seq", 0, 9).range("aten::mm, seq = 5, op_id = 6", 1, 8)
    trace = load(export.write(tmp_path / "text.sqlite"))
    assert ranges(trace) == [("caf\u00e9, seq", 0, 9), ("aten::mm", 1, 8)]
    assert trace.host.kind.tolist() == [HostKind.ANNOTATION, HostKind.OP]
    assert (trace.host.sequence.tolist(), trace.host.external_id.tolist()) == ([MISSING, 5], [MISSING, 6])


def test_both_in_one_file(tmp_path: Path) -> None:
    export = NsysExport().range("by text", 0, 9)
    export.registered = True
    assert ranges(load(export.range("by id", 1, 8).write(tmp_path / "both.sqlite"))) == [
        ("by text", 0, 9),
        ("by id", 1, 8),
    ]


@pytest.mark.parametrize(
    ("text", "name", "sequence"),
    [
        ("aten::mm", "aten::mm", MISSING),
        ("aten::mm, seq = 12", "aten::mm", 12),
        ("aten::mm, op_id = 3", "aten::mm", MISSING),
        ("aten::mm, seq = 12, op_id = 3, sizes = [[2, 3], [3, 4]]", "aten::mm", 12),
        ("aten::mm, seq = 12, sizes = [], input_op_ids = [(1,0)]", "aten::mm", 12),
        ("odd, seq = x", "odd, seq = x", MISSING),
        ("two\nlines, seq = 4", "two\nlines", 4),
        ("", "", MISSING),
    ],
)
def test_what_emit_nvtx_appends(tmp_path: Path, text: str, name: str, sequence: int) -> None:
    trace = load(NsysExport().range("x", 0, 9).range(text, 1, 2).write(tmp_path / "emit.sqlite"))
    assert (ranges(trace)[1], trace.host.sequence[1]) == ((name, 1, 2), sequence)


def test_tables_that_are_not_there(tmp_path: Path) -> None:
    ranges_only = load(NsysExport().range("a", 0, 9).write(tmp_path / "nvtx.sqlite"))
    assert (len(ranges_only.host), len(ranges_only.device)) == (1, 0)
    trace = load(NsysExport().kernel("k", 0, 9, 1).write(tmp_path / "kernels.sqlite"))
    assert (len(trace.host), trace.device_names().tolist()) == (0, ["k"])
    assert trace_report.report(trace).summary["kernel_time_ns"] == 9


def test_no_string_table(tmp_path: Path) -> None:
    export = NsysExport().kernel("k", 0, 9, 1).range("a", 0, 9)
    export.strings.clear()
    trace = load(export.write(tmp_path / "strings.sqlite"))
    assert (trace.device_names().tolist(), ranges(trace)) == (["string 7"], [("a", 0, 9)])


def test_an_unexpected_extra_column(tmp_path: Path) -> None:
    export = NsysExport().launched("k", 1, 2, 3, correlation=1).range("a", 0, 9, hue="blue", value=1.5)
    export.rows["CUPTI_ACTIVITY_KIND_KERNEL"][0] |= {"flavour": b"\xff", "start2": "later"}
    assert attributed_to(load(export.write(tmp_path / "extra.sqlite"))) == [("k", "a")]


def test_columns_of_nulls_and_of_the_wrong_type(tmp_path: Path) -> None:
    export = NsysExport().launched("k", 1, 2, 3, correlation=1).range("a", 0, 9)
    export.kernel("null", 5, 6, None).kernel("text", 7, 8, "x", graphNodeId="y")  # type: ignore[arg-type]
    export.call("cudaFree", 5, 6, None)
    trace = load(export.write(tmp_path / "odd.sqlite"))
    assert attributed_to(trace) == [("k", "a"), ("null", None), ("text", None)]


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    path = NsysExport().range("a", 0, 9).write(tmp_path / "bytes.sqlite")
    with sqlite3.connect(path) as database:
        database.execute("UPDATE NVTX_EVENTS SET text = CAST(x'61FF62' AS TEXT)")
    assert ranges(load(path)) == [("a\ufffdb", 0, 9)]


def test_copies_and_memsets(tmp_path: Path) -> None:
    export = NsysExport().launched("k", 1, 2, 3, correlation=1)
    place = {"deviceId": 0, "contextId": 1, "streamId": 7, "globalPid": global_tid(100, 0)}
    export.add("CUPTI_ACTIVITY_KIND_MEMCPY", start=4, end=6, bytes=64, copyKind=1, srcKind=0, dstKind=2, **place)
    export.add("CUPTI_ACTIVITY_KIND_MEMCPY", start=6, end=7, bytes=8, copyKind=99, srcKind=9, dstKind=1, **place)
    export.add("CUPTI_ACTIVITY_KIND_MEMSET", start=8, end=9, bytes=32, memKind=2, **place)
    trace = load(export.write(tmp_path / "copies.sqlite"))
    assert list(zip(trace.device_names(), trace.device.bytes, trace.device.kind, strict=True)) == [
        ("k", MISSING, DeviceKind.KERNEL),
        ("Memcpy HtoD (Pageable -> Device)", 64, DeviceKind.MEMCPY),
        ("Memcpy unknown (Unknown -> Pinned)", 8, DeviceKind.MEMCPY),
        ("Memset (Device)", 32, DeviceKind.MEMSET),
    ]


def test_processes_that_see_different_devices_as_their_first(tmp_path: Path) -> None:
    export = NsysExport().kernel("a", 0, 9, 1, pid=100).kernel("b", 0, 9, 1, pid=200)
    export.add("TARGET_INFO_CUDA_DEVICE", gpuId=4, cudaId=0, pid=100).add(
        "TARGET_INFO_CUDA_DEVICE", gpuId=5, cudaId=0, pid=200
    )
    assert load(export.write(tmp_path / "visible.sqlite")).device.device.tolist() == [4, 5]


def test_streams_of_different_contexts_are_different(tmp_path: Path) -> None:
    export = NsysExport().kernel("a", 0, 9, 1, contextId=1).kernel("b", 0, 9, 2, contextId=2).kernel("c", 9, 12, 3)
    streams = load(export.write(tmp_path / "contexts.sqlite")).device.stream.tolist()
    assert streams[0] == streams[2] == 7
    assert streams[1] != 7


def test_one_launch_recorded_by_the_runtime_and_the_driver(tmp_path: Path) -> None:
    export = NsysExport().range("a", 0, 20).call("cudaLaunchKernel_v7000", 5, 10, 1).call("cuLaunchKernel", 6, 9, 1)
    trace = load(export.kernel("k", 11, 12, 1).write(tmp_path / "driver.sqlite"))
    assert attributed_to(trace) == [("k", "a")]


# --- perfkit's own ranges -----------------------------------------------------------------------------------------


def test_the_domain_perfkit_is_read_by_its_own_grammar(tmp_path: Path) -> None:
    export = NsysExport(registered=True).domain("perfkit", 3).domain("perfkit", 1, pid=200)
    export.range("step::0", 0, 90, domainId=3).range("phase::forward", 1, 50, domainId=3)
    export.range("layers.0", 2, 40, domainId=3).range("layers.0", 3, 30)
    export.range("perfkit::layers.0, op_id = 4", 2, 41)  # emit_nvtx saw it too
    export.range("not ours", 60, 70, domainId=1).launched("k", 10, 100, 130, correlation=1)
    trace = load(export.write(tmp_path / "own.sqlite"))
    assert ranges(trace) == [
        ("perfkit.step::0", 0, 90),
        ("perfkit.phase::forward", 1, 50),
        ("perfkit::layers.0", 2, 40),
        ("layers.0", 3, 30),
        ("not ours", 60, 70),
    ]
    report = trace_report.report(trace)
    layers = next(table for table in report.tables if table.name == "layers").frame
    assert layers[["scope", "phase", "total_ns"]].to_numpy().tolist() == [["layers.0", "forward", 30]]
    assert report.summary["steps"] == 1


def _two_processes() -> NsysExport:
    """Two processes whose steps overlap: the second's begin later, and the first launches after they have ended."""
    export = NsysExport()
    for pid, late, until in ((100, 0, 900), (200, 10, 700)):
        export.domain("perfkit", 1, pid)
        for index, begin in enumerate((0, 1000)):
            export.range(f"step::{index}", begin + late, begin + until, pid, domainId=1)
            export.range("fc", begin + 100, begin + until, pid, domainId=1)
            at = begin + until - 20
            export.launched(f"kernel of {pid}", at, at + 10, at + 20, correlation=index + 1, pid=pid)
    return export


def test_steps_of_processes_that_overlap(tmp_path: Path) -> None:
    trace = load(_two_processes().write(tmp_path / "two.sqlite"))
    found = attribute(trace)

    # THEN each belongs to the step of its own process
    steps = [trace.threads[found.steps[step].thread].pid if step != NONE else None for step in found.events.step]
    assert list(zip(map(str, trace.device_names()), steps, strict=True)) == [
        ("kernel of 100", 100), ("kernel of 100", 100), ("kernel of 200", 200), ("kernel of 200", 200),
    ]  # fmt: skip
    assert trace_report.report(trace).summary["kernels"] == 4


def test_passes_are_those_of_the_process_that_a_step_is_of(tmp_path: Path) -> None:
    """GIVEN two processes, each with a forward pass and a kernel in every step WHEN shown THEN it is one a pass"""
    export = _two_processes()
    for pid in (100, 200):
        for begin in (0, 1000):
            export.range("phase::forward", begin + 20, begin + 690, pid, domainId=1)
    for device in (True, False):
        if not device:
            del export.rows["CUPTI_ACTIVITY_KIND_KERNEL"], export.rows["CUPTI_ACTIVITY_KIND_RUNTIME"]
        trace = load(NsysExport(rows=dict(export.rows), strings=export.strings).write(tmp_path / f"{device}.sqlite"))
        found = attribute(trace)
        for steps in ("all", "auto", 0, 1, *((2, 3) if device else ())):
            account = account_for(trace, found, Selection(steps=steps))
            assert passes(account.partial, Phase.FORWARD) == len(account.steps)


def test_host_times_are_of_the_steps_of_one_process(tmp_path: Path) -> None:
    export = _two_processes()
    for table in ("CUPTI_ACTIVITY_KIND_KERNEL", "CUPTI_ACTIVITY_KIND_RUNTIME"):
        del export.rows[table]
    report = trace_report.report(load(export.write(tmp_path / "host.sqlite")))
    assert (report.summary["steps"], report.summary["step_wall_ns"], report.summary["total_ns"]) == (2, 1800, 1800)
    ranges_of = next(table for table in report.tables if table.name == "ranges").frame
    assert ranges_of[["thread", "name", "count"]].to_numpy().tolist() == [
        ["main", "step::*", 2], ["main", "fc", 2], ["other", "step::*", 2], ["other", "fc", 2],
    ]  # fmt: skip


def test_classes_come_from_the_tree_that_the_run_left_beside_its_report(tmp_path: Path) -> None:
    """GIVEN a report of perfkit's and one of somebody's WHEN a tree lies beside them THEN perfkit's has classes"""
    module_tree.save({"Model": "Model", "layers.0": "Block"}, tmp_path)
    own = (
        NsysExport()
        .domain("perfkit", 3)
        .range("layers.0", 2, 40, domainId=3)
        .launched("k", 10, 100, 130, correlation=1)
    )
    foreign = NsysExport().range("layers.0", 2, 40).launched("k", 10, 100, 130, correlation=1)
    view = View(by="class")
    rows = [
        tables_for_people(trace_report.report(load(export.write(tmp_path / f"{name}.sqlite")), view))[2]
        .frame["scope"]
        .tolist()
        for name, export in (("own", own), ("foreign", foreign))
    ]
    assert rows == [["Block"], ["layers.0"]]


def test_a_tree_that_is_a_link_to_another_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    module_tree.save({"Model": "Model"}, tmp_path)
    (tmp_path / "run" / "modules.json").symlink_to("../modules.json")
    own = NsysExport().domain("perfkit", 3).range("layers.0", 2, 40, domainId=3)
    export = own.launched("k", 10, 100, 130, correlation=1).write(tmp_path / "run" / "own.sqlite")
    with pytest.raises(UsageError, match=r"names 'modules\.json', which is not in the folder"):
        load(export)


def test_warm_up_is_left_out_by_default(tmp_path: Path) -> None:
    export = (
        NsysExport().domain("perfkit", 1).range("warmup::0", 0, 40, domainId=1).range("step::0", 50, 90, domainId=1)
    )
    export.range("fc", 1, 30, domainId=1).range("fc", 51, 80, domainId=1)
    export.launched("k", 2, 3, 10, correlation=1).launched("k", 52, 53, 58, correlation=2)
    assert trace_report.report(load(export.write(tmp_path / "w.sqlite"))).summary["kernel_time_ns"] == 5


def test_the_range_round_all_measured_steps_is_no_module(tmp_path: Path) -> None:
    export = (
        NsysExport().domain("perfkit", 1).range("warmup::0", 0, 40, domainId=1).range("measure", 45, 99, domainId=1)
    )
    export.range("step::0", 50, 90, domainId=1).range("fc", 51, 80, domainId=1).range(
        "module::measure", 60, 70, domainId=1
    )
    export.launched("in fc", 52, 53, 58, correlation=1).launched("after the step", 95, 96, 98, correlation=2)
    report = trace_report.report(load(export.write(tmp_path / "m.sqlite")), View(Selection(steps="all")))
    layers = next(table for table in report.tables if table.name == "layers").frame
    assert layers[["scope", "total_ns"]].to_numpy().tolist() == [["fc", 5], ["<unattributed>", 2]]


def test_all_steps_of_a_report_without_gpu_work_are_warm_up_too(tmp_path: Path) -> None:
    export = (
        NsysExport().domain("perfkit", 1).range("warmup::0", 0, 40, domainId=1).range("measure", 45, 99, domainId=1)
    )
    export.range("step::0", 50, 90, domainId=1).range("fc", 1, 30, domainId=1).range("fc", 51, 80, domainId=1)
    trace = load(export.write(tmp_path / "a.sqlite"))
    measured, everything = (
        next(table for table in report.tables if table.name == "ranges").frame[["name", "count"]].to_numpy().tolist()
        for report in (trace_report.report(trace), trace_report.report(trace, View(Selection(steps="all"))))
    )
    assert measured == [["step::*", 1], ["fc", 1]]
    assert everything == [["fc", 2], ["measure", 1], ["step::*", 1], ["warmup::*", 1]]


def test_a_report_without_gpu_work_has_a_table_of_ranges(tmp_path: Path) -> None:
    export = NsysExport().domain("perfkit", 1).range("step::0", 0, 100, domainId=1).range("fc", 10, 60, domainId=1)
    export.range("fc", 70, 90, domainId=1).range("before", -50, -10).range("backward", 20, 30, tid=7)
    report = trace_report.report(load(export.write(tmp_path / "cpu.sqlite")))
    table = next(table for table in tables_for_people(report) if table.name == "ranges").frame
    assert table[["name", "count", "total_ns", "self_ns"]].to_numpy().tolist() == [
        ["step::*", 1, 100, 30], ["fc", 2, 70, 70], ["backward", 1, 10, 10],
    ]  # fmt: skip
    assert "no GPU work was captured" in lines_in(report)[0]


def test_a_report_without_gpu_work_counts_ranges_in_every_table(tmp_path: Path) -> None:
    # GIVEN a step of a module that is called twice and has three backward nodes, and no operators
    export = NsysExport().domain("perfkit", 1).range("step::0", 0, 100, domainId=1)
    export.range("fc", 10, 20, domainId=1).range("fc", 20, 30, domainId=1).call("cudaFree", 12, 13, 1)
    for start in (50, 60, 70):
        export.range("backward::fc", start, start + 5, domainId=1)
    tables = {table.name: table for table in trace_report.report(load(export.write(tmp_path / "count.sqlite"))).tables}

    # THEN
    layers = tables["layers"].frame[["scope", "phase", "count", "total_ns"]].to_numpy().tolist()
    assert layers == [
        ["fc", "forward", 2, 20], ["fc", "backward", 3, 15], ["<unattributed>", "other", 1, 65],
    ]  # fmt: skip
    for name in ("layers", "phases", "groups"):
        assert tables[name].frame["count"].sum() == 6
    assert {column.name: column.note for column in tables["layers"].columns}["count"] == "ranges"

    # and the table of operators lists none
    assert tables["kernels"].frame[["name", "count"]].to_numpy().tolist() == [["<unattributed>", 0]]


def test_a_report_of_operators_alone_has_them_for_layers(tmp_path: Path) -> None:
    def remarks(export: NsysExport, name: str) -> tuple[str, ...]:
        export.range("aten::mm, seq = 5", 0, 50).launched("k", 10, 20, 30, correlation=1)
        return lines_in(trace_report.report(load(export.write(tmp_path / name))))

    hint = "no range names a module: tables by layer have a row for each operator"
    assert any(hint in line for line in remarks(NsysExport(), "alone.sqlite"))
    assert not any(hint in line for line in remarks(NsysExport().range("mine", 0, 60), "mine.sqlite"))


# --- files that are none ------------------------------------------------------------------------------------------


def test_an_empty_database(tmp_path: Path) -> None:
    path = tmp_path / "empty.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("VACUUM")
    with pytest.raises(UsageError, match="not an Nsight Systems export"):
        load(path)


def test_an_export_of_nothing(tmp_path: Path) -> None:
    path = (
        NsysExport().add("META_DATA_EXPORT", name="EXPORT_PRODUCT_VERSION", value="2024.1").write(tmp_path / "n.sqlite")
    )
    with pytest.raises(UsageError, match="neither NVTX ranges nor CUDA work"):
        load(path)


def test_a_database_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE birds (name TEXT)")
    with pytest.raises(UsageError, match="not an Nsight Systems export"):
        load(path)


def test_files_that_are_no_database(tmp_path: Path) -> None:
    whole = (
        NsysExport().range("a", 0, 9).launched("k", 1, 2, 3, correlation=1).write(tmp_path / "w.sqlite").read_bytes()
    )
    for name, content in {
        "header": b"SQLite format 3\0" + b"no page" * 99,
        "cut": whole[: len(whole) // 2],
        "magic": whole[:16],
        "overwritten": whole[:100] + b"\xa5" * (len(whole) - 100),
    }.items():
        path = tmp_path / f"{name}.sqlite"
        path.write_bytes(content)
        with pytest.raises(UsageError) as caught:
            load(path)
        assert "\n" not in str(caught.value)
        assert str(caught.value).endswith("; export it again")
        assert "SELECT" not in str(caught.value)


def test_a_file_that_is_being_written(tmp_path: Path) -> None:
    path = NsysExport().range("a", 0, 9).write(tmp_path / "busy.sqlite")
    writing = (
        "import sqlite3, sys; database = sqlite3.connect(sys.argv[1]); database.execute('BEGIN EXCLUSIVE');"
        "database.execute('UPDATE NVTX_EVENTS SET start = 1'); print(flush=True); sys.stdin.read()"
    )  # a process of its own: sqlite's locks are the process's
    command = [sys.executable, "-I", "-c", writing, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        with pytest.raises(UsageError, match=r"cannot be read: database is locked; try again when no program writes"):
            load(path)


def test_reading_leaves_the_file_and_its_folder_alone(tmp_path: Path) -> None:
    path = NsysExport().range("a", 0, 9).write(tmp_path / "odd name?#%41.sqlite")
    before = path.read_bytes()
    path.chmod(0o444)
    load(path)
    assert (path.read_bytes(), [p.name for p in tmp_path.iterdir()]) == (before, [path.name])


def test_a_report_and_no_nsys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.nsys-rep"
    path.write_bytes(b"NVIDIA Tegra Profiler Report 1.\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="scripts/install-nsys"):
        load(path)


# --- backward nodes by emit_nvtx ----------------------------------------------------------------------------------


def test_backward_nodes_find_their_process_and_thread(tmp_path: Path) -> None:
    """Two processes run the same program: each has its forward thread and its backward thread."""
    export = NsysExport()
    for pid in (100, 200):
        offset = pid // 100
        export.range(f"layer of {pid}", offset, 50, pid).range("aten::mm, seq = 3, op_id = 1", 10 + offset, 20, pid)
        export.range("autograd::engine::evaluate_function: MmBackward0, op_id = 2", 60, 90, pid, pid + 1)
        export.range("MmBackward0, seq = 3, op_id = 3", 61, 89, pid, pid + 1)
        export.call("cudaLaunchKernel", 70, 71, 9, pid, pid + 1).kernel(f"grad {pid}", 80, 85, 9, pid)
    trace = load(export.write(tmp_path / "backward.sqlite"))
    found = attribute(trace)
    paths = [found.paths[path] for path in found.events.path.tolist()]
    assert paths == ["layer of 100", "layer of 200"]
    assert (found.links.numbered.sum(), (found.links.target[found.links.numbered] != NONE).sum()) == (2, 2)


def test_a_reentrant_checkpoint_links_to_what_was_recomputed(tmp_path: Path) -> None:
    """The number 3 is on both threads; the node inside the checkpoint's node was made by the operation in there."""
    engine = "autograd::engine::evaluate_function: "
    export = NsysExport().range("layer", 0, 50).range("other", 51, 59)
    export.range("CheckpointFunction, seq = 8", 2, 40).range("aten::mm, seq = 3", 52, 53)
    export.range(f"{engine}CheckpointFunctionBackward", 60, 99, tid=7)
    export.range("CheckpointFunctionBackward, seq = 8", 61, 98, tid=7)
    export.range("aten::mm, seq = 3", 62, 64, tid=7)
    export.range(f"{engine}MmBackward0", 70, 90, tid=7).range("MmBackward0, seq = 3", 71, 89, tid=7)
    found = attribute(load(export.write(tmp_path / "reentrant.sqlite")))
    host = found.host
    node = next(r for r in range(len(host.name)) if host.name_of(r) == "MmBackward0")
    assert host.start[found.links.target[node]] == 62
    assert found.paths[found.ranges.path[node]] == "layer"


@pytest.mark.corpus
@pytest.mark.parametrize("name", ["v100_training", "a100_ddp_training", "a100_small_iterations"])
def test_a_kineto_trace_written_as_nsys_would_gives_the_same_table(tmp_path: Path, name: str) -> None:
    kineto = load(corpus_file(f"kineto/{name}.json.gz"))
    nsys = load(as_nsys(kineto).write(tmp_path / "converted.sqlite"))
    reports = [trace_report.report(trace) for trace in (kineto, nsys)]
    for table in ("layers", "phases", "copies"):
        frames = [next(t for t in report.tables if t.name == table).frame for report in reports]
        keys = [c for c in frames[0].columns if c in ("scope", "phase", "name", "count", "total_ns", "exclusive_ns")]
        assert sorted(map(tuple, frames[0][keys].to_numpy().tolist())) == sorted(
            map(tuple, frames[1][keys].to_numpy().tolist())
        )


# --- real exports -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def h100() -> Trace:
    return load(corpus_file("nsys/h100_2gpu_1s.sqlite"))


@pytest.mark.corpus
def test_h100_totals(h100: Trace) -> None:
    device = h100.device
    time = device.end - device.start
    kernels = device.kind == DeviceKind.KERNEL
    assert (kernels.sum(), time[kernels].sum()) == (3442, 44_829_522)
    per_device = [((kernels & (device.device == d)).sum(), time[kernels & (device.device == d)].sum()) for d in (0, 1)]
    assert per_device == [(1721, 22_385_163), (1721, 22_444_359)]
    launched = kernels & (attribute(h100).events.launch != NONE)
    assert (launched.sum(), time[launched].sum()) == (1632, 23_147_229)
    assert h100.recording.versions == Versions(tool="2026.2.1.210", schema="3.25.0")


@pytest.mark.corpus
def test_h100_innermost_ranges_stay_in_their_process(h100: Trace) -> None:
    found = attribute(h100)
    leaf = found.events.leaf
    inside = np.flatnonzero(leaf != NONE)
    pids = np.array([thread.pid for thread in h100.threads])[found.host.thread[leaf[inside]]]
    assert (pids == h100.device.process[inside]).all()
    kernels = inside[h100.device.kind[inside] == DeviceKind.KERNEL]
    time: Counter[str] = Counter()
    for row in kernels.tolist():
        time[found.host.name_of(leaf[row])] += int(h100.device.end[row] - h100.device.start[row])
    assert time.most_common(1) == [("aten::mm", 19_866_482)]


@pytest.mark.corpus
def test_a_tiny_export_without_nvtx() -> None:
    trace = load(corpus_file("nsys/rtx3080_tiny.sqlite"))
    report = trace_report.report(trace)
    assert (report.summary["kernels"], report.summary["kernel_time_ns"]) == (2, 4129)
    assert report.summary["devices"] == ["NVIDIA GeForce RTX 3080"]
    assert trace.threads[0].name == "python"
    assert "environment" not in str(trace.recording).lower()


def _nsys() -> list[str]:
    """Every nsys on PATH: not each has the scripts of `nsys stats`."""
    found = [shutil.which("nsys", path=folder) for folder in os.get_exec_path()]
    if not any(found):
        pytest.skip("no nsys: scripts/install-nsys installs it")
    return [program for program in found if program]


@pytest.mark.corpus
@pytest.mark.slow
@pytest.mark.parametrize("name", ["h100_2gpu_1s", "rtx3080_tiny"])
def test_kernels_by_name_are_what_nsys_stats_says(tmp_path: Path, name: str) -> None:
    copy = tmp_path / "copy.sqlite"  # nsys may write to it
    shutil.copyfile(corpus_file(f"nsys/{name}.sqlite"), copy)
    said = ""
    for program, report in itertools.product(_nsys(), ("gpukernsum", "cuda_gpu_kern_sum")):
        command = [program, "stats", "-r", report, "-f", "csv", "-q", str(copy)]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        said = said or (done.stdout if "Total Time (ns)" in done.stdout else "")
    if not said:
        pytest.skip("no nsys with the scripts of nsys stats")
    theirs: dict[str, list[int]] = {}
    for row in csv.DictReader(io.StringIO(said[said.index("Time (%)") :])):
        entry = theirs.setdefault(row["Name"], [0, 0])
        entry[0] += int(row["Instances"])
        entry[1] += int(row["Total Time (ns)"])
    tables = trace_report.report(load(corpus_file(f"nsys/{name}.sqlite"))).tables
    kernels = next(table for table in tables if table.name == "kernels").frame
    ours = {row["name"]: [row["count"], row["total_ns"]] for row in kernels.to_dict("records")}
    assert ours == theirs
