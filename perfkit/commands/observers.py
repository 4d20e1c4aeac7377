"""Observers that `perfkit run` and sweeps add to the loop: suggested flags, and progress on stderr."""

from __future__ import annotations

import dataclasses
from types import TracebackType

from perfkit.analysis.memory import fit as memory_fit
from perfkit.commands.console.progress import StageProgress
from perfkit.measure.loop import Observer, StepId
from perfkit.measure.observers.suggestions import Suggestions
from perfkit.schema.config import RunConfig
from perfkit.schema.record import RunRecord, StepSample


def usual() -> tuple[Observer, ...]:
    """The observers of every run that use analyses, which measure/ does not import."""
    return (Suggestions(memory_fit.suggestions),)


class Beside(Observer):
    """Adds other files in the run's folder to its record: kind -> path relative to the folder."""

    def __init__(self, artifacts: dict[str, str]) -> None:
        self._artifacts = artifacts

    def add_to(self, record: RunRecord) -> RunRecord:
        """The record with these artifacts."""
        return dataclasses.replace(record, artifacts=record.artifacts | self._artifacts)


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
            self._recording = self._config.measurement.profiler == "torch"
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
