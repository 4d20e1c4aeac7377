"""What every answer has: its sentence first, what was skipped, what a GPU would change; and runs in words."""

from __future__ import annotations

import dataclasses

import pytest

from perfkit.analysis.study.question import (
    Answer,
    Question,
    Results,
    Scope,
    Taken,
    UnansweredError,
    answered,
    listed,
    named,
    outcome_of,
)
from tests.analysis.study.cases import SCOPE, results, taken

ONE, OTHER = SCOPE.config("tiny"), SCOPE.config("tiny", precision="bf16")


def question(answer: str = "42 ms") -> Question:
    return Question(
        number=7,
        word="why",
        asks="Why?",
        needs=lambda _: [ONE, OTHER],
        answer=lambda _scope, found: (found.record(ONE), Answer(sentence=answer, advice="perfkit run"))[1],
        on_gpu="all is faster",
    )


def test_the_sentence_comes_first_and_a_gpu_last():
    # WHEN
    report, picture = answered(question(), SCOPE, results(taken(ONE), taken(OTHER)))

    # THEN
    assert [finding.what for finding in report.findings] == ["42 ms", "with a GPU: all is faster"]
    assert report.findings[0].advice == "perfkit run"
    assert report.summary["question"] == "Q7"
    assert [run["outcome"] for run in report.summary["runs"].values()] == ["ok", "ok"]
    assert picture is None


def test_with_a_gpu_nothing_is_said_of_one():
    report, _ = answered(question(), dataclasses.replace(SCOPE, device="cuda"), results(taken(ONE), taken(OTHER)))
    assert [finding.what for finding in report.findings][-1] != "with a GPU: all is faster"


def test_a_run_without_a_result_is_the_answer():
    """GIVEN the run that the answer needs ran out of memory THEN the reason takes the answer's place"""
    failed = Taken(config=ONE, outcome="oom", why="an allocation of 2.0 GiB failed")
    report, _ = answered(question(), SCOPE, results(failed, taken(OTHER)))
    assert report.findings[0].rule.id == "study-unanswered"
    assert report.findings[0].what == (
        "no answer: tiny forward-backward has no result (oom): an allocation of 2.0 GiB failed"
    )


@pytest.mark.parametrize(
    ("outcome", "advice"),
    [("interrupted", "the same command again: it goes on"), ("error", "the same command again once that is mended"),
     ("predicted-oom", "perfkit run --model-size tiny --pass-type forward-backward --fit")],
)  # fmt: skip
def test_how_to_go_on_is_said_where_there_is_no_answer(outcome: str, advice: str):
    report, _ = answered(question(), SCOPE, results(Taken(config=ONE, outcome=outcome, why="so it is"), taken(OTHER)))
    assert report.findings[0].what.endswith(f"({outcome}): so it is")
    assert report.findings[0].advice.startswith(advice)


def test_what_is_derived_stands_apart_from_what_was_measured():
    """GIVEN an answer of both kinds THEN two findings say which is which, and the summary has both"""
    both = dataclasses.replace(
        question(), answer=lambda _scope, _found: Answer(sentence="5 ms took it", derived="4 MiB must move")
    )
    report, _ = answered(both, SCOPE, results(taken(ONE), taken(OTHER)))
    assert [(one.what, one.sure) for one in report.findings[:2]] == [
        ("5 ms took it", "measured"), ("derived, not measured: 4 MiB must move", "derived"),
    ]  # fmt: skip
    assert report.summary["sentence"] == "5 ms took it; derived, not measured: 4 MiB must move"


def test_skipped_runs_are_named_with_their_prediction():
    skipped = Taken(config=OTHER, outcome="skipped", seconds=600.0)
    report, _ = answered(question(), SCOPE, results(taken(ONE), skipped))
    assert (
        "the time budget had no room for tiny forward-backward bf16 (about 10 min)"
        in {finding.what for finding in report.findings}
    )  # fmt: skip


def test_a_run_that_nobody_made_has_no_record():
    with pytest.raises(UnansweredError, match="it was not run"):
        Results({}).record(ONE)


def test_a_table_that_is_not_there():
    with pytest.raises(UnansweredError, match="tiny forward-backward has no table kernels"):
        taken(ONE).table("kernels")


@pytest.mark.parametrize(
    ("one", "says"),
    [
        (Taken(config=ONE, outcome="ok"), "ok"),
        (Taken(config=ONE, outcome="skipped", seconds=60.0), "skipped, about 60 s"),
        (Taken(config=ONE, outcome="skipped"), "skipped, its time is not known"),
        (Taken(config=ONE, outcome="predicted-oom", predicted_bytes=3 * 2**30), "predicted-oom, 3.0 GiB predicted"),
    ],
)
def test_an_outcome_as_a_cell(one: Taken, says: str):
    assert outcome_of(one) == says


def test_the_edition_of_2026_calls_2_7b_xl():
    """GIVEN the sizes of the course of 2026: its xl is 2560/10240/32/32"""
    shapes = [
        Scope(edition=edition).config("xl").resolved("cuda").transformer.shape for edition in ("2025", "2026")
    ]  # fmt: skip
    assert [str(shape) for shape in shapes] == ["1600/6400/48/25", "2560/10240/32/32"]
    assert str(Scope(edition="2026").config("10B").resolved("cuda").transformer.shape) == "4608/12288/50/36"


def test_a_run_in_words():
    config = SCOPE.config(
        "tiny", 64, pass_type="train", precision="bf16", compile="model", checkpoint_every=2, warmup_steps=0,
        profiler="torch",
    )  # fmt: skip
    assert named(config) == "tiny train context 64 bf16 compile model checkpoint every 2 0 warm-up profiled"
    assert named(SCOPE.config("tiny", warmup_steps=2, measure_steps=2)) == "tiny forward-backward 2 warm-up 2 steps"
    assert named(SCOPE.config("tiny", profiler="memory")) == "tiny forward-backward memory recorded"
    assert [listed(names) for names in ([], ["a"], ["a", "b", "c"])] == ["", "a", "a, b and c"]
