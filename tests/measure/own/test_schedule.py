"""A schedule refuses to be empty."""

from __future__ import annotations

import pytest

from perfkit.errors import UsageError
from perfkit.measure.own.schedule import Schedule


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"active": 0}, "active=0: nothing would be measured: must be 1 or more"),
        ({"repeat": 0}, "repeat=0: nothing would be measured: must be 1 or more"),
        ({"wait": -1}, "wait=-1: must be 0 or more"),
        ({"warmup": -2}, "warmup=-2: must be 0 or more"),
    ],
)
def test_what_measures_nothing_is_refused(fields: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        Schedule(**fields)
    assert str(refused.value) == message


def test_the_first_measured_step_comes_after_those_that_wait_and_warm_up() -> None:
    assert Schedule(wait=3, warmup=2).first == 6
