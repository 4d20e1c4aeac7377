"""Ranges around modules, phases and steps: when a run has them, and what they cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import ExitStack

from perfkit.measure.loop import Observer, StepId
from perfkit.schema import range_names
from perfkit.schema.config import RunConfig
from perfkit.schema.record import AnnotationCost, RunRecord, StepSample
from perfkit.workload import annotation_cost
from perfkit.workload.protocol import Workload
from perfkit.workload.ranges import annotated

_TRIALS, _TRIALS_UNDER_NSYS = 20_000, 200
"""Number of ranges opened to measure the cost of one; lower under nsys, whose report contains each of them."""


def wanted(config: RunConfig, *, under_nsys: bool) -> bool:
    """Whether a run has ranges: by default it does if a profiler records them."""
    if config.measurement.annotate != "auto":
        return config.measurement.annotate == "on"
    return config.measurement.profiler != "none" or under_nsys


class Ranges(Observer):
    """Annotates the workload until it is closed, and puts each step inside its own range.

    `per_range` and `per_node` measure the cost of one range; their argument is the number of trials.
    """

    def __init__(
        self,
        workload: Workload,
        config: RunConfig,
        *,
        under_nsys: bool,
        per_range: Callable[[int], float] = annotation_cost.seconds_per_range,
        per_node: Callable[[int], float] = annotation_cost.seconds_per_node,
    ) -> None:
        # An allocator's history has no sequence numbers either.
        unnumbered = under_nsys or (config.measurement.profiler == "memory" and config.step.device != "cpu")
        backward = unnumbered and config.step.pass_type != "forward"
        trials = _TRIALS_UNDER_NSYS if under_nsys else _TRIALS
        gradients = config.measurement.profiler in ("torch", "memory")
        self._annotation = workload.annotate(gradients=gradients, backward=backward)
        self._annotation.install()
        self._step = ExitStack()
        self._cost = AnnotationCost(
            ranges=self._annotation.hooked,
            seconds_per_range=per_range(trials),
            seconds_per_node=per_node(trials) if backward else None,
        )

    @property
    def modules(self) -> dict[str, str]:
        """The tree of the annotated model, by the names of its ranges."""
        return self._annotation.modules

    def before(self, step: StepId) -> None:
        """Open the step's range."""
        name = range_names.step(step.index, warmup=step.stage == "warm-up")
        self._step.enter_context(annotated(name))

    def after(self, step: StepId, sample: StepSample) -> None:
        """Close the step's range."""
        self._step.close()

    def close(self) -> None:
        """Remove all ranges from the model, and close any that an exception left open."""
        self._step.close()
        self._annotation.remove()

    def add_to(self, record: RunRecord) -> RunRecord:
        """Add the cost of annotation and, to each step, the number of its backward nodes."""
        steps = len(record.warmup) + len(record.steps)
        nodes = self._annotation.nodes / steps if self._annotation.nodes and steps else None
        return dataclasses.replace(record, annotation=dataclasses.replace(self._cost, nodes=nodes))
