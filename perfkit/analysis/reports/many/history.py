"""Runs over time: the step time of each commit, and where it changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from perfkit.analysis.reports.run import headline
from perfkit.analysis.runs.summary import summarize
from perfkit.analysis.statistics.changes import ALPHA, LEAST_SHARE, Change, changes
from perfkit.errors import UsageError
from perfkit.schema import units
from perfkit.schema.finding import Finding, Rule
from perfkit.schema.record import RunRecord
from perfkit.schema.report import Report
from perfkit.schema.table import Column, Table

HISTORY, COMMITS = "history", "commits"
NAMES = (COMMITS, HISTORY)
_FEWEST = 10
"""Runs: of fewer hardly any order is rare enough to be told from chance."""

STEP_TIME_CHANGED = Rule("step-time-changed", "run", "the step time of runs of one configuration changed at a commit")
NO_CHANGE = Rule("no-change", "run", "no commit changed the step time, as far as the runs can tell", read="last")
HISTORY_OF_RUNS = Rule(
    "history-of-runs", "run", "how many runs, commits and configurations a history has", read="first"
)

_RUNS = (
    Column("run", whole=True),
    Column("created"),
    Column("commit"),
    Column("configuration", spare=True),
    Column("device", spare=True),
    Column("steps", spare=True),
    Column("median_s", "s", "time", "median step", scale="step"),
    Column("change_share", "1", "share", "change", note="of the level, at the first run that has the new one"),
    Column("chance_share", "1", "share", "by chance", note="shuffled runs that have a change as clear"),
)
_COMMITS = (
    Column("commit"),
    Column("since"),
    Column("configuration", spare=True),
    Column("device", spare=True),
    Column("runs"),
    Column("median_s", "s", "time", "median step", scale="step"),
    Column("change_share", "1", "share", "change"),
)


@dataclass(frozen=True, slots=True)
class Run:
    """A run in its series."""

    name: str
    record: RunRecord
    median_s: float


def report(title: str, named: Iterable[tuple[str, RunRecord]]) -> Report:
    """Runs by configuration and device, in the order in which they were made. Raises UsageError for none."""
    series = _series(named)
    if not series:
        raise UsageError(f"{title}: no run in it measured a step without a profiler: record some with perfkit run")
    found = {key: {change.first: change for change in _changes(runs)} for key, runs in series.items()}
    runs = [run for some in series.values() for run in some]
    commits = {commit_of(run.record) for run in runs}
    counted = f"{units.many(len(runs), 'run', 'runs')} of {units.many(len(series), 'configuration', 'configurations')}"
    known = len(commits - {""})
    said = f"{counted} at {units.many(known, 'commit', 'commits') if known else 'no commit that is known'}"
    findings = [Finding(HISTORY_OF_RUNS, said), *_findings(series, found)]
    tables = (_commit_table(series, found), _run_table(series, found))
    summary = {"runs": len(runs), "configurations": len(series), "commits": known,
               "changes": sum(map(len, found.values()))}  # fmt: skip
    return Report(title, summary, tables, findings)


def commit_of(record: RunRecord) -> str:
    """The commit a run was started at; empty where it is not known."""
    commit = record.environment.git_commit or ""
    return commit[:12] + "+" * (commit.endswith("+") and len(commit) > 12)


_Key = tuple[str, str]


def _series(named: Iterable[tuple[str, RunRecord]]) -> dict[_Key, list[Run]]:
    """(configuration, device) -> its runs, by time. Profiled runs and those without steps are left out."""
    measured = [
        Run(name, record, summarize(record).median_s)
        for name, record in named
        if record.steps and record.config.measurement.profiler == "none"
    ]
    several: dict[tuple[object, str, int], list[Run]] = {}
    for run in sorted(measured, key=lambda run: datetime.fromisoformat(run.record.created)):
        place = run.record.environment
        several.setdefault((run.record.config, place.device_name, place.num_threads), []).append(run)
    found: dict[_Key, list[Run]] = {}
    for (_, device, _), runs in several.items():
        text = headline(runs[0].record.config)
        alike = sum(key[1] == device and key[0].startswith(text) for key in found)  # they differ in what is not shown
        found[f"{text} ({alike + 1})" if alike else text, device] = runs
    return found


def _changes(runs: Sequence[Run]) -> tuple[Change, ...]:
    return changes(np.array([run.median_s for run in runs]))


def _findings(series: Mapping[_Key, list[Run]], found: Mapping[_Key, Mapping[int, Change]]) -> Iterable[Finding]:
    for (configuration, device), runs in series.items():
        for place, change in found[configuration, device].items():
            run, before = runs[place], runs[place - 1]
            at = commit_of(run.record) or run.name
            way = "slower" if change.share > 0 else "faster"
            text = (
                f"{configuration} on {device} is {units.percent(abs(change.share))} {way} since {at} ({run.name}):"
                f" {units.duration(change.before)} before, {units.duration(change.after)} from then on;"
                f" {units.percent(change.p)} of shuffled runs have a change as clear"
            )
            advice = f"perfkit compare {before.name} {run.name}"
            yield Finding(STEP_TIME_CHANGED, text, advice=advice, sure="derived", where=at)
    if not any(found.values()):
        fewest = max(map(len, series.values()))
        few = f"; that takes {_FEWEST} runs of one configuration, and here are at most {fewest}" * (fewest < _FEWEST)
        yield Finding(NO_CHANGE, f"no change of {units.percent(LEAST_SHARE)} or more is clearer than what chance shows"
                                 f" in {units.percent(ALPHA)} of series without one{few}")  # fmt: skip


def _run_table(series: Mapping[_Key, list[Run]], found: Mapping[_Key, Mapping[int, Change]]) -> Table:
    rows = [
        (run.name, run.record.created, commit_of(run.record) or None, *key, len(run.record.steps), run.median_s,
         change.share if (change := found[key].get(place)) else None, change.p if change else None)
        for key, runs in series.items() for place, run in enumerate(runs)
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=[column.name for column in _RUNS])
    return Table(
        HISTORY,
        "Runs of each configuration, in the order in which they were made",
        _RUNS,
        frame.astype({"change_share": float, "chance_share": float}),
    )


def _commit_table(series: Mapping[_Key, list[Run]], found: Mapping[_Key, Mapping[int, Change]]) -> Table:
    rows = []
    for key, runs in series.items():
        of_commit: dict[str, list[int]] = {}
        for place, run in enumerate(runs):
            of_commit.setdefault(commit_of(run.record), []).append(place)
        for commit, places in of_commit.items():
            share = next((found[key][place].share for place in places if place in found[key]), None)
            median = float(np.median([runs[place].median_s for place in places]))
            rows.append((commit or None, runs[places[0]].record.created, *key, len(places), median, share))
    frame = pd.DataFrame(rows, columns=[column.name for column in _COMMITS])
    return Table(COMMITS, "Step time of each commit", _COMMITS, frame.astype({"change_share": float}))
