"""Backward in Nsight Systems exports: perfkit's ranges round backward nodes, on whatever thread they run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from perfkit.analysis.attribution.attribute import Phase
from perfkit.analysis.reports import trace as trace_report
from perfkit.analysis.reports.trace import View
from perfkit.analysis.time.account import Selection
from perfkit.schema.report import Report
from perfkit.trace.load import load
from tests.nsys_export import NsysExport
from tests.reports import lines_in

ENGINE = 7
"""Thread of the autograd engine."""


class Program:
    """A training program under nsys: its ranges, and kernels that run a good while after their launch."""

    def __init__(self, *, engine: int = ENGINE) -> None:
        self.export = NsysExport().domain("perfkit", 1)
        self.engine = engine
        self.kernels = 0

    def own(self, text: str, start: int, end: int, tid: int | None = None) -> Program:
        self.export.range(text, start, end, tid=tid, domainId=1)
        return self

    def backward(self, text: str, start: int, end: int) -> Program:
        return self.own(text, start, end, self.engine)

    def kernel(self, at: int, duration: int, tid: int | None = None) -> Program:
        self.kernels += 1
        self.export.call("cudaLaunchKernel_v7000", at, at + 1, self.kernels, tid=tid)
        self.export.kernel(f"k{self.kernels}", 10_000 + 100 * self.kernels, 10_000 + 100 * self.kernels + duration,
                           self.kernels)  # fmt: skip
        return self

    def report(self, folder: Path, selection: Selection | None = None) -> Report:
        trace = load(self.export.write(folder / "program.sqlite"))
        return trace_report.report(trace, View(selection=selection or Selection()))


def table(report: Report, name: str) -> pd.DataFrame:
    return next(table for table in report.tables if table.name == name).frame


def layers(report: Report) -> dict[tuple[str, str], int]:
    """(scope, phase) -> ns."""
    rows: Iterable[Any] = table(report, "layers").itertuples()
    return {(row.scope, row.phase): row.total_ns for row in rows if row.total_ns}


def step(program: Program, begin: int) -> None:
    """Two layers, the first checkpointed; each kernel lasts as long as no other does."""
    index = begin // 1000
    more = index * 10
    program.own(f"step::{index}", begin, begin + 900)
    program.own("phase::forward", begin + 10, begin + 200).own("Net", begin + 20, begin + 190)
    program.own("a", begin + 30, begin + 90).kernel(begin + 40, 1 + more)
    program.own("b", begin + 100, begin + 180).kernel(begin + 110, 2 + more)
    program.own("phase::loss", begin + 210, begin + 250).kernel(begin + 220, 3 + more)
    program.own("phase::backward", begin + 300, begin + 800)
    tid = program.engine
    program.backward("backward::loss", begin + 310, begin + 330).kernel(begin + 320, 4 + more, tid)
    program.backward("backward::b", begin + 340, begin + 360).kernel(begin + 350, 5 + more, tid)
    program.kernel(begin + 365, 6 + more, tid)  # the engine adds two gradients up
    program.backward("backward::a", begin + 400, begin + 500)
    program.backward("recompute::a", begin + 410, begin + 450).kernel(begin + 420, 7 + more, tid)
    program.kernel(begin + 460, 8 + more, tid)
    program.backward("backward::b", begin + 510, begin + 530).kernel(begin + 520, 9 + more, tid)


EXPECTED = {
    ("a", "forward"): 1,
    ("b", "forward"): 2,
    ("loss", "forward"): 3,
    ("loss", "backward"): 4,
    ("b", "backward"): 5 + 9,
    ("<unattributed>", "backward"): 6,
    ("a", "recompute"): 7,
    ("a", "backward"): 8,
}


@pytest.mark.parametrize("engine", [ENGINE, 100], ids=["its own thread", "the main thread"])
def test_kernels_launched_in_backward_go_to_the_module_that_made_the_node(tmp_path: Path, engine: int) -> None:
    # GIVEN
    program = Program(engine=engine)
    step(program, 0)

    # WHEN
    report = program.report(tmp_path)

    # THEN
    assert layers(report) == EXPECTED
    phases = {row.phase: row.total_ns for row in table(report, "phases").itertuples() if row.total_ns}
    assert phases == {"forward": 6, "recompute": 7, "backward": 32}
    assert report.summary["unattributed_reasons_ns"] == {"engine": 6}
    assert report.summary["backward_ranges"] == 4


def test_backward_belongs_to_the_step_in_which_it_ran(tmp_path: Path) -> None:
    # GIVEN two steps, the second with kernels 10 ns longer
    program = Program()
    for begin in (0, 1000):
        step(program, begin)

    # WHEN
    report = program.report(tmp_path, Selection(steps=1))

    # THEN
    assert report.summary["steps"] == 1
    kernels = {key: 1 + (key == ("b", "backward")) for key in EXPECTED}
    assert layers(report) == {key: time + 10 * kernels[key] for key, time in EXPECTED.items()}


def test_a_thread_with_nothing_but_backward_between_ranges_is_backward(tmp_path: Path) -> None:
    """GIVEN no phases WHEN something is launched between two nodes THEN it is backward on the engine's thread only"""
    program = Program().own("a", 0, 50).kernel(60, 1).backward("backward::a", 100, 150).kernel(160, 2, ENGINE)
    assert layers(program.report(tmp_path)) == {("<unattributed>", "backward"): 2, ("<unattributed>", "other"): 1}


