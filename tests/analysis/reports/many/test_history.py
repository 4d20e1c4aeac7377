"""The history of runs: each commit's step time, and the commit that changed it."""

from __future__ import annotations

import dataclasses

import pytest

from perfkit.analysis.reports.many.history import report
from perfkit.errors import UsageError
from perfkit.schema.record import RunRecord
from tests import runs


def record(number: int, wall_s: float, commit: str = "", **config: object) -> RunRecord:
    """A run of its own hour, of steps that all take so long."""
    saved = runs.saved(
        steps=(runs.sample(wall_s),) * 3, created=f"2026-01-{1 + number // 24:02}T{number % 24:02}:00:00+00:00"
    )
    place = dataclasses.replace(saved.environment, git_commit=commit or None)
    return dataclasses.replace(saved, environment=place, config=runs.quick(**config) if config else saved.config)


def history(change_at: int = 8) -> list[tuple[str, RunRecord]]:
    """Sixteen runs at eight commits, two each; 10% slower from one on, in any order of their names."""
    walls = [0.1 * (1.1 if n >= change_at else 1) * (1 + 0.001 * (n * 7 % 5)) for n in range(16)]
    named = [(f"run{(n * 5) % 16}", record(n, wall, f"{n // 2:x}" * 40)) for n, wall in enumerate(walls)]
    return sorted(named)


def test_the_commit_that_changed_the_step_time_is_named():
    """GIVEN 16 runs at 8 commits, 10% slower from the fifth on THEN that commit is named, with both levels"""
    found = report("traces", history())
    assert found.summary == {"runs": 16, "configurations": 1, "commits": 8, "changes": 1}
    [said] = [finding for finding in found.findings if finding.rule.id == "step-time-changed"]
    assert "is 9.95% slower since 444444444444 (run8): 100.2 ms before, 110.2 ms from then on" in said.what
    commits, every = found.table("commits"), found.table("history")
    assert commits is not None
    assert every is not None
    assert commits.frame["runs"].tolist() == [2] * 8
    assert commits.frame["change_share"].notna().to_numpy().nonzero()[0].tolist() == [4]
    assert every.frame["change_share"].notna().to_numpy().nonzero()[0].tolist() == [8]
    assert every.frame["created"].is_monotonic_increasing


def test_where_nothing_changed_that_is_said():
    found = report("traces", history(change_at=99))
    assert found.findings[-1].what == (
        "no change of 2.00% or more is clearer than what chance shows in 2.00% of series without one"
    )


def test_few_runs_cannot_tell_and_that_is_said():
    found = report("traces", [(f"r{n}", record(n, 0.1 + 0.1 * (n > 1))) for n in range(4)])
    assert "that takes 10 runs of one configuration, and here are at most 4" in found.findings[-1].what


@pytest.mark.parametrize(
    ("commits", "said", "known"),
    [
        (["", ""], "2 runs of 1 configuration at no commit that is known", 0),
        (["a" * 40, ""], "2 runs of 1 configuration at 1 commit", 1),
        (["a" * 40], "1 run of 1 configuration at 1 commit", 1),
        (["a" * 40, "b" * 40], "2 runs of 1 configuration at 2 commits", 2),
    ],
    ids=["none known", "one of two known", "one run", "two"],
)
def test_a_run_of_no_known_commit_counts_as_none(commits, said, known):
    found = report("traces", [(f"r{n}", record(n, 0.1, commit)) for n, commit in enumerate(commits)])
    assert found.findings[0].what == said
    assert found.summary["commits"] == known


def test_configurations_are_series_of_their_own():
    """GIVEN runs of two batch sizes, in turn THEN the larger one's time is no change, and each has its own rows"""
    named = [(f"r{n}", record(n, 0.1 * (1 + n % 2), batch_size=2 + n % 2)) for n in range(24)]
    found = report("traces", named)
    assert (found.summary["configurations"], found.summary["changes"]) == (2, 0)


def test_profiled_runs_are_left_out():
    with pytest.raises(UsageError, match="no run in it measured a step without a profiler"):
        report("traces", [("r", record(0, 0.1, profiler="torch"))])
