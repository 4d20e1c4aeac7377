"""Flags to try after running out of memory."""

from __future__ import annotations

import pytest

from perfkit.measure.observers.suggestions import Suggestions
from perfkit.schema.record import Failure
from tests.runs import saved

FULL = Failure(phase="model", message="out of memory in model", available=2**34)
STOPPED = Failure(phase="model", message="interrupted", signal="SIGINT")


def test_what_to_try_is_asked_for_with_the_configuration_and_what_there_was():
    suggest = Suggestions(lambda config, available: (f"--batch-size {config.step.batch_size // 2}", f"{available}"))
    found = suggest.add_to(saved(status="oom", failure=FULL))
    assert found.failure.suggestions == ("--batch-size 1", f"{2**34}")
    assert found.failure.message == FULL.message


@pytest.mark.parametrize("fields", [{}, {"status": "interrupted", "failure": STOPPED}])
def test_nothing_is_suggested_to_a_run_that_had_the_memory(fields):
    def never(*_: object) -> tuple[str, ...]:
        raise AssertionError

    assert Suggestions(never).add_to(saved(**fields)) == saved(**fields)
