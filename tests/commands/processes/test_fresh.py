"""Campaigns of fresh processes: where their runs go, and which failures end them."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perfkit.commands.processes import fresh
from perfkit.errors import InterruptedRunError, PerfkitError, UsageError
from perfkit.schema import record
from perfkit.schema.campaign import Finished, Outcome, Point
from tests import runs

A, B = (Point(key=key, config=runs.quick(seed=seed)) for key, seed in (("A", 1), ("B", 2)))


def ended(outcome: Outcome, said: str = "", exit_code: int | None = 1) -> Finished:
    """What became of a process."""
    return Finished(outcome=outcome, exit_code=exit_code, signal=None, wall_s=1.0, stderr_tail=said, record=None)


def child(become: Callable[[Path], Finished]) -> Callable[..., Finished]:
    """A process that leaves a record where it is said to have ended well."""

    def run_child(_: object, folder: Path, **__: Any) -> Finished:
        finished = become(folder)
        if finished.outcome == "ok":
            folder.mkdir(parents=True)
            record.save(runs.saved(), folder)
        return finished

    return run_child


@pytest.mark.parametrize(("points", "folders"), [([A], ["1", "2"]), ([A, B], ["A/1", "A/2", "B/1", "B/2"])])
def test_each_run_has_a_folder_and_one_point_has_none(tmp_path, points, folders):
    """GIVEN one point or two WHEN measured twice THEN records are in repeats, of two points below each"""
    fresh.measure(points, 2, tmp_path, child(lambda _: ended("ok", exit_code=0)))
    assert sorted(file.parent.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("record.json")) == folders


@pytest.mark.parametrize(
    ("exit_code", "kind", "remains"), [(UsageError.exit_code, UsageError, False), (1, PerfkitError, True)]
)
def test_what_fails_in_the_first_round_is_raised_in_its_own_words(tmp_path, exit_code, kind, remains):
    """GIVEN a process that fails WHEN it is the first THEN its last line is raised; a usage error leaves nothing"""
    folder = tmp_path / "campaign"
    folder.mkdir()
    with pytest.raises(kind, match=r"^[AB]\.1: no such backend") as raised:
        fresh.measure([A, B], 2, folder, child(lambda _: ended("error", "perfkit: no such backend\n", exit_code)))
    assert type(raised.value) is kind
    assert folder.exists() is remains


@pytest.mark.parametrize(("said", "raises"), [("perfkit: an accident", False), ("No space left on device", True)])
def test_what_fails_later_is_left_to_the_records_but_for_a_full_disk(tmp_path, said, raises):
    """GIVEN a point whose second process fails WHEN measured THEN only what would end the third too is raised"""

    def become(folder: Path) -> Finished:
        return ended("error", said) if folder.name == "2" else ended("ok", exit_code=0)

    if raises:
        with pytest.raises(PerfkitError, match="No space left"):
            fresh.measure([A], 3, tmp_path, child(become))
    else:
        fresh.measure([A], 3, tmp_path, child(become))
    assert (tmp_path / "3" / "record.json").exists() is not raises


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ("ok", "1 of 2 processes saved in "),
        ("interrupted", "0 of 2 processes and 2 measured steps of another saved in "),
        (None, "nothing was measured"),
    ],
)
def test_an_interruption_says_what_is_saved(tmp_path, status, says):
    """GIVEN a signal after a process with a record of two steps, or none WHEN it ends THEN the error counts them"""
    folder = tmp_path / "campaign"
    folder.mkdir()

    def interrupted(_: object, own: Path, **__: Any) -> Finished:
        if status is not None:
            own.mkdir(parents=True)
            record.save(runs.saved(status=status), own)
        raise KeyboardInterrupt(signal.SIGINT)

    with pytest.raises(InterruptedRunError, match=re.escape(says)):
        fresh.measure([A], 2, folder, interrupted)
    assert folder.exists() is (status is not None)
