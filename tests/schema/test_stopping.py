from __future__ import annotations

import pytest

from perfkit.schema.stopping import exactly
from tests.runs import sample


@pytest.mark.parametrize("count", [0, 1, 3])
def test_exactly_so_many_steps(count: int) -> None:
    """GIVEN a number WHEN asked before each step THEN another follows until there are so many"""
    answers = [exactly(count)([sample()] * n) for n in range(count + 2)]
    assert answers == [None] * count + ["measure-steps"] * 2
