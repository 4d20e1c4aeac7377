"""Order and bookkeeping of campaigns, with a fake in place of processes."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from perfkit import signals
from perfkit.launch import campaign
from perfkit.schema.campaign import Finished, Outcome, Point, Turn
from tests import runs

POINTS = [Point(key=key, config=runs.quick()) for key in "abcdef"]


def test_each_round_is_a_permutation_of_all_points():
    turns = campaign.order(POINTS, 3, seed=7)
    rounds = [turns[i : i + 6] for i in (0, 6, 12)]
    for number, turns_of_round in enumerate(rounds, start=1):
        assert {turn.repeat for turn in turns_of_round} == {number}
        assert sorted(turn.point.key for turn in turns_of_round) == list("abcdef")
    assert len({tuple(turn.point.key for turn in one) for one in rounds}) == 3


def test_a_seed_names_an_order():
    assert campaign.order(POINTS, 2, seed=1) == campaign.order(POINTS, 2, seed=1)
    assert campaign.order(POINTS, 2, seed=1) != campaign.order(POINTS, 2, seed=2)
    # as it was when this was written: a sweep that goes on keeps its order
    assert "".join(turn.point.key for turn in campaign.order(POINTS, 2, seed=0)) == "dfcebabcfdae"


def test_every_place_of_a_round_is_equally_likely():
    """GIVEN 3,000 rounds of 6 points WHEN counting who is first THEN each is, about as often"""
    firsts = Counter(turn.point.key for turn in campaign.order(POINTS, 3000, seed=0)[::6])
    assert set(firsts) == set("abcdef")
    assert all(abs(count - 500) < 5 * 500**0.5 for count in firsts.values())


def test_a_failure_does_not_end_a_campaign(tmp_path):
    # GIVEN
    def execute(turn: Turn, folder: Path) -> Finished:
        told.append(("run", turn.name, folder))
        outcome: Outcome = "error" if turn.point.key == "a" else "ok"
        return Finished(outcome=outcome, exit_code=0, signal=None, wall_s=1.0, stderr_tail="", record=None)

    told: list[object] = []
    turns = [Turn(point, 1) for point in POINTS[:2]]

    # WHEN
    results = campaign.run(
        turns,
        tmp_path,
        execute,
        on_start=lambda turn: told.append(("start", turn.name)),
        on_finish=lambda turn, finished: told.append((finished.outcome, turn.name)),
    )

    # THEN
    assert told == [
        ("start", "a.1"), ("run", "a.1", tmp_path / "a.1"), ("error", "a.1"),
        ("start", "b.1"), ("run", "b.1", tmp_path / "b.1"), ("ok", "b.1"),
    ]  # fmt: skip
    assert [turn.name for turn, _ in results] == ["a.1", "b.1"]


@pytest.mark.parametrize("when", ["start", "run", "finish"])
def test_a_signal_ends_a_campaign_when_what_is_finished_has_been_told(tmp_path, when):
    """GIVEN two turns WHEN a signal comes at any moment of the first THEN it is told of, and the second never starts"""

    # GIVEN
    def at(moment: str, text: str) -> None:
        told.append(text)
        if moment == when and len(told) <= 3:
            os.kill(os.getpid(), signal.SIGTERM)

    def execute(turn: Turn, _: Path) -> Finished:
        at("run", f"run {turn.name}")
        return Finished(outcome="ok", exit_code=0, signal=None, wall_s=1.0, stderr_tail="", record=None)

    told: list[str] = []

    # WHEN
    with signals.installed(), signals.raised(), pytest.raises(signals.Interrupted):
        campaign.run(
            [Turn(point, 1) for point in POINTS[:2]],
            tmp_path,
            execute,
            on_start=lambda turn: at("start", f"start {turn.name}"),
            on_finish=lambda turn, _: at("finish", f"finish {turn.name}"),
        )

    # THEN
    assert told == ["start a.1", "run a.1", "finish a.1"]
