"""A cell of the grid as a run's configuration, and back."""

from __future__ import annotations

import pytest

from perfkit.analysis.attention.runs import cell_of, config_of, key_of
from perfkit.commands.inputs import flags
from perfkit.errors import UsageError
from perfkit.schema.config import RunConfig
from perfkit.schema.parts.attention import Cell

CELLS = {
    "eager": Cell(sequence=256, width=16, implementation="eager"),
    "mine": Cell(sequence=256, width=16, implementation="function", function="pkg.sub:mine", causal=True),
    "half": Cell(sequence=300, width=8, implementation="sdpa-flash", batch=1, precision="bf16"),
}


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_survives_the_command_line_of_its_run(name):
    cell = CELLS[name]
    config = config_of(cell, "cpu", passes=7, warmup=2)
    again = flags.config_of(" ".join(config.flags()))
    assert cell_of(again) == cell
    assert (again.measurement.measure_steps, again.measurement.warmup_steps) == (7, 2)


def test_keys_tell_apart_whatever_was_asked_for():
    cell = CELLS["eager"]
    configs = [config_of(cell, *said) for said in (("cpu", 7, 2), ("cpu", 8, 2), ("cuda", 7, 2))]
    assert len({key_of(cell, config) for config in configs}) == 3


def test_another_run_has_no_cell():
    with pytest.raises(UsageError, match="no run of attention"):
        cell_of(RunConfig.of(model_size="tiny"))
