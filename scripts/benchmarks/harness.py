"""What perfkit's own code costs a step: the timing loop, and the ranges."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from scripts.benchmarks.measuring import Row, median, run_python, seconds

CHILD = Path(__file__).with_name("harness_child.py")
STEP_LIMIT_S = 50e-6


def steps(repeats: int) -> Iterator[Row]:
    """The timing loop around a step that does nothing."""
    medians = {name: median(times) for name, times in run_python(CHILD, "steps", str(repeats)).answer().items()}
    loop = medians["loop"]
    for name, quantity in (
        ("empty", "harness, empty step"),
        ("phases", "harness, five phases announced"),
        ("ranges", "harness, empty step inside a range"),
    ):
        cost = medians[name] - loop
        yield Row(
            quantity,
            f"{seconds(cost)} a step",
            f"a bare loop, {seconds(loop)}",
            medians[name] / loop,
            f"<= {seconds(STEP_LIMIT_S)}",
            cost <= STEP_LIMIT_S,
        )


def ranges(repeats: int) -> Iterator[Row]:
    """One range, and the ranges of a whole model."""
    times = run_python(CHILD, "ranges", str(repeats)).answer()
    module_range, record_function = median(times["range"]), median(times["record_function"])
    yield Row(
        "a module range, nothing recording",
        seconds(module_range),
        f"torch record_function, {seconds(record_function)}",
        module_range / record_function,
    )
    bare, annotated = median(times["bare"]), median(times["annotated"])
    yield Row(
        f"tiny, annotated ({times['hooked'][0]:.0f} module ranges)",
        f"{seconds(annotated)} a step",
        f"bare, {seconds(bare)}",
        annotated / bare,
    )
