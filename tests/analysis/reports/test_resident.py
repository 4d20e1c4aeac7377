"""What a CPU's peak memory is of."""

from __future__ import annotations

from typing import Any

import pytest

from perfkit.analysis.memory import model as memory_model
from perfkit.analysis.reports import resident
from perfkit.analysis.reports.run import result_table
from perfkit.schema import units
from perfkit.schema.config import RunConfig
from perfkit.schema.parts.step import Step
from perfkit.schema.parts.workloads import Own
from perfkit.schema.record import MemoryPeaks
from tests import runs

MIB = 2**20


def said(memory: MemoryPeaks, **changes: Any) -> str | None:
    found = resident.finding(runs.saved(memory=memory, config=runs.quick(**changes)))
    return None if found is None else found.what


def test_a_cpus_peak_stands_beside_what_its_tensors_take():
    # GIVEN
    predicted = memory_model.estimate(runs.quick()).peak

    # THEN as predicted, or as recorded
    assert said(MemoryPeaks(resident=400 * MIB)) == (
        "peak memory 400.0 MiB is what the process occupies (resident set); tensors take"
        f" {units.size(predicted)} of it by the formula, and the rest is Python, PyTorch and freed memory that the C"
        " library keeps"
    )
    assert "tensors take 30.0 MiB of it as recorded," in str(said(MemoryPeaks(resident=400 * MIB, tensors=30 * MIB)))
    rows = result_table([runs.saved(memory=MemoryPeaks(resident=400 * MIB))]).frame
    assert list(rows.tensor_bytes) == [predicted]


@pytest.mark.parametrize("changes", [{"checkpoint": True}, {"checkpoint_every": 2}])
def test_checkpointing_imports_the_compiler(changes):
    assert "first checkpoint imports PyTorch's compiler, about 70 MiB" in str(
        said(MemoryPeaks(resident=MIB), **changes)
    )


@pytest.mark.parametrize(
    "record",
    [
        runs.saved(memory=MemoryPeaks(allocated=1, reserved=2, resident=3)),
        runs.saved(memory=MemoryPeaks()),
        runs.saved(memory=MemoryPeaks(resident=3), steps=()),
        runs.saved(memory=MemoryPeaks(resident=3), config=runs.quick(compile="model")),
        runs.saved(memory=MemoryPeaks(resident=3), config=RunConfig(workload=Own(name="my"), step=Step(device="cpu"))),
    ],
    ids=["a GPU", "no peak", "no step", "compiled", "a model of the caller's"],
)
def test_there_is_nothing_to_say_without_both(record):
    assert resident.finding(record) is None
