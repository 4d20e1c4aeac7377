"""The clock of a run: of busy samples, in the record that has some."""

from __future__ import annotations

from perfkit.analysis.costs.roofline.clock import clock_mhz
from perfkit.schema.probes import GpuSample
from tests.runs import saved


def test_the_clock_while_the_gpu_was_busy():
    """GIVEN samples at 1,500, 1,600 and 1,700 MHz with kernels, and one of an idle GPU at 210 THEN 1,600; a record
    without samples does not know"""
    clocks = ((1_700, 100), (1_500, 90), (210, 0), (1_600, 50), (None, 100))
    gpu = tuple(GpuSample(at_s=float(at), sm_mhz=mhz, utilization=busy) for at, (mhz, busy) in enumerate(clocks))
    assert clock_mhz(saved(), saved(gpu=gpu)) == 1_600
    assert clock_mhz(saved()) is None
