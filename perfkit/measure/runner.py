"""One run, from configuration to saved record. Out of memory and signals are results, not crashes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import torch

from perfkit import signals
from perfkit.errors import UsageError
from perfkit.measure import environment, gpu_sampler, memory, nsys_capture, probes, provenance, timing, torch_profiler
from perfkit.measure.nsys_program import under_nsys
from perfkit.measure.timing import StepClock
from perfkit.schema import module_tree, record
from perfkit.schema.config import RunConfig
from perfkit.schema.probes import GpuSample, Probing
from perfkit.schema.provenance import KEY
from perfkit.schema.record import AnnotationCost, EndedBy, Failure, MemoryPeaks, RunRecord, Status, StepSample
from perfkit.workload import annotate, annotation_cost, step
from perfkit.workload.annotate import Annotation
from perfkit.workload.step import Workload

WRITING = "writing the trace"
"""Where a profiled run is after its last step."""
_NO_FUSED_KERNEL = "No available kernel"
"""What PyTorch says where the chosen attention backend cannot do it; which can is known to PyTorch alone."""


Enough = Callable[[Sequence[StepSample]], EndedBy | None]
"""Asked after each measured step, with all of them so far: the rule that says it was the last one, or None."""


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
    ended_by: EndedBy | None = None
    probing: Probing | None = None
    gpu: list[GpuSample] = field(default_factory=list)


def resolve(config: RunConfig) -> RunConfig:
    """Choose device and size, and refuse what this machine cannot run. Allocates nothing."""
    resolved = config.resolved(step.choose_device(config.device))
    step.check(resolved)
    return resolved


def run(
    config: RunConfig,
    folder: Path,
    progress: Progress,
    *,
    suggest: memory.Suggest = lambda *_: (),
    enough: Enough | None = None,
) -> RunRecord:
    """Measure a resolved configuration and save its record (and trace) in `folder`, which exists.

    `suggest` is asked what to try after running out of memory (analysis.memory_fit.suggestions). `enough` is the rule
    that ends the measured steps (analysis.stopping.rule(config)); without one their number does, and a configuration
    with a target needs one. Returns the record whatever its status: `ok`, `oom` or `interrupted`. A signal interrupts
    the measuring and, while the record is written, waits.
    """
    if enough is None:
        if config.target_ci is not None:
            raise ValueError("a configuration with target_ci needs enough=analysis.stopping.rule(config)")
        enough = _counted(config)
    created = datetime.now().astimezone().isoformat(timespec="seconds")
    described = environment.collect(config)
    measured = _Measured()

    def save(status: Status, failure: Failure | None) -> RunRecord:
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
            ended_by=measured.ended_by,
            probing=measured.probing,
            gpu=tuple(measured.gpu),
            artifacts={"trace": trace.name} if trace else {},
        )
        record.save(result, folder)
        return result

    def before_writing() -> None:
        progress.stage(WRITING)
        status, failure = _end(config, sys.exception(), measured, suggest)
        if measured.ended_by:
            measured.where = WRITING
        with suppress(record.UnsavedError):  # of which it will hear when the run is over
            save(status, failure)  # a batch system that has sent SIGTERM may not wait for the trace

    with signals.held():
        error: BaseException | None = None
        try:
            with signals.raised():
                _measure(config, folder, progress, measured, enough, before_writing)
        except (KeyboardInterrupt, MemoryError, *signals.BECOMES) as caught:
            error = caught
        return save(*_end(config, error, measured, suggest))


def _end(
    config: RunConfig, error: BaseException | None, measured: _Measured, suggest: memory.Suggest
) -> tuple[Status, Failure | None]:
    """The status of a run that an exception ended, and why; the exception itself where it is no result."""
    if error is None:
        return "ok", None
    number = signals.by(error) if isinstance(error, KeyboardInterrupt) else signals.first()
    if number is not None:
        text = f"interrupted by {number.name} in {measured.where}"
        return "interrupted", Failure(phase=measured.where, message=text, signal=number.name)
    if _NO_FUSED_KERNEL in str(error):
        raise UsageError(
            f"--sdpa-backend {config.sdpa_backend} has no kernel for this shape, precision and device: use auto"
        ) from error
    if not memory.is_out_of_memory(error):
        raise error
    return "oom", memory.failure(config, error, measured.where, measured.available, suggest)


def _counted(config: RunConfig) -> Enough:
    return lambda samples: "measure-steps" if len(samples) == config.measure_steps else None


def _measure(
    config: RunConfig,
    folder: Path,
    progress: Progress,
    measured: _Measured,
    enough: Enough,
    before_writing: Callable[[], None],
) -> None:
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
        tree = annotate.module_tree(workload.model)
        if config.profiler == "torch" or under_nsys():
            module_tree.save(tree, folder)
        if config.profiler == "torch":
            metadata: dict[str, Any] = {"modules": tree}
            if config.experimental_provenance:
                metadata[KEY] = compiled  # complete when the profiler takes it: after the first step
            after_step.append(stack.enter_context(torch_profiler.recorded(config, folder, metadata, before_writing)))
        installed = stack.enter_context(_probed(config, measured))
        stages = _Stages(config, workload, measured, progress, after_step, enough, installed)
        if not config.warmup_steps:
            memory.reset_peaks(config.device)
        stages.warm_up()
        try:
            with nsys_capture.captured(config.device):
                stages.measure()
        finally:
            if measured.ended_by is None:
                measured.memory = memory.read_peaks(config.device)


@contextmanager
def _probed(config: RunConfig, measured: _Measured) -> Iterator[probes.Probes | None]:
    """Probes for the steps and, on a GPU, the sampler; what they found is in `measured` when the body ends.

    Not under a profiler: reading the counters would be in its trace, as time of the step that nothing accounts for.
    """
    if config.profiler != "none":
        yield None
        return
    uuid = environment.gpu_uuid(config.device)
    with gpu_sampler.sampling(uuid) as samples, probes.installed(config.device) as installed:
        measured.gpu = samples
        try:
            yield installed
        finally:
            measured.probing = installed.cost() if installed else None


@dataclass(slots=True)
class _Stages:
    """Warm-up, then measured steps, through one clock."""

    config: RunConfig
    workload: Workload
    measured: _Measured
    progress: Progress
    after_step: list[Callable[[], None]]
    enough: Enough
    probes: probes.Probes | None
    clock: StepClock = field(init=False)

    def __post_init__(self) -> None:
        clock = timing.make_clock(self.config.device)
        self.clock = probes.ProbedClock(clock, self.probes) if self.probes else clock

    def warm_up(self) -> None:
        self._run("warm-up", self.config.warmup_steps, self.measured.warmup, warmup=True)

    def measure(self) -> None:
        self._run("measured", self.config.most_steps, self.measured.steps, warmup=False)

    def _run(self, name: str, count: int, samples: list[StepSample], *, warmup: bool) -> None:
        if count:
            until_known = not warmup and self.config.target_ci is not None
            self.progress.stage(f"{name} steps", 0 if until_known else count)

        def on_phase(phase: str) -> None:
            self.measured.where = f"{name} step {len(samples) + 1}, {phase}"

        def after_step() -> bool:
            self.measured.where = f"{name} step {len(samples)}, at its end"
            # Peaks now: what the profiler does after the last step is not the step's.
            if warmup and len(samples) == count:
                memory.reset_peaks(self.config.device)
            elif not warmup:
                self.measured.ended_by = self.enough(samples)
                if self.measured.ended_by:
                    self.measured.memory = memory.read_peaks(self.config.device)
            for call in self.after_step:
                call()
            signals.check()  # something may have swallowed the exception
            return self.measured.ended_by is not None

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
    count = 200 if under_nsys() else 20_000  # every trial range would be in the report
    per_range = annotation_cost.seconds_per_range(count=count)
    per_node = annotation_cost.seconds_per_node(count=count) if backward else None  # under nsys alone
    return AnnotationCost(ranges=annotation.hooked, seconds_per_range=per_range, seconds_per_node=per_node)


def _count_nodes(annotation: Annotation, measured: _Measured) -> None:
    steps = len(measured.warmup) + len(measured.steps)
    if annotation.nodes and measured.annotation and steps:
        measured.annotation = replace(measured.annotation, nodes=annotation.nodes / steps)


def _wants_ranges(config: RunConfig) -> bool:
    if config.annotate != "auto":
        return config.annotate == "on"
    return config.profiler != "none" or under_nsys()
