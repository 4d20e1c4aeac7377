"""Q18 and Q19: what two ranks would have to move, from one rank's step by hand, and what two ranks spent."""

from __future__ import annotations

import dataclasses

import pytest

from perfkit.analysis.study.question import UnansweredError
from perfkit.analysis.study.ranks import PARALLEL, SHARDED, job
from perfkit.analysis.study.times import train
from perfkit.schema.page.figures import Bars
from tests.analysis.study.cases import SCOPE, results, rows, step, table, taken

SMALL = dataclasses.replace(SCOPE, sizes=("small",))
PARAMETERS = 12 * (4 * 768**2 + 3 * 768 * 3072 + 2 * 768) + 2 * 10_000 * 768 + 768
RUN = taken(train(SMALL, "small"), (step(120, 200, 80), step(120, 200, 80)))


def test_gradients_hide_behind_backward():
    """GIVEN small: 128.6 M parameters, 490.7 MiB of gradients, which two ranks move once; 12 x 9 + 3 tensors, 18
    buckets as `torch.distributed._compute_bucket_assignment_by_size` makes them; backward of 200 ms"""
    answer = PARALLEL.answer(SMALL, results(RUN))
    [row] = rows(answer.tables[0])
    assert (row["gradient_bytes"], row["moved_bytes"]) == (4 * PARAMETERS, 4 * PARAMETERS)
    assert (row["tensors"], row["buckets"]) == (111, 18)
    assert row["needed_bytes"] == pytest.approx(4 * PARAMETERS / 0.2)
    assert "in 111 all-reduces by parameter, 18 by buckets (1 MiB, then 25 MiB) or 1 flat" in answer.sentence
    assert (answer.sure, answer.derived) == ("derived", "")
    assert "; the run of 2 ranks has no result (not run)" in answer.sentence


def test_a_gather_hides_behind_the_block_before():
    """GIVEN small's block of 9,438,720 parameters, of which half are elsewhere; forward of 120 ms in 12 blocks"""
    [row] = rows(SHARDED.answer(SMALL, results(RUN)).tables[0])
    assert row["block_bytes"] == 4 * (4 * 768**2 + 3 * 768 * 3072 + 2 * 768)
    assert row["moved_bytes"] == row["block_bytes"] / 2
    assert row["block_s"] == pytest.approx(0.010)
    assert row["saved_bytes"] == 8 * PARAMETERS


@pytest.mark.parametrize("question", [PARALLEL, SHARDED])
def test_without_a_step_there_is_nothing_to_hide_behind(question):
    with pytest.raises(UnansweredError):
        question.answer(SMALL, results())


def test_what_two_ranks_spent_comes_first():
    """GIVEN two steps of 100 ms on two ranks, with 60 ms of communication of which 45 ms are exposed, 40 for the head
    WHEN asked THEN a step has 30 ms, 4.5 of transfer, 25% hidden, and the head's all-reduce 20 ms;
    what follows from the bytes stands apart, and the picture has both modules"""
    exposed = table(
        "exposed", scope=["head", "embedding"], collective=["all_reduce", "broadcast"],
        total_ns=[50e6, 10e6], exposed_ns=[40e6, 5e6], hidden_ns=[10e6, 5e6], transfer_ns=[8e6, 1e6],
    )  # fmt: skip
    ranks = taken(job(SMALL, "small", "ddp"), (step(40, 60), step(40, 60)), tables={"exposed": exposed})
    answer = PARALLEL.answer(SMALL, results(RUN, ranks))
    assert answer.sentence.startswith(
        "small on 2 ranks of this machine: 30.00 ms of communication in a step of 100.0 ms: 4.500 ms transfer and 25.50"
        " ms waiting for the other rank; 7.500 ms (25.0%) is hidden behind computation and 22.50 ms is not; most of"
        " that, 20.00 ms, is all_reduce for head"
    )
    assert answer.derived.startswith("by one rank's measured step and the bytes, small: each of 2 ranks must move")
    assert [one.title for one in answer.tables] == ["exposed, small, ddp, sums of 2 steps", "Data parallel on 2 ranks"]
    assert answer.sure == "measured"
    assert answer.picture is not None
    assert isinstance(answer.picture.figure, Bars)
    assert answer.picture.figure.labels == ("head: all_reduce", "embedding: broadcast")
    assert {part.name: part.values for part in answer.picture.figure.parts} == {
        "exposed": (20e6, 2.5e6), "hidden": (5e6, 2.5e6),
    }  # fmt: skip
    assert job(SMALL, "small", "ddp") in PARALLEL.needs(SMALL)


def test_which_gathers_are_in_time():
    """GIVEN all-gathers of 10 ms for two layers, of which 1 and 5 ms are exposed, and a reduce-scatter"""
    exposed = table(
        "exposed", scope=["layers.1", "layers.0", "layers.0"],
        collective=["all_gather", "all_gather", "reduce_scatter"],
        total_ns=[10e6, 10e6, 10e6], exposed_ns=[5e6, 1e6, 1e6], hidden_ns=[5e6, 9e6, 9e6], transfer_ns=[4e6] * 3,
    )  # fmt: skip
    ranks = taken(job(SMALL, "small", "fsdp"), (step(40, 60), step(40, 60)), tables={"exposed": exposed})
    assert "; 1 of 2 modules have their all-gather in time (at most 10% of it exposed)" in (
        SHARDED.answer(SMALL, results(RUN, ranks)).sentence
    )


@pytest.mark.parametrize("scope", [dataclasses.replace(SMALL, device="cuda"), dataclasses.replace(SMALL, batch_size=3)])
def test_two_ranks_start_where_they_can(scope):
    """GIVEN a GPU, perhaps the only one, or a batch that two cannot share THEN one rank is measured"""
    assert SHARDED.needs(scope) == [train(scope, "small")]
    one = taken(train(scope, "small"), (step(120, 200, 80),))
    why = "they need a GPU each" if scope.on_gpu else "they cannot share a batch of 3 evenly"
    assert SHARDED.answer(scope, results(one)).sentence.endswith(f"; 2 ranks were not measured: {why}")
