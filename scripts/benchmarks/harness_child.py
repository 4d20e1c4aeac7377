"""What perfkit's own code costs a step, measured in one process (with torch): `harness_child.py WORK REPEATS`.

steps   the loop over a step that does nothing: with one phase, with a training step's five, and inside a range
ranges  one module range, beside torch.profiler.record_function; and steps of `tiny`, annotated and bare in turn

Prints JSON: for each case one time per repeat, in seconds.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch

from perfkit.measure import loop, timing
from perfkit.measure.loop import Measured, Observer, StepId
from perfkit.measure.timing import CpuClock
from perfkit.schema import range_names
from perfkit.schema.config import RunConfig
from perfkit.schema.range_names import STEP_PHASES
from perfkit.schema.record import StepSample
from perfkit.schema.stopping import exactly
from perfkit.workload import annotation_cost
from perfkit.workload.ranges import annotated
from perfkit.workload.step import TransformerWorkload

STEPS = 2_000
RANGES = 20_000
TINY_STEPS = 12
"""Steps of each kind per repeat; bare and annotated ones take turns."""


class _Empty:
    """A workload whose step only announces its single phase, as every step must."""

    def step(self, on_phase: Callable[[str], None]) -> None:
        """Announce."""
        on_phase("forward")


class _Phases:
    """A workload whose step only announces a training step's phases."""

    def step(self, on_phase: Callable[[str], None]) -> None:
        """Announce."""
        for name in STEP_PHASES:
            on_phase(name)


def _per_step(workload: _Empty | _Phases, count: int, observers: Sequence[Observer] = ()) -> float:
    begin = time.perf_counter()
    loop.run_stage(workload, CpuClock(), "measured", exactly(count), observers, Measured())
    return (time.perf_counter() - begin) / count


class _InRanges(Observer):
    """Opens a range around each step, as perfkit's own observer does."""

    def __init__(self) -> None:
        self._step = ExitStack()

    def before(self, step: StepId) -> None:
        self._step.enter_context(annotated(range_names.step(step.index)))

    def after(self, step: StepId, sample: StepSample) -> None:
        self._step.close()


def _bare_loop(count: int) -> float:
    workload = _Empty()
    begin = time.perf_counter()
    for _ in range(count):
        workload.step(lambda _: None)
    return (time.perf_counter() - begin) / count


def steps(repeats: int, count: int = STEPS) -> dict[str, list[float]]:
    cases: dict[str, Callable[[], float]] = {
        "loop": lambda: _bare_loop(count),
        "empty": lambda: _per_step(_Empty(), count),
        "phases": lambda: _per_step(_Phases(), count),
        "ranges": lambda: _per_step(_Empty(), count, [_InRanges()]),
    }
    return _taken_in_turn(cases, repeats)


def _taken_in_turn(cases: dict[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    for case in cases.values():
        case()
    times: dict[str, list[float]] = {name: [] for name in cases}
    with timing.quiet_garbage_collector(enabled=True):
        for _ in range(repeats):
            for name, case in cases.items():
                times[name].append(case())
    return times


def _record_function() -> float:
    target = torch.profiler.record_function
    begin = time.perf_counter()
    for _ in range(RANGES):
        with target("layers.0.attn"):
            pass
    return (time.perf_counter() - begin) / RANGES


def ranges(repeats: int) -> dict[str, list[float]]:
    cases = {"range": lambda: annotation_cost.seconds_per_range(RANGES), "record_function": _record_function}
    times = _taken_in_turn(cases, repeats)
    return times | _tiny(repeats)


def _tiny(repeats: int) -> dict[str, list[float]]:
    torch.set_num_threads(1)
    workload = TransformerWorkload(RunConfig().resolved("cpu"))
    times: dict[str, list[float]] = {"bare": [], "annotated": []}
    hooked = 0
    for _ in range(3):
        workload.step(lambda _: None)
    with timing.quiet_garbage_collector(enabled=True):
        for _ in range(repeats * TINY_STEPS):
            times["bare"].append(_one_step(workload))
            annotation = workload.annotate().install()
            hooked = annotation.hooked
            times["annotated"].append(_one_step(workload))
            annotation.remove()
            workload.annotation = None
    gc.collect()
    return times | {"hooked": [hooked]}


def _one_step(workload: TransformerWorkload) -> float:
    begin = time.perf_counter()
    workload.step(lambda _: None)
    return time.perf_counter() - begin


def main() -> int:
    work, repeats = sys.argv[1], int(sys.argv[2])
    print(json.dumps({"steps": steps, "ranges": ranges}[work](repeats)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
