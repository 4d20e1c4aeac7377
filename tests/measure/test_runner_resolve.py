"""What a run refuses before anything is built."""

from __future__ import annotations

import os

import pytest

from perfkit.errors import UsageError
from perfkit.measure import runner
from perfkit.schema.config import RunConfig


def test_what_this_machine_cannot_run_is_refused_although_it_is_a_good_configuration():
    cpus = os.cpu_count()
    if cpus is None:
        pytest.skip("this system does not tell")
    assert runner.resolve(RunConfig.of(device="cpu", num_threads=cpus)).step.num_threads == cpus
    with pytest.raises(UsageError, match=f"--num-threads {cpus + 1}: this machine has {cpus} logical CPUs"):
        runner.resolve(RunConfig.of(device="cpu", num_threads=cpus + 1))
