"""A device below its nominal clock."""

from __future__ import annotations

import msgspec
import pytest

from perfkit.analysis.findings.performance.case import Case
from perfkit.analysis.findings.performance.program.clocks import lower_clocks
from perfkit.schema.probes import GpuSample
from perfkit.trace.recording import Device
from tests.analysis.findings.performance.cases import case_of, sibling
from tests.builders import TraceBuilder
from tests.runs import saved

A100 = "NVIDIA A100-SXM4-80GB"  # boost clock 1,410 MHz by its datasheet


def case(mhz: int, *, name: str = A100, count: int = 5, utilization: int | None = 99, reasons: int = 0) -> Case:
    """A step of 1,000 ns, 900 of which the device computes, and samples at one clock."""
    trace = TraceBuilder().step(0, 0, 1000).launched("gemm", 1, 50, 950).build()
    made = case_of(sibling(trace, devices=(Device(0, name),)))
    gpu = tuple(GpuSample(at_s=float(at), sm_mhz=mhz, utilization=utilization, reasons=reasons) for at in range(count))
    return msgspec.structs.replace(made, record=saved(gpu=gpu))


def test_a_clock_a_third_below_the_nominal_one():
    """GIVEN 940 of 1,410 MHz while the device computes for 900 ns THEN a third of these are at stake"""
    finding = lower_clocks(case(940, reasons=0x4))
    assert finding is not None
    assert finding.cost.ns == 300
    assert "ran at 940 MHz while it was busy (median), 33.3% below its 1,410 MHz" in finding.what
    assert "its power limit holds it down in 100.0% of the samples" in finding.what


@pytest.mark.parametrize(("mhz", "said"), [(1269, True), (1270, False), (1410, False)])
def test_a_tenth_below(mhz, said):
    assert (lower_clocks(case(mhz)) is not None) == said


@pytest.mark.parametrize(("bits", "said"), [(0x20, "its temperature"), (0x2, "a setting of its clocks"), (0x1, "")])
def test_reasons(bits, said):
    finding = lower_clocks(case(900, reasons=bits))
    assert finding is not None
    assert ("holds it down" in finding.what) == bool(said)
    assert said in finding.what


@pytest.mark.parametrize("lacking", ["device", "samples", "load", "record"])
def test_without_evidence_it_abstains(lacking):
    one = {
        "device": lambda: case(900, name="a GPU"),
        "samples": lambda: case(900, count=4),
        "load": lambda: case(900, utilization=None),
        "record": lambda: msgspec.structs.replace(case(900), record=None),
    }[lacking]()
    assert lower_clocks(one) is None
