"""The measured steps under torch.profiler, with a trace saved where TensorBoard's PyTorch plugin looks for it."""

from __future__ import annotations

import dataclasses
import os
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch.profiler import ProfilerAction, ProfilerActivity, profile, schedule

from perfkit import signals
from perfkit.measure.loop import Observer, StepId
from perfkit.schema.config import RunConfig
from perfkit.schema.record import RunRecord

METADATA_KEY = "perfkit"
"""Top-level key of the trace for perfkit's own data (the module tree, the configuration)."""


def _schedule(config: RunConfig, warmup: int) -> Callable[[int], ProfilerAction]:
    with warnings.catch_warnings():  # "no warm-up": perfkit's report has its own line on it
        warnings.simplefilter("ignore", UserWarning)
        steps = config.measurement
        return schedule(wait=steps.warmup_steps - warmup, warmup=warmup, active=steps.measure_steps, repeat=1)


class Stopping(Observer):
    """Stops a profiler when it is closed: before others, whose closing would else be time of the last step."""

    def __init__(self, profiler: TorchProfiler) -> None:
        self._profiler = profiler

    def close(self) -> None:
        """Stop it."""
        self._profiler.stop()


class TorchProfiler(Observer):
    """Profiles the measured steps. It must be the outermost observer: it is closed last, when the others are complete.

    The profiler waits through all warm-up steps but the last, warms up on that one, and records the measured steps.
    When the observer is closed, it writes the trace `<worker>.<ns>.pt.trace.json.gz` of all steps recorded, even if an
    exception ended them early. Writing takes a while, and `writing` is called before it. A second signal interrupts it,
    whether the first ended the steps or came later. `metadata` must be complete when the first measured step begins.
    With `recorded` allocations are recorded too; it is called with the profile, before `writing`.
    """

    def __init__(
        self, config: RunConfig, folder: Path, metadata: dict[str, Any], writing: Callable[[], None] = lambda: None,
        *, recorded: Callable[[Any], None] | None = None,
        make: Callable[..., Any] = profile, synchronize: Callable[[str], None] = torch.cuda.synchronize,
    ) -> None:  # fmt: skip
        activities = [ProfilerActivity.CPU]
        if config.step.device != "cpu":
            activities.append(ProfilerActivity.CUDA)
        self.trace: Path | None = None
        self._folder, self._metadata, self._writing = folder, metadata, writing
        self._device, self._synchronize = config.step.device, synchronize
        self._running = False
        self._recorded = recorded
        self._done: Any = None
        self._profiler = make(
            activities=activities,
            schedule=_schedule(config, min(config.measurement.warmup_steps, 1)),
            on_trace_ready=self._keep,
            record_shapes=True,
            profile_memory=recorded is not None,
            with_stack=config.measurement.profile_stack,
        )

    def before(self, step: StepId) -> None:
        """Start the profiler, or tell it that another step begins."""
        if self._running:
            if self._device != "cpu":
                self._synchronize(self._device)  # no earlier kernel may end inside the recorded window
            self._profiler.step()
        else:
            self._profiler.__enter__()
            self._running = True
        if step == StepId("measured", 0):  # the profiler accepts metadata only while it records
            self._profiler.add_metadata_json(METADATA_KEY, msgspec.json.encode(self._metadata).decode())

    def paused(self) -> None:
        """End the step's range here: the profiler would end it with the next step."""
        if self._running and self._profiler.step_rec_fn:
            self._profiler.step_rec_fn.__exit__(None, None, None)
            self._profiler.step_rec_fn = None

    def stop(self) -> None:
        """Record no more: the last step's range ends here, and with it all that the trace calls its step."""
        if self._running:
            self._running = False
            self._profiler.__exit__(None, None, None)

    def close(self) -> None:
        """Stop the profiler, and write the trace if it contains any step."""
        self.stop()
        if self._done is not None:
            self._write(self._done)

    def add_to(self, record: RunRecord) -> RunRecord:
        """Add the trace, once it is written."""
        if self.trace is None:
            return record
        return dataclasses.replace(record, artifacts=record.artifacts | {"trace": self.trace.name})

    def _keep(self, done: Any) -> None:
        self._done = done

    def _write(self, done: Any) -> None:
        """Write the trace atomically, under the name that TensorBoard's plugin expects."""
        if self._recorded is not None:
            self._recorded(done)
        self._writing()
        draft = self._folder / "unfinished.json.gz"
        trace = self._folder / f"{platform.node()}_{os.getpid()}.{time.time_ns()}.pt.trace.json.gz"
        try:
            with signals.patient():
                done.export_chrome_trace(str(draft))
            draft.replace(trace)
            self.trace = trace
        finally:
            draft.unlink(missing_ok=True)
