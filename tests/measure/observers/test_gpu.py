"""The GPU sampler as an observer, against a script that stands in for the process that samples."""

from __future__ import annotations

import sys
import time

from perfkit.measure.loop import StepId
from perfkit.measure.observers.gpu import GpuSampler
from perfkit.schema.probes import GpuSample
from tests.runs import sample, saved

FIRST, LAST = GpuSample(at_s=1.5, sm_mhz=1980), GpuSample(at_s=2.5)
STAND_IN = """
import sys
print('{"at_s": 1.5, "sm_mhz": 1980}\\n{"at_s"', end="", flush=True)
sys.stdin.read()
print(': 2.5}')
sys.stdout.write('{"at_s": 3')
"""
PATIENT = 200.0
"""Python may start and end as slowly as it likes."""


def sampler(code: str, patience_s: float = PATIENT) -> GpuSampler:
    return GpuSampler("GPU-1", (sys.executable, "-c", code), patience_s=patience_s)


def test_samples_are_known_while_steps_run_and_half_a_line_waits_for_its_end():
    # GIVEN
    gpu = sampler(STAND_IN)

    # WHEN steps pass until the process has started
    while not gpu.samples:
        gpu.after(StepId("measured", 0), sample())
        time.sleep(0.001)

    # THEN
    assert gpu.add_to(saved()).gpu == (FIRST,)
    gpu.after(StepId("measured", 1), sample())
    assert gpu.samples == [FIRST]

    # WHEN it is closed THEN the process ends, and what it has written meanwhile is there, but for half a line
    gpu.close()
    assert gpu.add_to(saved()).gpu == (FIRST, LAST)


def test_a_run_without_steps_has_the_samples_too():
    gpu = sampler(STAND_IN)
    gpu.close()
    assert gpu.samples == [FIRST, LAST]


def test_a_process_that_does_not_end_is_killed():
    gpu = sampler("import time; time.sleep(60)", patience_s=0.05)
    gpu.close()
    assert gpu._process.returncode == -9
    assert gpu.samples == []


def test_many_samples_are_read_to_their_end():
    gpu = sampler("print('{\"at_s\": 1.5}\\n' * 100_000, end='')")
    gpu.close()
    assert len(gpu.samples) == 100_000
