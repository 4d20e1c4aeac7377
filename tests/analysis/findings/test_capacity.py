"""Runs that need more memory than their GPU has."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from perfkit.analysis.findings.capacity import over_capacity
from perfkit.schema.config import RunConfig
from perfkit.schema.probes import GpuSample
from perfkit.schema.record import MemoryPeaks, RunRecord
from tests.runs import ENVIRONMENT, sample, saved

LAPTOP = dataclasses.replace(
    ENVIRONMENT, device="cuda", device_name="NVIDIA GeForce RTX 4090 Laptop GPU", device_memory=16_375 * 2**20
)


def run(size: str, seconds: float, **changes: Any) -> RunRecord:
    """The report that perfkit began with: batch 4, context 512, fp32, forward and backward."""
    fields = {"model_size": size, "batch_size": 4, "context_length": 512, "pass_type": "forward-backward"}
    config = RunConfig.of(**fields).resolved("cuda")
    record = saved(config=config, environment=LAPTOP, steps=(sample(seconds),) * 3)
    return dataclasses.replace(record, **changes)


def test_a_step_of_17_8_seconds():
    """GIVEN large on 16 GB, which takes 17.8 s THEN it needs 15.90 GiB of tensors and 0.5 of CUDA, and spills

    15.90 GiB are those of tests/analysis/memory/test_model.py. 6 FLOPs for each of 969.4 M parameters and 2,048 tokens
    are 11.9 TFLOP, attention some more, and the card does 33 TFLOP/s at its 1,695 MHz: 0.4 s.
    """
    finding = over_capacity(run("large", 17.8))
    assert finding is not None
    assert "the step needs 15.9 GiB for tensors" in finding.what
    assert "a step takes 17.80 s" in finding.what
    assert finding.cost.ns == pytest.approx(17.4e9, rel=0.01)
    assert finding.sure == "derived"
    assert "--batch-size" in finding.advice


@pytest.mark.parametrize(("size", "seconds"), [("small", 0.308), ("medium", 0.928), ("large", 2.5)])
def test_steps_that_fit(size, seconds):
    """GIVEN small and medium as they ran, and large in the 2 to 3 s that they predict THEN nothing has spilled"""
    assert over_capacity(run(size, seconds)) is None


def test_what_cannot_fit_at_all_needs_no_slow_step():
    """GIVEN xl, 34 GiB by the formula, on 16 GB THEN its step has spilled, however fast it is"""
    assert over_capacity(run("xl", 1.0)) is not None


def test_an_allocator_that_held_more_than_there_is():
    held = MemoryPeaks(allocated=10 * 2**30, reserved=17 * 2**30)
    finding = over_capacity(run("small", 0.3, memory=held))
    assert finding is not None
    assert finding.sure == "measured"
    assert "the allocator held 17.0 GiB; the GPU has 16.0 GiB" in finding.what
    assert over_capacity(run("small", 0.3, memory=MemoryPeaks(reserved=16_375 * 2**20))) is None


def test_an_unknown_device_has_no_prediction_of_its_time():
    unknown = dataclasses.replace(LAPTOP, device_name="a GPU")
    assert over_capacity(run("large", 17.8, environment=unknown)) is None
    finding = over_capacity(run("xl", 17.8, environment=unknown))
    assert finding is not None
    assert finding.cost.ns is None


def test_the_measured_clock_decides_the_peak():
    """GIVEN samples of half the clock THEN the FLOPs take twice as long"""
    clocks = tuple(
        GpuSample(at_s=float(second), sm_mhz=mhz, utilization=99) for second, mhz in enumerate([840, 848, 900])
    )
    nominal, slow = over_capacity(run("large", 17.8)), over_capacity(run("large", 17.8, gpu=clocks))
    assert nominal is not None
    assert slow is not None
    seconds = [17.8 - (one.cost.ns or 0) * 1e-9 for one in (nominal, slow)]
    assert seconds[1] / seconds[0] == pytest.approx(1695 / 848, rel=0.001)


def test_a_cpu_has_no_card():
    assert over_capacity(saved(memory=MemoryPeaks(resident=2**40))) is None
    assert over_capacity(run("large", 17.8, steps=())) is None
