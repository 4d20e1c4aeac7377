"""What became of a process: its last words, a disk that is full, and the name of its folder."""

from __future__ import annotations

import pytest

from perfkit.schema.campaign import Finished, Outcome, Point, Turn
from tests.runs import quick


def test_a_turn_is_named_by_its_point_and_repeat():
    assert Turn(Point(key="a", config=quick()), 3).name == "a.3"


def finished(said: str, outcome: Outcome = "error") -> Finished:
    return Finished(outcome=outcome, exit_code=2, signal=None, wall_s=1.0, stderr_tail=said, record=None)


@pytest.mark.parametrize(
    ("said", "words"),
    [("", "it said nothing"), (" \n\n", "it said nothing"), ("a", "a"), ("a\n b \n\n", "b"),
     ("table\nperfkit: no", "no"), ("no perfkit: yes", "no perfkit: yes")],
)  # fmt: skip
def test_the_last_words_are_the_last_line_with_anything_in_it(said, words):
    assert finished(said).last_words == words


@pytest.mark.parametrize(
    ("said", "outcome", "full"),
    [
        ("r.json: No space left on device", "error", True),
        ("r.json: Disk quota exceeded", "error", True),
        ("r.json: Permission denied", "error", False),
        ("No space left on device\nlater", "error", False),
        ("r.json: No space left on device", "ok", False),
        ("r.json: No space left on device", "oom", False),
    ],
)
def test_a_full_disk_is_one_that_ended_the_run(said, outcome, full):
    assert finished(said, outcome).disk_full is full
