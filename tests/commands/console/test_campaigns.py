from __future__ import annotations

import pytest

from perfkit.commands.console.campaigns import CampaignProgress, TimeLeft
from perfkit.schema.campaign import Point, Turn
from perfkit.schema.config import RunConfig
from tests import sweeps

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
