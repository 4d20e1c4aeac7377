from __future__ import annotations

import pytest

from perfkit.commands.console import campaigns
from perfkit.commands.console.campaigns import CampaignProgress, SweepProgress, TimeLeft
from perfkit.commands.console.progress import Wait
from perfkit.commands.observers import AfterEachStep
from perfkit.measure.loop import StepId
from perfkit.schema.campaign import Point, Turn
from perfkit.schema.config import RunConfig
from tests import runs, sweeps

A, B, C = (Turn(Point(key=key, config=RunConfig()), 1) for key in "ABC")


def test_a_point_takes_what_it_took_and_another_the_mean() -> None:
    """GIVEN points that took 2 and 4 min WHEN one of them and an unknown one wait THEN 4 min and the mean of 3 min"""
    left = TimeLeft()
    assert left.text([A, B]) == ""
    left.took(A, 999.0)
    left.took(A, 120.0)
    left.took(B, 240.0)
    assert left.text([B, C]) == "about 7 min left"
    assert left.text([A]) == "about 2 min left"
    assert left.text([]) == ""


def test_without_a_terminal_each_process_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """GIVEN processes that took 4 s, and failed after a minute WHEN told THEN a line each, and the last words"""
    failed = sweeps.finished(outcome="error", exit_code=1, stderr_tail="perfkit: no room\x1b\n", wall_s=60.0)
    with CampaignProgress([A, B, C]) as progress:
        progress.start(A)
        progress.finish(A, sweeps.finished())
        progress.start(B)
        progress.finish(B, failed)
        progress.start(C)
    assert capsys.readouterr().err.splitlines() == [
        "process 1 of 3: A.1",
        "process 2 of 3: B.1, about 8 s left",
        r"error: no room\x1b",
        "process 3 of 3: C.1, about 32 s left",
    ]


def once() -> Wait:
    """A wait that ends at the second time."""
    ends = iter([False, True])
    return lambda _: next(ends)


def test_a_process_that_takes_long_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """GIVEN no terminal WHEN ten seconds have gone in a process THEN a line says so, from a thread that ends with it"""
    with CampaignProgress([A, B], once()) as progress:
        progress.start(A)
        progress.finish(A, sweeps.finished())
    assert capsys.readouterr().err.splitlines() == ["process 1 of 2: A.1", "process 1 of 2: A.1, 0 s so far"]


def test_a_point_that_takes_long_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """GIVEN no terminal WHEN ten seconds have gone in a point THEN a line says so"""
    with SweepProgress(2, 0, (), wait=once()) as progress:
        progress.expect([A, B])
        progress.start(A)
    assert capsys.readouterr().err == "[0/2] default forward-backward, 0 s so far\n"


@pytest.mark.parametrize(("seconds", "lines"), [(10.0, 0), (0.0, 2)])
def test_in_the_process_that_measures_no_thread_says_so_but_the_steps(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, seconds: float, lines: int
) -> None:
    """GIVEN a point of two steps WHEN ten seconds have not gone, or none are waited for THEN no line, or one a step"""
    monkeypatch.setattr(campaigns, "TOLD_SECONDS", seconds)
    with SweepProgress(2, 0, (), is_beside=False, wait=once()) as progress:
        progress.expect([A, B])
        progress.start(A)
        telling = AfterEachStep(progress.still_running)
        for index in range(2):
            telling.after(StepId("measured", index), runs.sample())
    assert capsys.readouterr().err == "[0/2] default forward-backward, 0 s so far\n" * lines
