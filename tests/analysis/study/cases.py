"""Results of a study by hand: runs with the times, tables and peaks that a test says."""

from __future__ import annotations

from typing import Any

import pandas as pd

from perfkit.analysis.study.question import Results, Scope, Taken
from perfkit.schema.config import RunConfig
from perfkit.schema.record import MemoryPeaks, StepSample
from perfkit.schema.sweep import key_of
from perfkit.schema.table import Column, Steps, Table
from tests import runs

SCOPE = Scope()
"""tiny on a CPU."""


def step(forward: float, backward: float = 0.0, optimizer: float = 0.0, rest: float = 0.0, **more: Any) -> StepSample:
    """One step, in milliseconds."""
    phases = {"forward": forward / 1e3, "backward": backward / 1e3, "optimizer": optimizer / 1e3}
    phases = {name: seconds for name, seconds in phases.items() if seconds}
    return StepSample(wall_s=(forward + backward + optimizer + rest) / 1e3, phases_s=phases, **more)


def taken(
    config: RunConfig,
    steps: tuple[StepSample, ...] = (step(1.0), step(1.0)),
    *,
    warmup: tuple[StepSample, ...] = (),
    tensors: int | None = None,
    tables: dict[str, Table] | None = None,
    **record: Any,
) -> Taken:
    """A run that was measured; `tables` by name, or by `name/phase`."""
    there = tables or {}
    saved = runs.saved(
        config=config.resolved("cpu"), steps=steps, warmup=warmup, memory=MemoryPeaks(tensors=tensors), **record
    )
    return Taken(
        config=config,
        outcome="ok",
        record=saved,
        folder=f"study/runs/{key_of(config)}.1",
        seconds=4.0,
        tables=lambda name, phase: there.get(f"{name}/{phase}" if phase else name),
    )


def results(*these: Taken) -> Results:
    return Results({key_of(one.config): one for one in these})


def table(name: str, steps: int | None = None, **columns: list[Any]) -> Table:
    """A table of a trace or of memory as the house makes it, as far as an answer reads it."""
    frame = pd.DataFrame(columns)
    return Table(name, name, tuple(Column(one) for one in columns), frame, steps=Steps(steps) if steps else None)


def rows(made: Table) -> list[dict[str, Any]]:
    """The rows of a table, without what is missing."""
    return [
        {str(name): value for name, value in row.items() if not (isinstance(value, float) and value != value)}  # noqa: PLR0124
        for row in made.frame.to_dict("records")
    ]
