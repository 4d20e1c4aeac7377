"""Finished runs and rows of sweeps by hand, for tests that need no process."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from perfkit.analysis.sweeps.rows import finished_row
from perfkit.schema import record, results_file, sweep
from perfkit.schema.campaign import Finished, Point, Turn
from perfkit.schema.config import RunConfig
from perfkit.schema.record import Failure, RunRecord
from perfkit.schema.sweep import SweepRow, key_of
from tests import runs

OOM = Failure(
    phase="warm-up step 1, backward",
    message="out of memory in warm-up step 1, backward: an allocation of 2.0 GiB failed",
    requested=2**31,
    available=2**30,
    suggestions=("--checkpoint", "--batch-size 1"),
)


def steps(*seconds: float) -> tuple[record.StepSample, ...]:
    """Steps of these times."""
    return tuple(runs.sample(one, forward=one / 2, backward=one / 4) for one in seconds)


def finished(found: RunRecord | None = None, **changes: Any) -> Finished:
    """A process that went well, or as told."""
    plain = Finished(outcome="ok", exit_code=0, signal=None, wall_s=4.0, stderr_tail="", record=found)
    return dataclasses.replace(plain, **changes)


def out_of_memory(config: RunConfig) -> Finished:
    """A process that ran out of memory in warm-up."""
    found = runs.saved(config=config.resolved("cpu"), status="oom", steps=(), failure=OOM)
    return finished(found, outcome="oom", exit_code=3)


def row(config: RunConfig, *seconds: float, repeat: int = 1, **changes: Any) -> SweepRow:
    """The row of a run with steps of these times; without any, of one that ran out of memory."""
    turn = Turn(Point(key=key_of(config), config=config), repeat)
    if seconds:
        result = finished(runs.saved(config=config.resolved("cpu"), steps=steps(*seconds)))
    else:
        result = out_of_memory(config)
    return dataclasses.replace(finished_row(turn, result, "r.runs/one", "fresh", None), **changes)


def read_back(row: SweepRow) -> SweepRow:
    """The row as it is after it was written into a results file and read."""
    data = (sweep.header_line() + sweep.to_line(row)).encode()
    [found] = results_file.read(Path("r.csv"), data).rows
    return found


class FakeProcesses:
    """In place of fresh processes: runs a fake model, remembers its turns, and does what it is told for some."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.timeouts: list[float | None] = []
        self.instead: dict[int, Finished | BaseException] = {}
        """Turn, counted from 0 -> its end."""

    def within(self, timeout_s: float | None) -> FakeProcesses:
        """Itself, whose processes have so long."""
        self.timeouts.append(timeout_s)
        return self

    def __call__(self, turn: Turn, folder: Path) -> Finished:
        self.turns.append(turn)
        folder.mkdir(parents=True)  # as perfkit run: it must not be there yet
        end = self.instead.get(len(self.turns) - 1)
        if isinstance(end, BaseException):
            raise end
        if end is not None:
            return end
        config = turn.point.config.resolved("cpu")
        found = runs.saved(config=config, steps=steps(*(0.01 * config.step.batch_size + 1e-4 * n for n in range(10))))
        record.save(found, folder)
        return finished(found)
