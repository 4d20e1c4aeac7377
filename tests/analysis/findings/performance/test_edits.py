"""What is taken away for a finding: its kernels, the operators that launched them, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from perfkit.analysis.findings.performance import catalogue, edits
from perfkit.analysis.findings.performance.case import Case
from perfkit.analysis.findings.performance.edits import without
from perfkit.analysis.time.replay.edit import Edit
from perfkit.analysis.time.replay.replay import gain
from perfkit.schema.finding import Cost, Evidence, Finding, Rule
from perfkit.trace.columns import DeviceKind, HostKind
from tests.analysis.findings.performance.cases import MS, US, case_of
from tests.builders import TraceBuilder

FINDING = Finding(Rule("made-by-a-test", "performance", ""), "", Cost(0), (Evidence("kernels", {"name": "odd"}),))


def changed(case: Case, edit: Edit) -> tuple[list[str], list[str]]:
    """The names of the device events and the host ranges that an edit changes."""
    none = np.zeros(0, dtype=bool)
    device = np.flatnonzero(none if edit.device is None else edit.device).tolist()
    host = np.flatnonzero(none if edit.host is None else edit.host).tolist()
    return [case.trace.names[case.trace.device.name[row]] for row in device], [case.host.name_of(row) for row in host]


def rows_named(case: Case, name: str) -> np.ndarray:
    return case.account.name == case.trace.names.index(name)


def nested() -> Case:
    """aten::linear launches a cast, in aten::to, and a matmul."""
    b = TraceBuilder().step(0, 0, 100).range("aten::linear", 0, 80).range("aten::to", 5, 30).range("aten::copy_", 6, 29)
    b.launched("cast", 10, 20, 30).range("aten::addmm", 40, 70).launched("gemm", 50, 60, 80)
    return case_of(b)


def test_of_an_operator_that_does_more_its_inner_one_goes():
    case = nested()
    assert changed(case, without(case, rows_named(case, "cast"))) == (["cast"], ["aten::copy_"])


def test_an_operator_that_launched_nothing_else_goes_whole():
    case = nested()
    both = rows_named(case, "cast") | rows_named(case, "gemm")
    assert changed(case, without(case, both)) == (["cast", "gemm"], ["aten::linear"])


def test_casts_of_a_step_that_the_device_paces():
    """GIVEN three kernels in a row, of which one is a cast of 30 us WHEN it is gone THEN so are its 30 us"""
    b = TraceBuilder().step(0, 0, 200 * US).range("aten::mm", 0, 10).launched("gemm", 1, 10, 60 * US)
    b.range("aten::to", 20, 40).range("aten::_to_copy", 21, 39).range("aten::copy_", 22, 38)
    b.launched("cast", 25, 60 * US, 90 * US).range("aten::mm", 50, 60).launched("gemm", 51, 90 * US, 190 * US)
    b.range("cudaDeviceSynchronize", 70, 195 * US, HostKind.RUNTIME)
    case = case_of(b)
    assert case.replay is not None
    found = gain(case.replay.graph, edits.without_casts(case, FINDING), case.replay)
    assert found is not None
    assert found.ns_per_step == 30 * US


def test_fp32_on_tensor_cores_takes_an_eighth():
    case = case_of(
        TraceBuilder().step(0, 0, 100).launched("volta_sgemm_128x64_tn", 1, 10, 90).launched("relu", 2, 90, 95)
    )
    edit = edits.on_tensor_cores(case, FINDING)
    assert (changed(case, edit)[0], edit.factor) == (["volta_sgemm_128x64_tn"], 1 / 8)


def test_a_hot_spot_is_the_kernel_that_the_finding_names():
    case = case_of(TraceBuilder().step(0, 0, 100).launched("odd", 1, 10, 90).launched("relu", 2, 90, 95))
    assert changed(case, edits.without_hot_spot(case, FINDING))[0] == ["odd"]


def test_chains_keep_what_one_kernel_takes():
    """GIVEN a chain of three operations of 10 ns with a cost of 20 THEN a third is left of each"""
    b = TraceBuilder().step(0, 0, 100)
    for number, name in enumerate(("mul", "add", "tanh")):
        b.range(f"aten::{name}", number * 10, number * 10 + 9)
        b.launched(f"{name}_kernel", number * 10 + 1, 30 + number * 10, 40 + number * 10)
    case = case_of(b)
    edit = edits.fused_chains(case, Finding(FINDING.rule, "", Cost(20)))
    assert edit.factor == pytest.approx(1 / 3)
    assert len(changed(case, edit)[0]) == 3


@pytest.mark.parametrize("look", [one for one in catalogue.LOOKS if one.edit], ids=lambda one: one.rule.id)
def test_every_edit_fits_its_trace(look):
    """GIVEN a trace with a bit of everything THEN each edit names only events and ranges that there are"""
    b = TraceBuilder().step(0, 0, MS).range("aten::mm", 10, 20, sequence=1).launched("odd", 15, 30, 40)
    b.range("aten::to", 50, 90).launched("Memcpy HtoD (Pageable -> Device)", 60, 70, 80, kind=DeviceKind.MEMCPY)
    b.node("MmBackward0", 200, 300, 1).launched("volta_sgemm", 210, 220, 260)
    b.launched("ncclDevKernel_AllReduce", 310, 320, 330, stream=20)
    case = case_of(b)
    edit = look.edit(case, FINDING)
    if edit is None:
        return
    assert edit.device is None or len(edit.device) == len(case.trace.device.start)
    assert edit.host is None or len(edit.host) == len(case.host.name)
    assert 0 <= edit.factor <= 1
