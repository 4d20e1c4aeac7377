"""Q1 and Q3 on times by hand."""

from __future__ import annotations

import dataclasses

import pytest

from perfkit.analysis.study.question import Taken, UnansweredError
from perfkit.analysis.study.times import AGREEMENT, PHASES, train
from tests.analysis.study.cases import SCOPE, results, rows, step, table, taken

TWO = dataclasses.replace(SCOPE, sizes=("tiny", "small"))


def test_phases_have_mean_spread_and_what_the_spread_means():
    """GIVEN two steps of 10 and 14 ms: mean 12, std sqrt(8) = 2.828, CV 23.57%; t of one degree of freedom 12.706, so
    that the mean is known to 12.706 * 23.57% / sqrt(2) = 211.8%, and a difference to sqrt(2) times that, 299.5%"""
    run = taken(train(SCOPE, "tiny"), (step(3, 5, 1, 1), step(5, 7, 1, 1)))

    # WHEN
    answer = PHASES.answer(SCOPE, results(run))

    # THEN
    assert answer.sentence.startswith(
        "tiny: forward 4.000 ms, backward 6.000 ms and the optimizer 1.000 ms of a step of 12.00 ms (CV 23.6%). 2 steps"
        " know the mean of tiny to +-211.8%, so two such runs must differ by more than 299.5% to say anything"
    )
    assert answer.advice == "perfkit run --model-size tiny --pass-type train --target-ci 1%"
    found = {row["phase"]: row["mean_s"] for row in rows(answer.tables[0])}
    assert found == pytest.approx(
        {"step": 0.012, "forward": 0.004, "backward": 0.006, "optimizer": 0.001, "rest": 0.001}
    )


def test_a_size_that_does_not_fit_is_a_row():
    lacking = Taken(config=train(TWO, "small"), outcome="predicted-oom", predicted_bytes=2**31)
    answer = PHASES.answer(TWO, results(taken(train(TWO, "tiny")), lacking))
    assert rows(answer.tables[0])[-1]["outcome"] == "predicted-oom, 2.0 GiB predicted"


def test_without_any_run_there_is_no_answer():
    with pytest.raises(UnansweredError):
        PHASES.answer(SCOPE, results())


def agreement(profiled_ms: float) -> str:
    scope = dataclasses.replace(SCOPE, contexts=(128,))
    plain, traced = AGREEMENT.needs(scope)
    phases = table("phases", steps=2, phase=["forward", "other"], total_ns=[2 * 7_000_000, 99])
    found = results(
        taken(plain, (step(5), step(5))),
        taken(traced, (step(profiled_ms), step(profiled_ms)), tables={"phases": phases}),
    )
    return AGREEMENT.answer(scope, found).sentence


def test_the_profilers_forward_stands_beside_plain_timing():
    """GIVEN 5 ms plainly, 7.5 ms under the profiler, and 14 ms of operators in a trace of 2 steps"""
    assert agreement(7.5).startswith(
        "forward of tiny at context 128: 5.000 ms by plain timing, 7.500 ms under the profiler, 7.000 ms of operators"
        " in its trace: under it forward takes 1.50 times as long, steady steps all; the profiler adds its work"
    )
    assert "they agree" in agreement(5.1)


def test_a_profiler_that_seems_to_make_it_faster_is_not_believed():
    """GIVEN 5 ms plainly and 4 ms under the profiler THEN the machine's load is named, and no cost of a profiler"""
    assert "0.800 times as long, steady steps all; no profiler makes a step faster" in agreement(4.0)
    assert "no profiler" not in agreement(4.9)


def test_two_sizes_and_three_contexts_on_a_gpu():
    scope = dataclasses.replace(TWO, device="cuda", sizes=("small", "medium", "large"))
    shapes = {(config.workload.name, config.resolved("cuda").step.context_length) for config in AGREEMENT.needs(scope)}
    assert shapes == {(size, context) for size in ("small", "medium") for context in (128, 256, 512)}
