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
from perfkit.errors import UsageError
from perfkit.measure.loop import Observer, StepId
from perfkit.schema.config import RunConfig
from perfkit.schema.record import RunRecord

METADATA_KEY = "perfkit"
"""Top-level key of the trace for perfkit's own data (the module tree, the configuration)."""
_RECORDING = (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)


def _schedule(config: RunConfig, warmup: int) -> Callable[[int], ProfilerAction]:
    with warnings.catch_warnings():  # "no warm-up": perfkit's report has its own line on it
        warnings.simplefilter("ignore", UserWarning)
        steps = config.measurement
        return schedule(wait=steps.warmup_steps - warmup, warmup=warmup, active=steps.measure_steps, repeat=1)


def _on_the_end_of_any(tell: Callable[[], None]) -> Callable[[], None]:
    """Call `tell` when any profiler of the process ends; returns what undoes it."""
    holder = vars(torch.autograd.profiler)
    original = holder["_disable_profiler"]

    def noticed() -> Any:
        tell()
        return original()

    def undo() -> None:
        if holder["_disable_profiler"] is noticed:
            holder["_disable_profiler"] = original

    holder["_disable_profiler"] = noticed
    return undo


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

    PyTorch records for one profiler at a time, and one that ends ends all. So beside another it refuses to start
    (UsageError); where another ran in its warm-up it warms up again, and in its measured steps, it warns: no trace.
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
        self._ended_by_another = False
        self._undo: Callable[[], None] = lambda: None
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
            self._warm_up_again()
            self._profiler.step()
        else:
            if vars(torch.autograd)["_profiler_enabled"]():
                raise UsageError(
                    "another torch.profiler records already, and PyTorch has one at a time: leave it out, or choose"
                    " the profiler none"
                )
            self._undo = _on_the_end_of_any(self._ended)
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
            self._undo()
            self._warm_up_again()  # one that is stopped without it takes the process with it
            self._profiler.__exit__(None, None, None)

    def close(self) -> None:
        """Stop the profiler, and write the trace if it contains any step."""
        self.stop()
        if self._done is not None and self._ended_by_another:
            warnings.warn(
                "perfkit: another torch.profiler ran in the measured steps, and its end was the end of this recording,"
                " so there is no trace: leave it out of the loop", RuntimeWarning, stacklevel=2,
            )  # fmt: skip
        elif self._done is not None:
            self._write(self._done)

    def add_to(self, record: RunRecord) -> RunRecord:
        """Add the trace, once it is written."""
        if self.trace is None:
            return record
        return dataclasses.replace(record, artifacts=record.artifacts | {"trace": self.trace.name})

    def _warm_up_again(self) -> None:
        """Repair what the end of another profiler did, as long as nothing is recorded yet."""
        if not self._ended_by_another or self._profiler.current_action in _RECORDING:
            return
        self._ended_by_another = False
        if self._profiler.current_action is ProfilerAction.WARMUP:
            self._profiler.profiler = None
            self._profiler.prepare_trace()

    def _ended(self) -> None:
        self._ended_by_another = True

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
