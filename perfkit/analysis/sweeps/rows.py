"""The result of one point -> its row in the results."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from perfkit.analysis.runs.summary import summarize
from perfkit.schema import units
from perfkit.schema.campaign import Finished, Turn
from perfkit.schema.config import RunConfig
from perfkit.schema.parts.workloads import Own
from perfkit.schema.record import RunRecord
from perfkit.schema.sweep import Isolation, SweepOutcome, SweepRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The predicted memory of a configuration, before it runs."""

    peak_bytes: int
    available_bytes: int
    fits: bool
    """False: it will not fit, and is not run."""
    suggestions: tuple[str, ...] = ()
    """Flag changes that would make it fit, the best first."""


class Forecaster(Protocol):
    """Predicts memory without a device."""

    def __call__(self, config: RunConfig) -> Forecast | None:
        """The forecast; None where none can be made."""


def finished_row(
    turn: Turn, finished: Finished, record_folder: str, isolation: Isolation, forecast: Forecast | None
) -> SweepRow:
    """The row of a run that ended. `record_folder` is the folder of its record, as the row names it."""
    record = finished.record
    measured = _of_record(record) if record is not None else {}
    return SweepRow(
        key=turn.point.key,
        repeat=turn.repeat,
        isolation=isolation,
        outcome=outcome(finished),
        config=record.config if record is not None else _named(turn.point.config),
        parameters=_parameters(record.config if record is not None else _named(turn.point.config)),
        message=_message(finished),
        process_s=finished.wall_s,
        predicted_bytes=forecast.peak_bytes if forecast is not None else None,
        record=record_folder if record is not None else None,
        **measured,
    )


def skipped_row(turn: Turn, isolation: Isolation, forecast: Forecast) -> SweepRow:
    """The row of a point that will not fit, and was not run."""
    first, second = _two(forecast.suggestions)
    needed, there = units.size(forecast.peak_bytes), units.size(forecast.available_bytes)
    return SweepRow(
        key=turn.point.key,
        repeat=turn.repeat,
        isolation=isolation,
        outcome="predicted-oom",
        config=_named(turn.point.config),
        parameters=_parameters(_named(turn.point.config)),
        predicted_bytes=forecast.peak_bytes,
        available_bytes=forecast.available_bytes,
        message=f"not run: needs about {needed}, and there are {there}; --force runs it",
        try_first=first,
        try_second=second,
    )


def outcome(finished: Finished) -> SweepOutcome:
    """The row's outcome. `spilled`: the allocator held more than the GPU has, so some of it was system memory.

    That happens where the driver moves memory out instead of failing: Windows and WSL2.
    """
    if finished.outcome == "interrupted":
        return "error"
    record = finished.record
    if finished.outcome == "ok" and record is not None and record.environment.device != "cpu":
        reserved, present = record.memory.reserved, record.environment.device_memory
        if reserved is not None and present is not None and reserved > present:
            return "spilled"
    return finished.outcome


def _of_record(record: RunRecord) -> dict[str, Any]:
    measured = {
        name: None if value is None or math.isnan(value) else value for name, value in asdict(summarize(record)).items()
    }
    failure = record.failure
    first, second = _two(failure.suggestions if failure is not None else ())
    return measured | {
        "first_step_s": record.steps[0].wall_s if record.steps else None,
        "max_s": max((step.wall_s for step in record.steps), default=None),
        "tensor_bytes": record.memory.in_tensors,
        "reserved_bytes": record.memory.reserved,
        "phase": failure.phase if failure is not None else None,
        "requested_bytes": failure.requested if failure is not None else None,
        "available_bytes": failure.available if failure is not None else None,
        "try_first": first,
        "try_second": second,
        "device_name": record.environment.device_name,
        "torch": record.environment.torch,
        "created": record.created,
    }


def _message(finished: Finished) -> str | None:
    if finished.outcome == "ok":
        return None
    if finished.record is not None and finished.record.failure is not None:
        return finished.record.failure.message
    if finished.outcome == "timeout":
        return f"stopped after {units.duration(finished.wall_s)}"
    if finished.outcome == "host-killed":
        return "killed from outside (SIGKILL): on Linux usually by the kernel, because memory ran out"
    if finished.signal is not None:
        return f"ended by signal {finished.signal}: {finished.last_words}"
    return finished.last_words


def _named(config: RunConfig) -> RunConfig:
    """The configuration with size and context length filled in, as far as they are known without a device."""
    if isinstance(config.workload, Own) or config.workload.model_size is None:
        return config
    return config.resolved(config.step.device)


def _parameters(config: RunConfig) -> int | None:
    if isinstance(config.workload, Own) or config.workload.model_size is None:
        return None
    return config.workload.parameters


def _two(suggestions: tuple[str, ...]) -> tuple[str | None, str | None]:
    first, second = (*suggestions, None, None)[:2]
    return first, second
