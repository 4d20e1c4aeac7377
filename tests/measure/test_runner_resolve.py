"""What a run refuses before anything is built."""

from __future__ import annotations

import os

import pytest

from perfkit.errors import UsageError
from perfkit.measure import runner
from perfkit.schema.config import RunConfig


def test_what_this_machine_cannot_run_is_refused_although_it_is_a_good_configuration(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert runner.resolve(RunConfig(device="cpu", num_threads=4)).num_threads == 4
    with pytest.raises(UsageError, match="--num-threads 5: this machine has 4 logical CPUs"):
        runner.resolve(RunConfig(device="cpu", num_threads=5))