def test_a_recomputed_forward_is_told_without_backward_ranges(tmp_path: Path) -> None:
    program = Program().own("a", 0, 50).kernel(10, 1)
    program.own("phase::backward", 60, 99).own("recompute::a", 70, 90).kernel(80, 2)
    assert layers(program.report(tmp_path)) == {("a", "forward"): 1, ("a", "recompute"): 2}


def test_a_nested_backward_goes_to_the_inner_node(tmp_path: Path) -> None:
    """GIVEN a reentrant checkpoint WHEN it runs its own backward inside its node THEN that is the inner module's"""
    program = Program().own("Net", 0, 90).own("a", 10, 50)
    program.backward("backward::Net", 100, 200).backward("recompute::a", 110, 130).kernel(120, 1, ENGINE)
    program.backward("backward::a", 140, 160).kernel(150, 2, ENGINE).kernel(170, 4, ENGINE)
    assert layers(program.report(tmp_path)) == {("a", "recompute"): 1, ("a", "backward"): 2, ("Net", "backward"): 4}


def test_without_gpu_work_every_range_is_counted_and_the_main_thread_adds_up(tmp_path: Path) -> None:
    # GIVEN backward of `a` on the main thread, of `b` on another one
    program = Program(engine=100).own("step::0", 0, 100).own("phase::forward", 5, 40).own("a", 10, 20).own("b", 20, 35)
    program.own("phase::backward", 45, 90).backward("backward::a", 50, 60).backward("backward::a", 62, 80)
    program.backward("recompute::a", 65, 70).own("backward::b", 50, 70, tid=ENGINE)

    # WHEN
    report = program.report(tmp_path)

    # THEN
    ranges = table(report, "ranges")[["thread", "name", "count", "total_ns", "self_ns"]].to_numpy().tolist()
    assert ranges == [
        ["main", "step::*", 1, 100, 20],
        ["main", "phase::backward", 1, 45, 17],
        ["main", "phase::forward", 1, 35, 10],
        ["main", "backward::a", 2, 28, 23],
        ["main", "b", 1, 15, 15],
        ["main", "a", 1, 10, 10],
        ["main", "recompute::a", 1, 5, 5],
        ["other", "backward::b", 1, 20, 20],
    ]
    assert layers(report) == {
        ("a", "forward"): 10, ("b", "forward"): 15, ("a", "backward"): 23, ("a", "recompute"): 5,
        ("<unattributed>", "forward"): 10, ("<unattributed>", "backward"): 17, ("<unattributed>", "other"): 20,
    }  # fmt: skip
    assert report.summary["total_ns"] == report.summary["step_wall_ns"] == 100


