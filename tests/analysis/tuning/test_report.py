"""What is said of trials: the sentence first, then the table."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from perfkit.analysis.tuning import choice, equality, report
from perfkit.analysis.tuning.candidates import Unapplied
from perfkit.analysis.tuning.choice import Trial
from perfkit.analysis.tuning.report import Tuned
from perfkit.render import findings
from perfkit.schema.config import RunConfig, of_own
from tests.analysis.tuning.computations import computed
from tests.analysis.tuning.test_choice import OTHER, SAME, candidate, records


def trial(name: str, ms: float, equal: equality.Equality = SAME, predicted: float | None = 0.25) -> Trial:
    row = choice.rows(records(10.0), {name: records(ms, 1)})[name]
    return Trial(candidate(name, predicted), row, equal, memory_bytes=-1000)


def tuned(*trials: Trial, **more: Any) -> Tuned:
    usual: dict[str, Any] = {
        "together": None, "unapplied": (), "command": "perfkit run --fast", "clock": "wall", "budget_s": 300.0,
        "used_s": 100.0, "loads": (0.5, 0.5), "cpus": 2,
    }  # fmt: skip
    return Tuned(trials, **(usual | more))


def said(one: Tuned) -> list[str]:
    return list(findings.lines(report.report(one, "run").findings))


def test_the_answer_comes_first():
    """GIVEN 10 ms against 8, predicted 25%, the same bits THEN one sentence, and the command"""
    first, second = said(tuned(trial("--fast", 8.0)))
    assert first.startswith("--fast: 10.00 -> 8.00 ms, -20% (95%: ")
    assert first.endswith("; predicted 25%), the same losses and gradients, bit for bit")
    assert second == "run it as: perfkit run --fast"


def test_by_how_much_results_differ_is_said():
    """GIVEN another precision, and losses that differ by half a percent THEN the sentence has it"""
    bf16 = equality.check(computed(), computed((2.01, 1.0), precision="bf16"), computed())
    assert said(tuned(trial("--bf16", 5.0, bf16)))[0].endswith(
        "another precision: losses differ by up to 0.5%, gradients by 0"
    )
    rounded = equality.check(computed(), computed((2.000002, 1.0)), computed())
    assert "same losses within rounding (losses differ by up to 1.0e-06" in said(tuned(trial("--x", 5.0, rounded)))[0]


def larger(ms: float, equal: equality.Equality = SAME) -> Trial:
    """A batch of 8 in place of 4, whose step takes so many ms where the original's takes 10."""
    one = dataclasses.replace(candidate("--batch-size 8", 0.2), times=2)
    row = choice.rows(records(10.0), {one.name: records(ms, 1)}, times={one.name: 2})[one.name]
    return Trial(one, row, equal, memory_bytes=400, memory_share=0.4)


def test_a_larger_batch_has_a_sentence_of_its_own():
    """GIVEN 10 ms, and 16 of twice the batch THEN 25% more tokens a second, and that it is other training"""
    first, second = said(tuned(larger(16.0)))
    assert first == "nothing to recommend: only another batch was tried, which is another computation"
    assert second.startswith("--batch-size 8: a batch of 8 in place of 4 brings 25% more tokens a second (95%: 2")
    assert second.endswith(
        "; predicted 25%), memory +40%; it changes training: gradients of 2 times the tokens, not the same trajectory"
        " (the original's rows, repeated: losses differ by up to 0, gradients by 0)"
    )
    made = report.report(tuned(larger(16.0)), "run")
    assert (made.summary["recommended"], made.summary["larger_batch"]) == (None, "--batch-size 8")
    assert "as many rows as the original's" in made.tables[0].notes[-1]


def test_a_larger_batch_comes_after_what_keeps_the_computation():
    lines = said(tuned(trial("--fast", 8.0), larger(12.0)))
    assert [line.split(":")[0] for line in lines] == ["--fast", "run it as", "--batch-size 8"]
    forward = tuned(larger(16.0), config=RunConfig.of(pass_type="forward"))
    assert "memory +40%; a step is of 2 times the tokens (" in said(forward)[1]


