"""What became of each cell: the times of its passes, or why there are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from perfkit.analysis.attention import costs
from perfkit.schema import units
from perfkit.schema.campaign import Finished
from perfkit.schema.parts.attention import COMPILED, DEVIATION, EAGER, FIRST_CALL, HELD, Cell
from perfkit.schema.record import RunRecord

Outcome = Literal["ok", "oom", "predicted-oom", "timeout", "host-killed", "error", "not run"]
OUT_OF_MEMORY: tuple[Outcome, ...] = ("oom", "predicted-oom")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One cell. Times in seconds, of one pass; bytes in tensors; None where there is nothing to say."""

    cell: Cell
    outcome: Outcome
    message: str = ""
    """Why it has no times."""
    passes: int = 0
    """Measured."""
    forward_s: float | None = None
    """Median of the passes, as is backward_s."""
    backward_s: float | None = None
    both_s: float | None = None
    """Median of the passes' sums."""
    total_s: float | None = None
    """Of all passes together, forward and backward."""
    spread: float | None = None
    """Standard deviation of the passes' sums over their mean."""
    held_bytes: int | None = None
    """As backward begins."""
    peak_bytes: int | None = None
    available_bytes: int | None = None
    first_call_s: float | None = None
    deviation: float | None = None
    """From eager's result in fp64, as a share of the largest value."""

    @property
    def compile_s(self) -> float | None:
        """What compiling took: the first call beyond a measured one; None where nothing is compiled."""
        if self.cell.implementation != COMPILED or self.first_call_s is None or self.both_s is None:
            return None
        return max(0.0, self.first_call_s - self.both_s)


def of_record(cell: Cell, record: RunRecord) -> Result:
    """The result of a run that has a record."""
    if record.status != "ok" or not record.steps:
        failure = record.failure
        lacking = failure is not None and record.status == "oom"
        message = _lack(cell, failure.requested if failure else None, failure.available if failure else None)
        return Result(
            cell=cell, outcome="oom" if lacking else "error",
            message=message if lacking else failure.message if failure else "no pass was measured",
            available_bytes=failure.available if failure else None,
        )  # fmt: skip
    forward = [step.phases_s["forward"] for step in record.steps]
    backward = [step.phases_s["backward"] for step in record.steps]
    both = [one + other for one, other in zip(forward, backward, strict=True)]
    return Result(
        cell=cell,
        outcome="ok",
        passes=len(both),
        forward_s=median(forward),
        backward_s=median(backward),
        both_s=median(both),
        total_s=sum(both),
        spread=_spread(both),
        held_bytes=_whole(record, HELD),
        peak_bytes=record.memory.in_tensors,
        first_call_s=_number(record, FIRST_CALL),
        deviation=_number(record, DEVIATION),
    )


def of_finished(cell: Cell, finished: Finished) -> Result:
    """The result of a process that ended."""
    if finished.record is not None and finished.outcome in ("ok", "oom"):
        return of_record(cell, finished.record)
    if finished.outcome == "oom":
        return Result(cell=cell, outcome="oom", message=_lack(cell, None, None))
    if finished.outcome == "timeout":
        return Result(cell=cell, outcome="timeout", message=f"stopped after {units.duration(finished.wall_s)}")
    if finished.outcome == "host-killed":
        return Result(cell=cell, outcome="host-killed", message="killed from outside, as systems do for want of memory")
    return Result(cell=cell, outcome="error", message=finished.last_words)


def predicted(cell: Cell, available: int | None) -> Result | None:
    """The result of a cell that is not run, since it is predicted not to fit; None where it may."""
    needed = costs.peak(cell)
    if needed is None or available is None or needed <= available:
        return None
    message = f"not run: needs {units.size(needed)}, and there are {units.size(available)}"
    return Result(cell=cell, outcome="predicted-oom", message=message, available_bytes=available)


def against_eager(results: Sequence[Result]) -> dict[Cell, float]:
    """How many times as fast as eager each cell is, forward and backward together, where both were measured."""
    base = {one.cell.shape: one.both_s for one in results if one.cell.implementation == EAGER and one.both_s}
    return {
        one.cell: base[one.cell.shape] / one.both_s
        for one in results
        if one.both_s and one.cell.shape in base and one.cell.implementation != EAGER
    }


def _lack(cell: Cell, requested: int | None, available: int | None) -> str:
    """`an allocation of 8.0 GiB failed; by the formula a pass needs 24.3 GiB, and there were 20.1 GiB`."""
    needed = costs.peak(cell)
    asked = f"an allocation of {units.size(requested)} failed" if requested else "an allocation failed"
    formula = f"by the formula a pass needs {units.size(needed)}" if needed is not None else ""
    there = f"there were {units.size(available)}" if available is not None else ""
    return "; ".join(filter(None, (asked, ", and ".join(filter(None, (formula, there))))))


def _spread(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    mean = sum(values) / len(values)
    return (sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5 / mean


def _number(record: RunRecord, name: str) -> float | None:
    value = record.observed.get(name)
    return float(value) if isinstance(value, int | float) else None


def _whole(record: RunRecord, name: str) -> int | None:
    value = _number(record, name)
    return None if value is None else round(value)
