"""Trials of changes: which processes run, in which order, and what ends them. No process is started."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perfkit.analysis.tuning.candidates import Candidate, Change
from perfkit.commands.processes.trials import Budget, Plan, Trials
from perfkit.errors import InterruptedRunError, PerfkitError
from perfkit.schema import computed as results
from perfkit.schema.campaign import Finished
from perfkit.schema.config import RunConfig, of_own
from tests.analysis.tuning.computations import computed
from tests.runs import quick, sample, saved

CONFIG = quick(pass_type="train")
FUSED = Candidate("--optimizer adamw-fused", (Change({"optimizer": "adamw-fused"}),))
SDPA = Candidate("--attention sdpa", (Change({"attention": "sdpa"}),))
Made = Callable[[RunConfig, int], "tuple[float, float] | str"]
"""(configuration, how many processes ran before) -> ms of a step and a loss; or the last words of a failure."""


class Machine:
    """Pretends to run processes, of ten seconds each."""

    def __init__(self, made: Made) -> None:
        self.made, self.seconds = made, 0.0
        self.ran: list[str] = []
        self.given: list[dict[str, Any]] = []

    def now(self) -> float:
        return self.seconds

    def run_child(self, config: RunConfig, folder: Path, **given: Any) -> Finished:
        made = self.made(config, len(self.ran))
        self.ran.append(folder.name)
        self.given.append(given)
        self.seconds += 10
        finished = Finished(outcome="ok", exit_code=0, signal=None, wall_s=10.0, stderr_tail="", record=None)
        if isinstance(made, str):
            return dataclasses.replace(finished, outcome="error", exit_code=1, stderr_tail=made)
        ms, loss = made
        ms *= 1 + 1e-3 * (len(self.ran) % 3)
        folder.mkdir(parents=True)
        results.save(computed((loss, loss)), folder)
        created = f"2026-01-02T03:{len(self.ran):02}:00+00:00"
        record = saved(config=config, steps=(sample(1e-3 * ms),) * 2, created=created)
        return dataclasses.replace(finished, record=record)


def trials(machine: Machine, folder: Path, seconds: float = 1000.0, repeats: int = 3) -> Trials:
    plan = Plan(Budget(seconds, machine.now), repeats, "wall", 0.01)
    return Trials(CONFIG, {"A": "b"}, folder, plan, machine.run_child)


def as_it_is(config: RunConfig, _: int) -> tuple[float, float]:
    return (8.0 if config.step.optimizer == "adamw-fused" else 10.0), 2.0


def test_each_round_has_the_original_and_each_change(tmp_path):
    """GIVEN two changes and three rounds THEN the first begins with the original and the nudged one"""
    machine = Machine(as_it_is)
    made = trials(machine, tmp_path).one_at_a_time([FUSED, SDPA])
    assert machine.ran[:4] == ["original-change.1", "nudged.1", "change-1.1", "change-2.1"]
    for number, ran in ((2, machine.ran[4:7]), (3, machine.ran[7:])):
        assert sorted(ran) == [f"change-1.{number}", f"change-2.{number}", f"original-change.{number}"]
    assert [one.verdict for one in made] == ["faster", "same"]
    assert machine.given[1]["extra"][-2:] == ("--save-results", "nudged")
    assert {given["extra"][-1] for given in machine.given} == {"on", "nudged"}
    assert all(given["environment"] == {"A": "b"} for given in machine.given)


def test_a_larger_batch_is_given_the_originals_repeated_and_counts_as_so_many_steps(tmp_path):
    """GIVEN three times the batch in 21 ms against 10 THEN it is faster by 30%, and was given the original's rows"""
    machine = Machine(lambda config, _: (7.0 * 3 if config.step.batch_size > CONFIG.step.batch_size else 10.0, 2.0))
    rows = CONFIG.step.batch_size
    larger = Candidate("x3", (Change({"batch_size": 3 * rows}),), times=3)
    [made] = trials(machine, tmp_path).one_at_a_time([larger])
    assert made.verdict == "faster"
    assert made.gain[0] == pytest.approx(0.3, abs=0.01)
    assert made.is_worth_training_otherwise
    given = {name: given["extra"] for name, given in zip(machine.ran, machine.given, strict=True)}
    assert given["change-1.1"][-4:] == ("--save-results", "on", "--results-batch", str(rows))
    assert "--results-batch" not in (*given["original-change.1"], *given["nudged.1"])


def test_a_batch_of_an_own_model_is_looked_at(tmp_path):
    """GIVEN an input that makes the same rows whatever it is asked for THEN the larger batch is refused"""
    machine = Machine(lambda *_: (10.0, 2.0))
    config = of_own({"model": "a:b", "input": "a:c", "input_arg": ("batch=4",)}, device="cpu").resolved("cpu")
    plan = Plan(Budget(1000.0, machine.now), 2, "wall", 0.01)
    larger = Candidate("x2", (Change({"input_arg": "batch=8"}),), times=2)
    [made] = Trials(config, {}, tmp_path, plan, machine.run_child).one_at_a_time([larger])
    assert made.verdict == "refused"
    assert made.equality is not None
    assert made.equality.why == "its batch has not 2 times the rows: 4x2 in place of 4x2"
    assert all("--results-batch" not in given["extra"] for given in machine.given)


