"""Plain steps beside a profiled run: what is asked of the child, and what stays of one that failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from perfkit.commands.processes import plain
from perfkit.errors import OutOfMemoryError
from perfkit.schema import record
from perfkit.schema.campaign import Finished, Outcome
from perfkit.schema.config import RunConfig
from tests import runs


def child(
    outcome: Outcome, asked: list[RunConfig], *, exit_code: int | None = None, **saved: Any
) -> Callable[[RunConfig, Path], Finished]:
    """A process that leaves a record with these changes, and a log, and ends so."""

    def run_child(config: RunConfig, folder: Path) -> Finished:
        asked.append(config)
        folder.mkdir(parents=True)
        folder.with_name(folder.name + ".log").touch()
        if saved:
            record.save(runs.saved(**saved), folder)
        return Finished(
            outcome=outcome, exit_code=exit_code, signal=None, wall_s=1.0, stderr_tail="a word\n", record=None
        )

    return run_child


@pytest.mark.parametrize(("steps", "measured"), [(3, 3), (10, 10), (11, 10)])
def test_the_child_measures_at_most_ten_steps_without_a_profiler(tmp_path, steps, measured):
    """GIVEN a profiled run of so many steps WHEN plain ones are measured THEN all else is as it was asked for"""
    # GIVEN
    asked: list[RunConfig] = []
    config = runs.quick(profiler="torch", profile_stack=True, measure_steps=steps)

    # WHEN
    artifacts = plain.measure(config, tmp_path, child("ok", asked))

    # THEN
    assert artifacts == {"plain": "plain/record.json"}
    assert asked == [runs.quick(profiler="none", measure_steps=measured)]


@pytest.mark.parametrize(
    ("outcome", "saved", "stays"),
    [
        ("error", {}, False),
        ("oom", {"status": "oom"}, False),
        ("interrupted", {"status": "interrupted"}, True),
        ("interrupted", {"status": "interrupted", "steps": ()}, False),
    ],
)
def test_what_a_failed_child_leaves_stays_only_where_it_has_steps(tmp_path, capsys, outcome, saved, stays):
    """GIVEN a child that fails WHEN it has ended THEN its log is gone, there is no artifact, and one line says why"""
    artifacts = plain.measure(runs.quick(profiler="torch"), tmp_path, child(outcome, [], **saved))
    assert artifacts == {}
    assert (tmp_path / "plain").exists() is stays
    assert not (tmp_path / "plain.log").exists()
    assert f"the profiler's overhead will not be known: {outcome}: a word" in capsys.readouterr().err


@pytest.mark.parametrize("exit_code", [1, 2, 3])
def test_what_the_run_itself_will_say_is_left_to_it(tmp_path, capsys, exit_code):
    """GIVEN a child that crashes (1), cannot work (2) or finds no memory (3) THEN only the crash is said here"""
    refused: list[str] = []
    plain.measure(runs.quick(profiler="torch"), tmp_path, child("error", [], exit_code=exit_code), refused.append)
    line = "the profiler's overhead will not be known: error: a word"
    assert refused == [line] * (exit_code != 1)
    assert capsys.readouterr().err.count(line) == (exit_code == 1)


def test_a_child_that_raises_leaves_nothing(tmp_path):
    """GIVEN a child whose start fails WHEN that is raised THEN its folder is gone and the error is passed on"""

    def run_child(_: RunConfig, folder: Path) -> Finished:
        folder.mkdir(parents=True)
        raise OutOfMemoryError("no room for a process")

    with pytest.raises(OutOfMemoryError, match="no room"):
        plain.measure(runs.quick(profiler="torch"), tmp_path, run_child)
    assert list(tmp_path.iterdir()) == []


def test_who_waits_for_the_child_is_told_how_long(tmp_path, monkeypatch):
    """GIVEN a child that takes long WHEN it runs THEN that is said all the while, and no more after it"""
    happened: list[str] = []

    @contextmanager
    def going_on(what: str) -> Iterator[None]:
        happened.append(what)
        yield
        happened.append("over")

    def run_child(_: RunConfig, folder: Path) -> Finished:
        happened.append("runs")
        return child("ok", [])(_, folder)

    monkeypatch.setattr(plain, "going_on", going_on)
    plain.measure(runs.quick(profiler="torch"), tmp_path, run_child)
    assert happened == ["measuring plain steps", "runs", "over"]
