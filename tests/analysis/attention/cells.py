"""Cells and results by hand: batch 2, so that numbers can be multiplied in the head."""

from __future__ import annotations

from typing import Any

from perfkit.analysis.attention.results import Outcome, Result
from perfkit.analysis.attention.runs import config_of
from perfkit.schema.parts.attention import Cell
from perfkit.schema.record import RunRecord
from tests.runs import sample, saved


def cell(implementation: str = "eager", sequence: int = 100, width: int = 10, **changes: Any) -> Cell:
    settings: dict[str, Any] = {"sequence": sequence, "width": width, "implementation": implementation, "batch": 2}
    return Cell(**(settings | changes))


def without_times(one: Cell, outcome: Outcome, **changes: Any) -> Result:
    return Result(cell=one, outcome=outcome, **changes)


def result(one: Cell, forward_s: float = 1.0, backward_s: float = 2.0, **changes: Any) -> Result:
    measured: dict[str, Any] = {
        "outcome": "ok", "passes": 3, "forward_s": forward_s, "backward_s": backward_s,
        "both_s": forward_s + backward_s, "total_s": 3 * (forward_s + backward_s),
    }  # fmt: skip
    return Result(cell=one, **(measured | changes))


def record(one: Cell, *times: tuple[float, float], **changes: Any) -> RunRecord:
    """A record of passes of these times forward and backward."""
    steps = tuple(sample(ahead + back + 0.5, forward=ahead, loss=0.1, backward=back) for ahead, back in times)
    config = config_of(one, "cpu", passes=max(1, len(times)), warmup=1)
    return saved(**({"config": config, "steps": steps} | changes))