def test_a_change_of_the_result_is_not_measured_again(tmp_path):
    """GIVEN a change whose loss is another THEN it runs once, and is refused"""
    machine = Machine(lambda config, _: (5.0, 2.1 if config.value("attention") == "sdpa" else 2.0))
    made = trials(machine, tmp_path).one_at_a_time([FUSED, SDPA])
    assert [one.verdict for one in made][1] == "refused"
    assert sum(name.startswith("change-2") for name in machine.ran) == 1


def test_a_change_that_cannot_run_is_said_and_the_others_go_on(tmp_path):
    machine = Machine(lambda config, _: "perfkit: no compiler\n" if config.value("attention") == "sdpa" else (5.0, 2.0))
    made = trials(machine, tmp_path).one_at_a_time([SDPA, FUSED])
    assert (made[0].verdict, made[0].failed) == ("failed", "no compiler")
    assert sum(name.startswith("change-2") for name in machine.ran) == 3


def test_an_original_that_cannot_run_ends_it(tmp_path):
    machine = Machine(lambda *_: "perfkit: no such model\n")
    with pytest.raises(PerfkitError, match="no such model"):
        trials(machine, tmp_path).one_at_a_time([FUSED])


@pytest.mark.parametrize(
    ("seconds", "ran", "untried"),
    [
        (300.0, 11, ["", ""]),  # all: two, and three rounds of three
        (25.0, 1, ["no time left", "no time left"]),  # the original, and no room for the nudged one and a change
        (60.0, 5, ["2 of 3 runs", "no time left"]),
        (85.0, 8, ["2 of 3 runs", "2 of 3 runs"]),
    ],
)
def test_no_process_begins_for_which_there_is_no_time(tmp_path, seconds, ran, untried):
    """GIVEN processes of ten seconds and so much time THEN what was not tried says so"""
    machine = Machine(as_it_is)
    budget = trials(machine, tmp_path, seconds)
    made = budget.one_at_a_time([FUSED, SDPA])
    assert [one.untried for one in made] == untried
    assert len(machine.ran) <= ran
    assert machine.seconds <= max(seconds, 20)


@pytest.mark.parametrize(
    ("last", "verdicts"),
    [
        (1, [{"not tried"}] * 2),
        (3, [{"undecided"}, {"not tried"}]),
        (7, [{"faster"}, {"same", "inconclusive"}]),  # by chance: two rounds in any order
    ],
)
def test_a_signal_leaves_what_is_known(tmp_path, last, verdicts):
    """GIVEN a signal in the process after so many THEN there is a verdict on what ran, and nothing else is run"""

    def made(config: RunConfig, ran: int) -> tuple[float, float]:
        if ran == last:
            raise KeyboardInterrupt
        return as_it_is(config, ran)

    machine = Machine(made)
    tried = trials(machine, tmp_path)
    trials_made = tried.one_at_a_time([FUSED, SDPA])
    assert all(one.verdict in possible for one, possible in zip(trials_made, verdicts, strict=True))
    assert len(machine.ran) == last
    assert "what was measured is in" in str(tried.ending)


def test_a_signal_before_anything_ran_has_nothing_to_show(tmp_path):
    def made(*_: object) -> tuple[float, float]:
        raise KeyboardInterrupt

    with pytest.raises(InterruptedRunError, match="interrupted by SIGINT"):
        trials(Machine(made), tmp_path).one_at_a_time([FUSED])


def test_what_all_would_take(tmp_path):
    """GIVEN processes of ten seconds, three rounds of three and the nudged one THEN 100 s are seven tenths"""
    tried = trials(Machine(as_it_is), tmp_path, 25.0)
    tried.one_at_a_time([FUSED, SDPA])
    assert tried.needed_s == pytest.approx(100 / 0.7)


def test_several_are_tried_together_beside_a_new_original(tmp_path):
    """GIVEN two changes as one THEN their processes and those of the original are new ones"""
    machine = Machine(as_it_is)
    tried = trials(machine, tmp_path)
    tried.one_at_a_time([FUSED])
    before = len(machine.ran)
    both = Candidate("both", (*FUSED.changes, *SDPA.changes))
    made = tried.together(both)
    assert made is not None
    assert {name.partition(".")[0] for name in machine.ran[before:]} == {"original-together", "together-1"}
    assert made.verdict == "faster"
    assert made.row is not None
    assert made.row.n_a == 3


def test_a_budget_counts_down():
    seconds = iter([5.0, 12.0])
    assert Budget(10.0, lambda: next(seconds)).left == 3.0
