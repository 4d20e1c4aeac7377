"""How often a recording went through each phase."""

from __future__ import annotations

import pytest

from perfkit.analysis.attribution.attribute import Phase
from perfkit.analysis.time.passes import passes
from tests.analysis.time.test_account_rows import account
from tests.builders import TraceBuilder


def passing() -> TraceBuilder:
    """Two forward passes and one backward in each of two steps, a forward before them, and one on another thread."""
    b = TraceBuilder().step(0, 100, 200).step(1, 200, 300).range("perfkit.phase::forward", 50, 60)
    for at in (100, 150, 200, 299):
        b.range("perfkit.phase::forward", at, at + 1)
    for at in (170, 270):
        b.range("perfkit.phase::backward", at, at + 1)
    return b.range("perfkit.phase::forward", 110, 120, thread=1)


@pytest.mark.parametrize(
    ("steps", "phase", "on_device", "expected"),
    [
        ("all", Phase.FORWARD, True, 6), (0, Phase.FORWARD, True, 3), (1, Phase.FORWARD, True, 2),
        ("all", Phase.FORWARD, False, 5), (0, Phase.FORWARD, False, 2),
        ("all", Phase.BACKWARD, True, 2), (0, Phase.BACKWARD, True, 1),
        ("all", Phase.RECOMPUTE, True, 2), (1, Phase.RECOMPUTE, False, 1),
        ("all", Phase.OPTIMIZER, True, 2), (0, Phase.OPTIMIZER, True, 1),  # no range of it: once a step
    ],
)  # fmt: skip
def test_passes_through_a_phase(steps, phase, on_device, expected):
    b = passing().launched("k", 105, 105, 110) if on_device else passing()
    assert passes(account(b, steps).partial, phase) == expected
