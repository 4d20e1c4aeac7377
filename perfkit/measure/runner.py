"""One run, from configuration to saved record. Out of memory and ctrl-C are results, not crashes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import torch

from perfkit.errors import UsageError
from perfkit.measure import environment, memory, nsys_capture, provenance, timing, torch_profiler
from perfkit.measure.nsys_program import under_nsys
from perfkit.measure.timing import StepClock
from perfkit.schema import record
from perfkit.schema.config import RunConfig
from perfkit.schema.provenance import KEY
from perfkit.schema.record import AnnotationCost, Failure, MemoryPeaks, RunRecord, Status, StepSample
from perfkit.workload import annotate, annotation_cost, step
from perfkit.workload.annotate import Annotation
from perfkit.workload.step import Workload

WRITING = "writing the trace"
"""Where a profiled run is after its last step."""
_NO_FUSED_KERNEL = "No available kernel"
"""What PyTorch says where the chosen attention backend cannot do it; which can is known to PyTorch alone."""


class Progress(Protocol):
    """Shows how far a run is. Called between steps only, never inside a timed region."""

    def stage(self, name: str, steps: int = 0) -> None:
        """A stage begins; `steps` is how many steps it has."""

    def advance(self) -> None:
        """One more step of the stage is done."""


@dataclass(slots=True)
class _Measured:
    """What a run has so far; complete at every moment an exception could end it."""

    where: str = "model"
    available: int = 0
    warmup: list[StepSample] = field(default_factory=list)
    steps: list[StepSample] = field(default_factory=list)
    memory: MemoryPeaks = field(default_factory=MemoryPeaks)
    annotation: AnnotationCost | None = None


def resolve(config: RunConfig) -> RunConfig:
    """Choose device and size, and refuse what this machine cannot run. Allocates nothing."""
    resolved = config.resolved(step.choose_device(config.device))
    step.check(resolved)
    return resolved


def run(config: RunConfig, folder: Path, progress: Progress, suggest: memory.Suggest = lambda *_: ()) -> RunRecord:
    """Measure a resolved configuration and save its record (and trace) in `folder`, which exists.

    `suggest` is asked what to try after running out of memory. Returns the record whatever its status: `ok`, `oom`
    or `interrupted`.
    """
    created = datetime.now().astimezone().isoformat(timespec="seconds")
    described = environment.collect(config)
    measured = _Measured()
    status: Status = "ok"
    failure: Failure | None = None
    try:
        _measure(config, folder, progress, measured)
    except KeyboardInterrupt:
        status = "interrupted"
        failure = Failure(phase=measured.where, message=f"interrupted in {measured.where}")
    except (RuntimeError, MemoryError) as error:
        if _NO_FUSED_KERNEL in str(error):
            raise UsageError(
                f"--sdpa-backend {config.sdpa_backend} has no kernel for this shape, precision and device: use auto"
            ) from error
        if not memory.is_out_of_memory(error):
            raise
        status = "oom"
        failure = memory.failure(config, error, measured.where, measured.available, suggest)
    trace = torch_profiler.find_trace(folder)
    result = RunRecord(
        config=config,
        environment=described,
        created=created,
        status=status,
        steps=tuple(measured.steps),
        warmup=tuple(measured.warmup),
        memory=measured.memory,
        failure=failure,
        annotation=measured.annotation,
        artifacts={"trace": trace.name} if trace else {},
    )
    record.save(result, folder)
    return result


def _measure(config: RunConfig, folder: Path, progress: Progress, measured: _Measured) -> None:
    with ExitStack() as stack:
        measured.available = stack.enter_context(memory.limited_to_available(config.device))
        progress.stage("building the model")
        compiled = stack.enter_context(provenance.collected(wanted=config.experimental_provenance))
        workload = Workload(config)
        if _wants_ranges(config):
            backward = under_nsys() and config.pass_type != "forward"
            annotation = workload.annotate(gradients=config.profiler != "none", backward=backward)
            stack.callback(annotation.remove)
            measured.annotation = _cost(annotation, backward=backward)
            stack.callback(_count_nodes, annotation, measured)
        if config.autograd_nvtx:
            stack.enter_context(torch.autograd.profiler.emit_nvtx())  # type: ignore[no-untyped-call]
        stack.enter_context(timing.quiet_garbage_collector(enabled=config.gc == "off"))
        after_step = [progress.advance]

        def on_writing() -> None:
            progress.stage(WRITING)
            if len(measured.steps) == config.measure_steps:
                measured.where = WRITING

        if config.profiler == "torch":
            metadata: dict[str, Any] = {"modules": annotate.module_tree(workload.model)}
            if config.experimental_provenance:
                metadata[KEY] = compiled  # complete when the profiler takes it: after the first step
            after_step.append(stack.enter_context(torch_profiler.recorded(config, folder, metadata, on_writing)))
        stages = _Stages(config, workload, measured, progress, after_step)
        if not config.warmup_steps:
            memory.reset_peaks(config.device)
        stages.warm_up()
        try:
            with nsys_capture.captured(config.device):
                stages.measure()
        finally:
            if len(measured.steps) < config.measure_steps:
                measured.memory = memory.read_peaks(config.device)


@dataclass(slots=True)
class _Stages:
    """Warm-up, then measured steps, through one clock."""

    config: RunConfig
    workload: Workload
    measured: _Measured
    progress: Progress
    after_step: list[Callable[[], None]]
    clock: StepClock = field(init=False)

    def __post_init__(self) -> None:
        self.clock = timing.make_clock(self.config.device)

    def warm_up(self) -> None:
        self._run("warm-up", self.config.warmup_steps, self.measured.warmup, warmup=True)

    def measure(self) -> None:
        self._run("measured", self.config.measure_steps, self.measured.steps, warmup=False)

    def _run(self, name: str, count: int, samples: list[StepSample], *, warmup: bool) -> None:
        if count:
            self.progress.stage(f"{name} steps", count)

        def on_phase(phase: str) -> None:
            self.measured.where = f"{name} step {len(samples) + 1}, {phase}"

        def after_step() -> None:
            self.measured.where = f"{name} step {len(samples)}, at its end"
            if len(samples) == count:  # now: what the profiler does after this step is not the step's
                if warmup:
                    memory.reset_peaks(self.config.device)
                else:
                    self.measured.memory = memory.read_peaks(self.config.device)
            for call in self.after_step:
                call()

        timing.run_steps(
            self.workload,
            self.clock,
            count,
            samples=samples,
            on_phase=on_phase,
            after_step=after_step,
            warmup=warmup,
            ranges=self.workload.annotation is not None,
        )


def _cost(annotation: Annotation, *, backward: bool) -> AnnotationCost:
    few = 200 if under_nsys() else None  # every trial range would be in the report
    per_range = annotation_cost.seconds_per_range(count=few or 20_000)
    per_node = annotation_cost.seconds_per_node(count=few or 5_000) if backward else None
    return AnnotationCost(ranges=annotation.hooked, seconds_per_range=per_range, seconds_per_node=per_node)


def _count_nodes(annotation: Annotation, measured: _Measured) -> None:
    steps = len(measured.warmup) + len(measured.steps)
    if annotation.nodes and measured.annotation and steps:
        measured.annotation = replace(measured.annotation, nodes=annotation.nodes / steps)


def _wants_ranges(config: RunConfig) -> bool:
    if config.annotate != "auto":
        return config.annotate == "on"
    return config.profiler != "none" or under_nsys()
