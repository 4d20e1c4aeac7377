"""A finding about peaks that were measured."""

from __future__ import annotations

from perfkit.schema import units
from perfkit.schema.ceilings import Ceilings, Timing
from perfkit.schema.finding import Evidence, Finding, Rule

_MOST_CV = 0.05
_LEAST_SHARE = 0.95

UNSTEADY_PEAKS = Rule(
    "unsteady-peaks", "machine", "measured peaks are too low: times varied by over 5%, or other processes took the CPU"
)


def unsteady(ceilings: Ceilings) -> Finding | None:
    """Times of a product or a copy that varied by more than 5%, or threads that got less than 95% of their CPUs."""
    timings = {
        **{f"{precision} matrix products": timing for precision, timing in ceilings.matmul.items()},
        "copies": ceilings.copy,
    }
    what, worst = max(timings.items(), key=lambda item: _badness(item[1]))
    if _badness(worst) <= 1:
        return None
    share = worst.cpu_share
    if share is not None and share < _LEAST_SHARE:
        why = f"the threads got {units.percent(share)} of their CPU time during {what}: other processes ran"
    else:
        why = f"times of {what} varied by {units.percent(worst.cv)} (CV)"
    table = "copies" if what == "copies" else "matrix_products"
    return Finding(
        UNSTEADY_PEAKS,
        f"these peaks may be too low: {why}; measure again on a quiet machine",
        evidence=(Evidence(table, {} if what == "copies" else {"precision": what.split()[0]}),),
        advice="perfkit doctor --measure-peaks",
    )


def _badness(timing: Timing) -> float:
    """Above 1 where the timing is not to be trusted."""
    lost = 0.0 if timing.cpu_share is None else (1 - timing.cpu_share) / (1 - _LEAST_SHARE)
    return max(timing.cv / _MOST_CV, lost)
