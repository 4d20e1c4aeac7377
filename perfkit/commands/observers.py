"""Observers that `perfkit run` and sweeps add to the loop: suggested flags, and progress on stderr."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol

from perfkit.analysis.memory import fit as memory_fit
from perfkit.commands.console.progress import StageProgress
from perfkit.measure.loop import Observer, StepId
from perfkit.measure.observers.suggestions import Suggestions
from perfkit.schema.config import RunConfig
from perfkit.schema.record import RunRecord, StepSample


class Events(Protocol):
    """What `StepEvents` needs of an event file."""

    @property
    def name(self) -> str | None:
        """Of the file, once there is one."""

    def step(self, stage: str, index: int, sample: StepSample, /) -> None:
        """Note a step."""

    def flush(self) -> None:
        """Write those noted."""


def usual() -> tuple[Observer, ...]:
    """The observers of every run that use analyses, which measure/ does not import."""
    return (Suggestions(memory_fit.suggestions),)


def results(folder: Path, which: str, batch: int | None) -> tuple[Observer, ...]:
    """What keeps losses and gradients, by `--save-results` and `--results-batch` of `perfkit run`."""
    if which == "off":
        return ()
    from perfkit.measure.observers.computed import Results

    return (Results(folder, nudged=which == "nudged", batch=batch),)


class Beside(Observer):
    """Adds other files in the run's folder to its record: kind -> path relative to the folder."""

    def __init__(self, artifacts: dict[str, str]) -> None:
        self._artifacts = artifacts

    def add_to(self, record: RunRecord) -> RunRecord:
        """The record with these artifacts."""
        return dataclasses.replace(record, artifacts=record.artifacts | self._artifacts)


class StepEvents(Observer):
    """Writes the steps of a run for TensorBoard while it goes on: between steps, and seldom.

    What cannot be written, as on a full disk, ends neither the run nor its record; `say` is told once.
    """

    def __init__(self, events: Events, say: Callable[[str], None]) -> None:
        self._events, self._say = events, say
        self._works = True

    def after(self, step: StepId, sample: StepSample) -> None:
        """Note the step; now and then those noted are written."""
        self._try(lambda: self._events.step(step.stage, step.index, sample))

    def close(self) -> None:
        """Write the last steps."""
        self._try(self._events.flush)

    def add_to(self, record: RunRecord) -> RunRecord:
        """The record with the event file among its artifacts, where there is one."""
        name = self._events.name
        return record if name is None else Beside({"tensorboard": name}).add_to(record)

    def _try(self, write: Callable[[], None]) -> None:
        if not self._works:
            return
        try:
            write()
        except OSError as error:
            self._works = False
            self._say(f"no more events for TensorBoard: {error.strerror or error}")


class AfterEachStep(Observer):
    """Calls something between steps."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call

    def after(self, step: StepId, sample: StepSample) -> None:  # noqa: ARG002 - the interface passes more than is used
        """Call it."""
        self._call()


class RunProgress(Observer):
    """Shows the stages and steps of a run. Use it as a context manager; entering shows the first stage."""

    def __init__(self, config: RunConfig, shown: StageProgress | None = None) -> None:
        self._config = config
        self._shown = shown or StageProgress()
        self._recording = False

    def __enter__(self) -> RunProgress:
        self._shown.__enter__()
        self._shown.stage("building the model")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shown.__exit__(kind, error, trace)

    def before(self, step: StepId) -> None:
        """Show a new stage, with its number of steps if that is known."""
        if step == StepId("warm-up", 0):
            self._shown.stage("warm-up steps", self._config.measurement.warmup_steps)
        elif step == StepId("measured", 0):
            self._recording = self._config.measurement.profiler in ("torch", "memory")
            self._shown.stage(
                "measured steps",
                self._config.measurement.measure_steps if self._config.measurement.target_ci is None else 0,
                is_measured=True,
            )

    def after(self, step: StepId, sample: StepSample) -> None:  # noqa: ARG002 - the interface passes more than is used
        """Count one more step."""
        self._shown.advance()

    def close(self) -> None:
        """Show the next stage: the profiler is closed after the other observers and writes its trace."""
        if self._recording:
            self._shown.stage("writing the trace")
