"""A function of the user's is called once before a study measures anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perfkit.analysis.attention.runs import cell_of
from perfkit.commands.processes.own_attention import check
from perfkit.errors import UsageError
from perfkit.schema.campaign import Finished
from perfkit.schema.config import RunConfig
from tests.sweeps import finished


def test_one_pass_of_the_function_alone():
    """GIVEN a function that works THEN one pass of it was run where it is to be measured, and nothing remains"""
    asked: list[tuple[RunConfig, Path]] = []

    def run(config: RunConfig, folder: Path, **_: Any) -> Finished:
        asked.append((config, folder))
        return finished()

    check("mine:f", 512, 32, "cpu", run)
    [(config, folder)] = asked
    cell = cell_of(config)
    assert (cell.implementation, cell.function, cell.sequence, cell.width) == ("function", "mine:f", 512, 32)
    assert (config.step.device, config.measurement.measure_steps) == ("cpu", 1)
    assert not folder.parent.exists()


@pytest.mark.parametrize("outcome", ["error", "oom"])
def test_its_mistake_is_raised_in_its_own_words(outcome: str):
    """GIVEN a function of another module THEN its words are raised; want of memory is left to the grid"""

    def run(*_: Any, **__: Any) -> Finished:
        return finished(outcome=outcome, exit_code=2, stderr_tail="perfkit: --function m:f: No module named 'm'\n")

    if outcome == "oom":
        check("m:f", 256, 16, "cpu", run)
        return
    with pytest.raises(UsageError, match=r"^--function m:f: No module named 'm'$"):
        check("m:f", 256, 16, "cpu", run)
