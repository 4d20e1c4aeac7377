"""Sides of comparisons by hand: processes whose steps and starts are known."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

from perfkit.analysis.runs import comparison
from perfkit.analysis.runs.comparison import Comparison, compare
from perfkit.analysis.runs.processes import Side, side_of
from perfkit.schema.record import RunRecord
from tests.runs import ENVIRONMENT, quick, sample, saved

SPREAD = (-1.2, -0.6, 0.1, 0.5, 1.2)
"""Levels of five processes, in units of what they differ by."""


def record(level: float = 1.0, environment: dict[str, Any] | None = None, at: int = 0, **config: Any) -> RunRecord:
    """A process whose steps take 20 ms times `level`: 5 forward, 1 loss, 12 backward, 2 the rest."""
    steps = tuple(
        sample(0.02 * level * f, forward=0.005 * level * f, loss=0.001 * level * f, backward=0.012 * level * f)
        for f in (0.99, 1.0, 1.01, 1.5)
    )
    return saved(
        config=quick(**config),
        steps=steps,
        environment=dataclasses.replace(ENVIRONMENT, **(environment or {})),
        created=f"2026-01-02T03:{at:02}:00+00:00",
    )


def side(name: str, records: Iterable[RunRecord]) -> Side:
    return side_of(name, f"runs/{name}", [(f"run{index}", one) for index, one in enumerate(records)])


def five(ratio: float = 1.0, between: float = 0.01, first: int = 0, **changes: Any) -> list[RunRecord]:
    """Five processes, every other minute, that differ by `between`."""
    return [
        record(ratio * math.exp(between * level), at=first + 2 * index, **changes) for index, level in enumerate(SPREAD)
    ]


def compared(ratio: float, between: float = 0.01, **options: Any) -> Comparison:
    return compare(side("A", five(between=between)), side("B", five(ratio, between, first=1)), **options)


def only(found: Comparison) -> comparison.Row:
    [row] = found.steps
    return row


def sweep(ratio: float = 1.0, **changes: Any) -> list[RunRecord]:
    return [
        one for length in (16, 32) for one in five(ratio * length / 16, 0.001, **(changes | {"context_length": length}))
    ]