def test_a_larger_batch_of_an_own_model_says_what_was_not_compared():
    other = equality.check_batch(computed(), computed(batch=((8, 2),)), 2)
    config = of_own({"model": "a:b", "input": "a:c", "input_arg": ("n=4",)})
    [_, line] = said(tuned(larger(16.0, other), config=config))
    assert "a batch of 2 times the rows brings 25% more rows a second" in line
    assert line.endswith("(its rows are others, so that no loss can be compared)")
    [_, line] = said(tuned(larger(20.0, other), config=config))
    assert ": --batch-size 8: 10.00 -> 10.00 ms for as many rows, -0%" in line
    assert line.endswith("another batch; try more --repeats")


def test_a_refusal_says_what_differs():
    lines = said(tuned(trial("--wrong", 5.0, OTHER)))
    assert lines[0] == "nothing to recommend: of 1 change 1 refused"
    assert lines[1] == "--wrong is refused: the loss of step 1 differs by 350% (at most 1.3e-06)"


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (tuned(advised=False), "nothing to recommend: no finding advises a change"),
        (tuned(), "nothing to recommend: no finding advises a change that can be tried here"),
        (tuned(trial("a", 12.0), trial("b", 12.0)), "nothing to recommend: of 2 changes 2 slower"),
    ],
)
def test_nothing_is_recommended_where_nothing_is_better(one, text):
    assert said(one) == [text]
    assert report.report(one, "run").summary["recommended"] is None


def test_what_was_not_tried_is_named():
    lines = said(tuned(trial("a", 8.0), Trial(candidate("b"), untried="no time left")))
    assert lines[2] == "not tried, or with fewer processes, for want of time: b; try --budget 6m"
    lines = said(tuned(trial("a", 8.0), Trial(candidate("b"), untried="no time left"), needed_s=601.0))
    assert lines[2].endswith("--budget 11m")
    lines = said(tuned(trial("a", 8.0), Trial(candidate("b")), interrupted=True))
    assert lines[2] == "not tried, or with fewer processes, a signal ended it: b"


def test_what_is_not_shown_has_its_numbers():
    """GIVEN a change that is as fast, within its spread THEN the counts come first, and then what was measured of it"""
    first, second = said(tuned(trial("a", 10.0)))
    assert first == "nothing to recommend: of 1 change 1 not shown to be faster"
    assert second.startswith("not shown either way by 4 processes: a: 10.00 -> 10.00 ms, -0% (95%: -")
    row = choice.rows(records(10.0)[:1], {"a": records(9.0)[:1]})["a"]
    lines = said(tuned(Trial(candidate("a", 0.25), row, SAME)))
    assert "by 1 process: a: 10.0 -> 9.00 ms, -10% (no interval; predicted 25%)" in lines[1]


def test_a_prediction_that_is_the_least_says_so():
    one = trial("a", 8.0)
    least = dataclasses.replace(one, candidate=dataclasses.replace(one.candidate, at_least=True))
    assert "; predicted at least 25%)" in said(tuned(least))[0]


def test_a_busy_machine_is_said():
    assert said(tuned(trial("a", 8.0), loads=(1.0, 9.0)))[2].startswith("this machine was busy (load 1.0 before, 9.0")
    assert "--clock cpu" not in said(tuned(trial("a", 8.0), loads=(1.0, 9.0), clock="cpu"))[2]


def test_the_tables_have_a_row_for_each_change():
    one = tuned(
        trial("--fast", 8.0), Trial(candidate("--broken"), failed="no compiler"),
        together=trial("--fast --more", 7.0), unapplied=(Unapplied("workers", "your own loop", "data-loader", 5),),
    )  # fmt: skip
    made = report.report(one, "run")
    changes, not_applied = (table.frame for table in made.tables)
    assert changes["change"].tolist() == ["--fast", "--broken", "--fast --more"]
    assert changes["verdict"].tolist() == ["faster", "failed", "faster"]
    assert changes["said"].tolist()[1] == "no compiler"
    assert changes["gain"][0] == pytest.approx(0.2)
    assert changes["memory_bytes"][0] == -1000
    assert not_applied.to_dict("records") == [
        {"what": "workers", "why": "your own loop", "rule": "data-loader", "cost_ns": 5.0}
    ]
    assert made.summary["recommended"] == "--fast --more"


def test_no_prediction_is_no_number():
    assert "; no prediction)" in said(tuned(trial("a", 8.0, predicted=None)))[0]