def _both(ranged: str) -> Program:
    """Two layers by emit_nvtx and by perfkit's ranges, the second node's named `ranged`; and two accumulations."""
    program = Program().own("a", 0, 50).own("b", 60, 99)
    program.export.range("aten::mm, seq = 3, op_id = 1", 10, 20).range("aten::mul, seq = 4, op_id = 2", 70, 80)

    def node(name: str, begin: int, hook: str, *, numbered: str = "") -> None:
        program.export.range(f"autograd::engine::evaluate_function: {name}, op_id = 5", begin, begin + 20, tid=ENGINE)
        program.backward(f"backward::{hook}", begin + 2, begin + 18)
        program.export.range(f"{name}{numbered}, op_id = 6", begin + 4, begin + 16, tid=ENGINE)
        program.kernel(begin + 10, 1 + program.kernels, ENGINE)

    node("MulBackward0", 200, ranged, numbered=", seq = 4")
    node("MmBackward0", 300, "a", numbered=", seq = 3")
    node("torch::autograd::AccumulateGrad", 400, "a")
    node("OldBackward0", 500, "b", numbered=", seq = 1")
    return program


def test_both_accounts_in_one_report_agree(tmp_path: Path) -> None:
    # WHEN
    report = _both(ranged="b").report(tmp_path)

    # THEN numbers lead nodes to modules; what has none that leads anywhere goes by its range
    assert layers(report) == {("b", "backward"): 1 + 4, ("a", "backward"): 2 + 3}
    assert "backward ranges agree with sequence numbers: 2 of 2 nodes" in lines_in(report)
    assert not any("integrity, backward" in line for line in lines_in(report))


def test_both_accounts_in_one_report_disagree(tmp_path: Path) -> None:
    # WHEN
    report = _both(ranged="a").report(tmp_path)

    # THEN numbers win, and it is said
    assert layers(report)["b", "backward"] == 1 + 4
    line = (
        "integrity, backward ranges: backward ranges agree with sequence numbers: 1 of 2 nodes;"
        " MulBackward0 is of a by its range and of b by its number (1x)"
    )
    assert line in lines_in(report)


def test_perfkits_own_search_for_nodes_is_no_part_of_what_it_stands_in(tmp_path: Path) -> None:
    program = Program().own("step::0", 0, 100).own("phase::forward", 10, 90).own("a", 20, 40)
    program.own("phase::hooks", 45, 80).own("phase::backward", 92, 99)
    report = program.own("backward::a", 93, 98).own("phase::hooks", 94, 97).report(tmp_path)
    phases = table(report, "phases").set_index("phase")["total_ns"]
    assert (phases["forward"], phases["backward"], phases["other"]) == (45, 4, 13 + 35 + 3)
    assert report.summary["unattributed_reasons_ns"] == {"hooks": 35 + 3, "outside": 13 + 25, "engine": 2}


@pytest.mark.parametrize("phase", [Phase.FORWARD, Phase.RECOMPUTE, Phase.BACKWARD, Phase.OTHER])
def test_a_phase_alone_adds_up_in_the_table_of_ranges_too(tmp_path: Path, phase: Phase) -> None:
    # GIVEN a program without GPU work
    program = Program(engine=100).own("step::0", 0, 100).own("phase::forward", 5, 40).own("a", 10, 20)
    program.own("phase::backward", 45, 90).backward("backward::a", 50, 60).backward("backward::a", 62, 80)
    program.backward("recompute::a", 65, 70)

    # WHEN
    report = program.report(tmp_path, Selection(phase=phase))

    # THEN
    phases = table(report, "phases").set_index("phase")["total_ns"]
    assert table(report, "ranges")["self_ns"].sum() == phases[phase.label] == report.summary["total_ns"]
