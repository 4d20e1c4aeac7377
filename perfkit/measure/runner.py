"""One run, from configuration to saved record. Running out of memory and signals are results, not crashes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.profiler import profile

from perfkit import signals
from perfkit.errors import UsageError
from perfkit.measure import environment, loop, memory_limit, timing
from perfkit.measure.loop import Observer, StepClock
from perfkit.measure.memory.history import AllocatorHistory
from perfkit.measure.memory.notes import Inventories, Notes
from perfkit.measure.memory.peak import TensorPeak
from perfkit.measure.nsys.capture import Capture
from perfkit.measure.nsys.program import under_nsys
from perfkit.measure.observers import probes, ranges
from perfkit.measure.observers.attention import AttentionFacts
from perfkit.measure.observers.gpu import GpuSampler
from perfkit.measure.observers.peaks import Peaks
from perfkit.measure.observers.probes import Probes, WindowProbes
from perfkit.measure.observers.provenance import CompiledKernels
from perfkit.measure.observers.ranges import Ranges
from perfkit.measure.observers.torch_profiler import Stopping, TorchProfiler
from perfkit.measure.recorder import Recorder
from perfkit.schema import module_tree
from perfkit.schema.config import RunConfig
from perfkit.schema.parts.workloads import Own
from perfkit.schema.provenance import KEY
from perfkit.schema.record import RunRecord
from perfkit.schema.stopping import StopRule, exactly
from perfkit.workload import annotate, step
from perfkit.workload.attention import AttentionAlone
from perfkit.workload.built import BuiltWorkload
from perfkit.workload.protocol import Workload
from perfkit.workload.step import TransformerWorkload


def resolve(config: RunConfig) -> RunConfig:
    """Choose device and size, and reject what this machine cannot run. Allocates nothing."""
    resolved = config.resolved(step.choose_device(config.step.device))
    step.check(resolved)
    return resolved


def run(
    config: RunConfig,
    folder: Path,
    observers: Sequence[Observer] = (),
    *,
    enough: StopRule | None = None,
    workload: Workload | None = None,
    build: Callable[[RunConfig], Workload] = TransformerWorkload,
    make_clock: Callable[[str], StepClock] = timing.make_clock,
    make_profiler: Callable[..., Any] = profile,
) -> RunRecord:
    """Measure a resolved configuration and save its record (and trace) in `folder`, which exists.

    `observers`, the outermost first, are outside all of perfkit's own but the profiler; they are always closed, before
    a trace is written. `enough` ends the measured steps, by default at their configured number; a configuration with a
    target needs it. For a configuration of `Own` that names no model, `workload` is measured and must be on its device
    already; for any other, one is made, by `build` if it is of the Transformer. `make_clock` makes the clock for a
    device, and `make_profiler` PyTorch's profiler. Returns the record with any status: `ok`, `oom` or `interrupted`. A
    signal interrupts building the model and the steps; it waits while observers work and the record is written.

    Raises UsageError if `workload` and the configuration do not match.
    """
    build = _builder(config, workload, build)
    if enough is None:
        if config.measurement.target_ci is not None:
            raise ValueError("a configuration with target_ci needs enough=analysis.runs.stopping.rule(config)")
        enough = exactly(config.measurement.measure_steps)
    shared = config.step.parallel != "off"  # where any error may be that of another rank
    recorder = Recorder(config, folder, observers, of_others=shared)
    with signals.held():
        error: BaseException | None = None
        try:
            with signals.blamed(), ExitStack() as afterwards, ExitStack() as stack:
                recorder.available = stack.enter_context(memory_limit.limited_to_available(config.step.device))
                stack.callback(recorder.close)
                with signals.raised():
                    if config.step.num_threads is not None:
                        torch.set_num_threads(config.step.num_threads)
                    workload = build(config)
                    if isinstance(workload, BuiltWorkload):
                        afterwards.callback(workload.close)
                    with signals.held():
                        for observer in observers:
                            observer.built(workload)
                        watch(workload, config, folder, recorder, make_profiler)
                        if config.measurement.autograd_nvtx:
                            stack.enter_context(torch.autograd.profiler.emit_nvtx())  # type: ignore[no-untyped-call]
                        # A collection follows, which no recording may have in it: so after all observers are closed.
                        afterwards.enter_context(timing.quiet_garbage_collector(enabled=config.measurement.gc == "off"))
                    _run_steps(workload, make_clock(config.step.device), config, enough, recorder)
        except (KeyboardInterrupt, MemoryError, RuntimeError) as caught:
            error = caught
        return recorder.write(error)


def _builder(
    config: RunConfig, workload: Workload | None, build: Callable[[RunConfig], Workload]
) -> Callable[[RunConfig], Workload]:
    """Return a function that builds the workload or returns the one that was passed."""
    if isinstance(config.workload, Own):
        if workload is None and config.workload.model is not None:
            return BuiltWorkload
        if workload is None:
            raise UsageError(
                f"{config.workload.name}: the configuration names your own workload: pass it as run(..., workload=...)"
            )
        return lambda _: workload
    if workload is not None:
        raise UsageError(
            "a workload of your own was passed, but the configuration describes a Transformer:"
            " use RunConfig(workload=Own(name=...))"
        )
    if config.step.parallel != "off" and build is TransformerWorkload:
        raise UsageError(
            f"--parallel {config.step.parallel}: pass run(..., build=ParallelWorkload) of perfkit.workload.parallel"
        )
    return build


def _run_steps(workload: Workload, clock: StepClock, config: RunConfig, enough: StopRule, recorder: Recorder) -> None:
    measured, observers = recorder.measured, recorder.observers
    loop.run_stage(workload, clock, "warm-up", exactly(config.measurement.warmup_steps), observers, measured)
    measured.ended_by = loop.run_stage(workload, clock, "measured", enough, observers, measured)


def watch(
    workload: Workload,
    config: RunConfig,
    folder: Path,
    recorder: Recorder,
    make_profiler: Callable[..., Any] = profile,
    *,
    repeatable: bool = True,
) -> None:
    """Add perfkit's own observers to the given ones, each as soon as it is made, so that it will be closed.

    `repeatable`: the workload can be asked for a step more than is measured, to look at what else it holds.
    Under torch.profiler counters are read round all steps, not each: the trace would show the readings as its time.
    """
    nsys, device, own = under_nsys(), config.step.device, recorder.observers
    metadata: dict[str, Any] = {"modules": annotate.module_tree(workload.model)}
    if device == "cpu":  # whose peaks utilisation is a part of
        said = recorder.environment
        metadata["cpu"] = {"model": said.cpu_model, "threads": said.num_threads}
    profiler = config.measurement.profiler
    notes = Inventories(workload, device) if profiler == "memory" else None
    traced = profiler == "torch" or (notes is not None and device == "cpu")
    if traced:
        if config.measurement.experimental_provenance:
            compiled = CompiledKernels()
            own.insert(0, compiled)
            metadata[KEY] = compiled.provenance
        recorded = notes.read if notes else None
        early = recorder.write_before_the_trace
        tracer = TorchProfiler(config, folder, metadata, early, recorded=recorded, make=make_profiler)
        own.insert(0, tracer)
        own.append(Stopping(tracer))
    elif uuid := environment.gpu_uuid(device):
        own.append(GpuSampler(uuid))
    own.append(Peaks(device))
    if isinstance(workload.model, AttentionAlone):
        own.append(AttentionFacts(workload.model, device))
    complete = partial(_is_complete, recorder) if repeatable else _never
    _watch_memory(workload, config, folder, recorder, notes, complete)
    if nsys:
        own.append(Capture(device))
    if ranges.wanted(config, under_nsys=nsys):
        own.append(named := Ranges(workload, config, under_nsys=nsys))
        metadata["modules"] = named.modules
    if profiler in ("torch", "memory") or nsys:
        module_tree.save(metadata["modules"], folder)
    if not traced and probes.supported():
        own.append(Probes(device))
    elif profiler == "torch" and probes.supported():
        own.append(WindowProbes(device))


def _watch_memory(
    workload: Workload, config: RunConfig, folder: Path, recorder: Recorder, notes: Inventories | None,
    complete: Callable[[], bool],
) -> None:  # fmt: skip
    """Add what records memory, or on a CPU what counts it once, after the measured steps."""
    own, on_cpu = recorder.observers, config.step.device == "cpu"
    if notes is not None:
        own.insert(0, Notes(workload, config, notes, folder, complete=complete))
        own += [notes] if on_cpu else [notes, AllocatorHistory(config.step.device, folder)]
        return
    plain = config.measurement.profiler == "none" and not under_nsys()
    is_attention = isinstance(workload.model, AttentionAlone)
    alone = config.step.parallel == "off"  # else there are buckets, and parts of parameters, that it does not know
    if on_cpu and plain and (is_attention or (alone and isinstance(workload, TransformerWorkload))):
        own.insert(0, TensorPeak(workload, complete=complete, tells_held=is_attention))


def _never() -> bool:
    return False


def _is_complete(recorder: Recorder) -> bool:
    return recorder.measured.ended_by is not None
