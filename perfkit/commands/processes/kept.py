"""Runs of a study, each in a fresh process and in one folder: what is there already is kept, the smallest come first.

The folder's `runs.csv` is a sweep's journal, so that `perfkit analyze` reads it; the runs' records are beside it.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals

from perfkit import signals
from perfkit.analysis.study.budget import Pace, work
from perfkit.analysis.study.question import named
from perfkit.analysis.study.ranks import RANKS
from perfkit.analysis.sweeps import rows as sweep_rows
from perfkit.analysis.sweeps.rows import Forecaster
from perfkit.commands.console.progress import going_on
from perfkit.errors import UsageError
from perfkit.launch import campaign, torchrun
from perfkit.launch.campaign import Execute
from perfkit.launch.journal import Journal
from perfkit.launch.processes import run_child
from perfkit.schema import units
from perfkit.schema.campaign import Finished, Point, Turn
from perfkit.schema.config import RunConfig
from perfkit.schema.own_files import RECORD_FILE
from perfkit.schema.sweep import SweepRow

RESULTS = "runs.csv"
_EXTRA = ("--overhead", "off", "--tensorboard", "off")
_KEPT = ("ok", "spilled", "oom")
"""Outcomes that another run would only repeat."""


def in_fresh_process(turn: Turn, folder: Path) -> Finished:
    """Runs a turn in a `perfkit run` of its own, plainly beside no other; a job's in one for each of its ranks."""
    wrapper = () if turn.point.config.step.parallel == "off" else torchrun.command(RANKS)
    return run_child(turn.point.config, folder, extra=_EXTRA, wrapper=wrapper)


@dataclass(slots=True)
class Kept:
    """What there is of the runs of a study."""

    rows: dict[str, SweepRow] = field(default_factory=dict)
    """By key."""
    skipped: dict[str, float | None] = field(default_factory=dict)
    """Runs for which the budget had no room, with the seconds that they were predicted to take."""
    interrupted: Signals | None = None
    made: int = 0
    """Runs that this call made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be run, and how."""

    needs: Mapping[str, RunConfig]
    """By key."""
    folder: Path
    resolved: Callable[[RunConfig], RunConfig]
    forecast: Forecaster
    budget_s: float | None = None
    execute: Execute = in_fresh_process
    clock: Callable[[], float] = time.monotonic

    @property
    def records(self) -> Path:
        """The folder of the runs' records."""
        return self.folder / "runs"


def measure(plan: Plan) -> Kept:
    """Make the runs that are not there yet, the smallest first.

    A run that is predicted not to fit into memory has a row that says so, and one that the budget has no room for is
    skipped. A signal ends it: `interrupted` says which. Raises UsageError where the folder cannot be written.
    """
    if not plan.needs:
        return Kept()
    try:
        plan.records.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{plan.folder}: {error.strerror}; choose another --output") from error
    with Journal(plan.folder / RESULTS, keep=lambda row: _is_kept(row, plan.folder)) as journal:
        kept = Kept({row.key: row for row in journal.rows if row.key in plan.needs})
        _Measuring(plan, journal, kept).run()
    return kept


def _is_kept(row: SweepRow, folder: Path) -> bool:
    return row.outcome in _KEPT and (row.record is None or (folder / row.record / RECORD_FILE).is_file())


@dataclass(slots=True)
class _Measuring:
    plan: Plan
    journal: Journal
    kept: Kept
    pace: Pace = field(default_factory=Pace)

    def run(self) -> None:
        """Run what is missing."""
        for row in self.kept.rows.values():
            self.pace.ended(row)
        missing = {key: config for key, config in self.plan.needs.items() if key not in self.kept.rows}
        there = len(self.plan.needs) - len(missing)
        if there and missing:
            print(f"{there} of {len(self.plan.needs)} runs are there already", file=sys.stderr)
        ordered = sorted(missing.items(), key=lambda item: work(self.plan.resolved(item[1])))
        try:
            campaign.run(
                self._runnable(ordered), self.plan.records, self._execute, on_finish=self._finish
            )  # fmt: skip
        except KeyboardInterrupt as error:
            self.kept.interrupted = signals.by(error)

    def _runnable(self, ordered: list[tuple[str, RunConfig]]) -> Iterator[Turn]:
        began = self.plan.clock()
        for number, (key, config) in enumerate(ordered, 1):
            turn = Turn(Point(key=key, config=config), 1)
            forecast = self.plan.forecast(config)
            if forecast is not None and not forecast.fits:
                self._keep(sweep_rows.skipped_row(turn, "fresh", forecast))
                continue
            seconds = self.pace.predict(self.plan.resolved(config))
            spent = self.plan.clock() - began
            if self.plan.budget_s is not None and spent + (seconds or 0.0) > self.plan.budget_s:
                self.kept.skipped[key] = seconds
                continue
            about = "" if seconds is None else f", about {units.rough_duration(seconds)}"
            print(f"run {number} of {len(ordered)}: {named(config)}{about}", file=sys.stderr)
            folder = self.plan.records / turn.name
            shutil.rmtree(folder, ignore_errors=True)
            yield turn

    def _execute(self, turn: Turn, folder: Path) -> Finished:
        with going_on(named(turn.point.config)):
            return self.plan.execute(turn, folder)

    def _finish(self, turn: Turn, finished: Finished) -> None:
        if finished.disk_full:
            raise UsageError(f"{self.plan.folder}: the disk is full: free some space and run the command again")
        if finished.outcome != "ok":
            print(f"{named(turn.point.config)}: {finished.outcome}: {finished.last_words}", file=sys.stderr)
        forecast = self.plan.forecast(turn.point.config)
        folder = f"{self.plan.records.name}/{turn.name}"
        self.kept.made += 1
        self._keep(sweep_rows.finished_row(turn, finished, folder, "fresh", forecast))

    def _keep(self, row: SweepRow) -> None:
        self.journal.append(row)
        self.kept.rows[row.key] = row
        self.pace.ended(row)
